/** Rootless podman: it runs the runtime as root of a user namespace of its own making. For a user with a systemd of its own. */
import * as assert from 'uvu/assert'
import { type Podman, withPodman as withAny } from '../engines/podman-rootfs.ts'
import { heading, ok, skip } from '../harness.ts'

const { test, run } = heading('rootless/podman')

function withPodman(manager: string, body: (podman: Podman, rootfs: string) => void): void {
  if (process.getuid!() === 0) skip('for users without rights')
  withAny(manager, body)
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
