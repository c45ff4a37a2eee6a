/** Against the real kernel: states as `create` writes them, of processes of this test's own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodePlatform, openPlatform } from '../engine-node/platform.ts'
import { Session } from '../session/session.ts'
import { list, listIds } from './list.ts'
import type { Runtime, Status } from './runtime.ts'
import { readStat, type Saved, state, tryLoadState } from './state.ts'

interface Context {
  platform: NodePlatform
  root: string
  warnings: string[]
  runtime: Runtime
  /** Batches sent. */
  batches: number
  child: ChildProcess
  startTime: string
}
const test = suite<Context>('list', {} as Context)

test.before.each((context) => {
  const platform = openPlatform([])
  const session = (name: 'host' | 'stage' | 'init') => new Session(name, platform[name])
  const root = mkdtempSync(join(tmpdir(), 'runt-list-'))
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  const warnings: string[] = []
  Object.assign(context, { platform, root, warnings, child, batches: 0 })
  context.startTime = readStat(readFileSync(`/proc/${child.pid}/stat`, 'utf8')).startTime
  context.runtime = {
    platform,
    host: session('host'),
    stage: session('stage'),
    init: session('init'),
    globals: { root, debug: false, cgroupManager: 'cgroupfs', rootless: 'auto' },
    warn: (message) => warnings.push(message),
    debug: () => {},
    lastWords: () => {},
  }
  context.runtime.host.observer = {
    sending: () => {
      context.batches++
    },
    answered: () => {},
  }
})
test.after.each(({ platform, root, child }) => {
  platform.close()
  child.kill('SIGKILL')
  rmSync(root, { recursive: true })
})

/** Makes the folder of a container that runs, but for what is different. `text`: other content of state.json. */
function make({ root, child, startTime }: Context, id: string, other: Partial<Saved> = {}, text?: string): string {
  const folder = join(root, id)
  mkdirSync(folder)
  const saved: Saved = {
    format: 1,
    ociVersion: '1.3.0',
    id,
    pid: child.pid!,
    startTime,
    bundle: `/bundles/${id}`,
    rootfs: `/bundles/${id}/rootfs`,
    created: '2026-01-02T03:04:05.000000000Z',
    annotations: {},
    owner: 0,
    freezer: null,
    cgroup: null,
    keyring: true,
    program: '/bin/sleep',
    ...other,
  }
  writeFileSync(join(folder, 'state.json'), text ?? JSON.stringify(saved))
  return folder
}

const statuses = (context: Context): Record<string, Status> =>
  Object.fromEntries(list(context.runtime).map(({ id, status }) => [id, status]))

/** What `state` says of each of these. */
const oneByOne = ({ runtime }: Context, ids: readonly string[]) => ids.map((id) => state(runtime, id))

test('a root that is missing has no containers', (context) => {
  rmSync(context.root, { recursive: true })
  assert.equal(list(context.runtime), [])
  assert.equal(listIds(context.runtime), [])
  mkdirSync(context.root)
})

test('the status of each is told', (context) => {
  const { root, child, startTime } = context
  const frozen = join(root, 'frozen')
  const thawed = join(root, 'thawed')
  writeFileSync(frozen, '1\n')
  writeFileSync(thawed, '0\n')
  make(context, 'running')
  make(context, 'running-thawed', { freezer: thawed })
  make(context, 'running-no-such-freezer', { freezer: join(root, 'nowhere') })
  make(context, 'paused', { freezer: frozen })
  writeFileSync(join(make(context, 'created'), 'start.sock'), '')
  writeFileSync(join(make(context, 'created-paused', { freezer: frozen }), 'start.sock'), '')
  make(context, 'stopped-dead', { pid: 0x3fff_ffff, freezer: frozen })
  writeFileSync(join(make(context, 'stopped-created', { pid: 0x3fff_ffff }), 'start.sock'), '')
  // Another process has its pid.
  make(context, 'stopped-reused', { startTime: String(Number(startTime) - 1), freezer: frozen })
  make(context, 'stopped-reused-pid-1', { pid: 1 })
  make(context, 'creating', { pid: 0, startTime: '' })
  const expected = Object.fromEntries(
    list(context.runtime).map(({ id }) => [id, id === 'created-paused' ? 'paused' : id.split('-')[0]]),
  )
  assert.equal(statuses(context), expected)
  assert.is(Object.keys(expected).length, 11)
  assert.equal(list(context.runtime), oneByOne(context, Object.keys(expected)))
  const pids = new Set(list(context.runtime).map(({ status, pid }) => `${status} ${pid}`))
  assert.equal(
    [...pids].sort(),
    ['created', 'creating', 'paused', 'running', 'stopped'].map(
      (status) => `${status} ${status === 'stopped' || status === 'creating' ? 0 : child.pid}`,
    ),
  )
  assert.equal(context.warnings, [])
})

test('a zombie has stopped', async (context) => {
  // Its parent becomes a program that does not wait for it.
  const parent = spawn('sh', ['-c', 'sleep 0.05 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    const pid = await new Promise<number>((done) => parent.stdout.once('data', (data) => done(Number(data))))
    let stat = readStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    make(context, 'zombie', { pid, startTime: stat.startTime })
    for (let tries = 0; !stat.ended && tries < 200; tries++) {
      await new Promise((done) => setTimeout(done, 10))
      stat = readStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    }
    assert.equal(statuses(context), { zombie: 'stopped' })
  } finally {
    parent.kill('SIGKILL')
  }
})

test('the freezer of a state of an earlier version is found by its cgroup', (context) => {
  const mountpoint = context.root
  mkdirSync(join(mountpoint, 'v2'))
  writeFileSync(join(mountpoint, 'v2/cgroup.freeze'), '1\n')
  const cgroup: Saved['cgroup'] = { mode: 'v2', folders: [{ version: 2, controllers: [], mountpoint, path: '/v2' }] }
  make(context, 'old', { freezer: undefined, cgroup })
  assert.equal(statuses(context), { old: 'paused' })
})

test('what is not a container is passed over, and what is damaged is warned about; neither hides others', (context) => {
  const { root } = context
  make(context, 'good')
  make(context, 'also-good')
  const whole = readFileSync(join(root, 'good/state.json'), 'utf8')
  writeFileSync(join(root, 'file'), '')
  writeFileSync(join(root, 'büch'), '')
  mkdirSync(join(root, 'empty-folder'))
  symlinkSync('nowhere', join(root, 'dangling'))
  for (const [id, text] of [
    ['bad-cut', whole.slice(0, 100)],
    ['bad-empty', ''],
    ['bad-json', whole.replace('"pid":', '"pid"')],
    ['bad-annotations', whole.replace('"annotations":{}', '"annotations":{"a":1}')],
    ['bad-bundle', whole.replace('"/bundles/good"', '"bundles/good"')],
    ['bad-freezer', whole.replace('"freezer":null', '"freezer":"x"')],
    ['bad-pid', whole.replace(/"pid":\d+/, '"pid":-1')],
    ['bad-version', whole.replace('"format":1', '"format":2')],
  ])
    make(context, id!, {}, text)
  mkdirSync(join(root, 'bad-folder/state.json'), { recursive: true })
  symlinkSync('../good/state.json', join(make(context, 'bad-z'), 'other'))
  rmSync(join(root, 'bad-z/state.json'))
  symlinkSync('../good/state.json', join(root, 'bad-z/state.json'))

  assert.equal(statuses(context), { 'also-good': 'running', good: 'running' })
  assert.equal(
    context.warnings.map((line) => /bad-\w+(-\w+)*/.exec(line)?.[0]),
    'annotations bundle cut empty folder freezer json pid version z'.split(' ').map((word) => `bad-${word}`),
  )
  context.warnings.length = 0
  assert.equal(listIds(context.runtime), ['also-good', 'good'])
  assert.is(context.warnings.length, 10)
})

test('the owner is told by name, as the host has it', (context) => {
  const [, name, uid] = /^(\w+):[^:]*:([1-9]\d*):/m.exec(readFileSync('/etc/passwd', 'utf8')) ?? []
  make(context, 'named', { owner: Number(uid) })
  make(context, 'nameless', { owner: 4_000_000_001 })
  make(context, 'root')
  context.batches = 0
  assert.equal(
    list(context.runtime).map(({ owner }) => owner),
    [name, '#4000000001', 'root'],
  )
  assert.is(context.batches, 7)
  assert.is(state(context.runtime, 'named').owner, name)
})

test('a folder that is a link is a container', (context) => {
  make(context, 'real')
  symlinkSync('real', join(context.root, 'alias'))
  assert.equal(
    list(context.runtime).map(({ id, status }) => `${id} ${status}`),
    ['real running', 'real running'],
  )
})

const asRoot = process.getuid!() === 0 ? test : test.skip
asRoot("a state that is another user's is not trusted", (context) => {
  make(context, 'mine')
  chownSync(make(context, 'theirs'), 12345, 12345)
  assert.equal(statuses(context), { mine: 'running' })
  assert.match(context.warnings.join(), /^container theirs: .*\/theirs belongs to user 12345, and you are user 0/)
  context.warnings.length = 0
  chownSync(context.root, 12345, 12345)
  assert.equal(statuses(context), {})
  assert.is(context.warnings.length, 2)
})

test('annotations that look like what comes later, and text that is not ASCII, are read', (context) => {
  const annotations = { a: ',"cgroup":', 'x","cgroup":null': 'y', cgroup: 'z', é: '\u{1f600}' }
  make(context, 'a', { annotations: { b: 'c', ...annotations } })
  make(context, 'b', { annotations: { b: 'c', cgroup: 'd' }, bundle: '/büñdle/\u{1f600}' })
  make(context, 'c', { freezer: join(context.root, 'frözen') })
  writeFileSync(join(context.root, 'frözen'), '1')
  assert.equal(list(context.runtime), oneByOne(context, ['a', 'b', 'c']))
  assert.equal(list(context.runtime)[0]!.annotations, { b: 'c', ...annotations })
  assert.is(list(context.runtime)[2]!.status, 'paused')
})

test('long names, long paths and states of any length are read', (context) => {
  const ids = ['a'.repeat(100), 'b'.repeat(101), 'c'.repeat(255), 'd', 'e', 'f', 'g']
  for (const [index, id] of ids.entries())
    make(context, id, {
      annotations: { long: 'x'.repeat([0, 0, 0, 500, 700, 8100, 20_000][index]!) },
      freezer: index === 3 ? `${context.root}/${'x/'.repeat(300)}` : null,
    })
  assert.equal(list(context.runtime), oneByOne(context, ids))
  assert.equal(listIds(context.runtime), ids)
})

test('many containers take few batches, whatever the length of their states', (context) => {
  const ids = Array.from({ length: 300 }, (_, index) => `c${String(index).padStart(3, '0')}`)
  for (const [index, id] of ids.entries()) make(context, id, { annotations: { x: 'y'.repeat((index * 37) % 7000) } })
  rmSync(join(context.root, 'c100'), { recursive: true })
  make(context, 'c100', {}, '{}')
  context.batches = 0
  const views = list(context.runtime)
  assert.ok(context.batches < 60, `${context.batches} batches`)
  const there = ids.filter((id) => id !== 'c100')
  assert.equal(
    views.map(({ id }) => id),
    there,
  )
  assert.equal(views, oneByOne(context, there))
  assert.match(context.warnings.join('\n'), /^[^\n]*c100[^\n]*not a state[^\n]*$/)
})

test('a usual container needs no batch of its own', (context) => {
  for (let index = 0; index < 16; index++) make(context, `c${index}`)
  context.batches = 0
  assert.is(list(context.runtime).length, 16)
  // The folder opened, names (twice, for the end), a look at states, one at processes, the folder closed.
  assert.is(context.batches, 6)
  context.batches = 0
  assert.is(listIds(context.runtime).length, 16)
  assert.is(context.batches, 5)
})

test('a container that is deleted or ends in between is no mistake', (context) => {
  for (const id of ['a', 'b', 'c']) make(context, id)
  context.runtime.host.observer = {
    // Between the look at states and the one at processes, and before the one at states.
    sending: (_, batch) => {
      const { about } = batch.describe(0)
      if (about === 'states of containers') rmSync(join(context.root, 'a'), { recursive: true, force: true })
      if (about === 'processes of containers') rmSync(join(context.root, 'b'), { recursive: true, force: true })
    },
    answered: () => {},
  }
  assert.equal(statuses(context), { b: 'running', c: 'running' })
  assert.equal(context.warnings, [])
  assert.is(tryLoadState(context.runtime, 'b'), 'missing')
})

test.run()
