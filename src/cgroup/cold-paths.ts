/**
 * Cold paths: operations for what seldom happens (a missing parent folder, a refused write). They are collected while the batch is
 * planned and placed at its end, so that the usual case runs straight through without jumping over them.
 */
import { Errno } from '../linux/errno.ts'
import type { Batch, Label, Step } from '../session/batch.ts'

/** Each function plans one block of operations, beginning with the label that the usual path jumps to. */
export type ColdPaths = (() => void)[]

/** Plans the collected blocks at the end of the batch. What is planned after this call runs in the usual case again. */
export function placeColdPaths(b: Batch, cold: ColdPaths): void {
  if (cold.length > 0) {
    const end = b.label()
    b.jump(end)
    // A block may add further blocks.
    for (const block of cold) block()
    b.place(end)
  }
  b.about('')
}

/** What up to four errnos of a step mean, in words. */
export type Reasons = Readonly<Record<string, string>>

/**
 * If `step` fails with one of the errnos in `reasons`, ends the batch with a sentence of our own, which `about` makes of the reason. With
 * `again`, EAGAIN is no failure: the batch goes on at that label.
 */
export function explainErrnos(
  b: Batch,
  cold: ColdPaths,
  step: Step,
  reasons: Reasons,
  about: (reason: string) => string,
  again: Label | null = null,
): void {
  const refused = b.label()
  step.on([...Object.keys(reasons), ...(again ? ['EAGAIN'] : [])], refused)
  cold.push(() => {
    b.place(refused)
    if (again) b.branch(step, 'EQUAL', -Errno.EAGAIN!, again)
    for (const [errno, reason] of Object.entries(reasons)) {
      const other = b.label()
      b.about(about(reason))
      b.branch(step, 'NOT_EQUAL', -Errno[errno]!, other)
      b.fail(errno)
      b.place(other)
    }
  })
}
