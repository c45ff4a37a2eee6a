/**
 * The files of a control group that tell what it has used, and what each of them means: tables for cgroup v1 and v2. Sources: the kernel's
 * Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst, accounting/psi.rst.
 */
import { numbersIn } from '../config/number-list.ts'
import {
  type BlkioEntry,
  type BlkioField,
  cpusetFlags,
  type MemoryUse,
  type Pressure,
  type RdmaEntry,
  type Stats,
} from './stats.ts'
import { type Count, count, keyValues, lines, plus, times, UNLIMITED, words } from './stats-text.ts'

/** A file, how many bytes to expect of it, and where its content goes. */
export interface Reader {
  file: string
  size: number
  take(stats: Stats, text: string): void
}

/** A file with one number. */
function number<T>(file: string, target: (stats: Stats) => T, field: keyof T): Reader {
  return {
    file,
    size: 64,
    take(stats, text) {
      const value = count(text)
      if (value !== undefined) target(stats)[field] = value as T[keyof T]
    },
  }
}

/** A file with lines of a key and a value. */
const keyed = (file: string, size: number, take: (stats: Stats, values: Record<string, Count>) => void): Reader => ({
  file,
  size,
  take: (stats, text) => take(stats, keyValues(text)),
})

const pressure = (file: string, target: (stats: Stats) => { pressure?: Pressure }): Reader => ({
  file,
  size: 256,
  take(stats, text) {
    const stalls = text.matchAll(/^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)/gm)
    for (const [, kind, avg10, avg60, avg300, total] of stalls) {
      const holder = target(stats)
      holder.pressure ??= {}
      holder.pressure[kind as keyof Pressure] = {
        avg10: Number(avg10),
        avg60: Number(avg60),
        avg300: Number(avg300),
        total: count(total!)!,
      }
    }
  },
})

/** Ticks of cpuacct.stat: USER_HZ is 100 on x86-64 and arm64. */
const NANOSECONDS_OF_TICK = 10_000_000
const NANOSECONDS_OF_MICROSECOND = 1000

const memoryFiles: readonly (readonly [part: string, target: (stats: Stats) => MemoryUse])[] = [
  ['', (stats) => stats.memory.usage],
  ['memsw.', (stats) => stats.memory.swap],
  ['kmem.', (stats) => stats.memory.kernel],
  ['kmem.tcp.', (stats) => stats.memory.kernelTcp],
]

/** Later files count where the earlier are missing or have nothing to tell: without BFQ its files are there, and empty. */
const blkioFiles: readonly (readonly [field: BlkioField, ...files: string[]])[] = [
  [
    'serviceBytes',
    'bfq.io_service_bytes_recursive',
    'throttle.io_service_bytes_recursive',
    'throttle.io_service_bytes',
  ],
  ['serviced', 'bfq.io_serviced_recursive', 'throttle.io_serviced_recursive', 'throttle.io_serviced'],
  ['queued', 'bfq.io_queued_recursive'],
  ['serviceTime', 'bfq.io_service_time_recursive'],
  ['waitTime', 'bfq.io_wait_time_recursive'],
  ['merged', 'bfq.io_merged_recursive'],
  ['time', 'bfq.time_recursive'],
  ['sectors', 'bfq.sectors_recursive'],
]

/** Of x86-64, and of arm64 with pages of 4, 16 and 64 KiB (Documentation/arch/arm64/hugetlbpage.rst). */
const HUGE_PAGES = ['64KB', '2MB', '32MB', '512MB', '1GB', '16GB']

/** Later files count: reserved pages where the kernel counts them (Linux 5.7), else those in use. */
const hugetlb = (files: readonly (readonly [file: string, field: keyof MemoryUse])[]): Reader[] =>
  HUGE_PAGES.flatMap((size) =>
    files.map(([file, field]) => ({
      file: `hugetlb.${size}.${file}`,
      size: 64,
      take({ hugetlb: all }, text) {
        const value = file === 'events' ? keyValues(text).max : count(text)
        if (value === undefined) return
        all[size] ??= {}
        all[size][field] = value
      },
    })),
  )

const rdma: readonly Reader[] = (['current', 'max'] as const).map((file) => ({
  file: `rdma.${file}`,
  size: 1024,
  take(stats, text) {
    const entries = [...text.matchAll(/^(\S+) (.*)$/gm)].map(([, device, values]): RdmaEntry => {
      const value = (key: string): Count => count(new RegExp(`${key}=(\\w+)`).exec(values!)?.[1] ?? '') ?? 0
      return { device: device!, handles: value('hca_handle'), objects: value('hca_object') }
    })
    if (entries.length > 0) stats.rdma[file === 'max' ? 'limit' : 'current'] = entries
  },
}))

/** `max` is no limit. */
const pidsLimit: Reader = {
  file: 'pids.max',
  size: 64,
  take(stats, text) {
    const value = count(text)
    if (value !== undefined) stats.pids.limit = value === UNLIMITED ? 0 : value
  },
}

const cpuset = (suffix: string): Reader[] =>
  (['cpus', 'mems'] as const).map((field) => ({
    file: `cpuset.${field}${suffix}`,
    size: 1024,
    take(stats, text) {
      stats.cpuset[field] = numbersIn(text)
    },
  }))

const throttling = (stats: Stats, values: Record<string, Count>, time: Count | undefined): void => {
  const { cpu } = stats
  if (values.nr_periods === undefined) return
  cpu.periods = values.nr_periods
  if (values.nr_throttled !== undefined) cpu.throttledPeriods = values.nr_throttled
  if (time !== undefined) cpu.throttledTime = time
}

/** Files of cgroup v1, by controller. */
export const v1: Readonly<Record<string, readonly Reader[]>> = {
  cpu: [keyed('cpu.stat', 256, (stats, values) => throttling(stats, values, values.throttled_time))],
  cpuacct: [
    number('cpuacct.usage', (stats) => stats.cpu, 'total'),
    keyed('cpuacct.stat', 64, ({ cpu }, { user, system }) => {
      if (user !== undefined) cpu.user = times(user, NANOSECONDS_OF_TICK)
      if (system !== undefined) cpu.kernel = times(system, NANOSECONDS_OF_TICK)
    }),
    {
      file: 'cpuacct.usage_percpu',
      size: 1024,
      take({ cpu }, text) {
        cpu.perCpu = words(text).map((word) => count(word) ?? 0)
      },
    },
    {
      // A title line, then: number of the CPU, user, system.
      file: 'cpuacct.usage_all',
      size: 2048,
      take({ cpu }, text) {
        const rows = lines(text).slice(1).map(words)
        cpu.perCpuUser = rows.map(([, user = '']) => count(user) ?? 0)
        cpu.perCpuKernel = rows.map(([, , system = '']) => count(system) ?? 0)
      },
    },
  ],
  cpuset: [
    ...cpuset(''),
    ...cpusetFlags.map(
      (flag): Reader => ({
        file: `cpuset.${flag}`,
        size: 64,
        take({ cpuset: { flags } }, text) {
          flags[flag] = Number(text)
        },
      }),
    ),
  ],
  memory: [
    keyed('memory.stat', 0x2000, ({ memory }, values) => {
      memory.raw = values
      if (values.cache !== undefined) memory.cache = values.cache
    }),
    ...memoryFiles.flatMap(([part, target]) => [
      number(`memory.${part}limit_in_bytes`, target, 'limit'),
      number(`memory.${part}usage_in_bytes`, target, 'usage'),
      number(`memory.${part}max_usage_in_bytes`, target, 'max'),
      number(`memory.${part}failcnt`, target, 'failcnt'),
    ]),
  ],
  pids: [number('pids.current', (stats) => stats.pids, 'current'), pidsLimit],
  blkio: blkioFiles.flatMap(([field, ...files]) =>
    files.map(
      (file): Reader => ({
        file: `blkio.${file}`,
        size: 0x1000,
        take({ blkio }, text) {
          const entries = blkioEntries(text)
          if (entries.length > 0) blkio[field] ??= entries
        },
      }),
    ),
  ),
  hugetlb: hugetlb(
    ['', 'rsvd.'].flatMap((kind) => [
      [`${kind}usage_in_bytes`, 'usage'],
      [`${kind}max_usage_in_bytes`, 'max'],
      [`${kind}failcnt`, 'failcnt'],
    ]),
  ),
  rdma,
}

/** Files of cgroup2. */
export const v2: readonly Reader[] = [
  keyed('cpu.stat', 1024, (stats, values) => {
    const { cpu } = stats
    const nanoseconds = (value: Count | undefined): Count | undefined =>
      value === undefined ? undefined : times(value, NANOSECONDS_OF_MICROSECOND)
    const [total, user, kernel] = [values.usage_usec, values.user_usec, values.system_usec].map(nanoseconds)
    if (total !== undefined) cpu.total = total
    if (user !== undefined) cpu.user = user
    if (kernel !== undefined) cpu.kernel = kernel
    throttling(stats, values, nanoseconds(values.throttled_usec))
  }),
  pressure('cpu.pressure', (stats) => stats.cpu),
  ...cpuset('.effective'),
  keyed('memory.stat', 0x2000, ({ memory }, values) => {
    memory.raw = values
    if (values.file !== undefined) memory.cache = values.file
  }),
  number('memory.current', (stats) => stats.memory.usage, 'usage'),
  number('memory.max', (stats) => stats.memory.usage, 'limit'),
  // Linux 5.19.
  number('memory.peak', (stats) => stats.memory.usage, 'max'),
  ...(['current', 'max'] as const).map((file): Reader => {
    const field = file === 'max' ? 'limit' : 'usage'
    return {
      file: `memory.swap.${file}`,
      size: 64,
      take({ memory }, text) {
        const value = count(text)
        if (value !== undefined) memory.swap[field] = plus(value, memory.usage[field] ?? 0)
      },
    }
  }),
  pressure('memory.pressure', (stats) => stats.memory),
  number('pids.current', (stats) => stats.pids, 'current'),
  pidsLimit,
  {
    // Without the pids controller: whom the cgroup lists.
    file: 'cgroup.procs',
    size: 0x1000,
    take({ pids }, text) {
      pids.current ??= lines(text).length
    },
  },
  { file: 'io.stat', size: 0x2000, take: ({ blkio }, text) => takeIoStat(blkio, text) },
  pressure('io.pressure', (stats) => stats.blkio),
  ...hugetlb([
    ['current', 'usage'],
    ['rsvd.current', 'usage'],
    ['events', 'failcnt'],
  ]),
  ...rdma,
]

const BLKIO_OF_IO_STAT: Readonly<Record<string, readonly [BlkioField, op: string]>> = {
  rbytes: ['serviceBytes', 'Read'],
  wbytes: ['serviceBytes', 'Write'],
  rios: ['serviced', 'Read'],
  wios: ['serviced', 'Write'],
}

/** `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`: into the fields that v1 has for it. */
function takeIoStat(blkio: Stats['blkio'], text: string): void {
  for (const line of lines(text)) {
    const [device = '', ...values] = words(line)
    const [major, minor] = device.split(':').map(Number)
    if (major === undefined || minor === undefined) continue
    for (const item of values) {
      const [key = '', value = ''] = item.split('=')
      const target = BLKIO_OF_IO_STAT[key]
      if (!target) continue
      const [field, op] = target
      blkio[field] ??= []
      blkio[field].push({ major, minor, op, value: count(value) ?? 0 })
    }
  }
}

/** `8:0 Read 1282048`, or `8:0 6792`; a line `Total …` at the end sums up all devices. */
function blkioEntries(text: string): BlkioEntry[] {
  return lines(text).flatMap((line) => {
    const [, major, minor, op = '', value] = /^(\d+):(\d+) (?:(\w+) )?(\d+)$/.exec(line) ?? []
    return value === undefined ? [] : [{ major: Number(major), minor: Number(minor), op, value: count(value)! }]
  })
}
