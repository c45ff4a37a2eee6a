/**
 * What a container has used of what its control group counts, in one shape for cgroup v1 and v2. stats-files.ts says which file has what,
 * stats-reading.ts reads them, stats-view.ts shows them as runc does.
 *
 * Fields of files that are not there (no such controller, another kernel version) are undefined.
 */
import type { Count } from './stats-text.ts'

/** Pressure stall information: per cent of the last 10, 60 and 300 seconds, and microseconds in all. */
export interface Stall {
  avg10: number
  avg60: number
  avg300: number
  total: Count
}

export interface Pressure {
  some?: Stall
  full?: Stall
}

/** Bytes. */
export interface MemoryUse {
  limit?: Count
  usage?: Count
  max?: Count
  /** How often the limit was hit; v1. */
  failcnt?: Count
}

export interface BlkioEntry {
  major: number
  minor: number
  /** `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`; empty where the file tells none apart. */
  op: string
  value: Count
}

/** Bytes and requests on all kernels, the others where BFQ counts them (v1, CONFIG_BFQ_CGROUP_DEBUG). */
export type BlkioField =
  | 'serviceBytes'
  | 'serviced'
  | 'queued'
  | 'serviceTime'
  | 'waitTime'
  | 'merged'
  | 'time'
  | 'sectors'

export interface RdmaEntry {
  device: string
  handles: Count
  objects: Count
}

export interface Stats {
  /** Nanoseconds. */
  cpu: {
    total?: Count
    kernel?: Count
    user?: Count
    /** v1 has these, by CPU. */
    perCpu?: Count[]
    perCpuKernel?: Count[]
    perCpuUser?: Count[]
    periods?: Count
    throttledPeriods?: Count
    throttledTime?: Count
    pressure?: Pressure
  }
  /** CPUs and memory nodes that may be used; on v2 the effective ones. Flags: v1, cpuset(7). */
  cpuset: { cpus?: number[]; mems?: number[]; flags: Partial<Record<CpusetFlag, number>> }
  memory: {
    /** Page cache. */
    cache?: Count
    usage: MemoryUse
    /** Memory and swap together, on v2 too. */
    swap: MemoryUse
    /** v1. */
    kernel: MemoryUse
    kernelTcp: MemoryUse
    /** All of memory.stat. */
    raw: Record<string, Count>
    pressure?: Pressure
  }
  /** Limit 0: none. */
  pids: { current?: Count; limit?: Count }
  blkio: Partial<Record<BlkioField, BlkioEntry[]>> & { pressure?: Pressure }
  /** By size of page: `2MB`. */
  hugetlb: Record<string, MemoryUse>
  rdma: { current?: RdmaEntry[]; limit?: RdmaEntry[] }
}

/** Names of cpuset(7), without the prefix `cpuset.`. */
export const cpusetFlags = [
  'cpu_exclusive',
  'mem_hardwall',
  'mem_exclusive',
  'memory_migrate',
  'memory_spread_page',
  'memory_spread_slab',
  'memory_pressure',
  'sched_load_balance',
  'sched_relax_domain_level',
] as const
export type CpusetFlag = (typeof cpusetFlags)[number]

/** What is known before any file has been read. */
export function noStats(): Stats {
  return {
    cpu: {},
    cpuset: { flags: {} },
    memory: { usage: {}, swap: {}, kernel: {}, kernelTcp: {}, raw: {} },
    pids: {},
    blkio: {},
    hugetlb: {},
    rdma: {},
  }
}
