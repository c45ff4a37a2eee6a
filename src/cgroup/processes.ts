/** The processes of a cgroup: listing, signalling and ending them. */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, O_RDONLY, O_WRONLY, SIGNALS } from '../linux/constants.ts'
import { ANY, type Arg, at, Batch, load, type OutPointer, type Step } from '../session/batch.ts'
import { close, kill, openat, sleep, write } from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { isDeep, thawBelow, walkDeep } from './deep.ts'
import { freeze, thawAnyhow } from './freezer.ts'
import { type CgroupFolder, type CgroupPaths, folderOf, folderPath } from './layout.ts'
import { descendants } from './tree.ts'

/** Bytes of pids read at once: at first, and if those were not all. */
const FEW_PIDS = 0x2000
const MANY_PIDS = 0x1_c000
/** The kernel hands out cgroup.procs by pages. */
const PAGE = 4096

/** A part of a list of pids that a batch reads. */
interface Piece {
  buffer: OutPointer
  start: OutPointer
  cursor: OutPointer
  /** The last read: its result is more than 0 if the list goes on. */
  last: Step
}

/** Plans to read the list until its end, and then to close it; or until `size` bytes are full. */
function planPiece(b: Batch, fd: Arg, size: number): Piece {
  const buffer = b.out(size)
  const start = b.out(8)
  const cursor = b.out(8)
  const loop = b.label()
  const done = b.label()
  const full = b.label()
  b.store(64, start, buffer)
  b.store(64, cursor, buffer)
  b.place(loop)
  const last = b.call('read', fd, load(cursor, 64), PAGE).on(ANY, done)
  b.branch(last, 'LESS', 1, done)
  b.store(64, cursor, b.add(load(cursor, 64), last))
  b.branch(load(cursor, 64), 'LESS', at(buffer, size - PAGE + 1), loop)
  b.jump(full)
  b.place(done)
  close(b, fd)
  b.place(full)
  return { buffer, start, cursor, last }
}

/** The pids of one cgroup. None if it is gone or, threaded, has no list. `from`: an open folder. */
function pidsOf(host: Session, machine: Machine, path: string, from = AT_FDCWD): number[] {
  const about = `listing the processes of the cgroup ${path}`
  let b = new Batch(machine).about(about)
  const end = b.label()
  const fd = openat(b, from, `${path}/cgroup.procs`, O_RDONLY).on(ANY, end)
  let piece = planPiece(b, fd, FEW_PIDS)
  b.place(end)
  let answer = host.recover(b)
  const open = answer.value(fd)!
  const pids: number[] = []
  if (open < 0) return pids
  for (let pid = 0; ; ) {
    const bytes = answer.bytes(piece.buffer, Number(answer.long(piece.cursor) - answer.long(piece.start)))
    for (const byte of bytes) {
      const digit = byte - 48
      if (digit >= 0) pid = pid * 10 + digit
      else {
        // 0 stands for a process outside of the runtime's pid namespace.
        if (pid > 0) pids.push(pid)
        pid = 0
      }
    }
    if (!(answer.value(piece.last)! > 0)) return pids
    b = new Batch(machine).about(about)
    piece = planPiece(b, open, MANY_PIDS)
    answer = host.recover(b)
  }
}

/** Pids of a cgroup and of all below it, in the runtime's pid namespace. */
export function processesBelow(host: Session, machine: Machine, path: string): number[] {
  const below = descendants(host, machine, path)
  if (!isDeep(below)) return [path, ...below].flatMap((folder) => pidsOf(host, machine, folder))
  const pids: number[] = []
  walkDeep(host, machine, path, (folder) => pids.push(...pidsOf(host, machine, '.', folder)))
  return pids
}

/** Controllers whose v1 hierarchies are asked for processes, best first: a container hardly leaves these. */
const LOOKED_AT = ['pids', 'devices', 'freezer', 'memory']

/** The folder that is asked for the container's processes. */
export const processFolder = (paths: CgroupPaths): CgroupFolder | undefined =>
  LOOKED_AT.map((name) => folderOf(paths, name)).find((found) => found?.version === 1) ??
  paths.folders.find(({ version }) => version === 2) ??
  paths.folders[0]

/** Pids of the container's processes in the runtime's pid namespace, those in sub-cgroups included. */
export function processes(host: Session, machine: Machine, paths: CgroupPaths): number[] {
  const folder = processFolder(paths)
  return folder ? processesBelow(host, machine, folderPath(folder)) : []
}

/** Milliseconds that `killAll` waits for processes to end, and its longest pause. */
const KILL_PATIENCE = 10_000
const LONGEST_PAUSE = 100
/** Milliseconds that a cgroup gets to freeze before its processes are signalled all the same. */
const FREEZE_PATIENCE = 200
/** Signals of one batch, to keep messages small. */
const CHUNK = 200

/**
 * Sends a signal to every process of the cgroup, which is frozen meanwhile, so that none escapes by forking. `frozen`: the container is
 * paused and stays so, except for SIGKILL, of which frozen processes of v1 do not die. Returns false if there was no process.
 */
export function signalAll(
  host: Session,
  machine: Machine,
  paths: CgroupPaths,
  signal: number,
  frozen: boolean,
): boolean {
  if (processes(host, machine, paths).length === 0) return false
  if (signal === SIGNALS.KILL && killAtOnce(host, machine, paths)) return true
  if (!frozen) holdStill(host, machine, paths)
  signalEach(host, machine, processes(host, machine, paths), signal)
  if (signal === SIGNALS.KILL) thawBelow(host, machine, paths)
  else if (!frozen) thawAnyhow(host, machine, paths)
  return true
}

/**
 * Ends every process of the cgroup and waits until none is left. Throws a RuntError when some are left after some seconds.
 *
 * A process that forks faster than it is killed is stopped by the freezer first, or killed with all others by cgroup.kill.
 */
export function killAll(host: Session, machine: Machine, paths: CgroupPaths): void {
  let pause = 0
  for (let waited = 0; ; waited += pause) {
    const pids = processes(host, machine, paths)
    if (pids.length === 0) return
    if (waited > KILL_PATIENCE)
      throw new RuntError(`processes of the cgroup do not end after SIGKILL: ${pids.slice(0, 20).join(', ')}`)
    if (!killAtOnce(host, machine, paths)) {
      // Not at the first try: usually the processes are ending already, and freezing would only delay them.
      if (waited > 0) holdStill(host, machine, paths)
      signalEach(host, machine, waited > 0 ? processes(host, machine, paths) : pids, SIGNALS.KILL!)
      if (waited > 0) thawBelow(host, machine, paths)
      else thawAnyhow(host, machine, paths)
    }
    pause = Math.min(Math.max(1, 2 * pause), LONGEST_PAUSE)
    const b = new Batch(machine).about('ending the processes of the cgroup')
    sleep(b, pause)
    host.recover(b)
  }
}

/** cgroup.kill of cgroup2, Linux 5.14: SIGKILL to all, also to those that are frozen or being forked. False where it cannot be had. */
function killAtOnce(host: Session, machine: Machine, paths: CgroupPaths): boolean {
  // Beside v1 hierarchies the container may have moved processes out of its cgroup2.
  if (paths.mode !== 'v2') return false
  const b = new Batch(machine).about('ending the processes of the cgroup')
  const next = b.label()
  const written = b.label()
  const fd = openat(b, AT_FDCWD, `${folderPath(paths.folders[0]!)}/cgroup.kill`, O_WRONLY).on(ANY, next)
  const done = write(b, fd, '1').on(ANY, written)
  b.place(written)
  close(b, fd)
  b.place(next)
  return host.recover(b).ok(done)
}

function holdStill(host: Session, machine: Machine, paths: CgroupPaths): void {
  try {
    freeze(host, machine, paths, FREEZE_PATIENCE)
  } catch (error) {
    if (!(error instanceof RuntError)) throw error
  }
}

function signalEach(host: Session, machine: Machine, pids: readonly number[], signal: number): void {
  for (let start = 0; start < pids.length; start += CHUNK) {
    const b = new Batch(machine).about('signalling the processes of the cgroup')
    for (const pid of pids.slice(start, start + CHUNK)) {
      const next = b.label()
      kill(b, pid, signal).on(['ESRCH'], next)
      b.place(next)
    }
    host.recover(b)
  }
}
