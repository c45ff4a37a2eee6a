/**
 * The id mappings of a new user namespace, user_namespaces(7). The host executor writes them from outside, for the process that was born
 * in it. A privileged caller (CAP_SETUID, CAP_SETGID) may map any ids. Others may map their own; newuidmap(1) and newgidmap(1) map for them
 * what /etc/subuid and /etc/subgid grant.
 */
import { RuntError } from '../base/errors.ts'
import type { IdMapping } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { callProgram } from './host-program.ts'
import type { Runtime } from './runtime.ts'

export interface IdMaps {
  /** Field of the config that has them: `linux`, `mounts[3]`. */
  field: string
  uid: readonly IdMapping[]
  gid: readonly IdMapping[]
}

/** Effective ids of the caller. */
export interface Caller {
  uid: number
  gid: number
}

/** The ids of the caller. The group matters only for unprivileged callers, for the ids that they may map. */
export function callerOf({ host, platform }: Runtime, uid: number): Caller {
  if (uid === 0) return { uid, gid: 0 }
  const b = new Batch(platform.machine)
  const gid = b.call('getegid')
  return { uid, gid: host.run(b).value(gid)! }
}

/** Characters of a helper's words that an error shows. */
const SHOWN = 1024

/** The lines of uid_map and gid_map. */
const lines = (mappings: readonly IdMapping[]): string =>
  mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join('')

const isOnly = ([first, second]: readonly IdMapping[], id: number): boolean =>
  second === undefined && first?.hostID === id && first.size === 1

/** Whether a caller without rights can map these without a helper: its own ids. The namespace has no right to setgroups(2) then. */
const mapsSelf = ({ uid, gid }: IdMaps, caller: Caller): boolean =>
  caller.uid !== 0 && isOnly(uid, caller.uid) && isOnly(gid, caller.gid)

/** Maps the ids of a process that was born in a new user namespace, once and for all. `pid` as the host sees it. */
export function writeIdMaps(runtime: Runtime, pid: number, maps: IdMaps, caller: Caller): void {
  const { host, platform } = runtime
  if (caller.uid !== 0 && !mapsSelf(maps, caller)) {
    callHelper(runtime, 'newuidmap', pid, `${maps.field}.uidMappings`, maps.uid)
    callHelper(runtime, 'newgidmap', pid, `${maps.field}.gidMappings`, maps.gid)
    return
  }
  const b = new Batch(platform.machine)
  if (caller.uid !== 0) {
    // The kernel demands it: leaving a group could open files that are closed to that group.
    b.about(`${maps.field}.gidMappings`)
    c.writeFile(b, k.AT_FDCWD, `/proc/${pid}/setgroups`, 'deny')
  }
  b.about(`${maps.field}.uidMappings`)
  c.writeFile(b, k.AT_FDCWD, `/proc/${pid}/uid_map`, lines(maps.uid))
  b.about(`${maps.field}.gidMappings`)
  c.writeFile(b, k.AT_FDCWD, `/proc/${pid}/gid_map`, lines(maps.gid))
  host.run(b)
}

/** Runs newuidmap or newgidmap, which have the rights of root to do it for others. */
function callHelper(
  runtime: Runtime,
  name: 'newuidmap' | 'newgidmap',
  pid: number,
  field: string,
  mappings: readonly IdMapping[],
): void {
  const numbers = mappings.flatMap(({ containerID, hostID, size }) => [containerID, hostID, size])
  const output = callProgram(runtime, name, [pid, ...numbers].map(String), `${field}: ${name}`)
  if (output === null)
    throw new RuntError(
      `${field}: only root may map other ids than the caller's own; for others ${name}(1) does it, and that is not installed (Debian's package uidmap)`,
    )
  if (output.status === 0) return
  const said = output.text
    .slice(0, SHOWN)
    .replace(/[\s\x00-\x1f\x7f]+/g, ' ')
    .trim()
  throw new RuntError(
    `${field}: ${said || `${name}: exit status ${output.status}`}; /etc/sub${name.slice(3, 6)} says which ids a user has`,
  )
}

/** A user namespace that a sleeping child of the host's keeps. */
export interface Held {
  pid: number
  /** To be opened by whoever needs it (setns(2), MOUNT_ATTR_IDMAP), while it is held. */
  path: string
}

/**
 * Makes a user namespace with these mappings that no container runs in. It goes with `planRelease`, or when its descriptors are closed if
 * that is later; at the latest with the host executor.
 */
export function holdUserNamespace(runtime: Runtime, maps: IdMaps, caller: Caller): Held {
  const { host, platform } = runtime
  const b = new Batch(platform.machine).about(`${maps.field}: user namespace`)
  const child = b.label()
  const end = b.label()
  const forked = c.clone(b, k.CLONE_NEWUSER | k.SIGCHLD, child)
  b.jump(end)
  b.place(child)
  const dead = b.label()
  c.prctl(b, k.PR_SET_PDEATHSIG, k.SIGKILL).on(ANY, dead)
  // It has copies of the host's descriptors; the session, for one, is to end with the host.
  b.call('close_range', 0, 0xffff_ffff, 0).on(ANY, dead)
  b.call('ppoll', 0, 0, 0, 0, 8).on(ANY, dead)
  b.place(dead)
  c.exitGroup(b, 0)
  b.place(end)
  const pid = host.run(b).value(forked)!
  const held = { pid, path: `/proc/${pid}/ns/user` }
  try {
    writeIdMaps(runtime, pid, maps, caller)
  } catch (error) {
    const undo = new Batch(platform.machine)
    planRelease(undo, held)
    host.recover(undo)
    throw error
  }
  return held
}

/** Plans, in the host, the end of the child that holds a user namespace. */
export function planRelease(b: Batch, { pid }: Held): void {
  const gone = b.label()
  b.about('user namespace')
  c.kill(b, pid, k.SIGKILL).on(['ESRCH'], gone)
  c.waitid(b, k.P_PID, pid, 0, k.WEXITED).on(['ECHILD'], gone)
  b.place(gone)
}
