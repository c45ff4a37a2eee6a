/**
 * Which field of `linux.resources` goes to which file, and how its value is written there, for cgroup v1 and v2.
 * Sources: the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst; runtime-spec, config-linux.md, "Control groups".
 */
import { RuntError } from '../base/errors.ts'
import type { BlockIOResources, Int64, Resources, ThrottleDevice } from '../config/types.ts'
import type { Reasons } from './cold-paths.ts'

/** One write to a file of the container's cgroup. */
export interface Write {
  /** Below `linux.resources`. */
  field: string
  controller: string
  /** Names to try in turn: later ones are for kernels that lack the earlier. Each has its own content. */
  files: { name: string; content: string }[]
  /** It is no error if the file is missing: the kernel then does what is asked anyway. */
  optional: boolean
  /** A field to write first if the kernel refuses this one with EINVAL, because the new value contradicts the old one of that field. */
  partner?: string
  /** What errnos of the write mean here, if that is not obvious. */
  reasons?: Reasons | undefined
}

/**
 * The file of one cgroup version, and what is written to it (null: nothing). `whole` are all resources of the container, `change` those
 * that are asked for now; they are the same unless an existing cgroup is changed.
 */
type Target = readonly [file: string, content: (value: Int64, whole: Resources, change: Resources) => string | null]

interface Scalar {
  field: string
  controller: string
  /** Undefined where the field is absent or its value means "not set". */
  value(resources: Resources): Int64 | undefined
  v1?: Target
  v2?: Target
  optional?: (value: Int64, content: string) => boolean
  partner?: string
  /** Why there is no file in any version. */
  gone?: string
}

const CFS_PERIOD = 100_000

const plain = (value: Int64): string => String(value)
const orMax = (value: Int64): string => (value < 0 ? 'max' : String(value))
const isZero = (value: Int64): boolean => Number(value) === 0
/** Engines write zero for what they do not set. */
const nonZero = (value: Int64 | undefined): Int64 | undefined =>
  value === undefined || isZero(value) ? undefined : value

/**
 * cpu.weight (1 to 10000) for cpu.shares (2 to 262144): the curve that maps 2, 1024 and 262144 to 1, 100 and 10000
 * (the conversion that Kubernetes, runc and crun agreed on in 2025; the older one was linear).
 */
export function weightOfShares(shares: Int64): number {
  const value = Number(shares)
  if (value <= 2) return 1
  if (value >= 262_144) return 10_000
  const log = Math.log2(value)
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34) - 1e-9)
}

/** memory.swap.max for memory.swap, which counts memory and swap together. */
function swapAlone(swap: Int64, resources: Resources): string {
  if (swap < 0) return 'max'
  const limit = nonZero(resources.memory?.limit)
  if (limit === undefined || limit < 0)
    throw new RuntError('linux.resources.memory.swap: cgroup v2 needs memory.limit with it')
  return String(BigInt(swap) - BigInt(limit))
}

function bandwidth(quota: Int64, resources: Resources): string {
  return `${quota > 0 ? quota : 'max'} ${nonZero(resources.cpu?.period) ?? CFS_PERIOD}`
}

const isIdle = ({ cpu }: Resources): boolean => Number(cpu?.idle ?? 0) === 1

/** memory.swap, or -1 when memory itself becomes unlimited. Less than memory.limit it cannot be: v1 would say no more than EINVAL. */
function swapLimit({ memory }: Resources): Int64 | undefined {
  const [swap, limit] = [nonZero(memory?.swap), nonZero(memory?.limit)]
  if (swap !== undefined && limit !== undefined && swap > 0 && swap < limit)
    throw new RuntError(
      `linux.resources.memory.swap: ${swap} is less than memory.limit, ${limit}; it counts memory and swap together`,
    )
  return swap ?? (limit !== undefined && limit < 0 ? -1 : undefined)
}

const scalars: readonly Scalar[] = [
  {
    field: 'memory.limit',
    controller: 'memory',
    value: ({ memory }) => nonZero(memory?.limit),
    v1: ['memory.limit_in_bytes', plain],
    v2: ['memory.max', orMax],
    partner: 'memory.swap',
  },
  {
    field: 'memory.swap',
    controller: 'memory',
    value: swapLimit,
    v1: ['memory.memsw.limit_in_bytes', plain],
    v2: ['memory.swap.max', swapAlone],
    // Without swap accounting there is no such file, and no limit either.
    optional: (value, content) => value < 0 || content === '0',
  },
  {
    field: 'memory.reservation',
    controller: 'memory',
    value: ({ memory }) => nonZero(memory?.reservation),
    v1: ['memory.soft_limit_in_bytes', plain],
    v2: ['memory.low', orMax],
  },
  {
    field: 'memory.kernel',
    controller: 'memory',
    value: ({ memory }) => nonZero(memory?.kernel),
    gone: 'the kernel has no such limit since Linux 5.16',
  },
  {
    field: 'memory.useHierarchy',
    controller: 'memory',
    value: ({ memory }) => (memory?.useHierarchy === false ? 1 : undefined),
    gone: 'every hierarchy counts what is below since Linux 5.11',
  },
  {
    field: 'memory.kernelTCP',
    controller: 'memory',
    value: ({ memory }) => nonZero(memory?.kernelTCP),
    v1: ['memory.kmem.tcp.limit_in_bytes', plain],
    optional: (value) => value < 0,
  },
  {
    field: 'memory.swappiness',
    controller: 'memory',
    value: ({ memory }) => memory?.swappiness,
    v1: ['memory.swappiness', plain],
  },
  {
    field: 'memory.disableOOMKiller',
    controller: 'memory',
    value: ({ memory }) => (memory?.disableOOMKiller ? 1 : undefined),
    v1: ['memory.oom_control', plain],
  },
  {
    // Zero is a limit (runtime-spec 1.3). It is written as one: for a container with an init that means the same, but the init can be born
    // in the cgroup; and systemd takes no zero.
    field: 'pids.limit',
    controller: 'pids',
    value: ({ pids }) => (pids?.limit !== undefined && isZero(pids.limit) ? 1 : pids?.limit),
    v1: ['pids.max', orMax],
    v2: ['pids.max', orMax],
    optional: (value) => value < 0,
  },
  {
    // Before the shares: an idle cgroup takes none (sched_group_set_shares).
    field: 'cpu.idle',
    controller: 'cpu',
    value: ({ cpu }) => cpu?.idle,
    v1: ['cpu.idle', plain],
    v2: ['cpu.idle', plain],
    optional: isZero,
  },
  {
    field: 'cpu.shares',
    controller: 'cpu',
    value: ({ cpu }) => nonZero(cpu?.shares),
    v1: ['cpu.shares', (value, whole) => (isIdle(whole) ? null : plain(value))],
    v2: ['cpu.weight', (value, whole) => (isIdle(whole) ? null : String(weightOfShares(value)))],
  },
  {
    field: 'cpu.period',
    controller: 'cpu',
    value: ({ cpu }) => nonZero(cpu?.period),
    v1: ['cpu.cfs_period_us', plain],
    // One file: written with the quota, if that is asked for too.
    v2: [
      'cpu.max',
      (_, whole, { cpu }) => (nonZero(cpu?.quota) ? null : bandwidth(nonZero(whole.cpu?.quota) ?? -1, whole)),
    ],
    partner: 'cpu.quota',
  },
  {
    field: 'cpu.quota',
    controller: 'cpu',
    value: ({ cpu }) => nonZero(cpu?.quota),
    v1: ['cpu.cfs_quota_us', plain],
    v2: ['cpu.max', bandwidth],
    optional: (value) => value < 0,
    partner: 'cpu.burst',
  },
  {
    field: 'cpu.burst',
    controller: 'cpu',
    value: ({ cpu }) => cpu?.burst,
    v1: ['cpu.cfs_burst_us', plain],
    v2: ['cpu.max.burst', plain],
    optional: isZero,
  },
  {
    field: 'cpu.realtimePeriod',
    controller: 'cpu',
    value: ({ cpu }) => nonZero(cpu?.realtimePeriod),
    v1: ['cpu.rt_period_us', plain],
    partner: 'cpu.realtimeRuntime',
  },
  {
    field: 'cpu.realtimeRuntime',
    controller: 'cpu',
    value: ({ cpu }) => nonZero(cpu?.realtimeRuntime),
    v1: ['cpu.rt_runtime_us', plain],
  },
  {
    field: 'network.classID',
    controller: 'net_cls',
    value: ({ network }) => nonZero(network?.classID),
    v1: ['net_cls.classid', plain],
  },
]

/** io.weight (1 to 10000) for a weight of BFQ (10 to 1000). */
const ioWeight = (weight: number): number => 1 + Math.trunc(((weight - 10) * 9999) / 990)

const throttles: readonly [keyof BlockIOResources & `throttle${string}`, v1: string, v2: string][] = [
  ['throttleReadBpsDevice', 'blkio.throttle.read_bps_device', 'rbps'],
  ['throttleWriteBpsDevice', 'blkio.throttle.write_bps_device', 'wbps'],
  ['throttleReadIOPSDevice', 'blkio.throttle.read_iops_device', 'riops'],
  ['throttleWriteIOPSDevice', 'blkio.throttle.write_iops_device', 'wiops'],
]

const NO_DISK = 'there is no such disk, or it is a partition, which has no limits of its own'
const WEIGHT_REASONS: Reasons = {
  ENODEV: NO_DISK,
  EOPNOTSUPP:
    'the disk has no weights: its scheduler is not BFQ (/sys/block/*/queue/scheduler), nor is io.cost.qos enabled',
}
const THROTTLE_REASONS: Reasons = { ENODEV: NO_DISK }

/** The writes for fields that hold text, lists or maps, except `unified`. */
function listWrites(resources: Resources, version: (controller: string) => 1 | 2, ignored: string[]): Write[] {
  const writes: Write[] = []
  const onlyV1 = (field: string): number => ignored.push(noCounterpart(field, 2))
  const put = (
    field: string,
    controller: string,
    files: readonly (readonly [name: string, content: string])[],
    optional = false,
    reasons?: Reasons,
  ): void => {
    writes.push({ field, controller, files: files.map(([name, content]) => ({ name, content })), optional, reasons })
  }

  const { cpus, mems } = resources.cpu ?? {}
  if (cpus) put('cpu.cpus', 'cpuset', [['cpuset.cpus', cpus]])
  if (mems) put('cpu.mems', 'cpuset', [['cpuset.mems', mems]])

  const block = resources.blockIO
  if (block) {
    const v1 = version('blkio') === 1
    const controller = v1 ? 'blkio' : 'io'
    const { weight, leafWeight } = block
    if (weight)
      put(
        'blockIO.weight',
        controller,
        v1
          ? [
              ['blkio.weight', String(weight)],
              ['blkio.bfq.weight', String(weight)],
            ]
          : [
              ['io.bfq.weight', String(weight)],
              ['io.weight', `default ${ioWeight(weight)}`],
            ],
      )
    if (leafWeight) {
      if (v1) put('blockIO.leafWeight', controller, [['blkio.leaf_weight', String(leafWeight)]])
      else onlyV1('blockIO.leafWeight')
    }
    block.weightDevice?.forEach(({ major, minor, weight, leafWeight }, index) => {
      const field = `blockIO.weightDevice[${index}]`
      const line = `${major}:${minor} ${weight}`
      if (weight)
        put(
          `${field}.weight`,
          controller,
          v1
            ? [
                ['blkio.weight_device', line],
                ['blkio.bfq.weight_device', line],
              ]
            : [
                ['io.bfq.weight', line],
                ['io.weight', `${major}:${minor} ${ioWeight(weight)}`],
              ],
          false,
          WEIGHT_REASONS,
        )
      if (!leafWeight) return
      if (v1) put(`${field}.leafWeight`, controller, [['blkio.leaf_weight_device', `${major}:${minor} ${leafWeight}`]])
      else onlyV1(`${field}.leafWeight`)
    })
    for (const [name, file, key] of throttles)
      block[name]?.forEach(({ major, minor, rate }: ThrottleDevice, index) => {
        const device = `${major}:${minor}`
        const line = v1 ? `${device} ${rate}` : `${device} ${key}=${isZero(rate) ? 'max' : rate}`
        put(`blockIO.${name}[${index}]`, controller, [[v1 ? file : 'io.max', line]], false, THROTTLE_REASONS)
      })
  }

  resources.hugepageLimits?.forEach(({ pageSize, limit }, index) => {
    const file = version('hugetlb') === 1 ? 'limit_in_bytes' : 'max'
    const field = `hugepageLimits[${index}]`
    put(field, 'hugetlb', [[`hugetlb.${pageSize}.${file}`, String(limit)]], isZero(limit))
    // Reservations are limited separately since Linux 5.7.
    put(field, 'hugetlb', [[`hugetlb.${pageSize}.rsvd.${file}`, String(limit)]], true)
  })
  resources.network?.priorities?.forEach(({ name, priority }, index) => {
    const field = `network.priorities[${index}]`
    if (version('net_prio') === 1) put(field, 'net_prio', [['net_prio.ifpriomap', `${name} ${priority}`]])
    else onlyV1(field)
  })
  for (const [device, { hcaHandles, hcaObjects }] of Object.entries(resources.rdma ?? {})) {
    const handles = hcaHandles === undefined ? '' : ` hca_handle=${hcaHandles}`
    const objects = hcaObjects === undefined ? '' : ` hca_object=${hcaObjects}`
    if (handles || objects) put(`rdma.${device}`, 'rdma', [['rdma.max', `${device}${handles}${objects}`]])
  }
  return writes
}

/** `unified`: as it stands, line by line, because files such as io.max take one device a write. */
function unifiedWrites(unified: Record<string, string>): Write[] {
  return Object.entries(unified).flatMap(([name, text]) => {
    const field = `unified[${JSON.stringify(name)}]`
    if (!/^[^./][^/]*\.[^/]+$/.test(name))
      throw new RuntError(`linux.resources.${field}: the name of a cgroup file has the form CONTROLLER.NAME`)
    const lines = text.split('\n').filter((line, index) => line !== '' || index === 0)
    const controller = name.slice(0, name.indexOf('.'))
    return lines.map((content): Write => ({ field, controller, files: [{ name, content }], optional: false }))
  })
}

const noCounterpart = (field: string, version: 1 | 2): string =>
  `linux.resources.${field} has no counterpart on cgroup v${version} and is ignored`

/**
 * All writes that the resources ask for, in the order in which a new cgroup takes them; devices excepted.
 * `version` says whether a controller (by its v1 name) is on a v1 hierarchy. `ignored` gets a sentence for each field that has no
 * counterpart there. `whole`: see Target.
 */
export function planWrites(
  resources: Resources,
  version: (controller: string) => 1 | 2,
  ignored: string[] = [],
  whole = resources,
): Write[] {
  const writes: Write[] = []
  for (const { field, controller, value: get, v1, v2, optional, partner, gone } of scalars) {
    const value = get(resources)
    if (value === undefined) continue
    const target = version(controller) === 1 ? v1 : v2
    if (!target) {
      ignored.push(
        gone === undefined ? noCounterpart(field, version(controller)) : `linux.resources.${field} is ignored: ${gone}`,
      )
      continue
    }
    const [name, encode] = target
    const content = encode(value, whole, resources)
    if (content === null) continue
    writes.push({
      field,
      controller,
      files: [{ name, content }],
      optional: optional?.(value, content) ?? false,
      ...(partner === undefined ? {} : { partner }),
    })
  }
  writes.push(...listWrites(resources, version, ignored))
  if (resources.unified) writes.push(...unifiedWrites(resources.unified))
  return writes
}
