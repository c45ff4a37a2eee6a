/** Stands in for src/session/operation.ts in the QuickJS build: the same, with operations added by host.c. */
import { host } from './host.ts'

export * from '../session/operation.ts'

export const addOperation = host.addOperation
