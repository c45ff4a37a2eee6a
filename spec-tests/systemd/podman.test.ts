/** Root's podman with `--cgroup-manager systemd`: it has the runtime make scopes in slices of its choice. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { type Podman, withPodman as withAny } from '../engines/podman-rootfs.ts'
import { heading, ok, skip } from '../harness.ts'
import { unified, unitsNamed, waitFor } from '../host.ts'

const { test, run } = heading('systemd/podman')

function withPodman(body: (podman: Podman, rootfs: string) => void): void {
  if (process.getuid!() !== 0) skip('for root')
  if (!existsSync('/run/systemd/private')) skip('systemd does not run here')
  withAny('systemd', body)
}

const show = (unit: string, ...properties: string[]): string[] =>
  properties.map((property) =>
    spawnSync('systemctl', ['show', unit, '--value', '--property', property], { encoding: 'utf8' }).stdout.trim(),
  )

/** A container that sleeps; gives its id. */
const detached = (podman: Podman, rootfs: string, ...flags: string[]): string =>
  ok(podman('run', '--detach', '--network', 'none', ...flags, '--rootfs', rootfs, 'sleep', '1000')).stdout.trim()

const gone = (id: string): void =>
  assert.ok(
    waitFor(() => unitsNamed(`libpod-${id}`).length === 0),
    unitsNamed(`libpod-${id}`).join(', '),
  )

test('podman run has ids, limits and devices, and leaves no unit', () => {
  withPodman((podman, rootfs) => {
    const file = unified ? '/sys/fs/cgroup/pids.max' : '/sys/fs/cgroup/pids/pids.max'
    const script = `id -u; cat ${file}; echo x > /dev/null && echo null; : < /dev/full || echo none`
    const words = ['--rm', '--network', 'none', '--pids-limit', '50', '--memory', '64m', '--rootfs', rootfs]
    assert.is(ok(podman('run', ...words, 'sh', '-c', script)).stdout, '0\n50\nnull\n')
    gone('')
  })
})

test('the scope lies where podman says, and has what podman update sets', () => {
  withPodman((podman, rootfs) => {
    const id = detached(podman, rootfs, '--pids-limit', '50', '--cgroup-parent', 'system.slice')
    const unit = `libpod-${id}.scope`
    assert.equal(show(unit, 'Slice', 'TasksMax', 'ActiveState'), ['system.slice', '50', 'active'])
    ok(podman('update', '--memory', '96m', '--cpu-quota', '20000', id))
    const limit = unified ? 'MemoryMax' : 'MemoryLimit'
    assert.equal(show(unit, limit, 'CPUQuotaPerSecUSec', 'TasksMax'), [String(96 << 20), '200ms', '50'])
    ok(podman('rm', '--force', '--time', '0', id))
    gone(id)
  })
})

test('podman exec, pause, unpause, stats, top and stop work', () => {
  withPodman((podman, rootfs) => {
    const id = detached(podman, rootfs)
    assert.is(ok(podman('exec', '--user', '5:6', id, 'sh', '-c', 'id -u; id -g')).stdout, '5\n6\n')
    const inspect = (): string => ok(podman('inspect', '--format', '{{.State.Status}}', id)).stdout.trim()
    ok(podman('pause', id))
    assert.is(inspect(), 'paused')
    ok(podman('unpause', id))
    assert.is(inspect(), 'running')
    assert.match(ok(podman('stats', '--no-stream', '--format', '{{.PIDs}}', id)).stdout, /^1$/m)
    ok(podman('stop', '--time', '1', id))
    gone(id)
  })
})

test('a container may lie in a slice below others, as those of pods do', () => {
  withPodman((podman, rootfs) => {
    const top = `runttest${process.pid}`
    const id = detached(podman, rootfs, '--cgroup-parent', `${top}-pod.slice`)
    const pid = ok(podman('inspect', '--format', '{{.State.Pid}}', id)).stdout.trim()
    const group = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    assert.match(group, new RegExp(`/${top}\\.slice/${top}-pod\\.slice/libpod-${id}\\.scope$`, 'm'))
    ok(podman('rm', '--force', '--time', '0', id))
    gone(id)
    spawnSync('systemctl', ['stop', `${top}.slice`])
  })
})

run()
