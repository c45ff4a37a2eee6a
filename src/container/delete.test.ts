import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CgroupFolder } from '../cgroup/manager.ts'
import { remove } from './delete.ts'
import { kill } from './kill.ts'
import type { Saved } from './state.ts'
import { type FakeHost, fakeHost } from './testing/fake-host.ts'

const folder = (name: string): CgroupFolder => ({
  version: 1,
  controllers: [name],
  mountpoint: `/sys/fs/cgroup/${name}`,
  path: '/box',
})

const saved: Saved = {
  format: 1,
  ociVersion: '1.3.0',
  id: 'box',
  pid: 4711,
  startTime: '987654',
  bundle: '/bundle',
  rootfs: '/bundle/rootfs',
  created: '2026-01-02T03:04:05.000000000Z',
  annotations: {},
  owner: 0,
  freezer: null,
  cgroup: { mode: 'v1', folders: [folder('cpu'), folder('pids'), folder('memory')] },
  keyring: true,
  program: '/bin/sh',
}

/** A host with the container; `answers` to calls, by name, in place of what an agreeable kernel says. `parked`: it can be started. */
function host(
  answers: Record<string, number | string | ((text: string) => number | string | undefined)>,
  { parked = true, zombie = false, state = saved, stat = undefined as string | undefined } = {},
): FakeHost & { made: string[]; left: Set<string> } {
  const made: string[] = []
  /** Folders of cgroups. */
  const left = new Set(['cpu', 'pids', 'memory'].map((name) => `/sys/fs/cgroup/${name}/box`))
  const fake = fakeHost(
    { '/run/runt/box/state.json': JSON.stringify(state), ...(stat === undefined ? {} : { '/proc/4711/stat': stat }) },
    (_, { name, args, text, memory }) => {
      // A look that does not wait: whether it is a zombie.
      if (name === 'ppoll' && memory(args[2]!, 16).every((byte) => byte === 0)) return zombie ? 1 : 0
      if (name === 'pidfd_send_signal') made.push(`signal ${args[1]}`)
      if (name === 'ppoll') made.push('wait')
      if (name === 'faccessat' && !parked) return 'ENOENT'
      if (name === 'unlinkat') {
        const path = text(args[1]!)
        const answer = answers[name]
        const own = typeof answer === 'function' ? answer(path) : answer
        if (own === undefined && left.delete(path)) made.push(`rmdir ${path}`)
        if (own === undefined && path === '/run/runt/box') made.push('rmdir folder')
        return own
      }
      if (name === 'ppoll' && answers[name] === undefined) return 1
      return answers[name] as number | string | undefined
    },
  )
  return { ...fake, made, left }
}

/** The folder in which processes are looked for comes first. */
const removed = ['pids', 'cpu', 'memory'].map((name) => `rmdir /sys/fs/cgroup/${name}/box`)

test('a container whose init is gone is deleted in two round trips', () => {
  const { runtime, host: own, made } = host({ pidfd_open: 'ESRCH' })
  remove(runtime, 'box', false)
  assert.equal(made, [...removed, 'rmdir folder'])
  assert.is(own.answers, 2)
})

test('the init of a created container is killed, waited for, and the container removed in the same round trip', () => {
  const { runtime, host: own, made } = host({})
  remove(runtime, 'box', false)
  assert.equal(made, ['signal 9', 'wait', ...removed, 'rmdir folder'])
  assert.is(own.answers, 3)
  assert.ok(own.log.some((line) => /^close\(\d+/.test(line)))
})

test('a container that runs is deleted by force only', () => {
  const { runtime, made } = host({}, { parked: false })
  assert.throws(() => remove(runtime, 'box', false), /running/)
  assert.equal(made, [])
  const forced = host({}, { parked: false })
  remove(forced.runtime, 'box', true)
  assert.equal(forced.made, ['signal 9', 'wait', ...removed, 'rmdir folder'])
})

test('a zombie, or another process with the pid, is not signalled', () => {
  for (const stat of ['4711 (x) Z 1', '4711 (x) S 1']) {
    const fields = ' 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 '
    const { runtime, made } = host({}, { stat: `${stat}${fields}${stat.includes('Z') ? 987654 : 1} 0 0` })
    remove(runtime, 'box', false)
    assert.equal(made, [...removed, 'rmdir folder'])
  }
})

test('a container whose init is a zombie is deleted in two round trips', () => {
  const { runtime, host: own, made } = host({}, { zombie: true })
  remove(runtime, 'box', false)
  assert.equal(made, [...removed, 'rmdir folder'])
  assert.is(own.answers, 2)
})

test('where pidfds are denied a container that has ended is deleted all the same', () => {
  const { runtime, made } = host(
    { pidfd_open: 'EPERM' },
    { stat: '4711 (x) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 987654' },
  )
  remove(runtime, 'box', false)
  assert.equal(made, [...removed, 'rmdir folder'])
  const alive = host({ pidfd_open: 'EPERM' })
  assert.throws(() => remove(alive.runtime, 'box', false), /process 4711: pidfd_open.*EPERM/)
  assert.equal(alive.made, [])
  const other = host({ pidfd_open: 'EPERM' })
  assert.throws(() => kill(other.runtime, 'box', 15, false), /process 4711: pidfd_open.*EPERM/)
})

test('a cgroup with something in it is looked through, and the state stays until it is gone', () => {
  for (const errno of ['EBUSY', 'ENOTEMPTY']) {
    let refusals = 1
    const {
      runtime,
      made,
      host: own,
    } = host({
      pidfd_open: 'ESRCH',
      unlinkat: (path) => (path.endsWith('/pids/box') && refusals-- > 0 ? errno : undefined),
    })
    remove(runtime, 'box', false)
    assert.ok(
      own.log.some((line) => line.includes('cgroup.procs')),
      errno,
    )
    assert.equal([...made].sort(), [...removed, 'rmdir folder'].sort())
    assert.is(made.at(-1), 'rmdir folder')
  }
})

test('an init that does not end keeps its container', () => {
  const { runtime, made } = host({ ppoll: 0 })
  assert.throws(() => remove(runtime, 'box', false), /process 4711 did not end within 10 s of SIGKILL/)
  assert.equal(made, ['signal 9', 'wait', 'wait'])
})

test('what else a container may leave is removed step by step', () => {
  const state: Saved = { ...saved, rdt: { joined: [], made: ['/sys/fs/resctrl/box'] } }
  const { runtime, made, host: own } = host({ pidfd_open: 'ESRCH' }, { state })
  remove(runtime, 'box', false)
  assert.equal([...made].sort(), [...removed, 'rmdir folder'].sort())
  assert.ok(own.log.some((line) => line.includes('/sys/fs/resctrl/box')))
})

test('of several who delete a container the one who removes its state calls the hooks', () => {
  const state: Saved = { ...saved, hooks: { poststart: [], poststop: [{ path: '/hook' }] } }
  const called = ({ runtime, host: own }: ReturnType<typeof host>): boolean => {
    remove(runtime, 'box', false)
    return own.answers > 2
  }
  assert.ok(called(host({ pidfd_open: 'ESRCH' }, { state })))
  const unlinkat = (path: string): string | undefined => (path.endsWith('/state.json') ? 'ENOENT' : undefined)
  assert.not(called(host({ pidfd_open: 'ESRCH', unlinkat }, { state })))
})

test('kill takes three round trips, and lets go of the process', () => {
  const { runtime, host: own, made } = host({}, { parked: false })
  kill(runtime, 'box', 15, false)
  assert.equal(made, ['signal 15'])
  assert.is(own.answers, 3)
  assert.throws(() => kill(host({ pidfd_open: 'ESRCH' }).runtime, 'box', 15, false), /not running/)
  assert.throws(() => kill(host({ pidfd_send_signal: 'ESRCH' }).runtime, 'box', 15, false), /not running/)
})

test('a signal that asks a parked init to end ends it, unless it is started meanwhile', () => {
  const parked = host({})
  kill(parked.runtime, 'box', 15, true)
  assert.equal(parked.made, ['signal 9'])
  const started = host({ renameat: 'ENOENT' })
  kill(started.runtime, 'box', 15, false)
  assert.equal(started.made, ['signal 15'])
})

test('any other signal is the same for a parked init, and so are all where pid 1 is another process', () => {
  const user = host({})
  kill(user.runtime, 'box', 10, false)
  assert.equal(user.made, ['signal 10'])
  const shared = host({}, { state: { ...saved, sharesPids: true } })
  kill(shared.runtime, 'box', 15, false)
  assert.equal(shared.made, ['signal 15'])
})

test.run()
