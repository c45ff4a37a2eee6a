import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeUtf8, encodeUtf8 } from '../base/bytes.ts'
import { Batch } from '../session/batch.ts'
import type { Call } from '../session/testing/fake-kernel.ts'
import {
  applyRdt,
  changeRdt,
  differingLine,
  findResctrl,
  joinRdt,
  planRemoveRdt,
  type RdtGroups,
  restoreRdt,
} from './intel-rdt.ts'
import { fakeHost } from './testing/fake-host.ts'

const ROOT = '/sys/fs/resctrl'
const DEFAULTS = '    MB:0=100;1=100\n    L3:0=fffff;1=fffff\n'

/**
 * A host with a resctrl: folders that are made in it have the files of the kernel's. What is written to `schemata` is kept as it is,
 * a line `refused` is refused. There is no machine with the real one in reach of these tests.
 */
function resctrl(folders: Record<string, string> = {}) {
  const files = new Map<string, string>()
  const made: string[] = []
  const written: string[] = []
  const make = (path: string, schemata = DEFAULTS): void => {
    files.set(`${path}/schemata`, schemata)
    files.set(`${path}/tasks`, '')
  }
  make(ROOT)
  files.set(`${ROOT}/info/last_cmd_status`, 'ok\n')
  files.set(`${ROOT}/info/MB/bandwidth_gran`, '10\n')
  for (const [name, schemata] of Object.entries(folders)) make(`${ROOT}/${name}`, schemata)
  const open = new Map<number, { path: string; at: number }>()
  let next = 500
  const answer = ({ name, args, text, memory }: Call): number | string | undefined => {
    if (name === 'mkdirat') {
      const path = text(args[1]!)
      if (!path.startsWith(ROOT)) return undefined
      if (files.has(`${path}/tasks`)) return 'EEXIST'
      make(path)
      made.push(path.slice(ROOT.length + 1))
      return 0
    }
    if (name === 'openat') {
      const path = text(args[1]!)
      if (!path.startsWith(ROOT)) return undefined
      if (!files.has(path)) return 'ENOENT'
      open.set(next, { path, at: 0 })
      return next++
    }
    const file = open.get(args[0]!)
    if (file && name === 'read') {
      const piece = encodeUtf8(files.get(file.path)!).subarray(file.at, file.at + args[2]!)
      memory(args[1]!, piece.length).set(piece)
      file.at += piece.length
      return piece.length
    }
    if (file && name === 'write') {
      const content = decodeUtf8(memory(args[1]!, args[2]!))
      if (content.includes('refused')) {
        files.set(`${ROOT}/info/last_cmd_status`, 'mask out of range\n')
        return 'EINVAL'
      }
      written.push(`${file.path.slice(ROOT.length + 1)} ${content}`)
      return args[2]!
    }
    return undefined
  }
  const mountinfo = `30 22 0:30 / ${ROOT} rw - resctrl resctrl rw`
  const { runtime } = fakeHost({ '/proc/self/mountinfo': mountinfo }, (executor, call) =>
    executor === 'host' ? answer(call) : undefined,
  )
  const groups: RdtGroups = { joined: [], made: [] }
  return { runtime, made, written, groups }
}

const PID = 4711

test('resctrl is found by its type, wherever it is mounted', () => {
  const line = (target: string, type: string) => `30 22 0:30 / ${target} rw,relatime shared:3 - ${type} resctrl rw`
  assert.is(findResctrl([line('/a', 'tmpfs'), line('/sys/fs/resctrl', 'resctrl')].join('\n')), '/sys/fs/resctrl')
  assert.is(findResctrl(line('/my\\040place', 'resctrl')), '/my place')
  assert.throws(() => findResctrl(line('/sys/fs/resctrl', 'tmpfs')), /^linux\.intelRdt: no file system of type resctrl/)
})

test('without closID a class with the name of the container is made, filled, and goes with it', () => {
  const { runtime, made, written, groups } = resctrl()
  const rdt = { l3CacheSchema: 'L3:0=f', memBwSchema: 'MB:0=20', schemata: ['L2:0=1', 'L2:1=3'] }
  applyRdt(runtime, rdt, ROOT, 'box', PID, groups)
  assert.equal(made, ['box'])
  assert.equal(written, [
    'box/schemata L3:0=f\n',
    'box/schemata MB:0=20\n',
    'box/schemata L2:0=1\nL2:1=3\n',
    `box/tasks ${PID}`,
  ])
  assert.equal(groups, { joined: [`${ROOT}/box`], made: [`${ROOT}/box`] })
})

test('without any schema none is written', () => {
  const { runtime, written, groups } = resctrl()
  applyRdt(runtime, {}, ROOT, 'box', PID, groups)
  assert.equal(written, [`box/tasks ${PID}`])
})

test('a folder with the name of the container that was there stays behind', () => {
  const { runtime, written, groups } = resctrl({ box: DEFAULTS })
  applyRdt(runtime, { l3CacheSchema: 'L3:0=f' }, ROOT, 'box', PID, groups)
  assert.equal(groups.made, [])
  assert.equal(written, ['box/schemata L3:0=f\n', `box/tasks ${PID}`])
})

test('a class with a closID is made where it is missing, and stays', () => {
  const { runtime, made, written, groups } = resctrl()
  applyRdt(runtime, { closID: 'gold', memBwSchema: 'MB:0=20' }, ROOT, 'box', PID, groups)
  assert.equal(made, ['gold'])
  assert.equal(written, ['gold/schemata MB:0=20\n', `gold/tasks ${PID}`])
  assert.equal(groups, { joined: [`${ROOT}/gold`], made: [] })
})

test('a class that is there is joined where it agrees, and never changed', () => {
  const { runtime, made, written, groups } = resctrl({ gold: 'MB:0=30;1=100\nL3:0=0ff;1=fffff\n' })
  applyRdt(runtime, { closID: 'gold', l3CacheSchema: 'L3:0=ff', memBwSchema: 'MB:0=25' }, ROOT, 'box', PID, groups)
  assert.equal(made, [])
  assert.equal(written, [`gold/tasks ${PID}`])
  for (const differing of [{ l3CacheSchema: 'L3:0=f' }, { memBwSchema: 'MB:0=50' }, { schemata: ['L2:0=f'] }])
    assert.throws(
      () => applyRdt(runtime, { closID: 'gold', ...differing }, ROOT, 'box', PID, groups),
      /^linux\.intelRdt: ".*" is not what \/sys\/fs\/resctrl\/gold\/schemata says/,
    )
})

test('a closID without a schema has to be there', () => {
  const { runtime, written, groups } = resctrl({ gold: DEFAULTS })
  applyRdt(runtime, { closID: 'gold' }, ROOT, 'box', PID, groups)
  assert.equal(written, [`gold/tasks ${PID}`])
  assert.throws(
    () => applyRdt(runtime, { closID: 'silver' }, ROOT, 'box', PID, groups),
    /^linux\.intelRdt\.closID: \/sys\/fs\/resctrl\/silver is missing/,
  )
})

test('the closID / is the root', () => {
  const { runtime, made, written, groups } = resctrl()
  applyRdt(runtime, { closID: '/' }, ROOT, 'box', PID, groups)
  assert.equal(made, [])
  assert.equal(written, [`tasks ${PID}`])
  assert.throws(() => applyRdt(runtime, { closID: '/', memBwSchema: 'MB:0=10' }, ROOT, 'box', PID, groups), /"MB:0=10"/)
})

test('monitoring has a group of its own, which goes with the container also where the class stays', () => {
  const { runtime, made, written, groups } = resctrl({ gold: DEFAULTS })
  applyRdt(runtime, { closID: 'gold', enableMonitoring: true }, ROOT, 'box', PID, groups)
  assert.equal(made, ['gold/mon_groups/box'])
  assert.equal(written, [`gold/tasks ${PID}`, `gold/mon_groups/box/tasks ${PID}`])
  assert.equal(groups.made, [`${ROOT}/gold/mon_groups/box`])
  assert.throws(
    () => applyRdt(runtime, { closID: 'gold', enableMonitoring: true }, ROOT, 'box', PID, { joined: [], made: [] }),
    /^linux\.intelRdt\.enableMonitoring: .* is there already/,
  )
})

test('an error has what the kernel says of it, and what was made is known', () => {
  const { runtime, groups } = resctrl()
  assert.throws(
    () => applyRdt(runtime, { l3CacheSchema: 'L3:0=refused' }, ROOT, 'box', PID, groups),
    /^linux\.intelRdt \(.*box\/schemata\): "L3:0=refused": write\(.*EINVAL.*mask out of range$/,
  )
  assert.equal(groups.made, [`${ROOT}/box`])
})

test('a process of exec joins what the container has joined, and delete removes what was made for it', () => {
  const { runtime, written } = resctrl({ gold: DEFAULTS })
  joinRdt(runtime, { joined: [`${ROOT}/gold`], made: [] }, 99)
  assert.equal(written, ['gold/tasks 99'])
  const b = new Batch('x86_64')
  planRemoveRdt(b, { joined: [], made: ['/x/mon_groups/box', '/x'] })
  assert.equal(
    Array.from({ length: b.count }, (_, index) => b.stepAt(index).args[1]),
    ['/x/mon_groups/box', '/x'],
  )
})

test('an update writes to the class that the container has', () => {
  const { runtime, made, written } = resctrl({ gold: DEFAULTS })
  const groups: RdtGroups = { joined: [`${ROOT}/gold`, `${ROOT}/gold/mon_groups/box`], made: [] }
  changeRdt(runtime, { l3CacheSchema: 'L3:0=f', memBwSchema: 'MB:0=20' }, 'box', [PID], groups)
  assert.equal(made, [])
  assert.equal(written, ['gold/schemata L3:0=f\n', 'gold/schemata MB:0=20\n'])
})

test('an update of a container without a class gives it one, with all its processes', () => {
  const { runtime, made, written, groups } = resctrl()
  const change = changeRdt(runtime, { memBwSchema: 'MB:0=20' }, 'box', [PID, 4712], groups)
  assert.equal(made, ['box'])
  assert.equal(written, [`box/tasks ${PID}`, 'box/tasks 4712', 'box/schemata MB:0=20\n'])
  assert.equal(groups, { joined: [`${ROOT}/box`], made: [`${ROOT}/box`] })
  assert.is(change.before, null)
})

test('an update that is refused takes back what it has changed', () => {
  const { runtime, written } = resctrl({ gold: DEFAULTS })
  const groups: RdtGroups = { joined: [`${ROOT}/gold`], made: [] }
  assert.throws(
    () => changeRdt(runtime, { l3CacheSchema: 'L3:0=f', memBwSchema: 'MB:refused' }, 'box', [PID], groups),
    /^linux\.intelRdt \(.*gold\/schemata\): "MB:refused": write\(.*EINVAL.*mask out of range$/,
  )
  const restored = ['gold/schemata MB:0=100;1=100\n', 'gold/schemata L3:0=fffff;1=fffff\n']
  assert.equal(written, ['gold/schemata L3:0=f\n', ...restored])
  written.length = 0
  restoreRdt(runtime, { root: ROOT, folder: `${ROOT}/gold`, before: DEFAULTS }, groups)
  assert.equal(written, restored)
})

test('schemata are compared by what they mean', () => {
  const there = 'L3:0=00ff;1=f\nMB:0=30;1=100\n'
  for (const same of ['L3:0=ff', 'L3: 0=0xFF;1=0f', 'MB:1=100', 'MB:0=21'])
    assert.is(differingLine(there, [same], 10), undefined)
  for (const other of ['L3:0=fe', 'L3:2=ff', 'L2:0=1', 'MB:0=31', 'nonsense'])
    assert.is(differingLine(there, ['MB:1=100', other], 10), other)
})

test.run()
