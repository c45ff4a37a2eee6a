import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cgroupRoot, heading, ok, type Result } from '../harness.ts'
import { waitFor } from '../host.ts'
import { folder, IMAGE, imageArchive, needs, runtimeScript, startDaemons } from './engine.ts'

const { test, run } = heading('engines/containerd')

/** What asks for a network or for kernel modules; containers do without here. */
const DISABLED = [
  'grpc.v1.cri',
  'snapshotter.v1.aufs',
  'snapshotter.v1.btrfs',
  'snapshotter.v1.devmapper',
  'snapshotter.v1.zfs',
]

/** Gives the body the client of a containerd that has the image, and the flags of `ctr run`. */
function withContainerd(body: (ctr: (...words: string[]) => Result, flags: string[]) => void): void {
  needs('containerd', 'ctr', 'containerd-shim-runc-v2')
  const place = folder()
  const socket = join(place, 'socket')
  const configuration = join(place, 'config.toml')
  const disabled = JSON.stringify(DISABLED.map((name) => `io.containerd.${name}`))
  writeFileSync(
    configuration,
    `version = 2\nroot = "${place}/root"\nstate = "${place}/state"\ndisabled_plugins = ${disabled}\n[grpc]\naddress = "${socket}"\n`,
  )
  // The shim keeps the runtime's state outside of our folder, by namespace and id: others may test at the same time.
  const namespace = `spec-${process.pid}`
  const client = ['ctr', '--address', socket, '--namespace', namespace]
  const daemon = startDaemons(place, [
    { words: ['containerd', '--config', configuration], ready: [...client, 'version'] },
  ])
  const ctr = (...words: string[]) => daemon.run([...client, ...words])
  try {
    ok(ctr('images', 'import', imageArchive(place)), 'import')
    body(ctr, ['--runc-binary', runtimeScript(place, false), '--cgroup', `${cgroupRoot}/ctr`])
  } finally {
    daemon.stop()
    rmSync(join('/run/containerd/runc', namespace), { recursive: true, force: true })
  }
}

test('ctr run shows output and exit status', () => {
  withContainerd((ctr, flags) => {
    const said = ctr('run', '--rm', ...flags, IMAGE, 'one', 'sh', '-c', 'echo out; exit 3')
    assert.equal([said.status, said.stdout], [3, 'out\n'])
    const missing = ctr('run', '--rm', ...flags, IMAGE, 'one', 'no-such-program')
    assert.is(missing.status, 1)
    assert.match(missing.stderr, 'no-such-program')
  })
})

test('ctr runs a task in the background, and kills and removes it', () => {
  withContainerd((ctr, flags) => {
    const script = 'trap "exit 5" TERM; while :; do sleep 0.1; done'
    ok(ctr('run', '--detach', '--seccomp', '--read-only', ...flags, IMAGE, 'one', 'sh', '-c', script))
    const shows = (status: string) => () => new RegExp(`^one .*${status}`, 'm').test(ctr('tasks', 'list').stdout)
    assert.ok(waitFor(shows('RUNNING')))
    const metrics = ok(ctr('tasks', 'metrics', 'one')).stdout
    assert.match(metrics, /^memory\.(usage_in_bytes|current|usage) +[1-9]\d*\s*$/m)
    assert.match(metrics, /^pids\.current +[12]\s*$/m)
    assert.match(ctr('tasks', 'ps', 'one').stdout, /^\d+ +/m)
    ok(ctr('tasks', 'kill', '--signal', 'TERM', 'one'))
    assert.ok(waitFor(shows('STOPPED')))
    assert.match(ctr('tasks', 'delete', 'one').stderr, 'exit code 5')
    ok(ctr('containers', 'delete', 'one'))
  })
})

run()
