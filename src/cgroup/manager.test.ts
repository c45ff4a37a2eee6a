/** Against the real kernel, in cgroups of this test's own. */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Resources } from '../config/types.ts'
import { type NodePlatform, openPlatform } from '../engine-node/platform.ts'
import { Batch } from '../session/batch.ts'
import { Session } from '../session/session.ts'
import { Train } from '../session/train.ts'
import {
  begin,
  CgroupInUse,
  type CgroupPaths,
  delegate,
  detectLayout,
  finish,
  folderPath,
  freeze,
  freezerFile,
  join,
  joinSelf,
  killAll,
  locate,
  planRemove,
  processes,
  remove,
  saysFrozen,
  signalAll,
  thaw,
  update,
} from './manager.ts'

const layout = detectLayout(readFileSync('/proc/self/mountinfo', 'utf8'), readFileSync('/proc/self/cgroup', 'utf8'))
const TOP = `/runt-unit-${process.pid}`
const hasV1 = layout.hierarchies.some(({ controllers }) => controllers.includes('devices'))
const canWrite = process.getuid!() === 0

interface Context {
  platform: NodePlatform
  host: Session
  paths: CgroupPaths
  children: ChildProcess[]
}
const test = suite<Context>('cgroup manager', {} as Context)
let count = 0

/** A process of the test's own, ended after it. */
function sleeper(context: Context): number {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  context.children.push(child)
  return child.pid!
}

const batch = () => new Batch(process.arch === 'arm64' ? 'aarch64' : 'x86_64')

function makeIt({ host, paths, platform }: Context, resources: Resources = {}): readonly string[] {
  host.recover(batch())
  const train = new Train(host, platform.machine)
  const making = begin(train, paths, resources)
  finish(host, making, train.depart(), process.pid)
  return making.ignored
}

function updateIt({ host, paths, platform }: Context, resources: Resources): readonly string[] {
  host.recover(batch())
  return update(host, platform.machine, paths, resources, resources)
}

function joinIt({ host, paths }: Context, pid: number): void {
  const b = batch()
  join(b, paths, pid)
  host.run(b)
}

/** Path of a file of the container's cgroup. */
function file({ paths }: Context, controller: string, name = ''): string {
  const folder = paths.folders.find(({ controllers }) => controllers.includes(controller))!
  return joinPath(folderPath(folder), name)
}

const text = (context: Context, controller: string, name: string) =>
  readFileSync(file(context, controller, name), 'utf8').trim()
const there = ({ paths }: Context) => paths.folders.map(folderPath).filter((path) => existsSync(path))

/** Removes test cgroups below `path`; folders only. */
function sweep(path: string): void {
  if (!existsSync(path)) return
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) sweep(joinPath(path, entry.name))
  rmdirSync(path)
}

test.before.each((context) => {
  context.platform = openPlatform([])
  context.host = new Session('host', context.platform.host)
  context.paths = locate(layout, `${TOP}/${++count}/leaf`, 'id')
  context.children = []
})
test.after.each((context) => {
  for (const child of context.children) child.kill('SIGKILL')
  try {
    killAll(context.host, context.platform.machine, context.paths)
    remove(context.host, context.platform.machine, context.paths)
  } finally {
    context.platform.close()
  }
})
test.after(() => {
  for (const { mountpoint } of layout.hierarchies) sweep(mountpoint + TOP)
})

if (hasV1 && canWrite) {
  test('a cgroup is made, joined and removed in every hierarchy', (context) => {
    const { host, paths, platform } = context
    makeIt(context)
    assert.is(there(context).length, paths.folders.length)
    const pid = sleeper(context)
    joinIt(context, pid)
    const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n')
    const path = paths.folders[0]!.path
    assert.equal(
      lines.filter((line) => !line.endsWith(`:${path}`)),
      [],
    )
    assert.equal(processes(host, platform.machine, paths), [pid])
    killAll(host, platform.machine, paths)
    assert.equal(processes(host, platform.machine, paths), [])
    remove(host, platform.machine, paths)
    assert.equal(there(context), [])
    assert.ok(existsSync(joinPath(file(context, 'pids'), '..')), 'the parent stays')
    remove(host, platform.machine, paths)
  })

  test('limits reach the kernel', (context) => {
    makeIt(context, {
      memory: { limit: 2 ** 26, swap: 2 ** 27, swappiness: 10 },
      pids: { limit: 77 },
      cpu: { shares: 512, quota: 50_000, period: 200_000, cpus: '0', mems: '0' },
      blockIO: { weight: 300 },
    })
    assert.is(text(context, 'memory', 'memory.limit_in_bytes'), '67108864')
    assert.is(text(context, 'memory', 'memory.memsw.limit_in_bytes'), '134217728')
    assert.is(text(context, 'memory', 'memory.swappiness'), '10')
    assert.is(text(context, 'pids', 'pids.max'), '77')
    assert.is(text(context, 'cpu', 'cpu.shares'), '512')
    assert.is(text(context, 'cpu', 'cpu.cfs_quota_us'), '50000')
    assert.is(text(context, 'cpu', 'cpu.cfs_period_us'), '200000')
    assert.is(text(context, 'cpuset', 'cpuset.cpus'), '0')
    assert.match(text(context, 'blkio', 'blkio.bfq.weight'), /300/)
  })

  test('limits can be raised and lowered in any order of the kernel’s', (context) => {
    const set = (memory: number, quota: number, period: number) => {
      updateIt(context, { memory: { limit: memory, swap: memory }, cpu: { quota, period } })
      assert.is(text(context, 'memory', 'memory.limit_in_bytes'), String(memory))
      assert.is(text(context, 'memory', 'memory.memsw.limit_in_bytes'), String(memory))
      assert.is(text(context, 'cpu', 'cpu.cfs_period_us'), String(period))
    }
    makeIt(context)
    set(2 ** 24, 1000, 1000)
    set(2 ** 26, 100_000, 1_000_000)
    set(2 ** 23, 1000, 1000)
  })

  test('an empty parent cpuset is filled on the way', (context) => {
    const leaf = file(context, 'cpuset')
    mkdirSync(joinPath(leaf, '..'), { recursive: true })
    assert.is(readFileSync(joinPath(leaf, '../cpuset.cpus'), 'utf8'), '\n')
    makeIt(context)
    assert.is(text(context, 'cpuset', 'cpuset.cpus'), text(context, 'cpuset', '../../../cpuset.cpus'))
    assert.is(text(context, 'cpuset', 'cpuset.mems'), text(context, 'cpuset', '../../../cpuset.mems'))
  })

  test('devices: all denied but the rules and the defaults', (context) => {
    makeIt(context, {
      devices: [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
      ],
    })
    const list = text(context, 'devices', 'devices.list').split('\n').sort()
    const wanted =
      'b *:* m,c *:* m,c 10:229 rw,c 136:* rwm,c 1:3 rwm,c 1:5 rwm,c 1:7 rwm,c 1:8 rwm,c 1:9 rwm,c 5:0 rwm,c 5:2 rwm'
    assert.equal(list, wanted.split(',').sort())
  })

  test('a value that the kernel refuses is named with its field and file', (context) => {
    assert.throws(
      () => makeIt(context, { cpu: { cpus: '4000' } }),
      (error: Error) =>
        new RegExp(
          `^linux\\.resources\\.cpu\\.cpus: 4000 written to ${file(context, 'cpuset', 'cpuset.cpus')}: write\\(\\d+, "4000", 4\\): (ERANGE|EINVAL)`,
        ).test(error.message),
    )
  })

  test('a file that the kernel lacks is an error unless nothing is asked', (context) => {
    makeIt(context, { blockIO: {}, hugepageLimits: layout.mode === 'v1' ? [] : [{ pageSize: '7MB', limit: 0 }] })
    if (layout.mode === 'v1') return
    assert.throws(
      () => updateIt(context, { hugepageLimits: [{ pageSize: '7MB', limit: 5 }] }),
      /linux\.resources\.hugepageLimits\[0\]: 5 written to .*: (the hugetlb controller has no such file there[^:]*: ENOENT|no cgroup hierarchy)/,
    )
  })

  test('a cgroup with processes is refused and left alone; an empty one is taken', (context) => {
    const { host, paths, platform } = context
    makeIt(context)
    joinIt(context, sleeper(context))
    assert.throws(
      () => makeIt(context),
      (error: Error) =>
        error instanceof CgroupInUse &&
        /^linux\.cgroupsPath: the cgroup \S+ has processes in it: EBUSY/.test(error.message),
    )
    killAll(host, platform.machine, paths)
    makeIt(context, { pids: { limit: 5 } })
    assert.is(text(context, 'pids', 'pids.max'), '5')
  })

  test('a frozen cgroup is refused', (context) => {
    makeIt(context)
    writeFileSync(file(context, 'freezer', 'freezer.state'), 'FROZEN')
    assert.throws(() => makeIt(context), /^linux\.cgroupsPath: the cgroup \S+ is frozen: EBUSY/)
  })

  test('processes that are frozen or in sub-cgroups are killed, and sub-cgroups removed', (context) => {
    const { host, paths, platform } = context
    makeIt(context)
    const [inLeaf, below, deep] = [sleeper(context), sleeper(context), sleeper(context)]
    joinIt(context, inLeaf)
    for (const controller of ['pids', 'memory', 'freezer'])
      mkdirSync(file(context, controller, 'a/b'), { recursive: true })
    for (let i = 0; i < 300; i++) mkdirSync(file(context, 'pids', `many-${i}`))
    writeFileSync(file(context, 'pids', 'a/cgroup.procs'), String(below))
    writeFileSync(file(context, 'pids', 'a/b/cgroup.procs'), String(deep))
    writeFileSync(file(context, 'freezer', 'freezer.state'), 'FROZEN')
    assert.equal(processes(host, platform.machine, paths).sort(), [inLeaf, below, deep].sort())
    killAll(host, platform.machine, paths)
    assert.equal(processes(host, platform.machine, paths), [])
    remove(host, platform.machine, paths)
    assert.equal(there(context), [])
  })

  test('a v1 cgroup is frozen and thawed', (context) => {
    const { host, paths, platform } = context
    makeIt(context)
    joinIt(context, sleeper(context))
    freeze(host, platform.machine, paths)
    assert.is(text(context, 'freezer', 'freezer.state'), 'FROZEN')
    assert.ok(saysFrozen(readFileSync(freezerFile(paths)!, 'utf8')))
    thaw(host, platform.machine, paths)
    assert.is(text(context, 'freezer', 'freezer.state'), 'THAWED')
    assert.not(saysFrozen(readFileSync(freezerFile(paths)!, 'utf8')))
  })

  test('a limit that cannot be set takes back those before it', (context) => {
    makeIt(context, {
      memory: { limit: 2 ** 26, swap: 2 ** 27 },
      pids: { limit: 9 },
      cpu: { shares: 300, quota: 5000 },
    })
    const before = ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'].map((name) => text(context, 'memory', name))
    const list = text(context, 'devices', 'devices.list')
    assert.throws(
      () =>
        updateIt(context, {
          memory: { limit: 2 ** 28, swap: 2 ** 29 },
          pids: { limit: 8 },
          cpu: { shares: 400, quota: 9000, cpus: '4000' },
          devices: [{ allow: false }, { allow: true, type: 'c', major: 10, minor: 229 }],
        }),
      /^linux\.resources\.cpu\.cpus: 4000 written to .*: (ERANGE|EINVAL) \([^)]*\)$/,
    )
    assert.equal(
      ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'].map((name) => text(context, 'memory', name)),
      before,
    )
    assert.is(text(context, 'pids', 'pids.max'), '9')
    assert.is(text(context, 'cpu', 'cpu.shares'), '300')
    assert.is(text(context, 'cpu', 'cpu.cfs_quota_us'), '5000')
    assert.is(text(context, 'devices', 'devices.list'), list)
  })

  test('device rules are exchanged by their differences, with cgroups below and 1,000 rules too', (context) => {
    const rules = (count: number, access: string) => [
      { allow: false, access: 'rwm' },
      ...Array.from({ length: count }, (_, minor) => ({ allow: true, type: 'c', major: 300, minor, access })),
    ]
    makeIt(context, { devices: rules(1000, 'rw') })
    const list = () => text(context, 'devices', 'devices.list').split('\n')
    assert.is(list().length, 1010)
    // All at once the kernel takes from cgroups without others below only.
    mkdirSync(file(context, 'devices', 'below'))
    updateIt(context, { devices: rules(1001, 'rm') })
    assert.is(list().length, 1011)
    assert.ok(list().includes('c 300:1000 rm') && list().includes('c 300:7 rm'), list().slice(0, 20).join())
    updateIt(context, { devices: rules(0, 'r') })
    assert.is(list().length, 10)
  })

  test('all devices can be allowed, and that taken back', (context) => {
    const list = () => text(context, 'devices', 'devices.list').split('\n')
    makeIt(context, { devices: [{ allow: false }] })
    updateIt(context, { devices: [{ allow: true }] })
    assert.equal(list(), ['a *:* rwm'])
    updateIt(context, { devices: [{ allow: false }, { allow: true, type: 'b', major: 8 }] })
    assert.is(list().length, 11)
  })

  test('realtime is given to the cgroups above that have none', (context) => {
    if (!existsSync(file(context, 'cpu', '../../../cpu.rt_runtime_us'))) return
    makeIt(context, { cpu: { realtimePeriod: 500_000, realtimeRuntime: 1000 } })
    assert.is(text(context, 'cpu', 'cpu.rt_runtime_us'), '1000')
    assert.is(text(context, 'cpu', '../cpu.rt_runtime_us'), '1000')
    writeFileSync(file(context, 'cpu', 'cpu.rt_runtime_us'), '0')
    writeFileSync(file(context, 'cpu', '../cpu.rt_runtime_us'), '0')
  })

  test('an idle cgroup takes no shares, and takes them when it is idle no more', (context) => {
    makeIt(context, { cpu: { idle: 1, shares: 512 } })
    assert.is(text(context, 'cpu', 'cpu.idle'), '1')
    updateIt(context, { cpu: { idle: 0, shares: 512 } })
    assert.is(text(context, 'cpu', 'cpu.shares'), '512')
  })

  test('a quota below the burst, and a burst above the quota, are set together', (context) => {
    makeIt(context, { cpu: { quota: 50_000, period: 100_000, burst: 50_000 } })
    updateIt(context, { cpu: { quota: 20_000, burst: 10_000 } })
    assert.is(text(context, 'cpu', 'cpu.cfs_quota_us'), '20000')
    updateIt(context, { cpu: { quota: 60_000, burst: 60_000 } })
    assert.is(text(context, 'cpu', 'cpu.cfs_burst_us'), '60000')
  })

  test('a cgroup in use in one hierarchy leaves no new folder in the others', (context) => {
    mkdirSync(file(context, 'pids'), { recursive: true })
    const pid = sleeper(context)
    writeFileSync(file(context, 'pids', 'cgroup.procs'), String(pid))
    // Its parents are there, so that the others are made at once.
    for (const { mountpoint, path } of context.paths.folders)
      mkdirSync(joinPath(mountpoint, path, '..'), { recursive: true })
    for (const name of ['cpuset.cpus', 'cpuset.mems'])
      for (const level of ['../../', '../'])
        writeFileSync(file(context, 'cpuset', level + name), text(context, 'cpuset', `../../../${name}`))
    assert.throws(() => makeIt(context), /has processes in it/)
    assert.equal(there(context), [file(context, 'pids').replace(/\/$/, '')])
  })

  test('planRemove waits for a process that is about to end', (context) => {
    const { host, paths } = context
    makeIt(context)
    const child = spawn('sleep', ['0.05'], { stdio: 'ignore' })
    context.children.push(child)
    joinIt(context, child.pid!)
    const b = batch()
    const left = b.label()
    planRemove(b, paths, left, 40)
    b.place(left)
    host.run(b)
    assert.equal(there(context), [])
  })

  test('planRemove gives up in the end, and says so by where it goes on', (context) => {
    const { host, paths } = context
    makeIt(context)
    joinIt(context, sleeper(context))
    const b = batch()
    const left = b.label()
    planRemove(b, paths, left, 40)
    b.place(left)
    const start = performance.now()
    host.run(b)
    const elapsed = performance.now() - start
    assert.ok(elapsed > 150 && elapsed < 5000, `${elapsed} ms`)
    assert.is(there(context).length, paths.folders.length)
  })

  test('an executor joins by itself', (context) => {
    const { host, paths, platform } = context
    makeIt(context)
    const other = openPlatform([])
    try {
      const b = batch()
      for (const version of [1, 2] as const) joinSelf(b, paths, version, 40)
      new Session('other', other.host).run(b)
      assert.equal(processes(host, platform.machine, paths), [other.executorPid])
    } finally {
      other.close()
    }
  })
}

test('v2: controllers are handed on, limits converted, and frozen cgroups refused', (context) => {
  const root = mkdtempSync(joinPath(tmpdir(), 'runt-cgroup-'))
  const put = (name: string, content = '') => writeFileSync(joinPath(root, name), content)
  const get = (name: string) => readFileSync(joinPath(root, name), 'utf8')
  try {
    // A folder of plain files stands in for a cgroup2 that was made before.
    mkdirSync(joinPath(root, 'a/leaf'), { recursive: true })
    for (const name of ['cgroup.subtree_control', 'a/cgroup.subtree_control', 'a/leaf/cgroup.procs']) put(name)
    put('a/leaf/cgroup.freeze', '0\n')
    for (const name of ['memory.max', 'memory.swap.max', 'pids.max', 'cpu.weight', 'cpu.max', 'memory.high'])
      put(`a/leaf/${name}`)
    const stand: Context = {
      ...context,
      paths: { mode: 'v2', folders: [{ version: 2, controllers: [], mountpoint: root, path: '/a/leaf' }] },
    }
    const warnings = makeIt(stand, {
      memory: { limit: 100, swap: 300, swappiness: 5 },
      pids: { limit: 9 },
      cpu: { shares: 1024, quota: 5000 },
      unified: { 'memory.high': '90' },
      devices: [{ allow: true }],
    })
    assert.equal(warnings, ['linux.resources.memory.swappiness has no counterpart on cgroup v2 and is ignored'])
    for (const level of ['', 'a/']) assert.is(get(`${level}cgroup.subtree_control`), '+cpuset +cpu +io +memory +pids')
    assert.is(get('a/leaf/memory.max'), '100')
    assert.is(get('a/leaf/memory.swap.max'), '200')
    assert.is(get('a/leaf/pids.max'), '9')
    assert.is(get('a/leaf/cpu.weight'), '100')
    assert.is(get('a/leaf/cpu.max'), '5000 100000')
    assert.is(get('a/leaf/memory.high'), '90')
    put('a/leaf/cgroup.freeze', '1\n')
    assert.throws(() => makeIt(stand), /is frozen: EBUSY/)
  } finally {
    rmSync(root, { recursive: true })
  }
})

const unified = layout.hierarchies.find(({ version }) => version === 2)

if (unified && layout.mode === 'hybrid' && canWrite) {
  /** The cgroup2 beside the v1 hierarchies, as if it were the only one: it has no controllers, but all of the core. */
  const alone = (context: Context): Context => {
    const mountpoint = unified.mountpoint + TOP
    mkdirSync(mountpoint, { recursive: true })
    const paths: CgroupPaths = {
      mode: 'v2',
      folders: [{ version: 2, controllers: [], mountpoint, path: `/${count}/leaf` }],
    }
    return { ...context, paths }
  }

  test('v2: a controller that cannot be had is named', (context) => {
    const own = alone(context)
    assert.throws(
      () => makeIt(own, { pids: { limit: 5 } }),
      /^linux\.resources\.pids\.limit: 5 written to \S+\/pids\.max: the pids controller has no such file there; unless \S+ lists pids, no cgroup below has it: ENOENT/,
    )
    remove(context.host, context.platform.machine, own.paths)
  })

  test('v2: a cgroup is frozen, thawed, emptied and removed', (context) => {
    const own = alone(context)
    const { machine } = context.platform
    makeIt(own)
    const pids = [sleeper(context), sleeper(context)]
    joinIt(own, pids[0]!)
    const leaf = folderPath(own.paths.folders[0]!)
    mkdirSync(joinPath(leaf, 'below'))
    writeFileSync(joinPath(leaf, 'below/cgroup.procs'), String(pids[1]))
    assert.equal(processes(context.host, machine, own.paths).sort(), pids.sort())
    freeze(context.host, machine, own.paths)
    assert.match(readFileSync(joinPath(leaf, 'cgroup.events'), 'utf8'), /^frozen 1$/m)
    assert.ok(saysFrozen(readFileSync(freezerFile(own.paths)!, 'utf8')))
    thaw(context.host, machine, own.paths)
    assert.match(readFileSync(joinPath(leaf, 'cgroup.events'), 'utf8'), /^frozen 0$/m)
    freeze(context.host, machine, own.paths)
    killAll(context.host, machine, own.paths)
    remove(context.host, machine, own.paths)
    assert.equal(there(own), [])
  })

  test('v2: a cgroup is handed over with the files that may be, and no others', (context) => {
    const own = alone(context)
    makeIt(own)
    delegate(context.host, context.platform.machine, own.paths, 1234)
    const leaf = folderPath(own.paths.folders[0]!)
    const owner = (name: string) => statSync(joinPath(leaf, name)).uid
    assert.equal(['', 'cgroup.procs', 'cgroup.subtree_control', 'cgroup.threads'].map(owner), [1234, 1234, 1234, 1234])
    assert.equal(['cgroup.freeze', 'cgroup.kill', 'cgroup.max.depth'].map(owner), [0, 0, 0])
    remove(context.host, context.platform.machine, own.paths)
  })

  test('v2: what is frozen from above is not thawed, and the error says by whom', (context) => {
    const own = alone(context)
    const { machine } = context.platform
    makeIt(own)
    joinIt(own, sleeper(context))
    const parent = joinPath(folderPath(own.paths.folders[0]!), '..')
    freeze(context.host, machine, own.paths)
    writeFileSync(joinPath(parent, 'cgroup.freeze'), '1')
    assert.throws(() => thaw(context.host, machine, own.paths), new RegExp(`the cgroup above it, ${parent}, is frozen`))
    writeFileSync(joinPath(parent, 'cgroup.freeze'), '0')
    killAll(context.host, machine, own.paths)
    remove(context.host, machine, own.paths)
  })

  test('v2: signals reach all processes, also of a paused cgroup, which stays so', (context) => {
    const own = alone(context)
    const { machine } = context.platform
    makeIt(own)
    joinIt(own, sleeper(context))
    freeze(context.host, machine, own.paths)
    signalAll(context.host, machine, own.paths, 10, true)
    assert.ok(saysFrozen(readFileSync(freezerFile(own.paths)!, 'utf8')))
    signalAll(context.host, machine, own.paths, 9, true)
    killAll(context.host, machine, own.paths)
    assert.equal(processes(context.host, machine, own.paths), [])
    remove(context.host, machine, own.paths)
  })
}

test('without any hierarchy there is nothing to do, and a limit is an error', (context) => {
  const none: Context = { ...context, paths: { mode: 'none', folders: [] } }
  makeIt(none)
  joinIt(none, 1)
  remove(context.host, context.platform.machine, none.paths)
  assert.equal(processes(context.host, context.platform.machine, none.paths), [])
  assert.throws(
    () => makeIt(none, { memory: { limit: 5 } }),
    /linux\.resources\.memory\.limit: no cgroup hierarchy with the memory controller is mounted/,
  )
})

test('unified is refused where the controllers are on v1', (context) => {
  assert.throws(
    () =>
      begin(
        new Train(context.host, context.platform.machine),
        { mode: 'v1', folders: [] },
        { unified: { 'memory.high': '1' } },
      ),
    /linux\.resources\.unified/,
  )
})

test.run()
