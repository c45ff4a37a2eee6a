import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeUtf8 } from '../base/bytes.ts'
import { stringifyJson } from '../base/json.ts'
import { Session } from '../session/session.ts'
import { agreeableKernel, FakeKernel } from '../session/testing/fake-kernel.ts'
import type { CgroupPaths } from './layout.ts'
import { noStats, type Stats } from './stats.ts'
import { readStats } from './stats-reading.ts'
import { count } from './stats-text.ts'
import { viewOfStats } from './stats-view.ts'

/** The statistics of a cgroup whose folders hold these files; a folder without any is missing. */
function read(paths: CgroupPaths, files: Record<string, string>): Stats | null {
  const agreeable = agreeableKernel()
  const names = new Map<number, string>()
  const kernel = new FakeKernel((call) => {
    if (call.name === 'openat') {
      const folder = names.get(call.args[0]!)
      const path = folder === undefined ? call.text(call.args[1]!) : `${folder}/${call.text(call.args[1]!)}`
      const there = path in files || Object.keys(files).some((file) => file.startsWith(`${path}/`))
      if (!there) return 'ENOENT'
      const fd = agreeable(call) as number
      names.set(fd, path)
      return fd
    }
    if (call.name === 'read') {
      const text = files[names.get(call.args[0]!)!]!
      if (text === 'EOPNOTSUPP') return text
      const bytes = encodeUtf8(text).subarray(0, call.args[2])
      call.memory(call.args[1]!, bytes.length).set(bytes)
      return bytes.length
    }
    return agreeable(call)
  })
  return readStats(new Session('host', kernel), 'x86_64', paths)
}

const v1 = (...controllers: string[]): CgroupPaths => ({
  mode: 'v1',
  folders: controllers.map((name) => ({ version: 1, controllers: [name], mountpoint: `/${name}`, path: '/c' })),
})
const v2: CgroupPaths = {
  mode: 'v2',
  folders: [{ version: 2, controllers: [], mountpoint: '/cg', path: '/c' }],
}
const readV2 = (files: Record<string, string>): Stats =>
  read(v2, Object.fromEntries(Object.entries(files).map(([name, text]) => [`/cg/c/${name}`, text])))!
const view = (stats: Stats | null) => JSON.parse(stringifyJson(viewOfStats(stats!)))

test('numbers are exact, limits that are none are 2^64 - 1, and counters below zero are zero', () => {
  assert.is(count('9007199254740991\n'), 9007199254740991)
  assert.is(count('9007199254740992\n'), 9007199254740992n)
  assert.is(count('18446744073709547520'), 18446744073709547520n)
  assert.is(count('max\n'), 18446744073709551615n)
  assert.is(count('-4096'), 0)
  assert.is(count(''), undefined)
  assert.is(count('1.5'), undefined)
})

test('v1: processor time, of all CPUs and of each, and throttling', () => {
  const stats = read(v1('cpu', 'cpuacct'), {
    '/cpu/c/cpu.stat': 'nr_periods 10\nnr_throttled 4\nthrottled_time 123456789\nnr_bursts 0\nburst_time 0\n',
    '/cpuacct/c/cpuacct.usage': '30000000001\n',
    '/cpuacct/c/cpuacct.stat': 'user 2\nsystem 900719925475\n',
    '/cpuacct/c/cpuacct.usage_percpu': '10000000000 20000000001 \n',
    '/cpuacct/c/cpuacct.usage_all': 'cpu user system\n0 1 2\n1 3 4\n',
  })!
  assert.equal(stats.cpu, {
    total: 30000000001,
    user: 20_000_000,
    kernel: 9007199254750000000n,
    perCpu: [10000000000, 20000000001],
    perCpuUser: [1, 3],
    perCpuKernel: [2, 4],
    periods: 10,
    throttledPeriods: 4,
    throttledTime: 123456789,
  })
})

test('v1: memory, with and without swap and the kernel', () => {
  const files = {
    '/memory/c/memory.stat': 'cache 4096\nrss 0\nhierarchical_memory_limit 9223372036854771712\n',
    '/memory/c/memory.limit_in_bytes': '9223372036854771712\n',
    '/memory/c/memory.usage_in_bytes': '8192\n',
    '/memory/c/memory.max_usage_in_bytes': '12288\n',
    '/memory/c/memory.failcnt': '3\n',
  }
  const { memory } = read(v1('memory'), files)!
  assert.equal(memory.usage, { limit: 9223372036854771712n, usage: 8192, max: 12288, failcnt: 3 })
  assert.equal([memory.swap, memory.kernel, memory.kernelTcp], [{}, {}, {}])
  assert.is(memory.cache, 4096)
  assert.is(memory.raw.hierarchical_memory_limit, 9223372036854771712n)
  const more = read(v1('memory'), {
    ...files,
    '/memory/c/memory.memsw.limit_in_bytes': '1\n',
    '/memory/c/memory.kmem.tcp.failcnt': '7\n',
  })!.memory
  assert.equal([more.swap, more.kernelTcp], [{ limit: 1 }, { failcnt: 7 }])
})

test('v1: cpusets, pids, huge pages of both kinds, devices for RDMA', () => {
  const stats = read(v1('cpuset', 'pids', 'hugetlb', 'rdma'), {
    '/cpuset/c/cpuset.cpus': '0-2,5\n',
    '/cpuset/c/cpuset.mems': '\n',
    '/cpuset/c/cpuset.sched_relax_domain_level': '-1\n',
    '/pids/c/pids.current': '3\n',
    '/pids/c/pids.max': 'max\n',
    '/hugetlb/c/hugetlb.2MB.usage_in_bytes': '1\n',
    '/hugetlb/c/hugetlb.2MB.rsvd.usage_in_bytes': '2097152\n',
    '/hugetlb/c/hugetlb.2MB.rsvd.failcnt': '5\n',
    '/hugetlb/c/hugetlb.1GB.usage_in_bytes': '0\n',
    '/rdma/c/rdma.current': 'mlx4_0 hca_handle=1 hca_object=20\nocrdma1 hca_handle=0 hca_object=0\n',
    '/rdma/c/rdma.max': 'mlx4_0 hca_handle=2 hca_object=max\n',
  })!
  assert.equal(stats.cpuset, { cpus: [0, 1, 2, 5], mems: [], flags: { sched_relax_domain_level: -1 } })
  assert.equal(stats.pids, { current: 3, limit: 0 })
  assert.equal(stats.hugetlb, { '2MB': { usage: 2097152, failcnt: 5 }, '1GB': { usage: 0 } })
  assert.equal(stats.rdma, {
    current: [
      { device: 'mlx4_0', handles: 1, objects: 20 },
      { device: 'ocrdma1', handles: 0, objects: 0 },
    ],
    limit: [{ device: 'mlx4_0', handles: 2, objects: 18446744073709551615n }],
  })
})

test('v1: input and output are those of BFQ, and of throttling where it has nothing to tell', () => {
  const throttle = '8:0 Read 1282048\n8:0 Write 0\n8:16 Total 5\nTotal 1282053\n'
  const files = {
    '/blkio/c/blkio.bfq.io_service_bytes_recursive': 'Total 0\n',
    '/blkio/c/blkio.throttle.io_service_bytes_recursive': throttle,
    '/blkio/c/blkio.throttle.io_service_bytes': '8:0 Read 7\nTotal 7\n',
    '/blkio/c/blkio.bfq.sectors_recursive': '8:0 6792\n',
  }
  const stats = read(v1('blkio'), files)
  assert.equal(view(stats).blkio, {
    ioServiceBytesRecursive: [
      { major: 8, op: 'Read', value: 1282048 },
      { major: 8, op: 'Write' },
      { major: 8, minor: 16, op: 'Total', value: 5 },
    ],
    sectorsRecursive: [{ major: 8, value: 6792 }],
  })
  const bfq = { ...files, '/blkio/c/blkio.bfq.io_service_bytes_recursive': '8:0 Sync 9\nTotal 9\n' }
  assert.equal(read(v1('blkio'), bfq)!.blkio.serviceBytes, [{ major: 8, minor: 0, op: 'Sync', value: 9 }])
})

test('v2: processor time and throttling in nanoseconds, and the CPUs that may be used', () => {
  const stats = readV2({
    'cpu.stat':
      'usage_usec 3000\nuser_usec 1000\nsystem_usec 2000\nnr_periods 1\nnr_throttled 0\nthrottled_usec 5\nnr_bursts 0\n',
    'cpuset.cpus.effective': '0-1\n',
    'cpuset.mems.effective': '0\n',
  })
  assert.equal(stats.cpu, {
    total: 3_000_000,
    user: 1_000_000,
    kernel: 2_000_000,
    periods: 1,
    throttledPeriods: 0,
    throttledTime: 5000,
  })
  assert.equal(stats.cpuset, { cpus: [0, 1], mems: [0], flags: {} })
})

test('v2: swap counts with memory, as on v1', () => {
  const memory = { 'memory.current': '100\n', 'memory.max': '1000\n', 'memory.swap.current': '10\n' }
  const limited = readV2({ ...memory, 'memory.swap.max': '500\n', 'memory.peak': '200\n', 'memory.stat': 'file 7\n' })
  assert.equal(limited.memory.usage, { usage: 100, limit: 1000, max: 200 })
  assert.equal(limited.memory.swap, { usage: 110, limit: 1500 })
  assert.is(limited.memory.cache, 7)
  assert.is(readV2({ ...memory, 'memory.swap.max': 'max\n' }).memory.swap.limit, 18446744073709551615n)
  const unlimited = readV2({ ...memory, 'memory.max': 'max\n', 'memory.swap.max': '500\n' })
  assert.is(unlimited.memory.swap.limit, 18446744073709551615n)
  assert.equal(readV2({ 'memory.max': '1000\n' }).memory.swap, {})
})

test('v2: processes are counted where the pids controller is off', () => {
  assert.equal(readV2({ 'cgroup.procs': '7\n8\n9\n' }).pids, { current: 3 })
  assert.equal(readV2({ 'cgroup.procs': '7\n8\n9\n', 'pids.current': '5\n', 'pids.max': '10' }).pids, {
    current: 5,
    limit: 10,
  })
  assert.equal(readV2({ 'cgroup.procs': 'EOPNOTSUPP' }).pids, {})
})

test('v2: input and output, huge pages, pressure', () => {
  const stall = 'avg10=1.50 avg60=0.00 avg300=0.25 total=12345678901234567890'
  const stats = readV2({
    'io.stat': '8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0 cost.vrate=100.00\n254:16 rbytes=5\n7:0\n',
    'hugetlb.2MB.current': '2097152\n',
    'hugetlb.2MB.events': 'max 6\n',
    'cpu.pressure': `some ${stall}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n`,
    'memory.pressure': `some ${stall}\n`,
    'io.pressure': 'EOPNOTSUPP',
  })
  const { blkio, hugetlb, cpu, memory } = view(stats)
  assert.equal(blkio, {
    ioServiceBytesRecursive: [
      { major: 8, op: 'Read', value: 1 },
      { major: 8, op: 'Write', value: 2 },
      { major: 254, minor: 16, op: 'Read', value: 5 },
    ],
    ioServicedRecursive: [
      { major: 8, op: 'Read', value: 3 },
      { major: 8, op: 'Write', value: 4 },
    ],
  })
  assert.equal(hugetlb, { '2MB': { usage: 2097152, failcnt: 6 } })
  assert.equal(stats.cpu.pressure, {
    some: { avg10: 1.5, avg60: 0, avg300: 0.25, total: 12345678901234567890n },
    full: { avg10: 0, avg60: 0, avg300: 0, total: 0 },
  })
  assert.equal([Object.keys(cpu.psi), Object.keys(memory.psi)], [['some', 'full'], ['some']])
})

test('hybrid: a controller of v1 has the last word', () => {
  const both: CgroupPaths = { mode: 'hybrid', folders: [...v1('cpuacct').folders, ...v2.folders] }
  const stats = read(both, {
    '/cpuacct/c/cpuacct.usage': '1234567\n',
    '/cg/c/cpu.stat': 'usage_usec 1234\nuser_usec 0\nsystem_usec 1234\n',
    '/cg/c/cpu.pressure': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n',
  })!
  assert.is(stats.cpu.total, 1234567)
  assert.is(stats.cpu.pressure?.some?.total, 1)
})

test('a file that is longer than expected is read whole', () => {
  const keys = Array.from({ length: 2000 }, (_, index) => `some_long_key_${index} ${index}\n`)
  assert.is(Object.keys(readV2({ 'memory.stat': keys.join('') }).memory.raw).length, 2000)
})

test('of a file beyond all bounds whole lines count', () => {
  const keys = Array.from({ length: 10_000 }, (_, index) => `some_long_key_${index} 7\n`)
  const { raw } = readV2({ 'memory.stat': keys.join('') }).memory
  assert.ok(Object.keys(raw).length > 5000)
  assert.ok(Object.values(raw).every((value) => value === 7))
})

test('nothing is missed without controllers, and a cgroup that is gone is told apart', () => {
  assert.is(read(v1('cpu', 'memory'), {}), null)
  assert.equal(read(v1('cpu', 'memory'), { '/cpu/c/tasks': '' }), noStats())
})

test('what there is nothing to tell of has the shape that readers expect', () => {
  assert.is(
    stringifyJson(viewOfStats(noStats())),
    '{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},' +
      '"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,' +
      '"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},' +
      '"memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},' +
      '"kernelTCP":{"limit":0,"failcnt":0}},' +
      '"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}',
  )
})

test.run()
