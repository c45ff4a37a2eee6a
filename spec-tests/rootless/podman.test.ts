/** Rootless podman: it runs the runtime as root of a user namespace of its own making. For a user with a systemd of its own. */
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { base, bundle, cgroupRoot, command, execute, heading, marker, ok, type Result, skip } from '../harness.ts'
import { processesOf } from '../host.ts'

const { test, run } = heading('rootless/podman')

/** Podman calls are slow where the machine is. */
const TIMEOUT = 50_000

type Podman = (...words: string[]) => Result

/** Gives the body a podman with a store of its own, and a root file system. */
function withPodman(manager: string, body: (podman: Podman, rootfs: string) => void): void {
  if (process.getuid!() === 0) skip('for users without rights')
  if (command.length > 1 || !command[0]!.includes('/')) skip('the runtime is not a file')
  if (execute(['podman', '--version']).status !== 0) skip('podman is not installed')
  const store = [
    '--root',
    join(base, 'store'),
    '--runroot',
    join(base, 'runroot'),
    '--tmpdir',
    join(base, 'podman-tmp'),
  ]
  const how = ['--storage-driver', 'vfs', '--cgroup-manager', manager, '--runtime', command[0]!]
  const podman: Podman = (...words) => execute(['podman', ...store, ...how, ...words], { timeout: TIMEOUT })
  const { rootfs } = bundle()
  try {
    body(podman, rootfs)
  } finally {
    podman('rm', '--force', '--all', '--time', '0')
    // Some of it belongs to other ids of the user.
    podman('unshare', 'rm', '-rf', rootfs, join(base, 'store'), join(base, 'runroot'), join(base, 'podman-tmp'))
    // The process that keeps podman's user namespace.
    for (const { pid } of processesOf(marker, cgroupRoot, base)) process.kill(pid, 'SIGKILL')
  }
}

for (const manager of ['systemd', 'cgroupfs']) {
  test(`podman run works with cgroups of ${manager}: ids, limits, devices, /sys`, () => {
    withPodman(manager, (podman, rootfs) => {
      const script =
        'id -u; cat /proc/self/uid_map | wc -l; cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max; echo x > /dev/null && ls -d /sys/class'
      const words = ['--rm', '--network', 'none', '--pids-limit', '50', '--rootfs', rootfs, 'sh', '-c', script]
      assert.is(ok(podman('run', ...words)).stdout, '0\n2\n0::/\n50\n/sys/class\n')
    })
  })
}

test('podman run --userns keep-id maps the user to itself, with the network of the host', () => {
  withPodman('systemd', (podman, rootfs) => {
    const words = ['--rm', '--network', 'host', '--userns', 'keep-id', '--rootfs', rootfs]
    const said = podman('run', ...words, 'sh', '-c', 'id -u; test -d /sys/class/net && echo net')
    assert.is(ok(said).stdout, `${process.getuid!()}\nnet\n`)
  })
})

test('podman exec and stop work', () => {
  withPodman('systemd', (podman, rootfs) => {
    ok(podman('run', '--detach', '--name', 'one', '--network', 'none', '--rootfs', rootfs, 'sleep', '100'))
    const said = podman('exec', '--user', '5:6', 'one', 'sh', '-c', 'id -u; id -g; cat /proc/self/cgroup')
    assert.is(ok(said).stdout, '5\n6\n0::/\n')
    ok(podman('stop', '--time', '1', 'one'))
  })
})

run()
