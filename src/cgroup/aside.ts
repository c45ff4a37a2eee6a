/** Plans for what seldom happens. They go behind all others, so that the usual way has no jumps. */
import type { Batch } from '../session/batch.ts'

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
