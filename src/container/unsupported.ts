/** What a config can ask for and this version of runt does not do. */
import { RuntError } from '../base/errors.ts'
import type { Config } from '../config/types.ts'
import { refusedHooks } from './hooks.ts'

/**
 * Refuses what is not supported, before anything is made: a container that runs without a part of its rights or
 * restrictions is worse than none. Throws a RuntError that names the field.
 */
export function checkSupport(config: Config): void {
  const asked = unsupported(config)
  if (asked !== undefined) throw new RuntError(`${asked}: not supported yet`)
}

/** The first field that asks for something unsupported. */
export function unsupported(config: Config): string | undefined {
  return refusedHooks(config)
}
