import { readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cgroupRoot, fails, heading, ok, type Result } from '../harness.ts'
import { waitFor } from '../host.ts'
import { act } from '../terminal.ts'
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

/** Runs the client; as words too, for what needs a terminal. */
interface Client {
  (...words: string[]): Result
  words(...words: string[]): string[]
}

/** Gives the body the client of a containerd that has the image, and the flags of `ctr run`. */
function withContainerd(body: (ctr: Client, flags: string[]) => void): void {
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
  const ctr: Client = Object.assign((...words: string[]) => daemon.run([...client, ...words]), {
    words: (...words: string[]) => daemon.words([...client, ...words]),
  })
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
    ok(ctr('run', '--rm', '--null-io', ...flags, IMAGE, 'one', 'echo', 'to nobody'))
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

test('ctr executes programs in a task, with streams, statuses and a terminal', () => {
  withContainerd((ctr, flags) => {
    ok(ctr('run', '--detach', ...flags, IMAGE, 'one', 'sleep', '100'))
    let executions = 0
    const exec = (...words: string[]) => ctr('task', 'exec', '--exec-id', `e${executions++}`, ...words)
    const said = exec('one', 'sh', '-c', 'echo out; echo err >&2; exit 7')
    assert.equal([said.status, said.stdout, said.stderr], [7, 'out\n', 'err\n'])
    const user = exec('--user', '1000:50', '--cwd', '/tmp', 'one', 'sh', '-c', 'id -u; id -g; pwd')
    assert.is(user.stdout, '1000\n50\n/tmp\n')
    assert.match(exec('one', 'no-such-program').stderr, /no-such-program/)
    const { output, statuses, restored } = act({
      place: 'terminal',
      command: ctr.words('task', 'exec', '--exec-id', 'tty', '--tty', 'one', 'sh', '-c', 'tty; read line; exit 6'),
      steps: [['expect', '/dev/pts/0'], ['send', 'words\r'], ['end']],
    })
    assert.match(output, /words/)
    assert.equal([statuses, restored], [[6], true])
    ok(ctr('task', 'pause', 'one'))
    assert.match(ctr('tasks', 'list').stdout, /^one .*PAUSED/m)
    ok(ctr('task', 'resume', 'one'))
    fails(ctr('task', 'checkpoint', 'one'))
    ok(ctr('task', 'kill', '--signal', 'KILL', 'one'))
    assert.ok(waitFor(() => /STOPPED/.test(ctr('tasks', 'list').stdout)))
    ctr('task', 'delete', 'one')
    ok(ctr('containers', 'delete', 'one'))
  })
})

test('a pod as CRI makes it: a sandbox, and a container in its namespaces', () => {
  withContainerd((ctr, flags) => {
    ok(ctr('run', '--detach', ...flags, IMAGE, 'sandbox', '/pause'))
    const listed = () => /^sandbox +(\d+) +RUNNING/m.exec(ctr('tasks', 'list').stdout)
    assert.ok(waitFor(() => listed() !== null))
    const links = { network: 'net', ipc: 'ipc', uts: 'uts', pid: 'pid' }
    const path = (link: string) => `/proc/${listed()![1]}/ns/${link}`
    const shares = Object.entries(links).flatMap(([name, link]) => ['--with-ns', `${name}:${path(link)}`])
    const script = 'for n in net ipc uts pid; do readlink /proc/self/ns/$n; done'
    const other = flags.map((flag) => (flag === `${cgroupRoot}/ctr` ? `${cgroupRoot}/other` : flag))
    const said = ok(ctr('run', '--rm', ...shares, ...other, IMAGE, 'one', 'sh', '-c', script)).stdout
    assert.is(
      said,
      `${Object.values(links)
        .map((link) => readlinkSync(path(link)))
        .join('\n')}\n`,
    )
    ok(ctr('task', 'kill', '--signal', 'KILL', 'sandbox'))
    assert.ok(waitFor(() => /STOPPED/.test(ctr('tasks', 'list').stdout)))
    ctr('task', 'delete', 'sandbox')
    ok(ctr('containers', 'delete', 'sandbox'))
  })
})

run()
