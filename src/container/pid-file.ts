/** The file of --pid-file. */
import * as k from '../linux/constants.ts'
import type { Batch } from '../session/batch.ts'
import * as c from '../session/calls.ts'

/** Plans to write the pid of a process. Not by a temporary file: killed meanwhile runt would leave that where nobody looks for it. */
export function planPidFile(b: Batch, path: string, pid: number): void {
  b.about(`--pid-file (${path})`)
  c.writeFile(b, k.AT_FDCWD, path, String(pid), k.O_WRONLY | k.O_CREAT | k.O_TRUNC | k.O_NOFOLLOW, 0o644)
}
