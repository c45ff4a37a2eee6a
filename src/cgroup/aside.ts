/** Plans for what seldom happens. They go behind all others, so that the usual way has no jumps. */
import { Errno } from '../linux/errno.ts'
import type { Batch, Label, Step } from '../session/batch.ts'

export type Aside = (() => void)[]

/** Places what has been put aside at the end of the batch; the usual way goes on behind it. */
export function placeAside(b: Batch, aside: Aside): void {
  if (aside.length > 0) {
    const end = b.label()
    b.jump(end)
    // Blocks may put further blocks aside.
    for (const block of aside) block()
    b.place(end)
  }
  b.about('')
}

/** What an errno means, for up to four of a step's. */
export type Reasons = Readonly<Record<string, string>>

/** Ends the batch with a sentence of our own where a step fails with one of the errnos. `about` makes it of the reason. */
export function explain(
  b: Batch,
  aside: Aside,
  step: Step,
  reasons: Reasons,
  about: (reason: string) => string,
  again: Label | null = null,
): void {
  const refused = b.label()
  step.on([...Object.keys(reasons), ...(again ? ['EAGAIN'] : [])], refused)
  aside.push(() => {
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
