/**
 * Stops in a plan: what comes next depends on what is there, which the brain has to look at. Seldom enough for the usual way to know
 * nothing of it. The session fails there on purpose; who finds the stop recovers it, does the thing, and plans the rest anew.
 */
import { Kind } from '../executor/protocol.ts'
import type { Batch } from '../session/batch.ts'
import { CallError } from '../session/session.ts'

const ERRNO = 'ECANCELED'

/** Stops the plan at a mount. `why` is what the brain will do. */
export function planStop(b: Batch, about: string, why: string): void {
  b.about(`${about}: ${why}`)
  b.fail(ERRNO)
}

/** Index of the mount at which a plan has stopped; null for any other error. */
export function stoppedAt(error: unknown): number | null {
  if (!(error instanceof CallError) || error.errno !== ERRNO || error.step.kind !== Kind.FAIL) return null
  return Number(/^mounts\[(\d+)\]/.exec(error.step.about)![1])
}
