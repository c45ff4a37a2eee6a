/** The state of a container: a folder below the root folder, with state.json in it. */
import { RuntError } from '../base/errors.ts'
import { type CgroupPaths, freezerFile, saysFrozen } from '../cgroup/manager.ts'
import type { Hook } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, Batch, type Label, type OutPointer, type Step } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer } from '../session/session.ts'
import type { Train } from '../session/train.ts'
import { finishReading, planReading, planWriting, type Reading, unreadable } from './files.ts'
import { FILTER_FILE } from './filter.ts'
import type { RdtGroups } from './intel-rdt.ts'
import { ownerText, withOwners } from './owners.ts'
import { unknownId } from './phrases.ts'
import type { Runtime, StateView, Status } from './runtime.ts'
import type { Agent } from './seccomp-agent.ts'
import type { Stack } from './shared-mounts.ts'
import { EXECUTOR_FILE } from './spawn-stage.ts'
import { wrongField } from './state-shape.ts'

/** What state.json holds. Version 1 of its format. */
export interface Saved {
  format: 1
  ociVersion: string
  id: string
  /** Of the init, in the host's pid namespace; 0 until it is known. */
  pid: number
  /** Start of that process in clock ticks since boot (proc_pid_stat(5), field 22): tells it from a later one with its pid. */
  startTime: string
  bundle: string
  rootfs: string
  created: string
  annotations: Record<string, string>
  /** uid of the user who made it. */
  owner: number
  /** The file that says whether it is paused; null: none. `list` reads a state up to here. Absent in states of earlier versions. */
  freezer?: string | null | undefined
  cgroup: CgroupPaths | null
  /** Whether it has a session keyring of its own, `_ses.ID`. */
  keyring: boolean
  /** Path of the program in the container, for messages of `start`. */
  program: string
  /**
   * The version of runt that has checked the config.json: that version need not check it again. Absent if the config has integers that a
   * number cannot hold.
   */
  checked?: string | undefined
  /** Present if it has no pid namespace of its own: its other processes then outlive its init. */
  sharesPids?: true | undefined
  /** The hooks that commands after `create` call, if there are any. */
  hooks?: { poststart: Hook[]; poststop: Hook[] } | undefined
  /** Who gets the listener of the program's seccomp filter, if it has one. */
  seccompAgent?: Agent | undefined
  /** Present if the parked init waits for `start` to send its last batch (hooks.ts, partsOf). `home`: as planExecve takes it. */
  served?: { home: string | null } | undefined
  /** Its groups in resctrl (intel-rdt.ts), if it has any. */
  rdt?: RdtGroups | undefined
  /** Bytes of the file that keeps its seccomp filter, if it has one (filter.ts). */
  filter?: number | undefined
  /** Present if it has no mount namespace of its own (shared-mounts.ts). */
  stack?: Stack | undefined
}

/** The part of a state that `state` and `list` show. */
export type Shown = Pick<
  Saved,
  'ociVersion' | 'id' | 'pid' | 'startTime' | 'bundle' | 'rootfs' | 'created' | 'annotations' | 'owner'
> & { freezer: string | null }

export interface Loaded {
  saved: Saved
  status: Status
}

export const folderOf = (runtime: Runtime, id: string): string => `${runtime.globals.root}/${id}`

/** Socket that a parked init listens on; gone once the container was started. */
export const START_SOCKET = 'start.sock'
/** The socket's name while `start` connects to it: renaming it makes sure that only one command starts the container. */
export const CLAIMED_SOCKET = 'starting.sock'

/** The socket of sd_notify(3), in a folder of its own that the container has too; see notify.ts. */
export const NOTIFY_FOLDER = 'notify'
export const NOTIFY_SOCKET = 'notify.sock'

/** Plans to write state.json. */
export function planSaving(train: Train, runtime: Runtime, saved: Saved): void {
  const path = `${folderOf(runtime, saved.id)}/state.json`
  saved.freezer = saved.cgroup && freezerFile(saved.cgroup)
  planWriting(train, `state (${path})`, path, JSON.stringify(saved), 0o600)
}

/** Whether a process has ended, its state and its start time, from the text of /proc/PID/stat; proc_pid_stat(5). */
export function readStat(text: string): { ended: boolean; state: string; startTime: string } {
  // The command name in brackets may hold anything, brackets included.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ', 20)
  const [state] = fields
  // The state is that of the first thread. Others may go on without it.
  const threads = Number(fields[17])
  return { ended: state === 'X' || (state === 'Z' && threads <= 1), state: state!, startTime: fields[19]! }
}

/** The saved state and whether the process is alive. Throws when there is no such container or its state is not readable. */
export function loadState(runtime: Runtime, id: string): Loaded {
  return known(id, tryLoadState(runtime, id))
}

/** Throws unless what was found under an id is a state. */
export function known<T extends Loaded | Saved>(id: string, found: T | 'missing' | 'unfinished'): T {
  if (found === 'missing') throw new RuntError(unknownId(id))
  if (found === 'unfinished')
    throw new RuntError(
      `container ${id} has no state yet: it is being created, or that was cut short; delete --force removes it`,
    )
  return found
}

/** As loadState; 'missing' where nothing is, 'unfinished' where the folder is there but no complete state. */
export function tryLoadState(runtime: Runtime, id: string): Loaded | 'missing' | 'unfinished' {
  const { host, platform } = runtime
  const saved = readSaved(runtime, id)
  if (typeof saved !== 'object') return saved
  if (saved.pid === 0) return { saved, status: 'creating' }
  const watching = new Batch(platform.machine)
  const watch = planWatch(watching, runtime, saved)
  return { saved, status: finishWatch(runtime, host.run(watching), saved, watch) }
}

/** The saved state alone. */
export function readSaved(runtime: Runtime, id: string): Saved | 'missing' | 'unfinished' {
  const { host, platform } = runtime
  const b = new Batch(platform.machine)
  const look = planLook(b, runtime, planTrust(b, runtime), id, 0x4000)
  return finishLook(runtime, host.run(b), look)
}

/** What a batch finds out to decide whose states may be trusted: those of the caller and of root. */
export interface Trust {
  uid: Step
  root: Owner
}

export interface Owner {
  path: string
  step: Step
  status: OutPointer
}

/** What a batch finds out about a container's folder. */
export interface Look {
  id: string
  reading: Reading
  trust: Trust
  owner: Owner
}

/** Plans to find out who asks, and whose the folder of all states is. */
export function planTrust(b: Batch, { globals }: Runtime): Trust {
  return { uid: b.call('geteuid'), root: planOwner(b, globals.root) }
}

/** Plans to read a state; `size`: bytes that it has at most, if it is a usual one. Several can be planned in one batch. */
export function planLook(b: Batch, runtime: Runtime, trust: Trust, id: string, size: number): Look {
  const folder = folderOf(runtime, id)
  const reading = planReading(b, `${folder}/state.json`, size, k.O_RDONLY | k.O_NOFOLLOW | k.O_NONBLOCK)
  return { id, reading, trust, owner: planOwner(b, folder) }
}

/** The state that was read, or why there is none, as tryLoadState gives it. */
export function finishLook(
  { host, platform }: Runtime,
  answer: Answer,
  { id, reading, trust, owner }: Look,
): Saved | 'missing' | 'unfinished' {
  const result = finishReading(host, platform.machine, answer, reading)
  if ('errno' in result) {
    if (result.errno === 'ENOTDIR') return 'missing'
    if (result.errno === 'ENOENT') return answer.ok(owner.step) ? 'unfinished' : 'missing'
    throw unreadable(`state of container ${id} (${reading.path})`, result.errno)
  }
  // A state makes runt kill processes, remove cgroups and call hooks. So it must come from the caller or from root.
  const ours = answer.value(trust.uid)!
  for (const { path, status } of [owner, trust.root]) {
    const theirs = answer.word(status, k.STX_UID)
    if (theirs !== ours && theirs !== 0)
      throw new RuntError(
        `container ${id}: ${path} belongs to user ${theirs}, and you are user ${ours}: its state is not to be trusted; run as that user`,
        'EPERM',
      )
  }
  return parseSaved(result.text, reading.path)
}

/** Plans to find out who owns a folder. Of a symbolic link, the link itself. */
export function planOwner(b: Batch, path: string): Owner {
  const status = b.out(256)
  const unknown = b.label()
  const step = c.statx(b, k.AT_FDCWD, path, k.AT_SYMLINK_NOFOLLOW, status).on(ANY, unknown)
  b.place(unknown)
  return { path, step, status }
}

/** What is left to do where nobody knows what belongs to a container. */
const BY_HAND = 'end its processes and remove its cgroup and this folder by hand'

function parseSaved(text: string, path: string): Saved {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new RuntError(`${path}: not JSON; the file was not written by runt, or is damaged: ${BY_HAND}`)
  }
  const wrong = wrongField(value)
  if (wrong !== undefined)
    throw new RuntError(
      `${path}: not a state that this version of runt can read (${wrong}); another version wrote it, or it is damaged: ${BY_HAND}`,
    )
  return value as Saved
}

/** What a batch finds out about a container's process. */
export interface Watch {
  stat: Reading
  parked: Step
  freezing: Reading | null
}

/** The file that says whether the container is paused, if there is one. */
export const freezerOf = ({ freezer, cgroup }: Saved): string | null => freezer ?? (cgroup && freezerFile(cgroup))

/** Plans to look at the process of a container. `saved.pid` is not 0. */
export function planWatch(b: Batch, runtime: Runtime, saved: Saved): Watch {
  const stat = planReading(b, `/proc/${saved.pid}/stat`, 1024)
  const done = b.label()
  const parked = c.faccessat(b, k.AT_FDCWD, `${folderOf(runtime, saved.id)}/${START_SOCKET}`, 0).on(ANY, done)
  b.place(done)
  const freezer = freezerOf(saved)
  return { stat, parked, freezing: freezer ? planReading(b, freezer, 8) : null }
}

/** What the container is doing, by its process. Throws a RuntError when that cannot be read. */
export function finishWatch(
  { host, platform }: Runtime,
  answer: Answer,
  saved: Saved,
  { stat, parked, freezing }: Watch,
): Status {
  const result = finishReading(host, platform.machine, answer, stat)
  if ('errno' in result) {
    if (result.errno === 'ENOENT' || result.errno === 'ESRCH') return 'stopped'
    throw unreadable(`container ${saved.id}: ${stat.path}`, result.errno)
  }
  const freezer = freezing && finishReading(host, platform.machine, answer, freezing)
  const frozen = freezer !== null && 'text' in freezer && saysFrozen(freezer.text)
  return statusOf(saved, result.text, frozen, answer.ok(parked))
}

/**
 * What a container is doing. `stat`: that of the process that has its pid now; `frozen`: whether its cgroup is; `parked`: whether its init
 * can be started.
 */
export function statusOf(
  { startTime }: Pick<Saved, 'startTime'>,
  stat: string,
  frozen: boolean,
  parked: boolean,
): Status {
  const now = readStat(stat)
  if (now.startTime !== startTime || now.ended) return 'stopped'
  return frozen ? 'paused' : parked ? 'created' : 'running'
}

/** The `state` command (runtime.md, "Query State"). */
export function state(runtime: Runtime, id: string): StateView {
  const { saved, status } = loadState(runtime, id)
  return withOwners(runtime, [viewOf(saved, status)])[0]!
}

/** A state as commands print it; the pid is 0 if there is no process. `withOwners` fills in names of other owners than root. */
export function viewOf(saved: Omit<Shown, 'freezer'>, status: Status): StateView {
  const live = status === 'created' || status === 'running' || status === 'paused'
  return {
    ociVersion: saved.ociVersion,
    id: saved.id,
    pid: live ? saved.pid : 0,
    status,
    bundle: saved.bundle,
    rootfs: saved.rootfs,
    created: saved.created,
    ...(Object.keys(saved.annotations).length ? { annotations: saved.annotations } : {}),
    owner: ownerText(saved.owner),
  }
}

/** Plans to make the state folder of a container. Only one command can make it: that claims the id. */
export function planClaim(b: Batch, root: string, folder: string): Step {
  b.about(`state folder (${root})`)
  const parents = root.split('/').slice(1)
  const there = b.label()
  const claim = b.label()
  c.faccessat(b, k.AT_FDCWD, root, 0).on(['ENOENT'], there)
  b.jump(claim)
  b.place(there)
  parents.forEach((_, index) => {
    const exists = b.label()
    c.mkdirat(
      b,
      k.AT_FDCWD,
      `/${parents.slice(0, index + 1).join('/')}`,
      index === parents.length - 1 ? 0o700 : 0o755,
    ).on(['EEXIST'], exists)
    b.place(exists)
  })
  b.place(claim)
  b.about(`state folder (${folder})`)
  return c.mkdirat(b, k.AT_FDCWD, folder, 0o700)
}

/**
 * Plans to remove the folder of a container. Only files that runt makes there are removed; with anything else in it the folder stays, which
 * is an error. The result is 0 only for the one, of several who delete the container at once, that has removed state.json.
 */
export function planRemoveFolder(b: Batch, folder: string, left: Label | null = null): Step {
  // With `left` no single failure matters: the last rmdir tells whether everything could be removed.
  const expected = left ? ANY : (['ENOENT'] as const)
  b.about(`state folder (${folder})`)
  const [state] = ['state.json', 'config.json', FILTER_FILE].map((name) => {
    const missing = b.label()
    const step = c.unlinkat(b, k.AT_FDCWD, `${folder}/${name}`).on(expected, missing)
    b.place(missing)
    return step
  }) as [Step]
  const seldom = b.label()
  const gone = b.label()
  const removed = c.unlinkat(b, k.AT_FDCWD, folder, k.AT_REMOVEDIR).on(left ? ANY : ['ENOENT', 'ENOTEMPTY'], seldom)
  b.jump(gone)
  b.place(seldom)
  b.branch(removed, 'EQUAL', -Errno.ENOENT!, gone)
  const notify = `${folder}/${NOTIFY_FOLDER}`
  for (const [path, flags] of [
    [`${folder}/${START_SOCKET}`, 0],
    // The following are left by a command that was killed between two system calls.
    [`${folder}/state.json.tmp`, 0],
    [`${folder}/config.json.tmp`, 0],
    [`${folder}/${EXECUTOR_FILE}`, 0],
    [`${folder}/${CLAIMED_SOCKET}`, 0],
    [`${notify}/${NOTIFY_SOCKET}`, 0],
    [notify, k.AT_REMOVEDIR],
  ] as const) {
    const missing = b.label()
    c.unlinkat(b, k.AT_FDCWD, path, flags).on(expected, missing)
    b.place(missing)
  }
  const last = c.unlinkat(b, k.AT_FDCWD, folder, k.AT_REMOVEDIR)
  if (left) last.on(ANY, left)
  b.place(gone)
  return state
}
