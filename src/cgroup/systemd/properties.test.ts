import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Resources } from '../../config/types.ts'
import { planWrites } from '../table.ts'
import { annotatedProperties, bitsOf, type Property, readProperty, resourceProperties } from './properties.ts'

const INFINITY = 0xffff_ffff_ffff_ffffn
const FULL: Resources = {
  memory: { limit: 1000, swap: 3000, reservation: 500 },
  cpu: { shares: 512, quota: 33_333, period: 50_000, cpus: '0-2,9', mems: '0' },
  pids: { limit: 7 },
}

const show = (properties: readonly Property[]): Record<string, unknown> =>
  Object.fromEntries(properties.map(([name, { value }]) => [name, value instanceof Uint8Array ? [...value] : value]))

const told = (resources: Resources, version = 252, cgroup: 1 | 2 = 2, skipped: string[] = []) =>
  show(
    resourceProperties(
      planWrites(resources, () => cgroup),
      version,
      skipped,
    ),
  )

const v2: readonly (readonly [name: string, resources: Resources, properties: Record<string, unknown>])[] = [
  [
    'all that a config usually has',
    FULL,
    {
      MemoryMax: 1000n,
      MemorySwapMax: 2000n,
      MemoryLow: 500n,
      TasksMax: 7n,
      CPUWeight: 59n,
      CPUQuotaPeriodUSec: 50_000n,
      CPUQuotaPerSecUSec: 670_000n,
      AllowedCPUs: [7, 2],
      AllowedMemoryNodes: [1],
    },
  ],
  ['a memory limit taken back', { memory: { limit: -1 } }, { MemoryMax: INFINITY, MemorySwapMax: INFINITY }],
  ['no limit of processes', { pids: { limit: -1 } }, { TasksMax: INFINITY }],
  [
    'a whole quota',
    { cpu: { quota: 50_000, period: 100_000 } },
    { CPUQuotaPeriodUSec: 100_000n, CPUQuotaPerSecUSec: 500_000n },
  ],
  ['a quota without a period', { cpu: { quota: 1001 } }, { CPUQuotaPeriodUSec: 100_000n, CPUQuotaPerSecUSec: 20_000n }],
  [
    'a quota of more than one CPU',
    { cpu: { quota: 250_000, period: 100_000 } },
    { CPUQuotaPeriodUSec: 100_000n, CPUQuotaPerSecUSec: 2_500_000n },
  ],
  [
    'a quota taken back',
    { cpu: { quota: -1, period: 20_000 } },
    { CPUQuotaPeriodUSec: 20_000n, CPUQuotaPerSecUSec: INFINITY },
  ],
  ['an idle container', { cpu: { idle: 1 } }, { CPUWeight: 0n }],
  [
    'limits of devices',
    {
      blockIO: {
        weight: 500,
        weightDevice: [{ major: 8, minor: 0, weight: 10 }],
        throttleReadBpsDevice: [
          { major: 8, minor: 0, rate: 5 },
          { major: 8, minor: 16, rate: 0 },
        ],
        throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 6 }],
      },
    },
    {
      IOWeight: 4950n,
      IODeviceWeight: [['/dev/block/8:0', 1n]],
      IOReadBandwidthMax: [
        ['/dev/block/8:0', 5n],
        ['/dev/block/8:16', INFINITY],
      ],
      IOWriteIOPSMax: [['/dev/block/8:0', 6n]],
    },
  ],
  [
    'unified',
    {
      unified: {
        'memory.high': '5',
        'memory.min': '1',
        'memory.max': 'max',
        'memory.swap.max': '0',
        'pids.max': '9',
        'cpu.weight': '77',
        'cpu.max': 'max 40000',
        'cpuset.cpus': '1',
        'io.weight': 'default 50\n8:0 60',
        'io.max': '8:0 rbps=1 wiops=max',
      },
    },
    {
      MemoryHigh: 5n,
      MemoryMin: 1n,
      MemoryMax: INFINITY,
      MemorySwapMax: 0n,
      TasksMax: 9n,
      CPUWeight: 77n,
      CPUQuotaPeriodUSec: 40_000n,
      CPUQuotaPerSecUSec: INFINITY,
      AllowedCPUs: [2],
      IOWeight: 50n,
      IODeviceWeight: [['/dev/block/8:0', 60n]],
      IOReadBandwidthMax: [['/dev/block/8:0', 1n]],
      IOWriteIOPSMax: [['/dev/block/8:0', INFINITY]],
    },
  ],
  ['unified that says the same again', { pids: { limit: 5 }, unified: { 'pids.max': '6' } }, { TasksMax: 6n }],
  ['nothing', {}, {}],
]
for (const [name, resources, properties] of v2)
  test(`v2: ${name}`, () => {
    assert.equal(told(resources), properties)
  })

test('v1 has properties of its own', () => {
  assert.equal(told({ ...FULL, blockIO: { weight: 500 } }, 247, 1), {
    MemoryLimit: 1000n,
    CPUShares: 512n,
    TasksMax: 7n,
    AllowedCPUs: [7, 2],
    AllowedMemoryNodes: [1],
    BlockIOWeight: 500n,
    CPUQuotaPeriodUSec: 50_000n,
    CPUQuotaPerSecUSec: 670_000n,
  })
  assert.equal(told({ cpu: { period: 50_000 } }, 247, 1), {
    CPUQuotaPeriodUSec: 50_000n,
    CPUQuotaPerSecUSec: INFINITY,
  })
})

test('an older systemd is not told what it does not know', () => {
  const names = (version: number, resources: Resources) => Object.keys(told(resources, version)).sort()
  assert.equal(names(243, FULL).includes('AllowedCPUs'), false)
  assert.equal(names(241, FULL).includes('CPUQuotaPeriodUSec'), false)
  assert.ok(names(241, FULL).includes('CPUQuotaPerSecUSec'))
  assert.equal(names(251, { cpu: { idle: 1 } }), [])
  assert.equal(names(252, { unified: { 'memory.oom.group': '1' } }), [])
  assert.equal(names(253, { unified: { 'memory.oom.group': '1' } }), ['OOMPolicy'])
})

test('what systemd has no property for is named', () => {
  const skipped: string[] = []
  assert.equal(
    told(
      { hugepageLimits: [{ pageSize: '2MB', limit: 5 }], unified: { 'misc.max': 'x 5', 'pids.max': 'nonsense' } },
      252,
      2,
      skipped,
    ),
    {},
  )
  assert.equal(
    [...new Set(skipped)],
    [
      'linux.resources.hugepageLimits[0] is not told to systemd',
      'linux.resources.unified["misc.max"] is not told to systemd',
      'linux.resources.unified["pids.max"] is not told to systemd',
    ],
  )
})

test('lists of CPUs become masks', () => {
  const bits = (list: string) => [...(bitsOf(list) ?? ['none'])]
  assert.equal(bits('0'), [1])
  assert.equal(bits('7-8'), [128, 1])
  assert.equal(bits('17'), [0, 0, 2])
  assert.equal(bits(' 0 , 2-3\n'), [13])
  for (const wrong of ['', 'x', '3-1', '1,', '0-99999999999', '-1']) assert.equal(bits(wrong), ['none'], wrong)
})

const annotated: readonly (readonly [
  name: string,
  text: string,
  property: string,
  signature: string,
  value: unknown,
])[] = [
  ['TimeoutStopUSec', 'uint64 123456789', 'TimeoutStopUSec', 't', 123456789n],
  ['TimeoutStopSec', '5', 'TimeoutStopUSec', 't', 5_000_000n],
  ['TimeoutStopSec', '1.5', 'TimeoutStopUSec', 't', 1_500_000n],
  ['TimeoutStopSec', 'uint64 90', 'TimeoutStopUSec', 't', 90_000_000n],
  ['CollectMode', "'inactive'", 'CollectMode', 's', 'inactive'],
  ['After', "['a.service', 'b.service']", 'After', 'as', ['a.service', 'b.service']],
  ['DefaultDependencies', 'true', 'DefaultDependencies', 'b', true],
  // Not a number of seconds: no lower-case letter before it.
  ['XSec', '5', 'XSec', 'i', 5],
]
for (const [name, text, property, signature, value] of annotated)
  test(`the annotation ${name}=${text} is ${property}`, () => {
    assert.equal(readProperty(name, text), [property, { signature, value }])
  })

test('annotations are found and checked', () => {
  assert.equal(
    annotatedProperties({ a: 'b', 'org.systemd.property.': 'x', 'org.systemd.property.KillMode': "'mixed'" }),
    { KillMode: "'mixed'" },
  )
  assert.throws(
    () => annotatedProperties({ 'org.systemd.property.X': '5' }),
    /annotations: org\.systemd\.property\.X: a property has a name/,
  )
  assert.throws(() => annotatedProperties({ 'org.systemd.property.Exec-Start': '5' }), /nothing but letters/)
  assert.throws(
    () => annotatedProperties({ 'org.systemd.property.KillMode': 'mixed' }),
    /annotations: org\.systemd\.property\.KillMode=mixed: not a value as GVariant writes it .*: expected a value at character 1/,
  )
  for (const text of ["'5'", '-1', 'nan', '1e300', '[1]'])
    assert.throws(() => annotatedProperties({ 'org.systemd.property.TimeoutStopSec': text }), /not a number of seconds/)
})

test.run()
