/**
 * config.json, state and features as runtime-spec 1.3 defines them. Field names are the spec's.
 *
 * A parsed config holds no nulls: `null` is read as an absent field, as engines written in Go mean it. Unknown
 * properties are allowed everywhere (config.md, "Extensibility") and not described here.
 */

/** A 64-bit integer: a number while that is exact (up to 2^53 - 1), a bigint beyond. */
export type Int64 = number | bigint
/** An unsigned 64-bit integer: a number while that is exact, a bigint beyond. */
export type Uint64 = number | bigint

/** config.md, the whole file. */
export interface Config {
  ociVersion: string
  /** Required on Linux; `validate.ts` checks it. */
  root: Root
  /** Required before `start`; runt asks for it at `create` (as runc does). */
  process: Process
  hostname?: string
  domainname?: string
  mounts?: Mount[]
  hooks?: Hooks
  annotations?: Record<string, string>
  linux?: Linux
  /** Sections of other platforms: accepted, never read. */
  solaris?: unknown
  windows?: unknown
  vm?: unknown
  zos?: unknown
  freebsd?: unknown
}

/** config.md, "Root". */
export interface Root {
  /** Absolute, or relative to the bundle. */
  path: string
  readonly?: boolean
}

/** config.md, "Process". */
export interface Process {
  terminal?: boolean
  consoleSize?: ConsoleSize
  user: User
  /** Never empty in a validated config. */
  args: string[]
  env?: string[]
  /** Absolute. */
  cwd: string
  capabilities?: Capabilities
  rlimits?: Rlimit[]
  noNewPrivileges?: boolean
  apparmorProfile?: string
  selinuxLabel?: string
  oomScoreAdj?: number
  scheduler?: Scheduler
  ioPriority?: IoPriority
  execCPUAffinity?: ExecCpuAffinity
  /** Windows only; ignored. */
  commandLine?: string
}

export interface ConsoleSize {
  /** In characters. */
  height: number
  width: number
}

/** config.md, "POSIX-platform User". Ids in the container's user namespace. */
export interface User {
  /** Filled in with 0 where a file has none. */
  uid: number
  gid: number
  umask?: number
  additionalGids?: number[]
  /** Windows only; ignored. */
  username?: string
}

export type CapabilitySet = 'bounding' | 'effective' | 'inheritable' | 'permitted' | 'ambient'

/** Names as in capabilities(7), `CAP_` included. Unknown names stay in the lists; validation warns about them. */
export type Capabilities = { [set in CapabilitySet]?: string[] }

export interface Rlimit {
  /** One of `RLIMITS` in linux/constants.ts. */
  type: string
  soft: Uint64
  hard: Uint64
}

export type SchedulerPolicy =
  | 'SCHED_OTHER'
  | 'SCHED_FIFO'
  | 'SCHED_RR'
  | 'SCHED_BATCH'
  | 'SCHED_ISO'
  | 'SCHED_IDLE'
  | 'SCHED_DEADLINE'

export type SchedulerFlag =
  | 'SCHED_FLAG_RESET_ON_FORK'
  | 'SCHED_FLAG_RECLAIM'
  | 'SCHED_FLAG_DL_OVERRUN'
  | 'SCHED_FLAG_KEEP_POLICY'
  | 'SCHED_FLAG_KEEP_PARAMS'
  | 'SCHED_FLAG_UTIL_CLAMP_MIN'
  | 'SCHED_FLAG_UTIL_CLAMP_MAX'

/** The arguments of sched_setattr(2). */
export interface Scheduler {
  policy: SchedulerPolicy
  nice?: number
  priority?: number
  flags?: SchedulerFlag[]
  /** Nanoseconds, SCHED_DEADLINE only. */
  runtime?: Uint64
  deadline?: Uint64
  period?: Uint64
}

export interface IoPriority {
  class: 'IOPRIO_CLASS_RT' | 'IOPRIO_CLASS_BE' | 'IOPRIO_CLASS_IDLE'
  /** 0 (highest) to 7. */
  priority: number
}

/** CPU lists such as `0-3,7`. */
export interface ExecCpuAffinity {
  initial?: string
  final?: string
}

/** config.md, "Mounts". */
export interface Mount {
  /** A relative path is deprecated and means one relative to "/". */
  destination: string
  type?: string
  source?: string
  options?: string[]
  uidMappings?: IdMapping[]
  gidMappings?: IdMapping[]
}

export interface IdMapping {
  containerID: number
  hostID: number
  size: number
}

export type HookKind = 'prestart' | 'createRuntime' | 'createContainer' | 'startContainer' | 'poststart' | 'poststop'

/** config.md, "POSIX-platform Hooks". */
export type Hooks = { [kind in HookKind]?: Hook[] }

export interface Hook {
  /** Absolute. */
  path: string
  /** argv, the program's name included. */
  args?: string[]
  env?: string[]
  /** Seconds, more than 0. */
  timeout?: number
}

/** config-linux.md, the whole section. */
export interface Linux {
  namespaces?: Namespace[]
  uidMappings?: IdMapping[]
  gidMappings?: IdMapping[]
  timeOffsets?: Partial<Record<TimeClock, TimeOffset>>
  devices?: Device[]
  /** By name of the device on the host. */
  netDevices?: Record<string, NetDevice>
  /** Absolute: below the cgroup mount. Relative: below a place of the runtime's choice. */
  cgroupsPath?: string
  resources?: Resources
  rootfsPropagation?: RootfsPropagation
  sysctl?: Record<string, string>
  seccomp?: Seccomp
  maskedPaths?: string[]
  readonlyPaths?: string[]
  mountLabel?: string
  personality?: Personality
  intelRdt?: IntelRdt
  memoryPolicy?: MemoryPolicy
}

export type NamespaceType = 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time'

export interface Namespace {
  type: NamespaceType
  /** An existing namespace to join; absent (an empty string counts as absent): a new one. */
  path?: string
}

export type TimeClock = 'boottime' | 'monotonic'

export interface TimeOffset {
  secs?: Int64
  nanosecs?: number
}

export interface Device {
  path: string
  /** As mknod(1): character, block, unbuffered character, FIFO. */
  type: 'c' | 'b' | 'u' | 'p'
  /** Required unless type is `p`. */
  major?: number
  minor?: number
  /** Permission bits, in decimal in the file. */
  fileMode?: number
  uid?: number
  gid?: number
}

export interface NetDevice {
  /** The name in the container; absent or empty: the same as on the host. May hold one `%d`. */
  name?: string
}

/** `rprivate` and its like are runc's extension of the spec's four words. */
export type RootfsPropagation =
  | 'shared'
  | 'slave'
  | 'private'
  | 'unbindable'
  | 'rshared'
  | 'rslave'
  | 'rprivate'
  | 'runbindable'

/** config-linux.md, "Control groups". Also what `runt update` reads. */
export interface Resources {
  devices?: DeviceRule[]
  memory?: MemoryResources
  cpu?: CpuResources
  pids?: PidsResources
  blockIO?: BlockIOResources
  hugepageLimits?: HugepageLimit[]
  network?: NetworkResources
  /** By name of the RDMA device. */
  rdma?: Record<string, RdmaResources>
  /** Names of cgroup v2 files and what to write to them. */
  unified?: Record<string, string>
}

export interface DeviceRule {
  allow: boolean
  /** Absent or empty means `a`, all. */
  type?: string
  /** Absent or -1 means all. */
  major?: number
  minor?: number
  /** Some of `rwm`; absent or empty means all three. */
  access?: string
}

/** Bytes; -1 is unlimited. */
export interface MemoryResources {
  limit?: Int64
  reservation?: Int64
  /** Memory and swap together. */
  swap?: Int64
  /** Deprecated. */
  kernel?: Int64
  kernelTCP?: Int64
  /** 0 to 100. */
  swappiness?: Uint64
  disableOOMKiller?: boolean
  useHierarchy?: boolean
  checkBeforeUpdate?: boolean
}

/** Times in microseconds. */
export interface CpuResources {
  shares?: Uint64
  quota?: Int64
  burst?: Uint64
  period?: Uint64
  realtimeRuntime?: Int64
  realtimePeriod?: Uint64
  cpus?: string
  mems?: string
  idle?: Int64
}

export interface PidsResources {
  /** -1 is unlimited. */
  limit?: Int64
}

export interface BlockIOResources {
  weight?: number
  leafWeight?: number
  weightDevice?: WeightDevice[]
  throttleReadBpsDevice?: ThrottleDevice[]
  throttleWriteBpsDevice?: ThrottleDevice[]
  throttleReadIOPSDevice?: ThrottleDevice[]
  throttleWriteIOPSDevice?: ThrottleDevice[]
}

export interface WeightDevice {
  major: number
  minor: number
  weight?: number
  leafWeight?: number
}

export interface ThrottleDevice {
  major: number
  minor: number
  rate: Uint64
}

export interface HugepageLimit {
  /** Such as `2MB`. */
  pageSize: string
  limit: Uint64
}

export interface NetworkResources {
  classID?: number
  priorities?: InterfacePriority[]
}

export interface InterfacePriority {
  name: string
  priority: number
}

export interface RdmaResources {
  hcaHandles?: number
  hcaObjects?: number
}

export type SeccompAction =
  | 'SCMP_ACT_KILL'
  | 'SCMP_ACT_KILL_PROCESS'
  | 'SCMP_ACT_KILL_THREAD'
  | 'SCMP_ACT_TRAP'
  | 'SCMP_ACT_ERRNO'
  | 'SCMP_ACT_TRACE'
  | 'SCMP_ACT_ALLOW'
  | 'SCMP_ACT_LOG'
  | 'SCMP_ACT_NOTIFY'

export type SeccompOperator =
  | 'SCMP_CMP_NE'
  | 'SCMP_CMP_LT'
  | 'SCMP_CMP_LE'
  | 'SCMP_CMP_EQ'
  | 'SCMP_CMP_GE'
  | 'SCMP_CMP_GT'
  | 'SCMP_CMP_MASKED_EQ'

export type SeccompArch =
  | 'SCMP_ARCH_X86'
  | 'SCMP_ARCH_X86_64'
  | 'SCMP_ARCH_X32'
  | 'SCMP_ARCH_ARM'
  | 'SCMP_ARCH_AARCH64'
  | 'SCMP_ARCH_MIPS'
  | 'SCMP_ARCH_MIPS64'
  | 'SCMP_ARCH_MIPS64N32'
  | 'SCMP_ARCH_MIPSEL'
  | 'SCMP_ARCH_MIPSEL64'
  | 'SCMP_ARCH_MIPSEL64N32'
  | 'SCMP_ARCH_PPC'
  | 'SCMP_ARCH_PPC64'
  | 'SCMP_ARCH_PPC64LE'
  | 'SCMP_ARCH_S390'
  | 'SCMP_ARCH_S390X'
  | 'SCMP_ARCH_PARISC'
  | 'SCMP_ARCH_PARISC64'
  | 'SCMP_ARCH_RISCV64'
  | 'SCMP_ARCH_LOONGARCH64'
  | 'SCMP_ARCH_M68K'
  | 'SCMP_ARCH_SH'
  | 'SCMP_ARCH_SHEB'

export type SeccompFlag =
  | 'SECCOMP_FILTER_FLAG_TSYNC'
  | 'SECCOMP_FILTER_FLAG_LOG'
  | 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'
  | 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'

/** config-linux.md, "Seccomp". */
export interface Seccomp {
  defaultAction: SeccompAction
  defaultErrnoRet?: number
  architectures?: SeccompArch[]
  flags?: SeccompFlag[]
  /** A SOCK_STREAM socket that takes the notify descriptor. */
  listenerPath?: string
  listenerMetadata?: string
  syscalls?: SeccompSyscall[]
}

export interface SeccompSyscall {
  names: string[]
  action: SeccompAction
  errnoRet?: number
  args?: SeccompArg[]
}

export interface SeccompArg {
  /** 0 to 5. */
  index: number
  /** The mask with SCMP_CMP_MASKED_EQ. */
  value: Uint64
  /** What the masked argument is compared with, SCMP_CMP_MASKED_EQ only. */
  valueTwo?: Uint64
  op: SeccompOperator
}

export interface Personality {
  domain: 'LINUX' | 'LINUX32'
  /** No flag is defined; validation refuses any. */
  flags?: string[]
}

/** config-linux.md, "IntelRdt". */
export interface IntelRdt {
  closID?: string
  schemata?: string[]
  l3CacheSchema?: string
  memBwSchema?: string
  enableMonitoring?: boolean
}

export type MemoryPolicyMode =
  | 'MPOL_DEFAULT'
  | 'MPOL_BIND'
  | 'MPOL_INTERLEAVE'
  | 'MPOL_WEIGHTED_INTERLEAVE'
  | 'MPOL_PREFERRED'
  | 'MPOL_PREFERRED_MANY'
  | 'MPOL_LOCAL'

export type MemoryPolicyFlag = 'MPOL_F_NUMA_BALANCING' | 'MPOL_F_RELATIVE_NODES' | 'MPOL_F_STATIC_NODES'

/** The arguments of set_mempolicy(2). */
export interface MemoryPolicy {
  mode: MemoryPolicyMode
  /** A list of nodes such as `0-3,7`. */
  nodes?: string
  flags?: MemoryPolicyFlag[]
}

export type Status = 'creating' | 'created' | 'running' | 'stopped'

/** runtime.md, "State": what hooks get on stdin and `runt state` prints. Runtimes may add properties. */
export interface State {
  ociVersion: string
  id: string
  status: Status
  /** Required when status is created or running. */
  pid?: number
  /** Absolute. */
  bundle: string
  annotations?: Record<string, string>
}

/** config-linux.md, "The Container Process State": what the seccomp agent gets. */
export interface ContainerProcessState {
  ociVersion: string
  fds: string[]
  pid: number
  metadata?: string
  state: State
}

/** features.md. An absent list means "unknown", not "none". */
export interface Features {
  ociVersionMin: string
  ociVersionMax: string
  hooks?: string[]
  mountOptions?: string[]
  linux?: LinuxFeatures
  annotations?: Record<string, string>
  potentiallyUnsafeConfigAnnotations?: string[]
}

/** features-linux.md. */
export interface LinuxFeatures {
  namespaces?: string[]
  capabilities?: string[]
  cgroup?: { v1?: boolean; v2?: boolean; systemd?: boolean; systemdUser?: boolean; rdma?: boolean }
  seccomp?: {
    enabled?: boolean
    actions?: string[]
    operators?: string[]
    archs?: string[]
    knownFlags?: string[]
    supportedFlags?: string[]
  }
  apparmor?: { enabled?: boolean }
  selinux?: { enabled?: boolean }
  intelRdt?: { enabled?: boolean; schemata?: boolean; monitoring?: boolean }
  memoryPolicy?: { modes?: string[]; flags?: string[] }
  mountExtensions?: { idmap?: { enabled?: boolean } }
  netDevices?: { enabled?: boolean }
}
