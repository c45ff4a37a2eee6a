/**
 * Plans the process: session, limits, identity, rights, working folder, program. Runs in the init; what the program itself gets comes after
 * the change of root.
 */

import { Struct } from '../base/bytes.ts'
import { cleanPath, DEFAULT_PATH } from '../base/paths.ts'
import { numbersIn } from '../config/number-list.ts'
import type { Config, Personality, Process, Scheduler } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import type { Filter } from '../seccomp/compile.ts'
import { ANY, type Batch, load, type OutPointer, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { planReading, type Reading } from './files.ts'
import { planKeyLabel, planLabels } from './labels.ts'
import { makeFolder } from './paths.ts'
import { planExecve } from './program-vectors.ts'
import { planFilter } from './seccomp-agent.ts'
import { InitSlot } from './slots.ts'
import { planVisibility } from './visibility.ts'

/** keyrings(7): all to who possesses it; view, read, search, link to its owner. The kernel's own choice, and search. */
const KEYRING_PERMISSIONS = 0x3f1b_0000

/**
 * Plans a session of the process's own, without a controlling terminal, so that signals of the caller's terminal do not reach it; and, with
 * `newKeyring`, the container's keyring, which `exec` joins by its name.
 */
export function planSession(b: Batch, id: string, newKeyring: boolean, { selinuxLabel }: Process): void {
  b.about('init')
  c.prctl(b, k.PR_SET_NAME, b.string('runt:init'))
  c.setsid(b)
  c.umask(b, 0)
  planAllCpus(b)
  if (!newKeyring) return
  if (selinuxLabel) planKeyLabel(b, selinuxLabel)
  b.about('session keyring')
  // Where keyrings are forbidden (seccomp of a container around runt) or used up (quota), the container has none of its own.
  const without = b.label()
  const keyring = b
    .call('keyctl', k.KEYCTL_JOIN_SESSION_KEYRING, `_ses.${id}`, 0, 0, 0)
    .on(['ENOSYS', 'EPERM', 'EDQUOT', 'EACCES'], without)
  // `exec` finds it by its name only if its owner may search it.
  b.call('keyctl', k.KEYCTL_SETPERM, keyring, KEYRING_PERMISSIONS, 0, 0).on(ANY, without)
  b.place(without)
  if (selinuxLabel) planKeyLabel(b, null)
}

/** `hostname` and `domainname`; sethostname(2), setdomainname(2). The rules have seen to it that the uts namespace is the container's. */
export function planNames(b: Batch, config: Config): void {
  if (config.hostname) {
    b.about('hostname')
    const name = b.string(config.hostname)
    b.call('sethostname', name, name.length - 1)
  }
  if (config.domainname) {
    b.about('domainname')
    const name = b.string(config.domainname)
    b.call('setdomainname', name, name.length - 1)
  }
}

/** Brings `lo` up: ifreq (netdevice(7)) with the name and the flag IFF_UP. */
export function planLoopback(b: Batch): void {
  b.about('network: bring the loopback interface up')
  const request = new Struct(40).u8(0, 0x6c).u8(1, 0x6f).u16(16, k.IFF_UP)
  const fd = c.socket(b, k.AF_INET, k.SOCK_DGRAM)
  b.call('ioctl', fd, k.SIOCSIFFLAGS, b.data(request.bytes, '{ifr_name="lo", ifr_flags=IFF_UP}'))
  c.close(b, fd)
}

const capabilityNumbers = new Map(k.CAPABILITIES.map((name, number) => [name, number]))

/** Mask of a list of capability names, 41 bits; unknown ones have been warned about when the config was read. */
function capabilityMask(names: readonly string[] = []): number {
  let low = 0
  let high = 0
  for (const name of names) {
    const number = capabilityNumbers.get(name)
    if (number === undefined) continue
    if (number < 32) low |= 1 << number
    else high |= 1 << (number - 32)
  }
  return high * 0x1_0000_0000 + (low >>> 0)
}

const hasBit = (mask: number, number: number): boolean =>
  (((number < 32 ? mask : mask / 0x1_0000_0000) >>> (number % 32)) & 1) === 1

/** Drops what is not in the mask from the bounding set: a loop in the executor for each run of neighbours. */
function planBounding(b: Batch, mask: number): void {
  b.about('process.capabilities.bounding')
  const end = k.CAPABILITIES.length
  for (let first = 0; first < end; first++) {
    if (hasBit(mask, first)) continue
    let last = first
    while (last + 1 < end && !hasBit(mask, last + 1)) last++
    const again = b.label()
    const unknown = b.label()
    b.set(InitSlot.CAPABILITY, first)
    b.place(again)
    // EINVAL: the kernel does not know it, nor any after it.
    c.prctl(b, k.PR_CAPBSET_DROP, slot(InitSlot.CAPABILITY)).on(['EINVAL'], unknown)
    b.add(slot(InitSlot.CAPABILITY), 1).keep(InitSlot.CAPABILITY)
    b.branch(slot(InitSlot.CAPABILITY), 'LESS', last + 1, again)
    b.place(unknown)
    first = last
  }
}

/** Whether the environment has a HOME; otherwise runt adds one. As with all variables the last entry counts, and an empty HOME is none. */
export function hasHome({ env = [] }: Process): boolean {
  const home = env.findLast((entry) => entry.startsWith('HOME='))
  return home !== undefined && home !== 'HOME='
}

/** Bytes of /etc/passwd that are read in the same batch as all else; most files are no longer. */
const PASSWD_SIZE = 0x1000
/** A longer file is ignored: it may be a link to /dev/zero. */
const PASSWD_LONGEST = 0x10_0000

/** Plans to read the container's /etc/passwd. It is a file of the image: if it is missing, unreadable or no file, that is no error. */
export function planPasswd(b: Batch): Reading {
  const reading = planReading(b, '/etc/passwd', PASSWD_SIZE, k.O_RDONLY | k.O_NONBLOCK | k.O_NOCTTY)
  return { ...reading, longest: PASSWD_LONGEST }
}

/** The capability that seccomp(2) asks for in a process without no_new_privs. */
const FOR_FILTER = ['CAP_SYS_ADMIN']

/** Plans limits of resources and scheduling, of the process `pid`; 0 is the executor itself. */
export function planLimits(b: Batch, wanted: Process, pid = 0): void {
  for (const limit of wanted.rlimits ?? []) {
    b.about(`process.rlimits (${limit.type})`)
    c.setRlimit(b, k.RLIMITS[limit.type]!, limit.soft, limit.hard, pid)
  }
  if (wanted.scheduler) planScheduler(b, wanted.scheduler, pid)
  if (wanted.ioPriority) {
    b.about('process.ioPriority')
    const { class: name, priority } = wanted.ioPriority
    const value = (k.IOPRIO_CLASSES[name]! << k.IOPRIO_CLASS_SHIFT) | priority
    b.call('ioprio_set', k.IOPRIO_WHO_PROCESS, pid, value)
  }
}

/** Makes a missing working folder while the root, which is to be read-only, can still be written to. `/` is always there. */
export function planWorkingFolder(b: Batch, { cwd }: Process): void {
  if (cleanPath(cwd) === '/') return
  b.about(`process.cwd (${cwd})`)
  makeFolder(b, cwd, InitSlot.TARGET)
  c.close(b, slot(InitSlot.TARGET))
}

/**
 * Plans limits, working folder, user and rights, in an order in which each step still has the rights that it needs. `filtered`: a seccomp
 * filter will be loaded. `inUserNamespace`: limits are left to the host, which may raise them, and setgroups(2) may be denied. `visible`:
 * see visibility.ts.
 */
export function planIdentity(
  b: Batch,
  wanted: Process,
  filtered: boolean,
  inUserNamespace: boolean,
  keepGroups = false,
  visible = false,
): void {
  planLabels(b, wanted)
  if (!inUserNamespace) planLimits(b, wanted)
  const { uid, gid, additionalGids = [] } = wanted.user
  if (uid !== 0) planStandardStreams(b, uid)

  b.about(`process.cwd (${wanted.cwd})`)
  makeFolder(b, wanted.cwd, InitSlot.TARGET)
  // Entered as root, for a folder that only root can reach; if that fails, as the user: on a network file system root may have no rights.
  const later = b.label()
  const entered = b.label()
  b.set(InitSlot.ENTERED, 0)
  c.fchdir(b, slot(InitSlot.TARGET)).on(['EACCES', 'EPERM'], later)
  b.set(InitSlot.ENTERED, 1)
  b.place(later)

  const capabilities = wanted.capabilities ?? {}
  planBounding(b, capabilityMask(capabilities.bounding))
  b.about('process.user')
  c.prctl(b, k.PR_SET_KEEPCAPS, 1)
  if (!keepGroups) planGroups(b, additionalGids, inUserNamespace)
  c.setresgid(b, gid)
  c.setresuid(b, uid)
  c.prctl(b, k.PR_SET_KEEPCAPS, 0)
  planVisibility(b, visible)
  b.about('process.capabilities')
  const inheritable = capabilityMask(capabilities.inheritable)
  // CAP_SYS_ADMIN is kept for loading the filter. execve(2) takes it away: it computes the sets anew, from the inheritable, bounding and
  // ambient ones (capabilities(7)).
  const more = filtered && !wanted.noNewPrivileges ? FOR_FILTER : []
  const effective = capabilityMask([...(capabilities.effective ?? []), ...more])
  c.capset(b, effective, capabilityMask([...(capabilities.permitted ?? []), ...more]), inheritable)
  planAmbient(b, capabilityMask(capabilities.ambient))

  b.about(`process.cwd (${wanted.cwd})`)
  b.branch(slot(InitSlot.ENTERED), 'EQUAL', 1, entered)
  // By the descriptor from before: walking the path again, a link of the image might lead through an open descriptor (/proc/self/fd/N).
  c.fchdir(b, slot(InitSlot.TARGET))
  b.place(entered)
  c.close(b, slot(InitSlot.TARGET))
  c.umask(b, wanted.user.umask ?? 0o022)
  if (wanted.noNewPrivileges) {
    b.about('process.noNewPrivileges')
    c.prctl(b, k.PR_SET_NO_NEW_PRIVS, 1)
  }
}

function planGroups(b: Batch, gids: readonly number[], inUserNamespace: boolean): void {
  const denied = b.label()
  if (gids.length > 0) b.about('process.user.additionalGids')
  const step = c.setgroups(b, gids)
  // Without additional groups a refusal is no error: planRootIdentity has left all groups that can be left.
  if (inUserNamespace && gids.length === 0) step.on(['EPERM'], denied)
  b.place(denied)
  b.about('process.user')
}

/** struct sched_attr of sched_setattr(2). */
function planScheduler(b: Batch, scheduler: Scheduler, pid: number): void {
  b.about('process.scheduler')
  const { policy, nice = 0, priority = 0, flags = [], runtime = 0, deadline = 0, period = 0 } = scheduler
  // With the values of SCHED_FLAG_UTIL_CLAMP_*, of which the spec has none: Linux 5.3.
  const size = 56
  const attr = new Struct(size)
    .u32(0, size)
    .u32(4, k.SCHED_POLICIES[policy]!)
    .u64(
      8,
      flags.reduce((sum, flag) => sum | k.SCHED_FLAGS[flag]!, 0),
    )
    .u32(16, nice)
    .u32(20, priority)
    .u64(24, runtime)
    .u64(32, deadline)
    .u64(40, period)
  b.call('sched_setattr', pid, b.data(attr.bytes, `{${policy}, nice=${nice}, priority=${priority}}`), 0)
}

/**
 * Lets the process use all CPUs that the cgroup's cpuset allows, whatever the caller was restricted to. (Since Linux 6.2 an affinity that
 * was set once outlasts the move to another cpuset.) Where the call is forbidden (seccomp of a container around runt) nothing changes.
 */
function planAllCpus(b: Batch): void {
  b.about('CPU affinity')
  const failed = b.label()
  b.call('sched_setaffinity', 0, ALL_CPUS.length, b.data(ALL_CPUS, '{all}')).on(ANY, failed)
  b.place(failed)
}

/** The kernel pads a mask that is shorter than its own with zeros, and cuts a longer one. */
const ALL_CPUS = new Uint8Array(k.CPUS_MAX / 8).fill(0xff)

/** CPUs of `process.execCPUAffinity`, a list such as `0-3,7`; sched_setaffinity(2). */
export function planAffinity(b: Batch, when: 'initial' | 'final', list: string): void {
  b.about(`process.execCPUAffinity.${when}`)
  const mask = new Uint8Array(k.CPUS_MAX / 8)
  for (const cpu of numbersIn(list)) mask[cpu >> 3]! |= 1 << (cpu & 7)
  const pointer = b.data(mask, () => `{${list}}`)
  b.call('sched_setaffinity', 0, mask.length, pointer)
}

/** `linux.personality`, personality(2). */
export function planPersonality(b: Batch, personality: Personality | undefined): void {
  if (!personality) return
  b.about('linux.personality')
  b.call('personality', k.PERSONALITIES[personality.domain]!)
}

/** Ambient capabilities. Those that are not inheritable and permitted as well cannot be raised, and are left out as the peers do. */
function planAmbient(b: Batch, ambient: number): void {
  b.about('process.capabilities.ambient')
  const unsupported = b.label()
  c.prctl(b, k.PR_CAP_AMBIENT, k.PR_CAP_AMBIENT_CLEAR_ALL).on(['EINVAL'], unsupported)
  b.place(unsupported)
  for (let number = 0; 2 ** number <= ambient; number++) {
    if (!hasBit(ambient, number)) continue
    const refused = b.label()
    c.prctl(b, k.PR_CAP_AMBIENT, k.PR_CAP_AMBIENT_RAISE, number).on(['EPERM', 'EINVAL'], refused)
    b.place(refused)
  }
}

/**
 * Makes the program's user the owner of the standard streams, so that it can open /dev/stdout and the like again. Not of /dev/null, which
 * everybody shares.
 */
function planStandardStreams(b: Batch, uid: number): void {
  b.about('ownership of the standard streams')
  for (let fd = 0; fd < 3; fd++) {
    const next = b.label()
    const change = b.label()
    const status: OutPointer = b.out(256)
    c.statx(b, fd, '', k.AT_EMPTY_PATH, status).on(ANY, next)
    // /dev/null is device 1:3.
    b.branch(load(status, 32, k.STX_RDEV_MAJOR), 'NOT_EQUAL', 1, change)
    b.branch(load(status, 32, k.STX_RDEV_MINOR), 'EQUAL', 3, next)
    b.place(change)
    b.call('fchown', fd, uid, -1).on(ANY, next)
    b.place(next)
  }
}

/** The paths at which process.args[0] is looked for, in order. */
function programCandidates(wanted: Process): string[] {
  const name = wanted.args[0]!
  if (name.includes('/')) return [name]
  const variable = wanted.env?.findLast((entry) => entry.startsWith('PATH='))
  const path = variable === undefined ? DEFAULT_PATH : variable.slice(5)
  return path.split(':').map((folder) => (folder === '' ? `./${name}` : `${folder.replace(/\/+$/, '')}/${name}`))
}

/** Bytes of the program's file that are read to find out what it needs. */
export const HEAD_SIZE = 4096

/** What `planLookup` asks: the answers say which candidate is the program. */
export interface Lookup {
  candidates: string[]
  /** For each candidate a step that runs only if it is the one. */
  taken: Step[]
  /** For each candidate a step that runs only if it exists but cannot be executed. */
  denied: Step[]
  /** The beginning of the file, and the step that read it (not run where the file is not readable). */
  head: OutPointer
  headRead: Step
}

/** Plans to look the program up, as the user who will run it. Never fails: the answer says what was found. */
export function planLookup(b: Batch, wanted: Process): Lookup {
  const found = b.label()
  const end = b.label()
  const candidates = programCandidates(wanted)
  const taken: Step[] = []
  const denied: Step[] = []
  for (const path of candidates) {
    const next = b.label()
    const refused = b.label()
    const plain = b.label()
    b.about(`process.args[0] (${path})`)
    // As execve(2) looks: with the rights that the process has by now.
    b.call('faccessat2', k.AT_FDCWD, path, 0, k.AT_EACCESS).on(ANY, next)
    b.call('faccessat2', k.AT_FDCWD, path, k.X_OK, k.AT_EACCESS).on(ANY, refused)
    const folder = c.openat(b, k.AT_FDCWD, path, k.O_PATH | k.O_DIRECTORY).on(ANY, plain)
    c.close(b, folder)
    b.place(refused)
    denied.push(b.set(InitSlot.PROGRAM, 0))
    b.jump(next)
    b.place(plain)
    taken.push(b.set(InitSlot.PROGRAM, b.string(path)))
    b.jump(found)
    b.place(next)
  }
  b.jump(end)
  b.place(found)
  const head = b.out(HEAD_SIZE)
  const file = b
    .call('openat', k.AT_FDCWD, slot(InitSlot.PROGRAM), k.O_RDONLY | k.O_CLOEXEC | k.O_NONBLOCK | k.O_NOCTTY)
    .on(ANY, end)
  const headRead = c.read(b, file, head).on(ANY, end)
  c.close(b, file)
  b.place(end)
  return { candidates, taken, denied, head, headRead }
}

/** Plans that execve(2) closes all descriptors but the standard streams and `preserve` more. */
export function planDescriptors(b: Batch, preserve: number): void {
  b.about('close descriptors')
  b.call('close_range', 3 + preserve, 0xffff_ffff, k.CLOSE_RANGE_CLOEXEC)
}

/** Plans the last act: load the filter, execute the program. Only execve(2), and the report if it fails, has to pass the filter. */
export function planProgram(
  b: Batch,
  wanted: Process,
  program: string,
  home: string | null,
  filter: Filter | null,
): void {
  b.about('signal mask')
  c.sigprocmask(b, k.SIG_SETMASK, 0n)
  if (filter) planFilter(b, filter)
  b.about(`process.args[0] (${wanted.args[0]})`)
  planExecve(b, wanted, program, home)
}
