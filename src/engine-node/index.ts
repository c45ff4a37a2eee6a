/** runt as a library for Node.js. */
export { RuntError } from '../base/errors.ts'
export * from './library.ts'
export type { Stdio, StdioEntry } from './platform.ts'
