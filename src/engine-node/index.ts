/** runt as a library for Node.js. */
export { RuntError } from '../base/errors.ts'
export * from './library.ts'
export { type NodePlatform, openPlatform, type Stdio, type StdioEntry } from './platform.ts'
