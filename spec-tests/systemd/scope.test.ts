/**
 * `--systemd-cgroup` on a host with systemd: what the scope is like, and what becomes of it. Run by root with the system's systemd, run by a
 * user with its own. What holds of all control groups is tested elsewhere, with CGROUP_MANAGER=systemd.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Config,
  type Container,
  container,
  execute,
  fails,
  heading,
  makeRootless,
  runtime as name,
  ok,
  oneLine,
  pidsIn,
  type Result,
  run as runtime,
  skip,
  words,
} from '../harness.ts'
import { isAlive, unified, waitFor } from '../host.ts'

const { test, only, run } = heading('systemd/scope')

/** Units of this file begin so. */
const PREFIX = `runttest${process.pid}`
const root = process.getuid!() === 0
/** Where scopes lie that do not say. */
const SLICE = root ? 'system.slice' : 'user.slice'
const forRoot = (): void => {
  if (!root) skip('for root')
}

interface Scoped extends Container {
  unit: string
}

const systemctl = (...args: string[]): string => {
  const done = spawnSync('systemctl', root ? args : ['--user', ...args], { encoding: 'utf8' })
  if (done.error) throw done.error
  return done.stdout
}

/** A property of a unit, as systemctl prints it. */
function show(unit: string, property: string): string {
  return systemctl('show', unit, '--value', '--property', property).trim()
}

/** The cgroup that systemd's slices lie in: that of the user's manager. */
const top = (): string => systemctl('show', '--value', '--property', 'ControlGroup').trim().replace(/\/$/, '')

/** Ends the test as skipped where systemd has no such controller to give away. */
function needs(...controllers: string[]): void {
  if (!unified) return
  const there = readFileSync(`/sys/fs/cgroup${top()}/cgroup.controllers`, 'utf8').trim().split(' ')
  const missing = controllers.filter((name) => !there.includes(name))
  if (missing.length > 0) skip(`no controller ${missing.join(', ')} in ${top() || 'the root cgroup'}`)
}

const exists = (unit: string): boolean =>
  show(unit, 'LoadState') === 'loaded' && show(unit, 'ActiveState') !== 'inactive'

/** A container that lives in a scope, not created yet. */
function scoped(configure: (config: Config) => void = () => {}): Scoped {
  if (!existsSync('/run/systemd/private')) skip('systemd does not run here')
  if (!root && !unified) skip("a user's own systemd manages control groups on cgroup v2 only")
  const adapt = (config: Config): void => {
    config.process.args = ['sleep', '100']
    if (!root) makeRootless(config, process.getuid!(), process.getgid!())
    configure(config)
  }
  const c = container(adapt, undefined, ['--systemd-cgroup'])
  const unit = `${PREFIX}-${c.id}.scope`
  c.bundle.config.linux.cgroupsPath ??= ''
  if (c.bundle.config.linux.cgroupsPath.startsWith('/'))
    c.bundle.config.linux.cgroupsPath = `${SLICE}:${PREFIX}:${c.id}`
  c.bundle.write()
  return { ...c, unit }
}

function startedIn(configure?: (config: Config) => void): Scoped {
  const c = scoped(configure)
  ok(c.create(), 'create')
  ok(c.start(), 'start')
  return c
}

/** Nothing is left of a unit. */
function gone(unit: string): void {
  assert.ok(
    waitFor(() => !exists(unit), 3000),
    `${unit} is ${show(unit, 'ActiveState')}`,
  )
  assert.is(show(unit, 'ActiveState'), 'inactive')
}

const folder = (c: Scoped, controller = 'memory'): string => {
  const line = readFileSync(`/proc/${c.state().pid}/cgroup`, 'utf8')
    .split('\n')
    .find((text) => (unified ? text.startsWith('0:') : text.split(':')[1]!.split(',').includes(controller)))!
  const mount = unified ? '/sys/fs/cgroup' : `/sys/fs/cgroup/${line.split(':')[1]}`
  return join(mount, line.split(':').slice(2).join(':'))
}
const file = (c: Scoped, controller: string, v1: string, v2: string): string =>
  readFileSync(join(folder(c, controller), unified ? v2 : v1), 'utf8').trim()

test('the container is in a scope named after cgroupsPath, in its slice, in every hierarchy', () => {
  const c = startedIn()
  assert.is(show(c.unit, 'ActiveState'), 'active')
  assert.is(show(c.unit, 'Slice'), SLICE)
  assert.is(show(c.unit, 'Delegate'), 'yes')
  assert.is(show(c.unit, 'DefaultDependencies'), 'no')
  assert.is(show(c.unit, 'ControlGroup'), `${top()}/${SLICE}/${c.unit}`)
  const lines = readFileSync(`/proc/${c.state().pid}/cgroup`, 'utf8').trim().split('\n')
  for (const line of lines) {
    if (!unified && line.startsWith('0:') && name !== 'runt') continue
    assert.match(line, new RegExp(`:${top()}/${SLICE}/${c.unit}(/container)?$`))
  }
})

const LIMITS = {
  memory: { limit: 64 << 20, reservation: 32 << 20 },
  cpu: { shares: 1024, quota: 33_333, period: 50_000 },
  pids: { limit: 20 },
}

test('systemd knows the limits, rounded as it has to; the files have them as they are', () => {
  needs('cpu', 'memory', 'pids')
  const c = startedIn((config) => {
    Object.assign(config.linux.resources!, LIMITS)
  })
  const shown = ['TasksMax', 'CPUQuotaPerSecUSec', 'CPUQuotaPeriodUSec', unified ? 'MemoryMax' : 'MemoryLimit']
  assert.equal(
    shown.map((property) => show(c.unit, property)),
    ['20', '670ms', '50ms', String(64 << 20)],
  )
  if (unified) assert.is(show(c.unit, 'MemoryLow'), String(32 << 20))
  else assert.is(show(c.unit, 'CPUShares'), '1024')
  assert.is(file(c, 'pids', 'pids.max', 'pids.max'), '20')
  assert.is(file(c, 'memory', 'memory.limit_in_bytes', 'memory.max'), String(64 << 20))
  if (unified) assert.is(file(c, 'cpu', '', 'cpu.max'), '33333 50000')
  else assert.is(file(c, 'cpu', 'cpu.cfs_quota_us', ''), '33333')
})

test('the limits survive a reload of systemd', () => {
  needs('cpu', 'memory', 'pids')
  const c = startedIn((config) => {
    Object.assign(config.linux.resources!, LIMITS)
  })
  systemctl('daemon-reload')
  assert.is(file(c, 'pids', 'pids.max', 'pids.max'), '20')
  assert.is(file(c, 'memory', 'memory.limit_in_bytes', 'memory.max'), String(64 << 20))
  assert.is(c.status(), 'running')
})

test('sets of CPUs and nodes are told to systemd', () => {
  if (!unified) skip('on cgroup v1 systemd has no sets of CPUs')
  needs('cpuset')
  const c = startedIn((config) => {
    config.linux.resources!.cpu = { cpus: '0', mems: '0' }
  })
  assert.is(show(c.unit, 'AllowedCPUs'), '0')
  assert.is(show(c.unit, 'AllowedMemoryNodes'), '0')
  assert.is(file(c, 'cpuset', '', 'cpuset.cpus'), '0')
})

test('keys of unified become properties', () => {
  if (!unified) skip('the controllers are on cgroup v1')
  needs('cpu', 'memory', 'pids')
  const c = startedIn((config) => {
    Object.assign(config.linux.resources!, {
      unified: {
        'memory.high': '33554432',
        'memory.min': '4096',
        'pids.max': '30',
        'cpu.weight': '77',
        'cpu.max': '20000 40000',
      },
    })
  })
  assert.equal(
    ['MemoryHigh', 'MemoryMin', 'TasksMax', 'CPUWeight', 'CPUQuotaPerSecUSec', 'CPUQuotaPeriodUSec'].map((property) =>
      show(c.unit, property),
    ),
    ['33554432', '4096', '30', '77', '500ms', '40ms'],
  )
})

test('annotations set properties; those in seconds may have fractions', () => {
  const c = startedIn((config) => {
    config.annotations = {
      'org.systemd.property.TimeoutStopUSec': 'uint64 7000000',
      'org.systemd.property.KillMode': "'mixed'",
      'org.systemd.property.After': "['basic.target']",
      'org.systemd.property.RuntimeMaxSec': '3000.5',
    }
  })
  assert.equal(
    ['TimeoutStopUSec', 'KillMode', 'RuntimeMaxUSec'].map((property) => show(c.unit, property)),
    ['7s', 'mixed', '50min 500ms'],
  )
  assert.match(show(c.unit, 'After'), /basic\.target/)
})

test('a property that systemd does not have is refused, and nothing is left', () => {
  const c = scoped((config) => {
    config.annotations = { 'org.systemd.property.NoSuchThing': 'true' }
  })
  const result = fails(c.create(), /NoSuchThing/)
  oneLine(result)
  gone(c.unit)
})

for (const [title, annotations, message] of [
  ['a value of a wrong type', { TimeoutStopUSec: "'soon'" }, /TimeoutStopUSec|Timeout|[Ii]nvalid|[Uu]nexpected/],
  ['a value that is none', { CPUWeight: 'uint64 99999999' }, /CPUWeight/],
  ['a word that is none', { KillMode: "'gently'" }, /[Kk]ill ?[Mm]ode/],
] as const)
  test(`${title} in an annotation is refused, and nothing is left`, () => {
    const c = scoped((config) => {
      config.annotations = Object.fromEntries(
        Object.entries(annotations).map(([key, value]) => [`org.systemd.property.${key}`, value]),
      )
    })
    const result = fails(c.create(), message)
    oneLine(result)
    gone(c.unit)
  })

test('an annotation has the last word over a limit', () => {
  needs('memory', 'pids')
  const c = startedIn((config) => {
    config.linux.resources!.pids = { limit: 20 }
    config.annotations = {
      'org.systemd.property.TasksMax': 'uint64 25',
      'org.systemd.property.MemoryHigh': 'uint64 33554432',
    }
  })
  assert.is(show(c.unit, 'TasksMax'), '25')
  if (unified) assert.is(show(c.unit, 'MemoryHigh'), '33554432')
})

const DEVICES = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 11, access: 'r' },
  { allow: true, type: 'c', major: 189, access: 'rw' },
]
const LISTED = [
  '/dev/char/1:11 r',
  '/dev/char/1:3 rwm',
  '/dev/char/5:2 rwm',
  name === 'runc' ? 'char-usb_device rw' : 'char-189 rw',
  name === 'runc' ? 'char-pts rwm' : 'char-136 rwm',
]

/** A container in which /dev/one is 1:11, the log of the kernel, and /dev/two 1:9, with a copy at /dev/log of what is not allowed. */
function withDevices(script: string): Scoped {
  forRoot()
  return startedIn((config) => {
    config.linux.resources = { devices: DEVICES }
    config.linux.devices = [
      { path: '/dev/one', type: 'c', major: 1, minor: 11, fileMode: 0o666 },
      { path: '/dev/mem', type: 'c', major: 1, minor: 1, fileMode: 0o666 },
    ]
    config.process.args = ['sh', '-c', script]
  })
}

test('systemd knows the devices, and they are what the container may use', () => {
  const c = withDevices('sleep 100')
  const use = (): string[] =>
    ['true </dev/one', 'true 2>/dev/null >/dev/one', 'true </dev/mem', 'true >/dev/null', 'head -c 1 /dev/zero'].map(
      (script) => {
        const { status, stderr } = runtime(['exec', c.id, 'sh', '-c', script])
        return status === 0 ? 'yes' : (/(not permitted|denied)/.exec(stderr)?.[1] ?? stderr)
      },
    )
  const expected = ['yes', '', 'not permitted', 'yes', 'yes']
  const judged = (found: string[]): string[] => found.map((word, index) => (index === 1 && word !== 'yes' ? '' : word))
  assert.is(show(c.unit, 'DevicePolicy'), 'strict')
  const listed = show(c.unit, 'DeviceAllow').split('\n')
  for (const line of LISTED) assert.ok(listed.includes(line), `${line} in ${listed.join(', ')}`)
  assert.equal(judged(use()), expected)
  // Then it sets the devices anew.
  systemctl('daemon-reload')
  assert.equal(judged(use()), expected)
})

test('what may be used all the time can be used while the rules change', () => {
  const c = withDevices(
    'echo ready; n=0; while :; do : >/dev/null || echo lost; n=$((n+1)); [ -e /tmp/end ] && { echo "tried $((n > 9))"; exit; }; done 2>&1',
  )
  c.says(/ready/)
  for (const minor of [7, 11, 7, 11]) {
    const devices = [DEVICES[0], { allow: true, type: 'c', major: 1, minor, access: 'r' }]
    ok(runtime(['update', '-r', '-', c.id], { stdin: JSON.stringify({ devices }) }))
    assert.match(show(c.unit, 'DeviceAllow'), new RegExp(`^/dev/char/1:${minor} r`, 'm'))
  }
  c.bundle.file('tmp/end', '')
  c.says(/tried/)
  assert.is(c.output(), 'ready\ntried 1\n')
})

test('a container that may use all devices has a unit that may', () => {
  forRoot()
  const c = startedIn((config) => {
    config.linux.resources = { devices: [{ allow: true, access: 'rwm' }] }
  })
  assert.equal([show(c.unit, 'DevicePolicy'), show(c.unit, 'DeviceAllow')], ['auto', ''])
})

only('runt', "a user's own systemd is told of no devices, and the log says so", () => {
  if (root) skip('for a user')
  const c = scoped((config) => {
    config.linux.resources = { devices: DEVICES }
  })
  const created = ok(runtime(['--debug', '--systemd-cgroup', 'create', '--bundle', c.bundle.directory, c.id]))
  assert.match(created.stderr, /linux\.resources\.devices: a user's own systemd has no right/)
  assert.is(show(c.unit, 'DeviceAllow'), '')
})

/** Pids, by ps. */
test('the container may make cgroups in its own, and all verbs know them', () => {
  if (!unified) skip('on cgroup v1 sub-cgroups are no matter of delegation')
  const c = startedIn((config) => {
    config.linux.namespaces.push({ type: 'cgroup' })
    for (const mount of config.mounts) if (mount.type === 'cgroup') mount.options = ['rw']
    config.process.args = [
      'sh',
      '-c',
      'cd /sys/fs/cgroup; mkdir sub || exit; echo 0 >sub/cgroup.procs || exit; echo "+pids" >cgroup.subtree_control || exit; echo 30 >sub/pids.max; sleep 61 & echo made; wait; sleep 100',
    ]
  })
  c.says(/made/)
  // systemd leaves alone what it has given away.
  systemctl('daemon-reload')
  const sub = join(folder(c), '')
  assert.match(sub, /\/sub\/?$/)
  assert.is(readFileSync(join(sub, 'pids.max'), 'utf8'), '30\n')
  assert.is(pidsIn(c.id).length, 2)
  const [init] = pidsIn(c.id)
  ok(runtime(['exec', '--detach', c.id, 'sleep', '62']))
  assert.is(pidsIn(c.id).length, 3)
  ok(runtime(['exec', '--cgroup', 'sub', c.id, 'true']))
  assert.is(show(c.unit, 'TasksCurrent'), '3')
  ok(runtime(['pause', c.id]))
  assert.is(c.status(), 'paused')
  assert.match(readFileSync(join(sub, 'cgroup.events'), 'utf8'), /^frozen 1$/m)
  ok(runtime(['resume', c.id]))
  ok(c.kill('--all', 'KILL'))
  c.until('stopped')
  assert.not(isAlive(init!))
  ok(c.delete())
  gone(c.unit)
})

test('delete --force ends a paused container', () => {
  const c = startedIn((config) => {
    config.process.args = ['sh', '-c', 'sleep 61 & sleep 62 & wait']
  })
  ok(runtime(['pause', c.id]))
  ok(c.delete('--force'))
  gone(c.unit)
})

test('kill --all ends what a stopped container has left, in its scope', () => {
  // Without a pid namespace of its own a user mounts no /proc.
  forRoot()
  const c = startedIn((config) => {
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid')
    config.process.args = ['sh', '-c', 'sleep 61 >/dev/null 2>&1 & sleep 62 >/dev/null 2>&1 & true']
  })
  c.until('stopped')
  const left = pidsIn(c.id)
  assert.is(left.length, 2)
  assert.is(show(c.unit, 'ActiveState'), 'active')
  ok(c.kill('--all', 'KILL'))
  assert.ok(waitFor(() => !left.some(isAlive)))
  ok(c.delete())
  gone(c.unit)
})

test('a container whose unit somebody stops is stopped, and can be deleted', () => {
  const c = startedIn()
  systemctl('kill', '--signal', 'KILL', c.unit)
  c.until('stopped')
  systemctl('stop', c.unit)
  ok(c.delete())
  gone(c.unit)
})

test('a limit of one process is enough for a container of one process', () => {
  const c = scoped((config) => {
    config.linux.resources!.pids = { limit: 1 }
    config.process.args = ['echo', 'alone']
  })
  assert.is(ok(c.run()).stdout, 'alone\n')
  gone(c.unit)
})

test('delete removes the unit', () => {
  const c = startedIn()
  ok(c.delete('--force'))
  gone(c.unit)
})

test('the unit of a container that ended by itself is gone after delete', () => {
  const c = startedIn((config) => {
    config.process.args = ['false']
  })
  c.until('stopped')
  ok(c.delete())
  gone(c.unit)
})

test('a name can be used again at once', () => {
  const c = scoped((config) => {
    config.process.args = ['true']
  })
  for (let round = 0; round < 5; round++) ok(c.run(), `round ${round}`)
  gone(c.unit)
})

test('a failed unit of the name is taken away', () => {
  const c = scoped()
  const where = [...(root ? [] : ['--user']), '--unit', c.unit, '--slice', SLICE, '--scope']
  spawnSync('systemd-run', [...where, '--property', 'RuntimeMaxSec=100ms', 'sleep', '1'])
  assert.ok(
    waitFor(() => show(c.unit, 'ActiveState') === 'failed'),
    `no failed unit to test with: ${show(c.unit, 'ActiveState')}`,
  )
  ok(c.create())
  assert.is(show(c.unit, 'ActiveState'), 'active')
})

test('a unit that is in use is named, and left as it is', () => {
  const first = startedIn()
  const second = scoped()
  second.bundle.config.linux.cgroupsPath = `${SLICE}:${PREFIX}:${first.id}`
  second.bundle.write()
  fails(second.create(), name === 'runt' ? new RegExp(`the unit ${first.unit} exists already, and is active`) : /./)
  assert.is(first.status(), 'running')
  assert.ok(isAlive(first.state().pid!))
})

test('a create that fails leaves no unit', () => {
  const c = scoped((config) => {
    config.process.args = ['/no/such/program']
  })
  fails(c.create(), /no such file/)
  gone(c.unit)
})

test('without a path the unit is named after runtime and container', () => {
  const c = scoped((config) => {
    config.linux.cgroupsPath = ''
  })
  ok(c.create())
  const unit = `${name}-${c.id}.scope`
  assert.is(show(unit, 'ActiveState'), 'active')
  ok(c.delete('--force'))
  gone(unit)
})

test('slices above the scope are made, and those that were made go again', () => {
  const c = scoped((config) => {
    config.linux.cgroupsPath = `${PREFIX}-deep.slice:${PREFIX}:deep`
  })
  ok(c.create())
  const unit = `${PREFIX}-deep.scope`
  assert.is(show(unit, 'ControlGroup'), `${top()}/${PREFIX}.slice/${PREFIX}-deep.slice/${unit}`)
  ok(c.delete('--force'))
  gone(unit)
  systemctl('stop', `${PREFIX}.slice`)
})

only('runt', 'a name that ends in .slice makes a slice', () => {
  // Into a slice systemd moves nobody, and a user can only from below its own systemd.
  forRoot()
  const slice = `${PREFIX}-box.slice`
  const c = scoped((config) => {
    config.linux.cgroupsPath = `${PREFIX}.slice:x:${slice}`
    config.linux.resources!.pids = { limit: 9 }
  })
  ok(c.create())
  assert.is(show(slice, 'ActiveState'), 'active')
  assert.is(show(slice, 'TasksMax'), '9')
  assert.match(readFileSync(`/proc/${c.state().pid}/cgroup`, 'utf8'), new RegExp(`/${PREFIX}.slice/${slice}$`, 'm'))
  ok(c.start())
  ok(c.delete('--force'))
  gone(slice)
  systemctl('stop', `${PREFIX}.slice`)
})

test('what cannot be set by update is not told to systemd either', () => {
  needs('memory', 'pids')
  const c = startedIn((config) => {
    Object.assign(config.linux.resources!, { pids: { limit: 20 } })
  })
  const result = fails(runtime(['update', '--pids-limit', '33', '--cpuset-cpus', '4000', c.id]), /cpuset/)
  oneLine(result)
  assert.is(show(c.unit, 'TasksMax'), '20')
  assert.is(file(c, 'pids', 'pids.max', 'pids.max'), '20')
})

test('update tells systemd of the new limits', () => {
  needs('cpu', 'memory', 'pids')
  const c = startedIn((config) => {
    Object.assign(config.linux.resources!, LIMITS)
  })
  ok(runtime(['update', '--pids-limit', '33', '--cpu-quota', '10000', '--memory', String(128 << 20), c.id]))
  assert.equal(
    ['TasksMax', 'CPUQuotaPerSecUSec', unified ? 'MemoryMax' : 'MemoryLimit'].map((property) => show(c.unit, property)),
    ['33', '200ms', String(128 << 20)],
  )
  systemctl('daemon-reload')
  assert.is(file(c, 'pids', 'pids.max', 'pids.max'), '33')
  assert.is(file(c, 'memory', 'memory.limit_in_bytes', 'memory.max'), String(128 << 20))
})

test('without a cgroup namespace the container sees its own cgroup', () => {
  const c = startedIn((config) => {
    config.linux.namespaces = config.linux.namespaces!.filter(({ type }) => type !== 'cgroup')
    config.mounts!.push({ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] })
    config.process.args = ['sleep', '100']
  })
  const path = unified ? '/sys/fs/cgroup/cgroup.procs' : '/sys/fs/cgroup/pids/cgroup.procs'
  const seen = ok(runtime(['exec', c.id, 'cat', path])).stdout
  assert.match(seen, /^\d+$/m)
})

test('run in the foreground leaves no unit, however the program ends', () => {
  for (const [script, status] of [
    ['exit 0', 0],
    ['exit 3', 3],
    // The first process of a pid namespace cannot kill itself.
    ["sh -c 'kill -9 $$'; exit $?", 137],
  ] as const) {
    const c = scoped((config) => {
      config.process.args = ['sh', '-c', script]
    })
    assert.is(c.run().status, status)
    gone(c.unit)
  }
})

/** A command where nobody can reach systemd. */
const alone = (...words: string[]): Result =>
  execute([
    ...['unshare', ...(root ? [] : ['--user', '--map-current-user', '--keep-caps']), '--mount', 'sh', '-c'],
    'for d in "$0"/dbus "$0"/bus "$0"/systemd; do test -e "$d" || continue; mount --bind /dev/null "$d" 2>/dev/null || mount -t tmpfs none "$d"; done; exec "$@"',
    root ? '/run' : process.env.XDG_RUNTIME_DIR!,
    ...words,
  ])

only('runt', 'where systemd cannot be reached create fails, and says which way was tried', () => {
  forRoot()
  const c = scoped()
  const result = fails(alone(...words(['--systemd-cgroup', 'create', '--bundle', c.bundle.directory, c.id])))
  assert.match(
    result.stderr,
    /create: --systemd-cgroup: the system bus \(\/run\/dbus\/system_bus_socket\): (ENOENT|ECONNREFUSED|ENOTDIR)/,
  )
  oneLine(result)
  gone(c.unit)
})

only('runt', 'where systemd cannot be reached update fails and changes nothing, and delete works', () => {
  forRoot()
  const c = startedIn((config) => {
    Object.assign(config.linux.resources!, { pids: { limit: 20 } })
  })
  const result = fails(
    alone(...words(['update', '--pids-limit', '33', c.id])),
    /update: --systemd-cgroup: the system bus/,
  )
  oneLine(result)
  assert.is(file(c, 'pids', 'pids.max', 'pids.max'), '20')
  ok(alone(...words(['delete', '--force', c.id])))
  gone(c.unit)
})

only('runt', 'systemd is reached without a bus too', () => {
  forRoot()
  const env = { DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/nowhere' }
  const c = scoped((config) => {
    config.process.args = ['echo', 'direct']
  })
  assert.is(ok(c.run([], { env })).stdout, 'direct\n')
  gone(c.unit)
})

run()
