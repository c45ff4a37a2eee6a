import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Mount } from '../config/types.ts'
import { ARENA, SLOTS } from '../executor/protocol.ts'
import { renderCall } from '../session/render.ts'
import type { Session } from '../session/session.ts'
import { Train } from '../session/train.ts'
import { prepareBinding } from './mount-bind.ts'
import type { MountSetting } from './mount-entry.ts'
import { planMount } from './mounts.ts'
import { ALL } from './sources.ts'
import { fakeHost } from './testing/fake-host.ts'

const text = 'system_u:object_r:container_file_t:s0:c1,c2'
const label = { type: 'context', text }
const setting: MountSetting = {
  bundle: '/bundle',
  cgroup: {
    tmpfs: false,
    mounts: [],
    links: [],
    unified: { folder: '', type: 'cgroup2', source: 'cgroup2', options: [] },
  },
  label: null,
  reach: ALL,
  idmapped: new Map(),
  slave: false,
}

/** The system calls planned for a mount, as strace would show them. */
function planned(mount: Mount, more: Partial<MountSetting> = {}): string[] {
  const train = new Train({} as Session, 'x86_64')
  planMount(train, mount, 3, { ...setting, ...more })
  const { batch } = train
  return Array.from({ length: batch.count }, (_, index) => batch.stepAt(index))
    .filter(({ name }) => name !== null)
    .map((step) => renderCall(step))
}
const matching = (calls: string[], pattern: RegExp) => calls.filter((call) => pattern.test(call))

const tmpfs: Mount = { destination: '/m', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'size=1m', 'mode=700'] }

test('a file system gets its parameters one by one', () => {
  const calls = planned({ ...tmpfs, options: [...tmpfs.options!, 'sync', 'noswap'] })
  assert.equal(matching(calls, /fsconfig/), [
    'fsconfig(<slot 19>, FSCONFIG_SET_STRING, "source", "tmpfs", 0)',
    'fsconfig(<slot 19>, FSCONFIG_SET_FLAG, "sync", NULL, 0)',
    'fsconfig(<slot 19>, FSCONFIG_SET_STRING, "size", "1m", 0)',
    'fsconfig(<slot 19>, FSCONFIG_SET_STRING, "mode", "700", 0)',
    'fsconfig(<slot 19>, FSCONFIG_SET_FLAG, "noswap", NULL, 0)',
    'fsconfig(<slot 19>, FSCONFIG_CMD_CREATE, NULL, NULL, 0)',
  ])
  assert.equal(matching(calls, /^(mount|mount_setattr)\(/), [])
})

test('what fsconfig(2) has no word for, or takes no value of, goes to mount(2)', () => {
  for (const options of [['iversion'], ['silent'], [`lowerdir=/${'x'.repeat(255)}`]])
    assert.is(matching(planned({ ...tmpfs, options }), /^mount\(/).length, 1, options[0])
  assert.equal(matching(planned({ ...tmpfs, options: [`lowerdir=/${'x'.repeat(254)}`] }), /^mount\(/), [])
})

test('a device is opened read-only for a mount that is read-only, a file system of the kernel is not', () => {
  const read = (type: string) => matching(planned({ ...tmpfs, type, options: ['ro', 'mode=1'] }), /"ro"/).length
  assert.is(read('ext4'), 1)
  assert.is(read('overlay'), 1)
  for (const type of ['tmpfs', 'sysfs', 'mqueue', 'devpts']) assert.is(read(type), 0, type)
})

test('the label is the context of new file systems that take one', () => {
  const context = (mount: Mount, given: typeof label | null = label) =>
    matching(planned(mount, { label: given }), /context/)
  assert.equal(context(tmpfs), [`fsconfig(<slot 19>, FSCONFIG_SET_STRING, "context", "${text}", 0)`])
  assert.equal(context(tmpfs, null), [])
  for (const type of ['proc', 'sysfs']) assert.equal(context({ ...tmpfs, type }), [], type)
  assert.equal(context({ destination: '/m', type: 'bind', source: '/x', options: ['bind'] }), [])
})

test('the label is the value of another option, if an annotation says so', () => {
  const root = { type: 'rootcontext', text }
  assert.equal(matching(planned(tmpfs, { label: root }), /context/), [
    `fsconfig(<slot 19>, FSCONFIG_SET_STRING, "rootcontext", "${text}", 0)`,
  ])
  const [call] = matching(planned({ ...tmpfs, options: ['size=1', 'iversion'] }, { label: root }), /^mount\(/)
  assert.ok(call!.includes(JSON.stringify(`size=1,rootcontext="${text}"`)), call)
  const own = planned({ ...tmpfs, options: ['rootcontext=other'] }, { label: root })
  assert.is(matching(own, /context/).length, 1)
})

test('a context of the options comes before the label', () => {
  const calls = planned({ ...tmpfs, options: ['context=other'] }, { label })
  assert.equal(matching(calls, /context/), ['fsconfig(<slot 19>, FSCONFIG_SET_STRING, "context", "other", 0)'])
})

test('in the text for mount(2) the label is quoted, for it holds a comma', () => {
  const [call] = matching(planned({ ...tmpfs, options: ['size=1', 'iversion'] }, { label }), /^mount\(/)
  assert.ok(call!.includes(JSON.stringify(`size=1,context="${text}"`)), call)
})

test('the message queue file system has its label as an attribute', () => {
  const calls = planned({ ...tmpfs, type: 'mqueue', options: [] }, { label })
  assert.equal(matching(calls, /context/), [])
  assert.is(matching(calls, /^fsetxattr\(.*"security.selinux"/).length, 1)
})

test('a bind mount whose ids the stage has mapped is not opened again', () => {
  const bind: Mount = { destination: '/m', type: 'bind', source: '/x', options: ['bind', 'ro'] }
  assert.is(matching(planned(bind), /^open_tree\(/).length, 1)
  const mapped = planned(bind, { idmapped: new Map([[3, 42]]) })
  assert.equal(matching(mapped, /^open_tree\(/), [])
  assert.is(matching(mapped, /^mount_setattr\(.*set=0x1,/).length, 1)
})

test('a new file system with mapped ids is mapped before it is attached', () => {
  const calls = planned(tmpfs, { idmapped: new Map([[3, 42]]) })
  const map = calls.findIndex((call) => /^mount_setattr\(.*set=0x100000,/.test(call))
  assert.ok(map >= 0 && map < calls.findIndex((call) => call.startsWith('move_mount')))
})

test('sources: absolute as they are, others from the bundle', () => {
  const source = (path: string) =>
    matching(planned({ destination: '/m', source: path, options: ['rbind'] }), /^open_tree/)[0]!
  assert.match(source('/a/../b'), /"\/a\/..\/b"/)
  assert.match(source('a/../b'), /"\/bundle\/a\/..\/b"/)
})

/** What a kernel is asked for a mount, and how the plan calls it. `fails`: how often a call of this name does, and with what. */
function performed(mount: Mount, fails: Readonly<Record<string, readonly [number, string]>>): string[] {
  const left = new Map(Object.entries(fails).map(([name, [times]]) => [name, times]))
  const calls: string[] = []
  const { runtime } = fakeHost({}, (_, { name, args, text }) => {
    const inMemory = (arg: number) => arg >= ARENA && arg < SLOTS
    const shown = args.map((arg) => (!inMemory(arg) ? arg : /^[^\0-\x1f]+$/.test(text(arg)) ? text(arg) : 'memory'))
    calls.push(`${name} ${shown.join(' ')}`)
    const times = left.get(name) ?? 0
    left.set(name, times - 1)
    return times > 0 ? fails[name]![1] : undefined
  })
  const train = new Train(runtime.init, 'x86_64')
  planMount(train, mount, 3, setting)
  const { batch } = train
  const plan = Array.from({ length: batch.count }, (_, index) => batch.stepAt(index)).map(
    (step) => `${step.about}: ${step.name ? renderCall(step) : step.kind}`,
  )
  let failure = ''
  try {
    runtime.init.wait(train.depart())
  } catch (error) {
    failure = (error as Error).message
  }
  return [...plan, ...calls, failure]
}

test('a bind mount that is planned by a template is the same as one that is not', () => {
  const mounts = [
    '/a',
    '/etc/resolv.conf',
    '/a/b/c',
    '//x/../var/run/./secrets/kubernetes.io/service account',
    '/dev/\ue000\ue003',
  ].map(
    (destination): Mount => ({
      destination,
      type: 'bind',
      source: '/from/\ue001',
      options: ['rbind', 'rprivate', 'ro'],
    }),
  )
  const kernels = [
    {},
    { openat: [1, 'ENOTDIR'] },
    { openat: [1, 'EIO'] },
    { openat2: [1, 'ENOENT'] },
    { openat2: [2, 'ENOENT'] },
    { openat2: [9, 'ENOENT'] },
    { openat2: [1, 'ENOENT'], mkdirat: [1, 'EROFS'] },
    { openat: [1, 'ENOTDIR'], openat2: [3, 'ENOENT'] },
    { openat: [1, 'ENOTDIR'], openat2: [1, 'EACCES'] },
    { move_mount: [1, 'EPERM'] },
  ] as const
  const all = () => mounts.flatMap((mount) => kernels.map((fails) => performed(mount, fails)))
  const plain = all()
  for (let depth = 1; depth <= 5; depth++) prepareBinding('x86_64', depth)
  assert.equal(all(), plain)
})

test.run()
