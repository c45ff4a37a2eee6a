/** runtime-spec, config-linux.md: "Block IO". */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Config,
  type Container,
  container,
  run as execute,
  fails,
  heading,
  ok,
  oneLine,
  skip,
  started,
} from '../harness.ts'
import { cgroupDirectory, unified } from '../host.ts'

const { test, only, run } = heading('config-linux/block-io')

const blockIO = (value: Record<string, unknown>) => (config: Config) => {
  config.linux.resources = { ...config.linux.resources, blockIO: value }
}

function folderOf(c: Container): string {
  return cgroupDirectory('blkio', c.bundle.config.linux.cgroupsPath) ?? skip('the controller blkio is not mounted')
}

const files = (c: Container): string[] => readdirSync(folderOf(c))

function content(c: Container, name: string): string {
  const file = join(folderOf(c), name)
  if (!existsSync(file)) skip(`the kernel has no ${file}`)
  return readFileSync(file, 'utf8').trim()
}

interface Device {
  major: number
  minor: number
}

/** The disks of this machine that have a queue for requests, and the scheduler of each. */
const disks: readonly (Device & { scheduler: string })[] = readdirSync('/sys/block').flatMap((name) => {
  const text = (path: string) => readFileSync(join('/sys/block', name, path), 'utf8').trim()
  if (!existsSync(join('/sys/block', name, 'queue/scheduler')) || text('size') === '0') return []
  const [major, minor] = text('dev').split(':').map(Number)
  return [{ major: major!, minor: minor!, scheduler: /\[(.*)\]/.exec(text('queue/scheduler'))?.[1] ?? 'none' }]
})

const anyDisk = (): Device => {
  const { major, minor } = disks[0] ?? skip('this machine has no disk')
  return { major, minor }
}

/** No driver has this number; devices.txt of the kernel leaves it to experiments. */
const NO_DEVICE: Device = { major: 240, minor: 1234 }

/** BFQ's own weights where its module is loaded, otherwise those of blk-iocost: 1 to 10000 for 10 to 1000. */
function isWeight(c: Container, bfq: number, iocost: number): void {
  if (!unified) assert.is(content(c, 'blkio.bfq.weight'), String(bfq))
  else if (files(c).includes('io.bfq.weight')) assert.is(content(c, 'io.bfq.weight').split('\n')[0], `default ${bfq}`)
  else assert.is(content(c, 'io.weight').split('\n')[0], `default ${iocost}`)
}

let weights: boolean | undefined

/** Whether a cgroup has files for weights depends on modules: only a container can tell. */
function needsWeights(): void {
  const names = unified ? ['io.bfq.weight', 'io.weight'] : ['blkio.bfq.weight', 'blkio.weight']
  if (weights === undefined) {
    const c = started()
    weights = names.some((name) => files(c).includes(name))
    ok(c.delete('--force'))
  }
  if (!weights) skip(`the kernel has none of ${names.join(', ')}`)
}

for (const [weight, iocost] of [
  [10, 1],
  [300, 2930],
  [1000, 10_000],
] as const)
  test(`the weight ${weight} is set`, () => {
    needsWeights()
    isWeight(started(blockIO({ weight })), weight, iocost)
  })

test('update changes the weight', () => {
  needsWeights()
  const c = started(blockIO({ weight: 300 }))
  ok(execute(['update', '--resources', '-', c.id], { stdin: JSON.stringify({ blockIO: { weight: 400 } }) }))
  isWeight(c, 400, 3940)
})

test('the weight for a device is set', () => {
  needsWeights()
  const disk = disks.find(({ scheduler }) => scheduler === 'bfq') ?? skip('no disk has the scheduler bfq')
  const { major, minor } = disk
  const c = started(blockIO({ weight: 200, weightDevice: [{ major, minor, weight: 700 }] }))
  const lines = unified ? content(c, 'io.bfq.weight') : content(c, 'blkio.bfq.weight_device')
  assert.ok(lines.split('\n').includes(`${major}:${minor} 700`), lines)
})

test('the weight for a device whose scheduler knows none is refused in one line', () => {
  needsWeights()
  const disk = disks.find(({ scheduler }) => scheduler !== 'bfq') ?? skip('all disks have the scheduler bfq')
  const { major, minor } = disk
  const c = container(blockIO({ weightDevice: [{ major, minor, weight: 700 }] }))
  oneLine(fails(c.run(), /weight/))
})

only('runt', 'an error says what weights take where there are none', () => {
  const c = container(blockIO({ weight: 300 }))
  const { status, stderr } = c.create()
  if (status === 0) skip('the kernel has weights')
  assert.match(stderr, /blockIO\.weight: .*weights of disks take the module bfq/)
})

only('runt', 'errors about disks say what the disk has to be', () => {
  const gone = container(blockIO({ throttleReadBpsDevice: [{ ...NO_DEVICE, rate: 1 }] }))
  fails(gone.run(), /blockIO\.throttleReadBpsDevice\[0\]: .*no such disk, or it is a partition.*: ENODEV/)
  needsWeights()
  const { major, minor } =
    disks.find(({ scheduler }) => scheduler !== 'bfq') ?? skip('all disks have the scheduler bfq')
  const plain = container(blockIO({ weightDevice: [{ major, minor, weight: 700 }] }))
  fails(plain.run(), /blockIO\.weightDevice\[0\]\.weight: .*its scheduler is not BFQ.*: EOPNOTSUPP/)
})

/** One line of io.max. */
const limits = (device: Device, set: Record<string, number>): string =>
  ['rbps', 'wbps', 'riops', 'wiops'].reduce(
    (line, key) => `${line} ${key}=${set[key] ?? 'max'}`,
    `${device.major}:${device.minor}`,
  )

for (const [field, v1, key] of [
  ['throttleReadBpsDevice', 'blkio.throttle.read_bps_device', 'rbps'],
  ['throttleWriteBpsDevice', 'blkio.throttle.write_bps_device', 'wbps'],
  ['throttleReadIOPSDevice', 'blkio.throttle.read_iops_device', 'riops'],
  ['throttleWriteIOPSDevice', 'blkio.throttle.write_iops_device', 'wiops'],
] as const) {
  test(`${field} is set`, () => {
    const disk = anyDisk()
    const c = started(blockIO({ [field]: [{ ...disk, rate: 1_048_576 }] }))
    if (unified) assert.is(content(c, 'io.max'), limits(disk, { [key]: 1_048_576 }))
    else assert.is(content(c, v1), `${disk.major}:${disk.minor} 1048576`)
  })

  test(`${field} of a device that is not there is refused in one line`, () => {
    const c = container(blockIO({ [field]: [{ ...NO_DEVICE, rate: 1_048_576 }] }))
    folderOf(c)
    oneLine(fails(c.run(), unified ? /io\.max/ : new RegExp(v1.replaceAll('.', '\\.'))))
  })
}

test('all limits of a device are set together', () => {
  const disk = anyDisk()
  const c = started(
    blockIO({
      throttleReadBpsDevice: [{ ...disk, rate: 4_000_000 }],
      throttleWriteBpsDevice: [{ ...disk, rate: 3_000_000 }],
      throttleReadIOPSDevice: [{ ...disk, rate: 200 }],
      throttleWriteIOPSDevice: [{ ...disk, rate: 100 }],
    }),
  )
  if (unified) {
    const set = { rbps: 4_000_000, wbps: 3_000_000, riops: 200, wiops: 100 }
    assert.is(content(c, 'io.max'), limits(disk, set))
  } else {
    assert.is(content(c, 'blkio.throttle.read_bps_device'), `${disk.major}:${disk.minor} 4000000`)
    assert.is(content(c, 'blkio.throttle.write_iops_device'), `${disk.major}:${disk.minor} 100`)
  }
})

test('a rate of zero takes the limit away', () => {
  const disk = anyDisk()
  const c = started(blockIO({ throttleReadBpsDevice: [{ ...disk, rate: 1_048_576 }] }))
  const resources = { blockIO: { throttleReadBpsDevice: [{ ...disk, rate: 0 }] } }
  ok(execute(['update', '--resources', '-', c.id], { stdin: JSON.stringify(resources) }))
  assert.is(content(c, unified ? 'io.max' : 'blkio.throttle.read_bps_device'), '')
})

run()
