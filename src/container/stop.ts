/**
 * Stops in a plan: places where the brain has to look at the image before it can go on. They are rare, so the plan simply fails there on
 * purpose. Whoever gets that error recovers the session, does what the stop is about, and plans the rest anew.
 */
import { Kind } from '../executor/protocol.ts'
import type { Batch } from '../session/batch.ts'
import { CallError } from '../session/session.ts'

const ERRNO = 'ECANCELED'

/** Plans a stop at a mount, by its error. `why` is what the brain will do there. */
export function planStop(b: Batch, about: string, why: string): void {
  b.about(`${about}: ${why}`)
  b.fail(ERRNO)
}

/** Index of the mount at which a plan has stopped; null for any other error. */
export function stoppedAt(error: unknown): number | null {
  if (!(error instanceof CallError) || error.errno !== ERRNO || error.step.kind !== Kind.FAIL) return null
  return Number(/^mounts\[(\d+)\]/.exec(error.step.about)![1])
}
