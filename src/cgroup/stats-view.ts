/**
 * Statistics in the shape in which runc prints them and engines read them (`data` of an event of the type `stats`). Fields that runc
 * leaves out when they are zero are left out, those that it always has are there.
 */
import type { BlkioEntry, BlkioField, MemoryUse, RdmaEntry, Stats } from './stats.ts'
import type { Count } from './stats-text.ts'

/** As JSON. Numbers may be bigints. */
export function viewOfStats({ cpu, cpuset, memory, pids, blkio, hugetlb, rdma }: Stats): object {
  return {
    cpu: {
      usage: {
        total: some(cpu.total),
        percpu: filled(cpu.perCpu),
        percpu_kernel: filled(cpu.perCpuKernel),
        percpu_user: filled(cpu.perCpuUser),
        kernel: cpu.kernel ?? 0,
        user: cpu.user ?? 0,
      },
      throttling: {
        periods: some(cpu.periods),
        throttledPeriods: some(cpu.throttledPeriods),
        throttledTime: some(cpu.throttledTime),
      },
      psi: cpu.pressure,
    },
    cpuset: {
      cpus: filled(cpuset.cpus),
      cpu_exclusive: cpuset.flags.cpu_exclusive ?? 0,
      mems: filled(cpuset.mems),
      mem_hardwall: cpuset.flags.mem_hardwall ?? 0,
      mem_exclusive: cpuset.flags.mem_exclusive ?? 0,
      memory_migrate: cpuset.flags.memory_migrate ?? 0,
      memory_spread_page: cpuset.flags.memory_spread_page ?? 0,
      memory_spread_slab: cpuset.flags.memory_spread_slab ?? 0,
      memory_pressure: cpuset.flags.memory_pressure ?? 0,
      sched_load_balance: cpuset.flags.sched_load_balance ?? 0,
      sched_relax_domain_level: cpuset.flags.sched_relax_domain_level ?? 0,
    },
    memory: {
      cache: some(memory.cache),
      usage: memoryUse(memory.usage),
      swap: memoryUse(memory.swap),
      kernel: memoryUse(memory.kernel),
      kernelTCP: memoryUse(memory.kernelTcp),
      raw: Object.keys(memory.raw).length > 0 ? sorted(memory.raw) : undefined,
      psi: memory.pressure,
    },
    pids: { current: some(pids.current), limit: some(pids.limit) },
    blkio: {
      ...Object.fromEntries(blkioNames.map(([name, field]) => [name, filled(blkio[field]?.map(blkioEntry))])),
      psi: blkio.pressure,
    },
    hugetlb: Object.fromEntries(
      Object.entries(sorted(hugetlb)).map(([size, { usage, max, failcnt = 0 }]) => [
        size,
        { usage: some(usage), max: some(max), failcnt },
      ]),
    ),
    // runc reads it and does not print it.
    rdma:
      rdma.current || rdma.limit
        ? { limit: rdma.limit?.map(rdmaEntry), current: rdma.current?.map(rdmaEntry) }
        : undefined,
    intel_rdt: {},
    network_interfaces: null,
  }
}

const blkioNames: readonly (readonly [name: string, field: BlkioField])[] = [
  ['ioServiceBytesRecursive', 'serviceBytes'],
  ['ioServicedRecursive', 'serviced'],
  ['ioQueueRecursive', 'queued'],
  ['ioServiceTimeRecursive', 'serviceTime'],
  ['ioWaitTimeRecursive', 'waitTime'],
  ['ioMergedRecursive', 'merged'],
  ['ioTimeRecursive', 'time'],
  ['sectorsRecursive', 'sectors'],
]

const memoryUse = ({ limit = 0, usage, max, failcnt = 0 }: MemoryUse): object => ({
  limit,
  usage: some(usage),
  max: some(max),
  failcnt,
})

const blkioEntry = ({ major, minor, op, value }: BlkioEntry): object => ({
  major: some(major),
  minor: some(minor),
  op: op === '' ? undefined : op,
  value: some(value),
})

const rdmaEntry = ({ device, handles, objects }: RdmaEntry): object => ({
  device,
  hca_handles: some(handles),
  hca_objects: some(objects),
})

const some = (value: Count | undefined): Count | undefined => (value === 0 ? undefined : value)
const filled = <T>(list: readonly T[] | undefined): readonly T[] | undefined => (list?.length ? list : undefined)
const sorted = <T>(values: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)))
