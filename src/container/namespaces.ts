/** Plans the stage: namespaces are joined and created, and the init is forked into them. */
import { RuntError } from '../base/errors.ts'
import type { Config } from '../config/types.ts'
import { Slot } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { type Arg, type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { InitSlot } from './slots.ts'

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

/**
 * Joins, creates, forks. To be sent as a silent batch: stage and init both come to its end, each on its own session, and go on
 * serving. The init's pid is then in the stage's slot CHILD. `initSession` is the init's end of its
 * session, `listener` the socket it will park on; both have come here through an execve.
 * `cgroup`: a cgroup2 folder that the init is to be born in (CLONE_INTO_CGROUP, Linux 5.7); slot JOINED says whether it was. Entering
 * it later would wait for an RCU grace period.
 * A new cgroup namespace is left to the init: its root is the cgroup that the process is in at that moment.
 */
export function planStage(
  b: Batch,
  config: Config,
  [initSession, listener]: [number, number],
  cgroup: string | null,
): void {
  b.about('stage')
  // Nobody in a joined pid namespace may look into our processes (/proc/PID/exe, ptrace) before the user's program runs.
  c.prctl(b, k.PR_SET_DUMPABLE, 0)
  c.fcntl(b, initSession, k.F_SETFD, k.FD_CLOEXEC)
  c.fcntl(b, listener, k.F_SETFD, k.FD_CLOEXEC)
  const namespaces = config.linux?.namespaces ?? []
  const joined = namespaces.flatMap((namespace, index) =>
    namespace.path ? [{ ...namespace, path: namespace.path, index }] : [],
  )
  joined.forEach((namespace, order) => {
    b.about(`linux.namespaces[${namespace.index}] (${namespace.type}): path ${namespace.path}`)
    c.openat(b, k.AT_FDCWD, namespace.path, k.O_RDONLY).keep(InitSlot.NAMESPACES + order)
  })
  joined.forEach((namespace, order) => {
    b.about(`linux.namespaces[${namespace.index}] (${namespace.type}): path ${namespace.path}`)
    const fd: Arg = slot(InitSlot.NAMESPACES + order)
    c.setns(b, fd, namespaceFlags[namespace.type]!)
    c.close(b, fd)
  })
  let flags = k.CLONE_PARENT
  const names: string[] = []
  for (const namespace of namespaces) {
    if (namespace.path || namespace.type === 'cgroup') continue
    if (namespace.type === 'user' || namespace.type === 'time')
      throw new RuntError(`linux.namespaces: creating a ${namespace.type} namespace is not supported yet`)
    flags |= namespaceFlags[namespace.type]!
    names.push(namespace.type)
  }
  b.about(`new namespaces (${names.join(', ')})`)
  const child = b.label()
  // The init is to be a child of our own parent, the runtime: it waits for it, and what it leaves to its own parent is the engine's.
  const plain = b.label()
  const done = b.label()
  b.set(InitSlot.JOINED, 0)
  if (cgroup !== null) {
    const folder = c.openat(b, k.AT_FDCWD, cgroup, k.O_PATH | k.O_DIRECTORY)
    const born = b.label()
    const fork = b.label()
    // Seccomp filters of outer containers answer ENOSYS, since they cannot look into the structure.
    c.clone3(b, BigInt(flags) | k.CLONE_INTO_CGROUP, folder, born)
      .on(['ENOSYS', 'EPERM', 'EINVAL', 'E2BIG'], plain)
      .keep(InitSlot.CHILD)
    b.jump(fork)
    b.place(born)
    b.set(InitSlot.JOINED, 1)
    b.jump(child)
    b.place(fork)
    b.jump(done)
  }
  b.place(plain)
  c.clone(b, flags | k.SIGCHLD, child).keep(InitSlot.CHILD)
  b.jump(done)
  b.place(child)
  // The stage's end of its session comes along: it would keep the session open, and the brain would not see that the stage is gone.
  const inherited = b.add(slot(Slot.SESSION), 0)
  b.session(initSession)
  c.close(b, inherited)
  b.place(done)
}
