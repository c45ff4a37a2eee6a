/** Plans the stage: namespaces are joined and created, and the init is forked into them. */
import type { Config, TimeClock, TimeOffset } from '../config/types.ts'
import { Slot } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { ANY, type Batch, type Label, load, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { InitSlot } from './slots.ts'
import { planPair } from './sources.ts'

/** Types of config-linux.md, "Namespaces", and the clone flags of namespaces(7). */
export const namespaceFlags: Readonly<Record<string, number>> = {
  user: k.CLONE_NEWUSER,
  mount: k.CLONE_NEWNS,
  network: k.CLONE_NEWNET,
  uts: k.CLONE_NEWUTS,
  ipc: k.CLONE_NEWIPC,
  pid: k.CLONE_NEWPID,
  cgroup: k.CLONE_NEWCGROUP,
  time: k.CLONE_NEWTIME,
}

/** Whether the config asks for a namespace of this type to be created (not joined). */
export function createsNamespace(config: Config, type: string): boolean {
  return config.linux?.namespaces?.some((namespace) => namespace.type === type && !namespace.path) ?? false
}

/** Whether the config asks for a namespace of this type that is there already. */
export function joinsNamespace(config: Config, type: string): boolean {
  return config.linux?.namespaces?.some((namespace) => namespace.type === type && Boolean(namespace.path)) ?? false
}

/** How the stage makes the init. */
export interface Birth {
  /** Descriptors that the stage has inherited: the init's end of its session, and the socket that the init will park on. */
  initSession: number
  listener: number
  /**
   * A cgroup2 folder that the init is to be born in (CLONE_INTO_CGROUP, Linux 5.7); slot JOINED says whether it was. Entering it later
   * would wait for an RCU grace period.
   */
  cgroup: string | null
  /** Whether the caller is root, at least of its user namespace. */
  privileged: boolean
  /** `process.oomScoreAdj`, which the host sets if it is privileged. */
  oomScoreAdj?: number | undefined
  /** The stage will send descriptors to the init (sources.ts). */
  sends: boolean
}

interface Fork extends Birth {
  /** A cgroup namespace is joined, and its root may lie elsewhere than above the cgroup. */
  elsewhere: boolean
}

/**
 * Plans the stage's main batch: join namespaces, create others, fork the init. It has to be sent as a silent batch, for both stage and init
 * come to its end, each on its own session, and go on serving. The init's pid is then in the stage's slot CHILD; in slot MIDDLE is the pid
 * of the process between the two, if there was one, which has ended by then.
 *
 * Namespaces belong to the user namespace in which they are created. So those of the container are created together with its new user
 * namespace. A user namespace that is joined, or one that a new time namespace has to belong to, is entered by a process in the
 * middle: the stage itself stays outside, to serve the init with what only the caller may do.
 *
 * A new cgroup namespace is left to the init: its root is the cgroup that the process is in at that moment.
 */
export function planStage(b: Batch, config: Config, birth: Birth): void {
  const { initSession, listener, privileged, sends } = birth
  const namespaces = config.linux?.namespaces ?? []
  const user = namespaces.find(({ type }) => type === 'user')
  const time = createsNamespace(config, 'time')
  b.about('stage')
  if (!privileged && birth.oomScoreAdj !== undefined) planOomScore(b, birth.oomScoreAdj)
  // Not dumpable: nobody in a joined pid namespace may look into our processes (/proc/PID/exe, ptrace) before the user's program runs. But
  // the /proc files of such a process belong to root, and a user has to write the id mappings there first; see visibility.ts.
  if (!user || privileged) c.prctl(b, k.PR_SET_DUMPABLE, 0)
  c.fcntl(b, initSession, k.F_SETFD, k.FD_CLOEXEC)
  c.fcntl(b, listener, k.F_SETFD, k.FD_CLOEXEC)
  if (sends) planPair(b)
  const joined = namespaces.flatMap((namespace, index): Joined[] => {
    const { type, path } = namespace
    return path ? [{ type, about: `linux.namespaces[${index}] (${type}): path ${path}`, path, slot: 0 }] : []
  })
  joined.forEach((namespace, order) => {
    namespace.slot = InitSlot.NAMESPACES + order
    b.about(namespace.about)
    c.openat(b, k.AT_FDCWD, namespace.path, k.O_RDONLY).keep(namespace.slot)
  })
  const userJoined = joined.find(({ type }) => type === 'user')
  const others = joined.filter((namespace) => namespace !== userJoined)
  const fork: Fork = { ...birth, elsewhere: joined.some(({ type }) => type === 'cgroup') }
  if (time && !user) planTime(b, config)
  const through = userJoined !== undefined || (time && user !== undefined)
  // If the process in the middle were in the pid namespace, the pid that its clone(2) returns would be the one that the init has in there.
  for (const namespace of others)
    if (!through || namespace.type !== 'pid') planJoin(b, namespace, userJoined !== undefined)
  let flags = k.CLONE_PARENT
  const names: string[] = []
  for (const { type, path } of namespaces) {
    if (path || type === 'cgroup' || type === 'time') continue
    flags |= namespaceFlags[type]!
    names.push(type)
  }
  if (through) planMiddle(b, config, fork, flags, names, userJoined, others)
  else {
    const done = b.label()
    b.about(`new namespaces (${names.join(', ')})`)
    planInit(b, fork, flags, done)
    b.place(done)
  }
}

/** The warning where slot REFUSAL has an errno. */
export const oomScoreStays = (score: number): string =>
  `process.oomScoreAdj: ${score} is less than the kernel lets this user have; it stays as it is`

/** Sets the OOM score, which the init inherits. A user may only raise it; a refusal is left in slot REFUSAL. */
export function planOomScore(b: Batch, score: number): void {
  const refused = b.label()
  b.about('process.oomScoreAdj')
  const file = c.openat(b, k.AT_FDCWD, '/proc/self/oom_score_adj', k.O_WRONLY)
  c.write(b, file, String(score)).on(['EACCES'], refused).keep(InitSlot.REFUSAL)
  b.place(refused)
  c.close(b, file)
  b.about('stage')
}

interface Joined {
  type: string
  path: string
  about: string
  slot: number
}

/**
 * Plans to join a namespace. With `again`, one that is refused for want of rights is left for later, when the user namespace has been
 * joined: the slot keeps its descriptor, and is -1 if it was joined.
 */
function planJoin(b: Batch, namespace: Joined, again: boolean): void {
  const fd = slot(namespace.slot)
  const later = b.label()
  b.about(namespace.about)
  const step = c.setns(b, fd, namespaceFlags[namespace.type]!)
  if (again) step.on(['EPERM'], later)
  c.close(b, fd)
  if (again) b.set(namespace.slot, -1)
  b.place(later)
}

/**
 * A process that enters the user namespace, forks the init from there and ends. It shares the stage's memory, which waits for it (as
 * vfork(2) does): that is how the stage has the init's pid in slot CHILD. The sharing is safe, see boot.ts.
 */
function planMiddle(
  b: Batch,
  config: Config,
  birth: Fork,
  flags: number,
  names: readonly string[],
  userJoined: Joined | undefined,
  others: readonly Joined[],
): void {
  const middle = b.label()
  const end = b.label()
  b.about('fork')
  // A child of the runtime, which waits for it, so that the init can be one too.
  c.clone(b, k.CLONE_VM | k.CLONE_VFORK | k.CLONE_PARENT | k.SIGCHLD, middle).keep(InitSlot.MIDDLE)
  b.jump(end)
  b.place(middle)
  c.prctl(b, k.PR_SET_PDEATHSIG, k.SIGKILL)
  const pid = others.find(({ type }) => type === 'pid')
  if (pid) planJoin(b, pid, userJoined !== undefined)
  if (userJoined) planJoinUser(b, userJoined)
  else c.unshare(b.about('new namespaces (user)'), k.CLONE_NEWUSER)
  // Those that were refused belong to the user namespace, and are joined with the rights that it gives.
  for (const namespace of userJoined ? others : []) {
    const done = b.label()
    b.branch(slot(namespace.slot), 'LESS', 0, done)
    planJoin(b, namespace, false)
    b.place(done)
  }
  if (createsNamespace(config, 'time')) planTime(b, config)
  b.about(`new namespaces (${names.join(', ')})`)
  const parent = b.label()
  planInit(b, birth, flags & ~k.CLONE_NEWUSER, parent)
  b.jump(end)
  b.place(parent)
  c.exitGroup(b, 0)
  b.place(end)
}

/** Joins a user namespace, unless it is the one that we are in: the kernel refuses that (EINVAL). */
function planJoinUser(b: Batch, { about, slot: number }: Joined): void {
  const fd = slot(number)
  const refused = b.label()
  const joined = b.label()
  b.about(about)
  c.setns(b, fd, k.CLONE_NEWUSER).on(['EINVAL'], refused)
  b.jump(joined)
  b.place(refused)
  const [theirs, ours] = [b.data(new Uint8Array(256)), b.data(new Uint8Array(256))]
  b.call('statx', fd, '', k.AT_EMPTY_PATH, k.STATX_BASIC_STATS, theirs)
  b.call('statx', k.AT_FDCWD, '/proc/self/ns/user', 0, k.STATX_BASIC_STATS, ours)
  // Namespaces are files of one file system.
  b.branch(load(theirs, 64, k.STX_INO), 'EQUAL', load(ours, 64, k.STX_INO), joined)
  c.setns(b, fd, k.CLONE_NEWUSER)
  b.place(joined)
  c.close(b, fd)
}

/** A time namespace for the children, with its offsets; time_namespaces(7), Linux 5.6. They can be set until one is in it. */
function planTime(b: Batch, { linux }: Config): void {
  b.about('new namespaces (time)')
  c.unshare(b, k.CLONE_NEWTIME)
  const text = offsetLines(linux?.timeOffsets)
  if (text === '') return
  b.about(`linux.timeOffsets (${text.trim().replace('\n', ', ')})`)
  c.writeFile(b, k.AT_FDCWD, '/proc/self/timens_offsets', text)
}

/** The lines of timens_offsets: clock, seconds, nanoseconds. */
function offsetLines(offsets: Partial<Record<TimeClock, TimeOffset>> = {}): string {
  return Object.entries(offsets)
    .map(([clock, { secs = 0, nanosecs = 0 }]) => `${clock} ${secs} ${nanosecs}\n`)
    .join('')
}

/** Plans to fork the init. It goes on with the operations that follow; the process that forks it goes on at `parent`. */
function planInit(
  b: Batch,
  { initSession, cgroup, privileged, sends, elsewhere }: Fork,
  flags: number,
  parent: Label,
): void {
  const child = b.label()
  const plain = b.label()
  b.set(InitSlot.JOINED, 0)
  let folder: Step | null = null
  if (cgroup !== null) {
    folder = c.openat(b, k.AT_FDCWD, cgroup, k.O_PATH | k.O_DIRECTORY)
    const born = b.label()
    // Seccomp filters of outer containers answer ENOSYS, since they cannot look into the structure. EACCES: the cgroup is not the
    // caller's, or not that of the user namespace in which the init is forked; who moves it there will say so, or can do it. ENOENT: it is
    // not below the root of the cgroup namespace, and cgroup2 is mounted with nsdelegate.
    c.clone3(b, BigInt(flags) | k.CLONE_INTO_CGROUP, folder, born)
      .on(
        privileged && !elsewhere && (flags & k.CLONE_NEWUSER || !sends) ? ['ENOSYS', 'EPERM', 'EINVAL', 'E2BIG'] : ANY,
        plain,
      )
      .keep(InitSlot.CHILD)
    b.jump(parent)
    b.place(born)
    b.set(InitSlot.JOINED, 1)
    // The init gets no folder of the host's, from which paths lead up (compare CVE-2024-21626). It has no session yet to fail on.
    c.close(b, folder).on(ANY, child)
    b.jump(child)
  }
  b.place(plain)
  if (folder) c.close(b, folder)
  c.clone(b, flags | k.SIGCHLD, child).keep(InitSlot.CHILD)
  b.jump(parent)
  b.place(child)
  // The init has inherited the stage's end of the stage's session. Left open, it would hide the end of the stage from the brain.
  const inherited = b.add(slot(Slot.SESSION), 0)
  b.session(initSession)
  c.close(b, inherited)
  if (sends) c.close(b, slot(InitSlot.SENDER))
}
