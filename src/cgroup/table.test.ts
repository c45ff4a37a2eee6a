import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Resources } from '../config/types.ts'
import { planWrites, weightOfShares } from './table.ts'

const shown = (resources: Resources, version: 1 | 2, warnings: string[] = []) =>
  planWrites(resources, () => version, warnings).map(({ files }) =>
    files.map(({ name, content }) => `${name} ${content}`).join(' | '),
  )

test('memory on v1 goes to the files of that version', () => {
  assert.equal(shown({ memory: { limit: 2 ** 25, swap: 2 ** 26, reservation: 2 ** 24, swappiness: 0 } }, 1), [
    'memory.limit_in_bytes 33554432',
    'memory.memsw.limit_in_bytes 67108864',
    'memory.soft_limit_in_bytes 16777216',
    'memory.swappiness 0',
  ])
})

test('memory on v2: swap is counted alone', () => {
  assert.equal(shown({ memory: { limit: 100, swap: 300, reservation: -1 } }, 2), [
    'memory.max 100',
    'memory.swap.max 200',
    'memory.low max',
  ])
  assert.equal(shown({ memory: { limit: 100n, swap: 100 } }, 2), ['memory.max 100', 'memory.swap.max 0'])
  assert.equal(shown({ memory: { limit: -1 } }, 2), ['memory.max max', 'memory.swap.max max'])
})

test('swap needs a limit that is not above it', () => {
  assert.throws(() => shown({ memory: { swap: 5 } }, 2), /memory\.swap: cgroup v2 needs memory\.limit/)
  for (const version of [1, 2] as const)
    assert.throws(
      () => shown({ memory: { swap: 5, limit: 6 } }, version),
      /memory\.swap: 5 is less than memory\.limit, 6/,
    )
  assert.equal(shown({ memory: { swap: 5 } }, 1), ['memory.memsw.limit_in_bytes 5'])
})

test('zeros are not set, except where zero is a value', () => {
  const zeros: Resources = {
    memory: { limit: 0, swap: 0, reservation: 0, kernel: 0, kernelTCP: 0, disableOOMKiller: false },
    cpu: { shares: 0, quota: 0, period: 0, realtimePeriod: 0, realtimeRuntime: 0, cpus: '', mems: '' },
    pids: {},
    blockIO: { weight: 0 },
    network: { classID: 0 },
  }
  assert.equal(shown(zeros, 1), [])
  assert.equal(shown(zeros, 2), [])
})

test('a limit of no process is one of one process, and none is max', () => {
  assert.equal(shown({ pids: { limit: -1 } }, 1), ['pids.max max'])
  assert.equal(shown({ pids: { limit: 32771 } }, 2), ['pids.max 32771'])
  for (const version of [1, 2] as const) assert.equal(shown({ pids: { limit: 0 } }, version), ['pids.max 1'])
})

test('cpu goes to shares, quota and period on v1, to weight and max on v2', () => {
  const cpu = { shares: 1024, quota: 600_000, period: 500_000, burst: 1000, cpus: '0-3', mems: '0' }
  assert.equal(shown({ cpu }, 1), [
    'cpu.shares 1024',
    'cpu.cfs_period_us 500000',
    'cpu.cfs_quota_us 600000',
    'cpu.cfs_burst_us 1000',
    'cpuset.cpus 0-3',
    'cpuset.mems 0',
  ])
  assert.equal(shown({ cpu }, 2), [
    'cpu.weight 100',
    'cpu.max 600000 500000',
    'cpu.max.burst 1000',
    'cpuset.cpus 0-3',
    'cpuset.mems 0',
  ])
  assert.equal(shown({ cpu: { quota: 5000 } }, 2), ['cpu.max 5000 100000'])
  assert.equal(shown({ cpu: { quota: -1 } }, 2), ['cpu.max max 100000'])
  assert.equal(shown({ cpu: { period: 5000 } }, 2), ['cpu.max max 5000'])
})

test('cpu.weight runs from 1 to 10000 through 100', () => {
  assert.equal(
    [0, 2, 3, 512, 1024, 2048, 262_144, 10n ** 9n].map(weightOfShares),
    [1, 1, 2, 59, 100, 174, 10000, 10000],
  )
})

test('block devices are named by their numbers', () => {
  const blockIO = {
    weight: 500,
    weightDevice: [{ major: 8, minor: 0, weight: 10 }],
    throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 600 }],
    throttleWriteIOPSDevice: [{ major: 8, minor: 16, rate: 300 }],
  }
  assert.equal(shown({ blockIO }, 1), [
    'blkio.weight 500 | blkio.bfq.weight 500',
    'blkio.weight_device 8:0 10 | blkio.bfq.weight_device 8:0 10',
    'blkio.throttle.read_bps_device 8:0 600',
    'blkio.throttle.write_iops_device 8:16 300',
  ])
  assert.equal(shown({ blockIO }, 2), [
    'io.bfq.weight 500 | io.weight default 4950',
    'io.bfq.weight 8:0 10 | io.weight 8:0 1',
    'io.max 8:0 rbps=600',
    'io.max 8:16 wiops=300',
  ])
})

test('huge pages, network and rdma have a file for each size, class and device', () => {
  const resources: Resources = {
    hugepageLimits: [{ pageSize: '2MB', limit: 9223372036854772000n }],
    rdma: { mlx5_1: { hcaHandles: 3, hcaObjects: 10000 } },
  }
  assert.equal(shown(resources, 1), [
    'hugetlb.2MB.limit_in_bytes 9223372036854772000',
    'hugetlb.2MB.rsvd.limit_in_bytes 9223372036854772000',
    'rdma.max mlx5_1 hca_handle=3 hca_object=10000',
  ])
  assert.equal(shown(resources, 2)[0], 'hugetlb.2MB.max 9223372036854772000')
  const network = { classID: 1048577, priorities: [{ name: 'eth0', priority: 500 }] }
  assert.equal(shown({ network }, 1), ['net_cls.classid 1048577', 'net_prio.ifpriomap eth0 500'])
})

test('what has no counterpart on v2 is a warning', () => {
  const warnings: string[] = []
  assert.equal(shown({ memory: { swappiness: 60 }, cpu: { realtimeRuntime: 5 } }, 2, warnings), [])
  assert.equal(warnings, [
    'linux.resources.memory.swappiness has no counterpart on cgroup v2 and is ignored',
    'linux.resources.cpu.realtimeRuntime has no counterpart on cgroup v2 and is ignored',
  ])
})

test('unified goes out as it stands, a line a write', () => {
  assert.equal(shown({ unified: { 'memory.high': '5M', 'io.max': '8:0 rbps=1\n8:16 wbps=2\n' } }, 2), [
    'memory.high 5M',
    'io.max 8:0 rbps=1',
    'io.max 8:16 wbps=2',
  ])
  for (const name of ['../x.y', 'memory', 'a/b.c', '.x', ''])
    assert.throws(() => shown({ unified: { [name]: '1' } }, 2), /CONTROLLER\.NAME/)
})

test.run()
