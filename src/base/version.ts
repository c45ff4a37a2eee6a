/** What `runt --version` says; the one place of these numbers (a test compares package.json). */

/** Set by the bundler where the commit is known. */
declare const RUNT_COMMIT: string | undefined

export const VERSION = '0.1.0'
/** The runtime-spec that runt implements: `ociVersion` of what it writes. */
export const SPEC_VERSION = '1.3.0'
/** Empty when unknown. */
export const COMMIT: string = typeof RUNT_COMMIT === 'string' ? RUNT_COMMIT : ''
