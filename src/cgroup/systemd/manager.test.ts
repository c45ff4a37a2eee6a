/** What systemd is told, and how we take what it says; see dbus/testing/fake-bus.ts. The cgroup itself is a plain folder. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Address } from '../../dbus/address.ts'
import { type Behaviour, type FakeBus, type Seen, startFakeBus } from '../../dbus/testing/fake-bus.ts'
import { type NodePlatform, openPlatform } from '../../engine-node/platform.ts'
import { Session } from '../../session/session.ts'
import { Train } from '../../session/train.ts'
import { CgroupInUse } from '../driver.ts'
import type { CgroupPaths, Layout } from '../layout.ts'
import { callSystemd, locateUnit, systemd } from './driver.ts'
import { Systemd } from './manager.ts'

const ALL = [{ allow: true, access: 'rwm' }]

interface Context {
  platform: NodePlatform
  host: Session
  folder: string
  bus: FakeBus | null
}
const test = suite<Context>('systemd', {} as Context)

test.before.each((context) => {
  context.platform = openPlatform([])
  context.host = new Session('host', context.platform.host)
  context.folder = mkdtempSync(join(tmpdir(), 'runt-unit-'))
  context.bus = null
})
test.after.each(async (context) => {
  context.platform.host.close()
  rmSync(context.folder, { recursive: true })
  await context.bus?.stop()
})

/** A cgroup of a v2 host whose file system is a plain folder. */
async function place(context: Context, behaviour: Behaviour = {}, path = 'a-b.slice:x:box'): Promise<CgroupPaths> {
  context.bus = await startFakeBus(behaviour)
  const layout: Layout = {
    mode: 'v2',
    hierarchies: [{ version: 2, controllers: [], mountpoint: context.folder, own: '/' }],
  }
  const env = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${context.bus.path}` }
  return locateUnit(layout, path, 'box', { 'org.systemd.property.TimeoutStopSec': '5' }, { uid: 0, mapped: false, env })
}

/** Makes the cgroup, and the folder as systemd would. */
function make({ host, platform, folder }: Context, cgroup: CgroupPaths, pid = 4711): void {
  const link = callSystemd(host, platform.machine, cgroup)
  const scope = folder + cgroup.folders[0]!.path
  mkdirSync(scope, { recursive: true })
  for (const file of ['pids.max', 'cgroup.procs']) writeFileSync(join(scope, file), '')
  const train = new Train(host, platform.machine)
  train.next('x').call('getpid')
  const making = systemd.begin(train, cgroup, { pids: { limit: 7 }, devices: ALL }, link)
  assert.equal(systemd.finish(host, making, train.depart(), pid), cgroup)
}

const members = (seen: Seen[]): string[] => seen.map(({ member }) => member)
const scope = 'x-box.scope'

test('a scope is asked for with all that is known of it', async (context) => {
  const cgroup = await place(context, { root: '/user.slice/' })
  make(context, cgroup)
  assert.is(cgroup.folders[0]!.path, `/user.slice/a.slice/a-b.slice/${scope}`)
  const seen = await context.bus!.seen()
  assert.equal(members(seen), ['Hello', 'AddMatch', 'Get', 'Get', 'StartTransientUnit'])
  const [unit, mode, properties, others] = seen.at(-1)!.body as [string, string, [string, { value: unknown }][], []]
  assert.equal([unit, mode, others], [scope, 'replace', []])
  assert.equal(
    properties.map(([name, { value }]) => [name, value]),
    [
      ['Description', 'runt container box'],
      ['Slice', 'a-b.slice'],
      ['Delegate', true],
      ['PIDs', [4711]],
      ['MemoryAccounting', true],
      ['CPUAccounting', true],
      ['IOAccounting', true],
      ['TasksAccounting', true],
      ['DefaultDependencies', false],
      ['CollectMode', 'inactive-or-failed'],
      ['DeviceAllow', []],
      ['DevicePolicy', 'auto'],
      ['TasksMax', 7n],
      ['TimeoutStopUSec', 5_000_000n],
    ],
  )
})

test('a user’s own systemd is told nothing of devices, which it could not enforce', async (context) => {
  const cgroup = await place(context)
  cgroup.systemd!.user = true
  make(context, cgroup)
  const { body } = (await context.bus!.seen()).at(-1)!
  assert.not((body[2] as [string, unknown][]).some(([name]) => name.startsWith('Device')))
})

test('a slice gets no process from its maker', async (context) => {
  const cgroup = await place(context, {}, 'a.slice:x:a-box.slice')
  make(context, cgroup)
  assert.is(cgroup.folders[0]!.path, '/a.slice/a-box.slice')
  const { body } = (await context.bus!.seen()).at(-1)!
  const names = (body[2] as [string, unknown][]).map(([name]) => name)
  assert.equal(names.slice(0, 2), ['Description', 'Wants'])
  assert.not(names.includes('PIDs'))
})

test('an old systemd is not told what it does not know', async (context) => {
  make(context, await place(context, { version: 'systemd 219' }))
  const { body } = (await context.bus!.seen()).at(-1)!
  assert.not((body[2] as [string, unknown][]).some(([name]) => name === 'CollectMode'))
})

const EXISTS = {
  error: ['org.freedesktop.systemd1.UnitExists', `Unit ${scope} was already loaded`] as [string, string],
}

test('a unit that failed is forgotten, and asked for once more', async (context) => {
  make(
    context,
    await place(context, { reactions: { StartTransientUnit: [EXISTS], ActiveState: [{ text: 'failed' }] } }),
  )
  assert.equal(members(await context.bus!.seen()).slice(4), [
    'StartTransientUnit',
    'GetUnit',
    'Get',
    'ResetFailedUnit',
    'StartTransientUnit',
  ])
})

test('a unit without processes is stopped first', async (context) => {
  make(context, await place(context, { reactions: { StartTransientUnit: [EXISTS] } }))
  assert.equal(members(await context.bus!.seen()).slice(7), ['StopUnit', 'ResetFailedUnit', 'StartTransientUnit'])
})

/** Fails with this message; `taken`: there is something of ours to take back. */
function fails(context: Context, cgroup: CgroupPaths, message: RegExp, taken: boolean): void {
  assert.throws(
    () => make(context, cgroup),
    (error: Error) => {
      assert.match(error.message, message)
      assert.is(error instanceof CgroupInUse, !taken)
      return true
    },
  )
}

test('a unit that is somebody else’s is named and left alone', async (context) => {
  const cgroup = await place(context, {
    reactions: { StartTransientUnit: [EXISTS], ActiveState: [{ text: 'activating' }] },
  })
  fails(context, cgroup, /^linux\.cgroupsPath: the unit x-box\.scope exists already, and is activating$/, false)
  assert.not(members(await context.bus!.seen()).includes('StopUnit'))
})

test('a unit that exists again and again is told in the words of systemd', async (context) => {
  const cgroup = await place(context, {
    reactions: { StartTransientUnit: [EXISTS, EXISTS], ActiveState: [{ text: 'failed' }] },
  })
  fails(
    context,
    cgroup,
    /^systemd \(StartTransientUnit x-box\.scope\): Unit x-box\.scope was already loaded \(org/,
    false,
  )
})

test('a property that systemd refuses is told in its words', async (context) => {
  const refused = {
    error: ['org.freedesktop.DBus.Error.PropertyReadOnly', 'Cannot set property X'] as [string, string],
  }
  const cgroup = await place(context, { reactions: { StartTransientUnit: [refused] } })
  fails(context, cgroup, /Cannot set property X/, false)
})

test('a job that does not end well is told', async (context) => {
  const cgroup = await place(context, { reactions: { StartTransientUnit: [{ job: 'failed' }] } })
  fails(context, cgroup, /^systemd \(StartTransientUnit x-box\.scope\): its job ended as "failed"$/, true)
})

test('removing stops the unit and forgets that it failed', async (context) => {
  const cgroup = await place(context)
  mkdirSync(context.folder + cgroup.folders[0]!.path, { recursive: true })
  systemd.remove(context.host, context.platform.machine, cgroup)
  assert.equal(members(await context.bus!.seen()).slice(4), ['StopUnit', 'ResetFailedUnit'])
})

test('a unit that is gone is removed already; a bus that is gone keeps nobody from removing the cgroup', async (context) => {
  const gone = { error: ['org.freedesktop.systemd1.NoSuchUnit', 'Unit not loaded.'] as [string, string] }
  const cgroup = await place(context, { reactions: { StopUnit: [gone], ResetFailedUnit: [gone] } })
  systemd.remove(context.host, context.platform.machine, cgroup)
  await context.bus!.stop()
  context.bus = null
  systemd.remove(context.host, context.platform.machine, cgroup)
})

test('new limits are told to systemd, and until the next boot', async (context) => {
  const cgroup = await place(context)
  make(context, cgroup)
  systemd.update(context.host, context.platform.machine, cgroup, { pids: { limit: 9 } }, { pids: { limit: 9 } })
  const { member, body } = (await context.bus!.seen()).at(-1)!
  assert.equal([member, body], ['SetUnitProperties', [scope, true, [['TasksMax', { signature: 't', value: 9n }]]]])
})

const address = (path: string): Address => ({ name: `the bus (${path})`, socket: path, direct: false })
const open = ({ host, platform }: Context, paths: string[], patience?: number): Systemd =>
  Systemd.connect((batch) => host.run(batch), platform.machine, paths.map(address), patience)

test('the first address at which systemd answers is taken', async (context) => {
  context.bus = await startFakeBus()
  const link = open(context, ['/nowhere', context.bus.path])
  assert.is(link.version, 252)
  link.close()
  assert.throws(() => open(context, ['/nowhere', '/nowhere/else']), /^the bus \(\/nowhere\): ENOENT/)
})

test('a job of which nobody hears the end is told', async (context) => {
  context.bus = await startFakeBus({ reactions: { StartTransientUnit: [{ job: null }] } })
  const link = open(context, [context.bus.path], 300)
  const job = link.started(link.start(scope, []), scope)
  assert.throws(
    () => link.finish(job),
    /^systemd \(StartTransientUnit x-box\.scope\): the bus \(\S+\) did not answer within 0\.3 s$/,
  )
})

test('a bus without systemd is told', async (context) => {
  const unknown = {
    error: ['org.freedesktop.DBus.Error.ServiceUnknown', 'The name org.freedesktop.systemd1 was not provided'] as [
      string,
      string,
    ],
  }
  context.bus = await startFakeBus({ reactions: { Version: [unknown] } })
  assert.throws(() => open(context, [context.bus!.path]), /^systemd on the bus \(\S+\): The name .* was not provided/)
})

test.run()
