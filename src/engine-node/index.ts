/** runt as a library for Node.js. */
export { RuntError } from '../base/errors.ts'
export { type NodePlatform, openPlatform } from './platform.ts'
