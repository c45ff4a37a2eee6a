/** `--systemd-cgroup` on a host with systemd: what the scope is like, and what becomes of it. For the system's systemd; as root. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Config,
  type Container,
  container,
  fails,
  heading,
  runtime as name,
  ok,
  oneLine,
  type Result,
  type RunOptions,
  run as runtime,
  skip,
} from '../harness.ts'
import { isAlive, unified, waitFor } from '../host.ts'

const { test, only, run } = heading('systemd/scope')

/** Units of this file begin so. */
const PREFIX = `runttest${process.pid}`

interface Scoped extends Container {
  unit: string
}

const systemctl = (...args: string[]): string => {
  const done = spawnSync('systemctl', args, { encoding: 'utf8' })
  if (done.error) throw done.error
  return done.stdout
}

/** A property of a unit, as systemctl prints it. */
function show(unit: string, property: string): string {
  return systemctl('show', unit, '--value', '--property', property).trim()
}

const exists = (unit: string): boolean =>
  show(unit, 'LoadState') === 'loaded' && show(unit, 'ActiveState') !== 'inactive'

const withSystemd = (args: string[], options?: RunOptions): Result => runtime(['--systemd-cgroup', ...args], options)

/** A container that lives in a scope, not created yet. */
function scoped(configure: (config: Config) => void = () => {}): Scoped {
  if (!existsSync('/run/systemd/private')) skip('systemd does not run here')
  const c = container((config) => {
    config.process.args = ['sleep', '100']
    configure(config)
  })
  const unit = `${PREFIX}-${c.id}.scope`
  c.bundle.config.linux.cgroupsPath ??= ''
  if (c.bundle.config.linux.cgroupsPath.startsWith('/'))
    c.bundle.config.linux.cgroupsPath = `system.slice:${PREFIX}:${c.id}`
  c.bundle.write()
  return {
    ...c,
    unit,
    create: (...flags) => withSystemd(['create', '--bundle', c.bundle.directory, ...flags, c.id]),
    run: (flags = [], options) => withSystemd(['run', '--bundle', c.bundle.directory, ...flags, c.id], options),
  }
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
  assert.is(show(c.unit, 'Slice'), 'system.slice')
  assert.is(show(c.unit, 'Delegate'), 'yes')
  assert.is(show(c.unit, 'DefaultDependencies'), 'no')
  assert.is(show(c.unit, 'ControlGroup'), `/system.slice/${c.unit}`)
  const lines = readFileSync(`/proc/${c.state().pid}/cgroup`, 'utf8').trim().split('\n')
  for (const line of lines) {
    if (!unified && line.startsWith('0:') && name !== 'runt') continue
    assert.match(line, new RegExp(`:/system\\.slice/${c.unit}(/container)?$`))
  }
})

const LIMITS = {
  memory: { limit: 64 << 20, reservation: 32 << 20 },
  cpu: { shares: 1024, quota: 33_333, period: 50_000 },
  pids: { limit: 20 },
}

test('systemd knows the limits, rounded as it has to; the files have them as they are', () => {
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
  if (!readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').includes('cpuset'))
    skip('the kernel has no cpuset controller')
  const c = startedIn((config) => {
    config.linux.resources!.cpu = { cpus: '0', mems: '0' }
  })
  assert.is(show(c.unit, 'AllowedCPUs'), '0')
  assert.is(show(c.unit, 'AllowedMemoryNodes'), '0')
  assert.is(file(c, 'cpuset', '', 'cpuset.cpus'), '0')
})

test('keys of unified become properties', () => {
  if (!unified) skip('the controllers are on cgroup v1')
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
      'org.systemd.property.After': "['local-fs.target']",
      'org.systemd.property.RuntimeMaxSec': '3000.5',
    }
  })
  assert.equal(
    ['TimeoutStopUSec', 'KillMode', 'RuntimeMaxUSec'].map((property) => show(c.unit, property)),
    ['7s', 'mixed', '50min 500ms'],
  )
  assert.match(show(c.unit, 'After'), /local-fs\.target/)
})

test('a property that systemd does not have is refused, and nothing is left', () => {
  const c = scoped((config) => {
    config.annotations = { 'org.systemd.property.NoSuchThing': 'true' }
  })
  const result = fails(c.create(), /NoSuchThing/)
  oneLine(result)
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
  spawnSync('systemd-run', ['--scope', '--unit', c.unit, '--collect=no', 'true'])
  spawnSync('systemd-run', [
    '--unit',
    c.unit,
    '--slice',
    'system.slice',
    '--scope',
    '--property',
    'RuntimeMaxSec=100ms',
    'sleep',
    '1',
  ])
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
  second.bundle.config.linux.cgroupsPath = `system.slice:${PREFIX}:${first.id}`
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
  assert.is(show(unit, 'ControlGroup'), `/${PREFIX}.slice/${PREFIX}-deep.slice/${unit}`)
  ok(c.delete('--force'))
  gone(unit)
  systemctl('stop', `${PREFIX}.slice`)
})

only('runt', 'a name that ends in .slice makes a slice', () => {
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

test('update tells systemd of the new limits', () => {
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

only('runt', 'systemd is reached without a bus too', () => {
  const env = { DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/nowhere' }
  const c = scoped((config) => {
    config.process.args = ['echo', 'direct']
  })
  assert.is(ok(c.run([], { env })).stdout, 'direct\n')
  gone(c.unit)
})

run()
