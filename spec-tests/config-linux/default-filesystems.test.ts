/** runtime-spec, config-linux.md: "Default Filesystems"; config.md: "POSIX process" (standard streams). */
import * as assert from 'uvu/assert'
import { heading, inside } from '../harness.ts'

const { test, run } = heading('config-linux/default-filesystems')

/** Type of the file system that is mounted there. */
const types = (): Map<string, string> =>
  new Map(
    inside('cat /proc/self/mounts')
      .trim()
      .split('\n')
      .map((line) => line.split(' ') as [string, string, string])
      .map(([, target, type]) => [target, type]),
  )

test('/proc, /sys, /dev/pts and /dev/shm are of the types that applications expect', () => {
  const found = types()
  assert.equal(
    ['/proc', '/sys', '/dev/pts', '/dev/shm'].map((path) => found.get(path)),
    ['proc', 'sysfs', 'devpts', 'tmpfs'],
  )
})

test('/proc shows the processes of the container', () => {
  assert.match(inside('cat /proc/1/cmdline | tr "\\0" " "'), /^sh -c /)
})

test('/sys is read-only in the default configuration', () => {
  assert.match(inside('touch /sys/x 2>&1; echo "status $?"'), /Read-only file system\nstatus 1\n$/)
})

test('/dev/shm may be written to by everybody, and is sticky', () => {
  assert.match(inside('stat -c %a /dev/shm && touch /dev/shm/x'), /^1777\n$/)
})

test('/dev/fd and the standard streams are links into /proc, /dev/ptmx is that of /dev/pts', () => {
  const links = 'for name in fd stdin stdout stderr ptmx; do readlink /dev/$name; done'
  const [fd, stdin, stdout, stderr, ptmx] = inside(links).split('\n')
  assert.equal([fd, stdin, stdout, stderr], ['/proc/self/fd', ...[0, 1, 2].map((n) => `/proc/self/fd/${n}`)])
  // A bind mount is as good as a link.
  if (ptmx !== '') assert.match(ptmx!, /^(\/dev\/)?pts\/ptmx$/)
})

run()
