import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { S_IFDIR, STX_MODE, STX_NLINK } from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import { lockSaved, planLockAgain, planUnlock } from './claim.ts'
import { holders } from './claim-holder.ts'
import { remove } from './delete.ts'
import { type FakeHost, fakeHost } from './testing/fake-host.ts'

const state = JSON.stringify({
  format: 1,
  ociVersion: '1.3.0',
  id: 'box',
  pid: 4711,
  startTime: '1',
  bundle: '/bundle',
  rootfs: '/bundle/rootfs',
  created: '2026-01-02T03:04:05.000000000Z',
  annotations: {},
  owner: 0,
  freezer: null,
  cgroup: null,
  keyring: true,
  program: '/bin/sh',
})

/** A host on which somebody else has the lock for `taken` tries; `links`: of the folder then. */
function host(taken: number, links: number, text = state): FakeHost & { removed: string[] } {
  const removed: string[] = []
  let tries = 0
  const fake = fakeHost({ '/run/runt/box/state.json': text }, (_, call) => {
    const { name, args } = call
    if (name === 'flock') return tries++ < taken ? 'EAGAIN' : 0
    if (name === 'unlinkat') removed.push(call.text(args[1]!))
    if (name !== 'statx' || call.text(args[1]!) !== '') return undefined
    const status = call.memory(args[4]!, 256)
    status[STX_NLINK] = links
    status[STX_MODE + 1] = S_IFDIR >> 8
    return 0
  })
  return { ...fake, removed }
}

test('who finds the container removed after waiting for the lock removes nothing', () => {
  const { runtime, removed, host: own } = host(3, 0)
  assert.throws(() => remove(runtime, 'box', false), /container does not exist: box/)
  assert.equal(removed, [])
  // A folder that has the name meanwhile is another container's.
  assert.is(own.log.filter((line) => line.startsWith('openat') && line.includes('"/run/runt/box"')).length, 1)
})

test('who gets the lock at once, or for whom nobody has removed the container, removes it', () => {
  for (const taken of [0, 3]) {
    const { runtime, removed } = host(taken, 2)
    remove(runtime, 'box', false)
    assert.ok(removed.includes('/run/runt/box'))
  }
})

test('a lock that is not given in time is done without', () => {
  const { runtime, removed } = host(Infinity, 2)
  remove(runtime, 'box', false)
  assert.ok(removed.includes('/run/runt/box'))
})

test('only with force it is worth waiting for a container that is being created', () => {
  const creating = JSON.stringify({ ...JSON.parse(state), pid: 0 })
  const [patient, impatient] = [host(3, 2, creating), host(3, 2, creating)]
  const tries = ({ host: own }: FakeHost): number => own.log.filter((line) => line.startsWith('flock')).length
  lockSaved(patient.runtime, 'box', true)
  lockSaved(impatient.runtime, 'box', false)
  assert.equal([tries(patient), tries(impatient)], [4, 1])
})

test('the holders of a lock, in /proc/locks', () => {
  const locks = [
    '1: POSIX  ADVISORY  WRITE 11 00:1c:77 0 EOF',
    '2: FLOCK  ADVISORY  WRITE 12 fe:01:77 0 EOF',
    '2: -> FLOCK  ADVISORY  WRITE 13 fe:01:77 0 EOF',
    '3: FLOCK  ADVISORY  WRITE 14 fe:01:770 0 EOF',
    '',
  ]
  assert.equal(holders(locks.join('\n'), 77), [12])
  assert.equal(holders('', 77), [])
})

test('who is called by the command that has the lock does not wait for it', () => {
  const tries = (holder: number): number => {
    let flocks = 0
    const fake = fakeHost(
      {
        '/run/runt/box/state.json': state,
        '/proc/locks': `9: FLOCK  ADVISORY  WRITE ${holder} 00:1c:0 0 EOF\n`,
        '/proc/self/stat': '30 (runt (alone)) R 20 1 1 0',
        '/proc/20/stat': '20 (a hook) S 10 1 1 0',
        '/proc/10/stat': '10 (runt) S 1 1 1 0',
      },
      (_, { name, args, memory }) => {
        if (name === 'flock') return flocks++ < 5 ? 'EAGAIN' : 0
        if (name !== 'statx') return undefined
        const status = memory(args[4]!, 256).fill(0)
        status[STX_NLINK] = 2
        return 0
      },
    )
    assert.type(lockSaved(fake.runtime, 'box', true), 'object')
    return flocks
  }
  assert.equal([10, 20, 40].map(tries), [1, 1, 6])
})

test('where no lock can be had all goes on without', () => {
  const fake = fakeHost({ '/run/runt/box/state.json': state }, (_, { name }) =>
    name === 'flock' ? 'ENOLCK' : undefined,
  )
  assert.type(lockSaved(fake.runtime, 'box', true), 'object')
})

for (const [errno, outcome] of [
  ['ENOENT', 'over'],
  [0, 'goes on'],
  ['EBADF', 'goes on'],
] as const)
  test(`who locks the folder again, and finds the state to be ${errno || 'there'}, ${outcome}`, () => {
    const { runtime } = fakeHost({}, (_, { name }) => (name === 'faccessat' ? errno : undefined))
    const b = new Batch(runtime.platform.machine)
    const gone = b.label()
    planUnlock(b)
    planLockAgain(b, gone)
    const next = b.add(1, 1)
    b.place(gone)
    assert.is(runtime.host.run(b).ok(next), outcome === 'goes on')
  })

test.run()
