/** update: not in runtime-spec; as runc has it, and as containerd, dockerd and podman call it. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  type Container,
  fails,
  heading,
  runtime as name,
  ok,
  oneLine,
  run as runtime,
  skip,
  started,
} from '../harness.ts'
import { cgroupDirectory, lacksController, unified } from '../host.ts'

const { test, run } = heading('runtime/update')

const CONTROLLERS: Record<string, string> = {
  memory: 'memory',
  cpu: 'cpu',
  cpuset: 'cpuset',
  pids: 'pids',
  blkio: 'blkio',
  io: 'blkio',
}

function pathOf(c: Container, v1: string, v2: string): string {
  const name = unified ? v2 : v1
  const directory = cgroupDirectory(CONTROLLERS[name.split('.', 1)[0]!]!, c.bundle.config.linux.cgroupsPath)
  if (!directory) skip(`the controller of ${name} is not mounted`)
  return join(directory, name)
}

/** The content of a control file of the container. */
function value(c: Container, v1: string, v2: string): string {
  const path = pathOf(c, v1, v2)
  if (!existsSync(path)) skip(`the kernel has no ${path}`)
  return readFileSync(path, 'utf8').trim()
}

const limited = (resources: Record<string, unknown>) => (config: Config) => {
  config.linux.resources = { ...config.linux.resources, ...resources }
}
const update = (c: Container, ...flags: string[]) => runtime(['update', ...flags, c.id])
const send = (c: Container, resources: unknown) =>
  runtime(['update', '--resources', '-', c.id], { stdin: JSON.stringify(resources) })

/** See config-linux/cgroups. */
const weights = (shares: number): string[] => {
  const log = Math.log2(shares)
  const curve = Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))
  return [curve, 1 + Math.floor(((shares - 2) * 9999) / 262142)].map(String)
}
const isShares = (c: Container, shares: number): void => {
  const found = value(c, 'cpu.shares', 'cpu.weight')
  assert.ok((unified ? weights(shares) : [String(shares)]).includes(found), found)
}
const MIB = 1 << 20

for (const [flags, v1, v2, want1, want2] of [
  [['--memory', '64m'], 'memory.limit_in_bytes', 'memory.max', 64 * MIB, 64 * MIB],
  [['--memory', '1.5GiB'], 'memory.limit_in_bytes', 'memory.max', 1536 * MIB, 1536 * MIB],
  [['--memory=-1'], 'memory.limit_in_bytes', 'memory.max', '9223372036854771712', 'max'],
  [['--memory-reservation', '32M'], 'memory.soft_limit_in_bytes', 'memory.low', 32 * MIB, 32 * MIB],
  [['--memory', '64m', '--memory-swap', '96mb'], 'memory.memsw.limit_in_bytes', 'memory.swap.max', 96 * MIB, 32 * MIB],
  [['--cpu-quota', '20000', '--cpu-period', '50000'], 'cpu.cfs_quota_us', 'cpu.max', 20000, '20000 50000'],
  [['--cpu-idle', '1'], 'cpu.idle', 'cpu.idle', 1, 1],
  [['--cpu-quota', '50000', '--cpu-burst', '10000'], 'cpu.cfs_burst_us', 'cpu.max.burst', 10000, 10000],
  [['--cpuset-cpus', '0'], 'cpuset.cpus', 'cpuset.cpus', 0, 0],
  [['--cpuset-mems', '0'], 'cpuset.mems', 'cpuset.mems', 0, 0],
  [['--pids-limit', '33'], 'pids.max', 'pids.max', 33, 33],
  [['--pids-limit', '-1'], 'pids.max', 'pids.max', 'max', 'max'],
  [['--blkio-weight', '300'], 'blkio.bfq.weight', 'io.bfq.weight', 300, 'default 300'],
] as const)
  test(`update ${flags.join(' ')}`, () => {
    if (lacksController(v2)) skip(`the kernel has no controller for ${v2}`)
    if (unified && v2 === 'io.bfq.weight' && !['/sys/module/bfq', '/sys/fs/cgroup/io.cost.qos'].some(existsSync))
      skip('the kernel has no weights for devices')
    const c = started()
    ok(update(c, ...flags))
    assert.is(value(c, v1, v2), String(unified ? want2 : want1))
  })

test('update --cpu-share 2048', () => {
  const c = started()
  ok(update(c, '--cpu-share', '2048'))
  isShares(c, 2048)
})

test('a quota and a period may be changed one after the other', () => {
  const c = started(limited({ cpu: { quota: 50_000, period: 100_000 } }))
  ok(update(c, '--cpu-period', '200000'))
  ok(update(c, '--cpu-quota', '30000'))
  if (unified) assert.is(value(c, '', 'cpu.max'), '30000 200000')
  else assert.equal([value(c, 'cpu.cfs_quota_us', ''), value(c, 'cpu.cfs_period_us', '')], ['30000', '200000'])
})

test('memory and swap can be raised and lowered together', () => {
  const c = started(limited({ memory: { limit: 32 * MIB, swap: 64 * MIB } }))
  for (const [memory, swap] of [
    [128, 160],
    [48, 64],
  ] as const) {
    ok(update(c, '--memory', `${memory}m`, '--memory-swap', `${swap}m`))
    assert.is(value(c, 'memory.limit_in_bytes', 'memory.max'), String(memory * MIB))
    const left = unified ? swap - memory : swap
    assert.is(value(c, 'memory.memsw.limit_in_bytes', 'memory.swap.max'), String(left * MIB))
  }
})

test('swap alone is changed against the limit of memory that the container has', () => {
  const c = started(limited({ memory: { limit: 32 * MIB } }))
  ok(update(c, '--memory', '40m'))
  ok(update(c, '--memory-swap', '100m'))
  const left = unified ? 60 : 100
  assert.is(value(c, 'memory.memsw.limit_in_bytes', 'memory.swap.max'), String(left * MIB))
})

test('pids.limit 0 in a file asks for nothing where the container is older than runtime-spec 1.3', () => {
  const c = started((config) => {
    limited({ pids: { limit: 55 } })(config)
    config.ociVersion = '1.0.2-dev'
  })
  ok(send(c, { pids: { limit: 0 }, memory: { limit: 64 * MIB } }))
  assert.is(value(c, 'pids.max', 'pids.max'), '55')
  assert.is(value(c, 'memory.limit_in_bytes', 'memory.max'), String(64 * MIB))
})

test('resources may come from a file', () => {
  const c = started()
  const file = join(base, 'resources.json')
  writeFileSync(file, JSON.stringify({ pids: { limit: 44 }, cpu: { shares: 512 } }))
  ok(update(c, '-r', file))
  assert.is(value(c, 'pids.max', 'pids.max'), '44')
  isShares(c, 512)
})

test('zeros of an engine ask for nothing', () => {
  const c = started(limited({ memory: { limit: 64 * MIB }, pids: { limit: 55 }, cpu: { shares: 512 } }))
  // What dockerd sends for `docker update --pids-limit 66`.
  ok(
    send(c, {
      memory: { limit: 0, reservation: 0, swap: 0, kernel: 0 },
      cpu: { shares: 0, quota: 0, period: 0, realtimeRuntime: 0, realtimePeriod: 0, cpus: '', mems: '' },
      pids: { limit: 66 },
      blockIO: { weight: 0, weightDevice: null },
    }),
  )
  assert.is(value(c, 'memory.limit_in_bytes', 'memory.max'), String(64 * MIB))
  isShares(c, 512)
  assert.is(value(c, 'pids.max', 'pids.max'), '66')
})

test('what cannot be set leaves everything as it was', () => {
  const c = started(limited({ memory: { limit: 64 * MIB }, pids: { limit: 55 }, cpu: { shares: 512 } }))
  const result = fails(
    update(c, '--memory', '96m', '--pids-limit', '77', '--cpu-share', '700', '--cpuset-cpus', '4000'),
  )
  oneLine(result)
  assert.match(result.stderr, /cpuset\.cpus/)
  assert.is(value(c, 'memory.limit_in_bytes', 'memory.max'), String(64 * MIB))
  assert.is(value(c, 'pids.max', 'pids.max'), '55')
  isShares(c, 512)
})

test('a memory limit below what is used fails or is kept by the kernel, and the container lives', () => {
  if (unified) skip('cgroup2 ends processes until the limit holds, unless checkBeforeUpdate is set')
  const c = started((config) => {
    config.process.args = [
      'sh',
      '-c',
      'dd if=/dev/zero of=/dev/shm/file bs=1M count=30 2>/dev/null; echo ready; sleep 60',
    ]
    config.linux.resources = { ...config.linux.resources, memory: { limit: 64 * MIB, swap: 64 * MIB } }
  })
  c.says(/ready/)
  const result = fails(update(c, '--memory', '4m'), /memory/)
  assert.match(result.stderr, /EBUSY|busy|usage/i)
  assert.is(c.status(), 'running')
})

test('with checkBeforeUpdate a memory limit below what is used is refused, and the container lives', () => {
  if (!unified) skip('on cgroup v1 the kernel refuses it by itself')
  const c = started((config) => {
    config.process.args = [
      'sh',
      '-c',
      'dd if=/dev/zero of=/dev/shm/file bs=1M count=30 2>/dev/null; echo ready; sleep 60',
    ]
    config.linux.resources = { ...config.linux.resources, memory: { limit: 64 * MIB }, pids: { limit: 55 } }
  })
  c.says(/ready/)
  const result = fails(send(c, { memory: { limit: 4 * MIB, checkBeforeUpdate: true }, pids: { limit: 66 } }))
  assert.match(result.stderr, /memory/)
  assert.match(result.stderr, /usage|in use/)
  assert.is(c.status(), 'running')
  assert.is(value(c, '', 'memory.max'), String(64 * MIB))
  assert.is(value(c, '', 'pids.max'), '55')
  ok(send(c, { memory: { limit: 48 * MIB, checkBeforeUpdate: true } }))
  assert.is(value(c, '', 'memory.max'), String(48 * MIB))
  // It is a part of what the container has, and holds for later ones.
  if (name === 'runt') fails(update(c, '--memory', '4m'), /in use, and checkBeforeUpdate is set/)
})

test('a created container and a paused one can be updated', () => {
  const c = started()
  ok(runtime(['pause', c.id]))
  ok(update(c, '--pids-limit', '88'))
  assert.is(value(c, 'pids.max', 'pids.max'), '88')
  ok(runtime(['resume', c.id]))
})

test('a stopped container cannot be updated', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  oneLine(fails(update(c, '--pids-limit', '88'), /not running|stopped/))
})

test('an update of a container that does not exist fails', () => {
  oneLine(fails(runtime(['update', '--pids-limit', '5', 'nobody']), /does not exist/))
})

for (const [title, flags, message] of [
  ['a number that is none', ['--cpu-quota', 'much'], /cpu-quota|quota/],
  ['a unit that is none', ['--memory', '5x'], /memory/],
  ['a CPU that is not there', ['--cpuset-cpus', '999'], /cpuset/],
] as const)
  test(`${title} is refused`, () => {
    const c = started()
    fails(update(c, ...flags), message)
  })

test('resources that are not JSON, or of a wrong type, are refused', () => {
  const c = started()
  fails(runtime(['update', '--resources', '-', c.id], { stdin: 'x' }), /\S/)
  fails(send(c, { memory: { limit: 'much' } }), /memory\.limit|limit/)
})

test('device rules stay as they are unless there are new ones', () => {
  if (unified) skip('on cgroup2 the rules are a program')
  const c = started()
  const list = join(cgroupDirectory('devices', c.bundle.config.linux.cgroupsPath)!, 'devices.list')
  const before = readFileSync(list, 'utf8')
  ok(send(c, { pids: { limit: 5 }, devices: [] }))
  assert.is(readFileSync(list, 'utf8'), before)
})

run()
