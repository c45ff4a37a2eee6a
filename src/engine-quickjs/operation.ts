/** Stands in for src/session/operation.ts in the QuickJS build: the same, done by host.c. */
import type { Arg, Batch } from '../session/batch.ts'
import { host } from './host.ts'

export * from '../session/operation.ts'

export function writeOperation(
  b: Batch,
  ops: Uint32Array,
  at: number,
  kind: number,
  number: number,
  args: Arg[],
): void {
  host.operation(b, ops, at, kind, number, args, args.length)
}
