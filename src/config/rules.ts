/**
 * What the schema cannot say: conditions that need more than one field, or that the kernel sets. A table, one row
 * a rule; `check` returns the first mistake as `FIELD: what is wrong`, or undefined. Longer checks stand below the table, or in a file
 * of their own.
 */
import { DEPTH_MAX } from '../base/json.ts'
import { CAPABILITIES, CPUS_MAX, MAJOR_MAX, MINOR_MAX, NODES_MAX, RLIMITS } from '../linux/constants.ts'
import { absolute, duplicate, first, join, list, namespace, needsNamespace, numberList, range, show } from './checks.ts'
import { ID_NONE, idMappings, mappingsAndNamespace, userIsMapped } from './id-rules.ts'
import { resourcesMistake } from './resource-rules.ts'
import { sysctls } from './sysctl-rules.ts'
import type { Config, Hook, HookKind, SeccompAction } from './types.ts'

export interface Rule {
  name: string
  /** Heading in the runtime-spec, or the source of the condition. */
  spec: string
  /** Warnings go to the end of `warnings`; a mistake is returned. */
  check(config: Config, warnings: string[]): string | undefined
  /** The rule is skipped when the text of the file does not hold this. */
  needs?: string
}

export const rules: readonly Rule[] = [
  { name: 'version', spec: 'config.md, Specification version', check: semVer },
  {
    name: 'required sections',
    spec: 'config.md, Root; Process',
    check(config) {
      if (config.root === undefined) return 'root: missing'
      if (config.root.path === '') return 'root.path: is empty'
      if (config.process === undefined) return 'process: missing, it is needed to create a container'
      return undefined
    },
  },
  {
    name: 'no NUL bytes',
    spec: 'execve(2), open(2): strings end at a NUL',
    needs: '\\u0000',
    check(config) {
      const { root, process, hostname, domainname, mounts, hooks, linux } = config
      return nul({ root, process, hostname, domainname, mounts, hooks, linux }, '')
    },
  },
  {
    name: 'program',
    spec: 'config.md, Process',
    check({ process: { args, cwd, env } }) {
      if (args === undefined) return 'process.args: missing'
      if (args.length === 0) return 'process.args: is empty, at least the program is needed'
      for (let index = 0; env !== undefined && index < env.length; index++) {
        if (env[index]!.indexOf('=') < 1) return `process.env[${index}]: ${show(env[index])} is not NAME=VALUE`
      }
      return absolute('process.cwd', cwd)
    },
  },
  {
    name: 'console size',
    spec: 'config.md, Process; ioctl_tty(2): 16 bits each',
    check({ process: { terminal, consoleSize } }) {
      if (terminal !== true || consoleSize === undefined) return undefined
      return (
        range('process.consoleSize.height', consoleSize.height, 0, 0xffff) ??
        range('process.consoleSize.width', consoleSize.width, 0, 0xffff)
      )
    },
  },
  {
    name: 'user',
    spec: 'config.md, POSIX-platform User',
    check({ process: { user } }) {
      return (
        range('process.user.uid', user.uid, 0, ID_NONE - 1) ??
        range('process.user.gid', user.gid, 0, ID_NONE - 1) ??
        range('process.user.umask', user.umask, 0, 0o777) ??
        first(user.additionalGids, (gid, index) => range(`process.user.additionalGids[${index}]`, gid, 0, ID_NONE - 1))
      )
    },
  },
  {
    name: 'rlimits',
    spec: 'config.md, POSIX process',
    check({ process: { rlimits } }) {
      return (
        first(rlimits, ({ type, soft, hard }, index) => {
          const field = `process.rlimits[${index}]`
          if (!rlimitTypes.includes(type)) return `${field}.type: ${show(type)} is not one of ${list(rlimitTypes)}`
          if (soft > hard) return `${field}.soft: ${show(soft)} is larger than ${field}.hard, ${show(hard)}`
          return undefined
        }) ?? duplicate(rlimits, 'process.rlimits')
      )
    },
  },
  {
    name: 'capabilities',
    spec: 'config.md, Linux Process: unknown names MUST be logged as a warning',
    check({ process: { capabilities } }, warnings) {
      for (const [set, names] of Object.entries(capabilities ?? {})) {
        if (!Array.isArray(names)) continue
        for (const name of names) {
          if (!CAPABILITIES.includes(name))
            warnings.push(`process.capabilities.${set}: ${show(name)} is unknown and ignored`)
        }
      }
      return undefined
    },
  },
  {
    name: 'OOM score',
    spec: 'config.md, Linux Process; proc_pid_oom_score_adj(5)',
    check: (config) => range('process.oomScoreAdj', config.process.oomScoreAdj, -1000, 1000),
  },
  { name: 'scheduler', spec: 'config.md, Linux Process; sched_setattr(2)', check: scheduler },
  {
    name: 'I/O priority',
    spec: 'config.md, Linux Process; ioprio_set(2)',
    check: (config) => range('process.ioPriority.priority', config.process.ioPriority?.priority, 0, 7),
  },
  {
    name: 'CPU affinity',
    spec: 'config.md, Linux Process',
    check: ({ process: { execCPUAffinity } }) =>
      numberList('process.execCPUAffinity.initial', execCPUAffinity?.initial, CPUS_MAX) ??
      numberList('process.execCPUAffinity.final', execCPUAffinity?.final, CPUS_MAX),
  },
  {
    name: 'names of the host',
    spec: 'config.md, Hostname; Domainname',
    check: (config) => utsName(config, 'hostname') ?? utsName(config, 'domainname'),
  },
  {
    name: 'namespaces',
    spec: 'config-linux.md, Namespaces',
    check: ({ linux }) =>
      duplicate(linux?.namespaces, 'linux.namespaces') ??
      first(linux?.namespaces, ({ path }, index) =>
        path === undefined ? undefined : absolute(`linux.namespaces[${index}].path`, path),
      ),
  },
  { name: 'user namespace', spec: 'config-linux.md, User namespace mappings', check: mappingsAndNamespace },
  {
    name: 'id mappings',
    spec: 'config-linux.md, User namespace mappings; user_namespaces(7)',
    check: ({ linux }) =>
      idMappings('linux.uidMappings', linux?.uidMappings) ?? idMappings('linux.gidMappings', linux?.gidMappings),
  },
  { name: 'user is mapped', spec: 'user_namespaces(7)', check: userIsMapped },
  { name: 'time offsets', spec: 'config-linux.md, Offset for Time Namespace; time_namespaces(7)', check: timeOffsets },
  {
    name: 'mounts',
    spec: 'config.md, Mounts; POSIX-platform Mounts',
    check(config) {
      const user = namespace(config, 'user')
      const newUser = user !== undefined && user.path === undefined
      return first(config.mounts, ({ destination, type, options, uidMappings, gidMappings }, index) => {
        const field = `mounts[${index}]`
        if (destination === '') return `${field}.destination: is empty`
        // Whoever mounts a procfs needs rights over the pid namespace that it shows.
        if (type === 'proc' && newUser && namespace(config, 'pid') === undefined && !options?.some(isBind)) {
          return `${field} (${destination}): a procfs in a new user namespace needs a pid namespace in linux.namespaces; without one, bind /proc`
        }
        const uids = uidMappings?.length ? 1 : 0
        const gids = gidMappings?.length ? 1 : 0
        if (uids !== gids) return `${field}.${uids ? 'gidMappings' : 'uidMappings'}: missing, both mappings are needed`
        if (uids === 0) {
          const option = options?.find((word) => word === 'idmap' || word === 'ridmap')
          if (option === undefined || namespace(config, 'user') !== undefined) return undefined
          return `${field}.options: ${show(option)} needs uidMappings and gidMappings, or a user namespace`
        }
        return idMappings(`${field}.uidMappings`, uidMappings) ?? idMappings(`${field}.gidMappings`, gidMappings)
      })
    },
  },
  {
    name: 'masked and read-only paths',
    spec: 'config-linux.md, Masked Paths; Readonly Paths',
    check(config) {
      for (const key of ['maskedPaths', 'readonlyPaths'] as const) {
        const paths = config.linux?.[key]
        if (!paths?.length) continue
        const mistake = first(paths, (path, index) => absolute(`linux.${key}[${index}]`, path))
        if (mistake !== undefined) return mistake
      }
      return undefined
    },
  },
  {
    name: 'hooks',
    spec: 'config.md, POSIX-platform Hooks',
    check({ hooks }) {
      if (hooks === undefined) return undefined
      for (const kind of hookKinds) {
        const mistake = first(hooks[kind], (hook, index) => hookMistakes(`hooks.${kind}[${index}]`, hook))
        if (mistake !== undefined) return mistake
      }
      return undefined
    },
  },
  {
    name: 'devices',
    spec: 'config-linux.md, Devices',
    check: ({ linux }) =>
      first(linux?.devices, (device, index) => {
        const field = `linux.devices[${index}]`
        if (device.type !== 'p') {
          if (device.major === undefined) return `${field}.major: missing, type ${show(device.type)} needs it`
          if (device.minor === undefined) return `${field}.minor: missing, type ${show(device.type)} needs it`
          const mistake =
            range(`${field}.major`, device.major, 0, MAJOR_MAX) ?? range(`${field}.minor`, device.minor, 0, MINOR_MAX)
          if (mistake !== undefined) return mistake
        }
        return absolute(`${field}.path`, device.path)
      }),
  },
  { name: 'network devices', spec: 'config-linux.md, Network Devices', check: netDevices },
  { name: 'sysctls', spec: 'config-linux.md, Sysctl; namespaces(7)', check: sysctls },
  {
    name: 'resources',
    spec: 'config-linux.md, Control groups',
    check: ({ linux }) => (linux?.resources === undefined ? undefined : resourcesMistake(linux.resources)),
  },
  { name: 'seccomp', spec: 'config-linux.md, Seccomp', check: seccomp },
  { name: 'Intel RDT', spec: 'config-linux.md, IntelRdt', check: intelRdt },
  { name: 'memory policy', spec: 'config-linux.md, Memory policy; set_mempolicy(2)', check: memoryPolicy },
  {
    name: 'personality',
    spec: 'config-linux.md, Personality: no flag values are supported',
    check: ({ linux }) =>
      first(linux?.personality?.flags, (flag, index) => `linux.personality.flags[${index}]: ${show(flag)} is unknown`),
  },
]

/** __NEW_UTS_LEN, uts(7). */
const UTS_NAME_MAX = 64
/** IFNAMSIZ with its NUL. */
const INTERFACE_NAME_MAX = 15
/** MAX_ERRNO, seccomp(2): larger values are cut to it. */
const ERRNO_MAX = 4095
/** SECCOMP_RET_DATA. */
const TRACE_DATA_MAX = 0xffff

const rlimitTypes = Object.keys(RLIMITS)

const hookKinds: readonly HookKind[] = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
]

function semVer(config: Config, warnings: string[]): string | undefined {
  const version = config.ociVersion
  // semver.org, the parts that matter here.
  const found = /^(\d+)\.(\d+)\.(\d+)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/.exec(version)
  if (found === null) return `ociVersion: ${show(version)} is not a version such as "1.3.0"`
  if (found[1] !== '1') return `ociVersion: ${show(version)} is not a version that runt knows: 1.0.0 to 1.3.x`
  if (Number(found[2]) > 3) {
    warnings.push(
      `ociVersion: ${show(version)} is later than 1.3, what runt knows: fields that are new in it have no effect`,
    )
  }
  return undefined
}

function hookMistakes(path: string, hook: Hook): string | undefined {
  if (hook.timeout !== undefined && hook.timeout < 1) {
    return `${path}.timeout: ${show(hook.timeout)} is not a number of seconds above 0`
  }
  return absolute(`${path}.path`, hook.path)
}

const isBind = (word: string): boolean => /^r?bind$|remount/.test(word)

function utsName(config: Config, key: 'hostname' | 'domainname'): string | undefined {
  const value = config[key]
  if (value === undefined || value === '') return undefined
  // Code units are a lower bound of the bytes; the kernel has the last word on names that are not ASCII.
  if (value.length > UTS_NAME_MAX) return `${key}: ${show(value)} is longer than ${UTS_NAME_MAX} bytes`
  return needsNamespace(config, 'uts', key, value)
}

function scheduler(config: Config): string | undefined {
  const settings = config.process.scheduler
  if (settings === undefined) return undefined
  const path = 'process.scheduler'
  const { policy, nice, priority } = settings
  if (policy === 'SCHED_FIFO' || policy === 'SCHED_RR') {
    const mistake = range(`${path}.priority`, priority ?? 0, 1, 99)
    if (mistake !== undefined) return `${mistake}, which ${policy} needs`
  } else if (priority !== undefined && priority !== 0) {
    return `${path}.priority: ${show(priority)} is for SCHED_FIFO and SCHED_RR only, not for ${policy}`
  }
  if (policy !== 'SCHED_DEADLINE') {
    for (const key of ['runtime', 'deadline', 'period'] as const) {
      const value = settings[key]
      if (value !== undefined && Number(value) !== 0) {
        return `${path}.${key}: ${show(value)} is for SCHED_DEADLINE only, not for ${policy}`
      }
    }
  }
  return range(`${path}.nice`, nice, -20, 19)
}

function interfaceName(path: string, name: string): string | undefined {
  // dev_valid_name() of the kernel.
  if (name !== '' && name !== '.' && name !== '..' && name.length <= INTERFACE_NAME_MAX && !/[/:\s]/.test(name))
    return undefined
  return `${path}: ${show(name)} is not the name of a network device: 1 to ${INTERFACE_NAME_MAX} bytes without "/", ":" and spaces`
}

function netDevices(config: Config): string | undefined {
  const names = new Map<string, string>()
  for (const [host, device] of Object.entries(config.linux?.netDevices ?? {})) {
    const field = join('linux.netDevices', host)
    const name = device.name || host
    const mistake =
      needsNamespace(config, 'network', 'linux.netDevices', host) ??
      interfaceName(field, host) ??
      interfaceName(`${field}.name`, name)
    if (mistake !== undefined) return mistake
    if (name.includes('%')) {
      // The kernel numbers such devices; dev_alloc_name() takes one %d.
      if (!/^[^%]*%d[^%]*$/.test(name)) return `${field}.name: ${show(name)} may hold one "%d" and no other "%"`
      continue
    }
    const other = names.get(name)
    if (other !== undefined)
      return `${field}.name: ${show(name)} is the name of ${join('linux.netDevices', other)} already`
    names.set(name, host)
  }
  return undefined
}

function seccompErrno(path: string, key: string, action: SeccompAction, errno: number | undefined): string | undefined {
  if (errno === undefined) return undefined
  if (action === 'SCMP_ACT_ERRNO') return range(`${path}.${key}`, errno, 0, ERRNO_MAX)
  if (action === 'SCMP_ACT_TRACE') return range(`${path}.${key}`, errno, 0, TRACE_DATA_MAX)
  return `${path}.${key}: ${show(errno)} is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE only, not for ${action}`
}

function seccomp(config: Config): string | undefined {
  const filter = config.linux?.seccomp
  if (filter === undefined) return undefined
  const path = 'linux.seccomp'
  if (filter.defaultAction === 'SCMP_ACT_NOTIFY' && !filter.listenerPath) {
    return `${path}.defaultAction: "SCMP_ACT_NOTIFY" needs ${path}.listenerPath`
  }
  if (filter.listenerMetadata && !filter.listenerPath) {
    return `${path}.listenerMetadata: ${show(filter.listenerMetadata)} needs ${path}.listenerPath`
  }
  return (
    seccompErrno(path, 'defaultErrnoRet', filter.defaultAction, filter.defaultErrnoRet) ??
    first(filter.syscalls, (syscall, index) => {
      const field = `${path}.syscalls[${index}]`
      if (syscall.action === 'SCMP_ACT_NOTIFY' && !filter.listenerPath) {
        return `${field}.action: "SCMP_ACT_NOTIFY" needs ${path}.listenerPath`
      }
      return (
        seccompErrno(field, 'errnoRet', syscall.action, syscall.errnoRet) ??
        first(syscall.args, (arg, at) => range(`${field}.args[${at}].index`, arg.index, 0, 5))
      )
    })
  )
}

function intelRdt(config: Config): string | undefined {
  const rdt = config.linux?.intelRdt
  if (rdt === undefined) return undefined
  const path = 'linux.intelRdt'
  const { closID, l3CacheSchema, memBwSchema } = rdt
  if (closID && closID !== '/' && (closID === '.' || closID === '..' || /[/\n]/.test(closID))) {
    return `${path}.closID: ${show(closID)} is not the name of a directory, or "/"`
  }
  if (l3CacheSchema?.includes('\n')) return `${path}.l3CacheSchema: ${show(l3CacheSchema)} has more than one line`
  if (memBwSchema && (!memBwSchema.startsWith('MB:') || memBwSchema.includes('\n'))) {
    return `${path}.memBwSchema: ${show(memBwSchema)} is not one line that starts with "MB:"`
  }
  return first(rdt.schemata, (line, index) =>
    line.includes('\n') ? `${path}.schemata[${index}]: ${show(line)} has more than one line` : undefined,
  )
}

function memoryPolicy(config: Config): string | undefined {
  const policy = config.linux?.memoryPolicy
  if (policy === undefined) return undefined
  const path = 'linux.memoryPolicy'
  const { mode, nodes, flags } = policy
  if (mode === 'MPOL_DEFAULT' || mode === 'MPOL_LOCAL') {
    if (nodes) return `${path}.nodes: ${show(nodes)} is not for ${mode}, which has no nodes`
  } else if (mode !== 'MPOL_PREFERRED' && !nodes) return `${path}.nodes: missing, ${mode} needs nodes`
  if (flags?.includes('MPOL_F_STATIC_NODES') && flags.includes('MPOL_F_RELATIVE_NODES')) {
    return `${path}.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other`
  }
  if (flags?.includes('MPOL_F_NUMA_BALANCING') && mode !== 'MPOL_BIND' && mode !== 'MPOL_PREFERRED_MANY') {
    return `${path}.flags: "MPOL_F_NUMA_BALANCING" is for MPOL_BIND and MPOL_PREFERRED_MANY only, not for ${mode}`
  }
  return numberList(`${path}.nodes`, nodes, NODES_MAX)
}

function timeOffsets(config: Config): string | undefined {
  const offsets = Object.entries(config.linux?.timeOffsets ?? {})
  if (offsets.length === 0) return undefined
  const time = namespace(config, 'time')
  if (time === undefined) return 'linux.timeOffsets: needs a time namespace in linux.namespaces'
  if (time.path !== undefined) return 'linux.timeOffsets: not for an existing time namespace, its clocks run already'
  for (const [clock, { nanosecs }] of offsets) {
    const field = join('linux.timeOffsets', clock)
    if (clock !== 'boottime' && clock !== 'monotonic') return `${field}: not one of "boottime", "monotonic"`
    const mistake = range(`${field}.nanosecs`, nanosecs, 0, 999_999_999)
    if (mistake !== undefined) return mistake
  }
  return undefined
}

/** The first string with a NUL that reaches the kernel: it would end there. */
function nul(value: unknown, path: string, depth = 0): string | undefined {
  if (typeof value === 'string') return value.includes('\0') ? `${path}: ${show(value)} holds a NUL` : undefined
  if (typeof value !== 'object' || value === null) return undefined
  if (depth >= DEPTH_MAX) return `${path.slice(0, 80)}: nested more than ${DEPTH_MAX} levels deep`
  if (Array.isArray(value)) return first(value, (item, index) => nul(item, join(path, index), depth + 1))
  for (const [key, item] of Object.entries(value)) {
    const field = join(path, key)
    const mistake = key.includes('\0') ? `${field}: the name holds a NUL` : nul(item, field, depth + 1)
    if (mistake !== undefined) return mistake
  }
  return undefined
}
