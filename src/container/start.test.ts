import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { start } from './start.ts'
import type { Saved } from './state.ts'
import { fakeHost } from './testing/fake-host.ts'

const FREEZER = '/sys/fs/cgroup/freezer/box/freezer.self_freezing'

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
  freezer: FREEZER,
  cgroup: {
    mode: 'v1',
    folders: [{ version: 1, controllers: ['freezer'], mountpoint: '/sys/fs/cgroup/freezer', path: '/box' }],
  },
  keyring: true,
  program: '/bin/sh',
}

/** Starts a container. `answers` to calls, by name; `startTime`: that of the process that has its pid. */
function tell(
  answers: Record<string, string | number> = {},
  { frozen = false, startTime = '987654', state = saved } = {},
) {
  const calls: string[] = []
  const fake = fakeHost(
    {
      '/run/runt/box/state.json': JSON.stringify(state),
      [FREEZER]: frozen ? '1\n' : '0\n',
      '/proc/4711/stat': `4711 (x) S 1 4711 4711 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 ${startTime} 0 0`,
    },
    (_, { name, args, memory }) => {
      calls.push(name)
      // All is root's.
      if (name === 'statx') memory(args[4]!, 256).fill(0)
      // The connection closes: the program is executed.
      return answers[name] ?? (name === 'recvfrom' ? 0 : undefined)
    },
  )
  let message = ''
  try {
    start(fake.runtime, 'box', null)
  } catch (error) {
    message = (error as Error).message
  }
  return { calls, message }
}

test('the init is connected to, and listened to, without a look at it before', () => {
  const { calls, message } = tell()
  assert.is(message, '')
  assert.equal(
    calls.filter((name) => ['renameat', 'connect', 'recvfrom'].includes(name)),
    ['renameat', 'connect', 'recvfrom'],
  )
  assert.not(calls.includes('faccessat'))
})

test('a paused container is left as it is', () => {
  const { calls, message } = tell({}, { frozen: true })
  assert.is(message, 'cannot start a container in the paused state')
  assert.not(calls.some((name) => ['renameat', 'connect'].includes(name)))
})

test('the second of two finds the container running', () => {
  const { calls, message } = tell({ renameat: 'ENOENT', faccessat: 'ENOENT' })
  assert.is(message, 'cannot start an already running container')
  assert.not(calls.includes('connect'))
})

test('an init that has ended listens no more', () => {
  const { message } = tell({ connect: 'ECONNREFUSED' }, { startTime: '987655' })
  assert.is(message, 'cannot start a container that has stopped')
})

test('where an agent waits for it the container is looked at before that is told', () => {
  const state = { ...saved, seccompAgent: { path: '/agent.sock' } }
  const { calls, message } = tell({ faccessat: 'ENOENT' }, { state })
  assert.is(message, 'cannot start an already running container')
  assert.not(calls.some((name) => ['socket', 'connect'].includes(name)))
})

test('a container without a process yet cannot be started', () => {
  const { message } = tell({}, { state: { ...saved, pid: 0 } })
  assert.match(message, /creating/)
})

test.run()
