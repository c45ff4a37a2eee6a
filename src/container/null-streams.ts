/** What a container gets that is to say its words to nobody. */
import * as k from '../linux/constants.ts'
import { ANY, type Batch, load } from '../session/batch.ts'
import * as c from '../session/calls.ts'

/**
 * Who runs a container without output may give it a /dev/null that is opened for reading only (`ctr run --null-io` does); then `echo` would
 * fail. So stdout and stderr, where they are /dev/null, become one that takes whatever is written. Done by the stage before it enters
 * anything: the file is the host's.
 */
export function planNullStreams(b: Batch): void {
  b.about('standard streams: /dev/null')
  const status = b.out(256)
  for (const fd of [1, 2]) {
    const next = b.label()
    c.statx(b, fd, '', k.AT_EMPTY_PATH, status).on(ANY, next)
    b.branch(load(status, 32, k.STX_RDEV_MINOR), 'NOT_EQUAL', 3, next)
    b.branch(load(status, 32, k.STX_RDEV_MAJOR), 'NOT_EQUAL', 1, next)
    const opened = c.openat(b, k.AT_FDCWD, '/dev/null', k.O_RDWR).on(ANY, next)
    b.call('dup3', opened, fd, 0).on(ANY, next)
    c.close(b, opened)
    b.place(next)
  }
}
