/** Plans how a new process gets into a container that exists: the stage of `exec`. */
import { RuntError } from '../base/errors.ts'
import { cleanPath } from '../base/paths.ts'
import * as cgroups from '../cgroup/manager.ts'
import type { Config } from '../config/types.ts'
import { Slot } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { finishReading, planLongReading, planReading } from './files.ts'
import { namespaceFlags, planOomScore } from './namespaces.ts'
import { planAffinity } from './process.ts'
import type { Runtime } from './runtime.ts'
import { InitSlot } from './slots.ts'
import type { Saved } from './state.ts'

export interface Entry {
  id: string
  config: Config
  cgroup: cgroups.CgroupPaths | null
  /** CPUs that the process may use before it is in the cgroup; process.execCPUAffinity.initial. */
  affinity: string | undefined
  /** `process.oomScoreAdj`, where the host may not set it; see planOomScore. */
  oomScoreAdj: number | undefined
  /** Descriptors that the stage has inherited: the process's end of its session, and a pidfd of the container's init. */
  initSession: number
  pidfd: number
  /** Pid of the init, if it has the mounts of the caller and only its root is its own; see shared-mounts.ts. */
  rootOf: number | null
  /** Descriptor of the socket on which the process will send its terminal, if it is to have one. */
  meeting: number | null
  /** Descriptor of the socket on which it will send the listener of its seccomp filter, if an agent is to have that. */
  channel: number | null
}

/**
 * Plans the stage's batch: join the cgroup and the namespaces, fork the process. It has to be sent as a silent batch, for both stage and
 * process come to its end, each on its own session, and go on serving. The pid of the process is then in the stage's slot CHILD; slot
 * JOINED says whether it was born in its cgroup2.
 *
 * The cgroups come first, by the paths of the host. All namespaces that the init has of its own are entered in one call: the
 * descriptor stands for the process, so no other can take its place (setns(2) with a pidfd, Linux 5.8). The cgroup namespace is left
 * to the process: from inside it the stage could not fork into a cgroup2 (cgroups(7), "nsdelegate").
 */
export function planEntry(b: Batch, entry: Entry): void {
  const { id, config, cgroup, affinity, oomScoreAdj, initSession, pidfd, rootOf, meeting, channel } = entry
  b.about('stage')
  if (oomScoreAdj !== undefined) planOomScore(b, oomScoreAdj)
  // Nobody in the container may look into our processes (/proc/PID/exe, ptrace) before the user's program runs.
  c.prctl(b, k.PR_SET_DUMPABLE, 0)
  c.fcntl(b, initSession, k.F_SETFD, k.FD_CLOEXEC)
  c.fcntl(b, pidfd, k.F_SETFD, k.FD_CLOEXEC)
  if (meeting !== null) c.fcntl(b, meeting, k.F_SETFD, k.FD_CLOEXEC)
  if (channel !== null) {
    c.fcntl(b, channel, k.F_SETFD, k.FD_CLOEXEC)
    b.set(InitSlot.CHANNEL, channel)
  }
  if (affinity) planAffinity(b, 'initial', affinity)
  if (cgroup) cgroups.joinSelf(b, cgroup, 1, InitSlot.CGROUP)
  const plain = b.label()
  const unified = cgroup?.folders.find((folder) => folder.version === 2)
  if (unified) planFolder(b, cgroups.folderPath(unified))

  const types = new Set(config.linux?.namespaces?.map(({ type }) => type))
  const entersCgroup = types.delete('cgroup')
  if (rootOf !== null) {
    types.delete('mount')
    b.about(`container ${id}: its root`)
    c.openat(b, k.AT_FDCWD, `/proc/${rootOf}/root`, k.O_PATH | k.O_DIRECTORY).keep(InitSlot.ROOT)
    // Alive still: the number has been no other process's meanwhile.
    c.pidfdSendSignal(b, pidfd, 0)
  }
  b.about(`container ${id}: its namespaces (${[...types].join(', ')})`)
  let flags = 0
  for (const type of types) flags |= namespaceFlags[type]!
  if (flags !== 0) c.setns(b, pidfd, flags)

  b.about('fork')
  const child = b.label()
  const done = b.label()
  b.set(InitSlot.JOINED, 0)
  if (unified) {
    b.branch(slot(InitSlot.CGROUP), 'LESS', 0, plain)
    const born = b.label()
    const fork = b.label()
    const exit = BigInt(k.CLONE_PARENT) | k.CLONE_INTO_CGROUP
    // Whatever keeps it from being born there: the host can move it, or says why not.
    c.clone3(b, exit, slot(InitSlot.CGROUP), born).on(ANY, plain).keep(InitSlot.CHILD)
    b.jump(fork)
    b.place(born)
    b.jump(child)
    b.place(fork)
    b.set(InitSlot.JOINED, 1)
    b.jump(done)
  }
  b.place(plain)
  // A child of the runtime, as the container's init is.
  c.clone(b, k.CLONE_PARENT | k.SIGCHLD, child).keep(InitSlot.CHILD)
  b.jump(done)
  b.place(child)
  const inherited = b.add(slot(Slot.SESSION), 0)
  b.session(initSession)
  c.close(b, inherited)
  if (unified) {
    const closed = b.label()
    c.close(b, slot(InitSlot.CGROUP)).on(['EBADF'], closed)
    b.place(closed)
  }
  if (rootOf !== null) {
    b.about(`container ${id}: its root`)
    c.fchdir(b, slot(InitSlot.ROOT))
    c.chroot(b, '.')
    c.close(b, slot(InitSlot.ROOT))
  }
  b.about(`container ${id}: its namespaces (cgroup)`)
  if (entersCgroup) c.setns(b, pidfd, k.CLONE_NEWCGROUP)
  c.close(b, pidfd)
  b.place(done)
}

/**
 * Opens the cgroup2 folder that the process is to be born in, in slot CGROUP; an errno there if that cannot be. The process has the
 * descriptor for a moment, where a container with CAP_SYS_PTRACE can see it. So it is one of a mount of its own, read-only, from
 * which no path leads up to the host's root (compare CVE-2024-21626).
 */
function planFolder(b: Batch, path: string): void {
  b.about('joining the cgroup')
  const end = b.label()
  const folder = c
    .openTree(b, k.AT_FDCWD, path, k.OPEN_TREE_CLONE)
    .on(['EPERM', 'EINVAL', 'ENOSYS'], end)
    .keep(InitSlot.CGROUP)
  c.mountSetattr(b, folder, 0, { set: k.MOUNT_ATTR_RDONLY })
  b.place(end)
}

/**
 * Cgroups below the container's own. `PATH` is one in all hierarchies with controllers, `CONTROLLER[,CONTROLLER]:PATH` one in the
 * hierarchies of these. Throws a RuntError where there is no such controller.
 */
export function placeBelow(paths: cgroups.CgroupPaths, wanted: readonly string[]): cgroups.CgroupPaths {
  let { folders } = paths
  for (const text of wanted) {
    const colon = text.indexOf(':')
    const names = colon < 0 ? null : text.slice(0, colon).split(',')
    const given = text.slice(colon + 1)
    if (given.split('/').includes('..'))
      throw new RuntError(
        `--cgroup: bad sub cgroup path ${JSON.stringify(given)}: it is to lie below the container's cgroup`,
      )
    const below = cleanPath(given)
    const unknown = names?.find((name) => !folders.some(({ controllers }) => controllers.includes(name)))
    if (unknown !== undefined)
      throw new RuntError(`--cgroup: no cgroup v1 hierarchy of the container has the controller "${unknown}"`)
    folders = folders.map((folder) => {
      // Beside v1 hierarchies a cgroup2 has no controllers; sub-cgroups are seldom made there.
      const meant = names
        ? names.some((name) => folder.controllers.includes(name))
        : paths.mode !== 'hybrid' || folder.version === 1
      return meant && below !== '/' ? { ...folder, path: folder.path + below } : folder
    })
  }
  return { ...paths, folders }
}

/**
 * Moves a process that was not born in its cgroup2. Where processes of the container have handed controllers on, the container's own
 * takes none itself (EBUSY, "no internal processes"); if nobody has named a cgroup, the process then goes where the container's init is.
 */
export function joinUnified(
  runtime: Runtime,
  saved: Saved,
  folder: cgroups.CgroupFolder,
  pid: number,
  elsewhere: boolean,
): void {
  const { host, platform } = runtime
  const b = new Batch(platform.machine)
  const refused = b.label()
  b.about('joining the cgroup')
  const procs = c.openat(b, k.AT_FDCWD, `${cgroups.folderPath(folder)}/cgroup.procs`, k.O_WRONLY)
  const written = c.write(b, procs, String(pid))
  const expected = [...(elsewhere ? ['EBUSY'] : []), ...(saved.cgroup!.systemd ? ['EACCES'] : [])]
  if (expected.length > 0) written.on(expected, refused)
  b.place(refused)
  c.close(b, procs)
  const mountinfo = planLongReading(b, '/proc/self/mountinfo', 0x3000)
  const membership = planReading(b, `/proc/${saved.pid}/cgroup`, 0x800)
  const answer = host.run(b)
  if (answer.ok(written)) return
  const text = (reading: typeof mountinfo): string => {
    const result = finishReading(host, platform.machine, answer, reading)
    return 'text' in result ? result.text : ''
  }
  const own = cgroups
    .detectLayout(text(mountinfo), text(membership))
    .hierarchies.find(({ version, mountpoint }) => version === 2 && mountpoint === folder.mountpoint)
  // The cgroup of this user's session, in which we are, is not the user's to take processes from. systemd can.
  if (answer.value(written) === -Errno.EACCES!) {
    try {
      cgroups.attach(host, platform.machine, saved.cgroup!, folder.path, pid)
    } catch (error) {
      // A user's systemd does not tell EBUSY from other refusals.
      if (!elsewhere || !own || own.own === folder.path) throw error
      cgroups.attach(host, platform.machine, saved.cgroup!, own.own, pid)
    }
    return
  }
  if (!own) throw new RuntError(`joining the cgroup ${cgroups.folderPath(folder)}: EBUSY`, 'EBUSY')
  const again = new Batch(platform.machine)
  cgroups.join(again, { mode: 'v2', folders: [{ ...folder, path: own.own }] }, pid)
  host.run(again)
}
