/** Stands in for src/session/operation.ts in the QuickJS build: the same, done by host.c in a fraction of the time. */
import { host } from './host.ts'

export * from '../session/operation.ts'

export const { addOperation, addToWords, placeJumps, putString } = host
