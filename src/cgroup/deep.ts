/**
 * Cgroups that nest deeper than a path can say (PATH_MAX). Who may make cgroups in a container can make such, by relative paths, and
 * that is how they are removed: one step at a time. A cgroup never moves to another parent, so `..` leads back.
 */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, AT_REMOVEDIR, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, SIGNALS } from '../linux/constants.ts'
import { DT_DIR, readDirents } from '../linux/dirents.ts'
import { describeErrno, Errno } from '../linux/errno.ts'
import { ANY, Batch } from '../session/batch.ts'
import { close, kill, openat, read, sleep, unlinkat } from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { planThawing, thawAnyhow } from './freezer.ts'
import { type CgroupPaths, folderOf, folderPath } from './layout.ts'
import { descendants, subfolders } from './tree.ts'

/** Bytes of one getdents64(2): some 800 entries of cgroupfs, more than a cgroup has files. */
const ENTRIES = 0x8000
/** Bytes of pids that are read at once. */
const PIDS = 0x800
/** How often something may be in the way, and milliseconds to wait then. */
const TRIES = 300
const PAUSE = 10

const FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW

/** Longest path, in characters, of a cgroup that is dealt with by it. */
const LONGEST_PATH = 400

/** Whether cgroups nest so deep that they are better gone through step by step. */
export const isDeep = (paths: readonly string[]): boolean => paths.some(({ length }) => length > LONGEST_PATH)

/**
 * For a container that is to end: as thawAnyhow, and all cgroups below. Who may write to them in a container can freeze processes there,
 * its init too, and on cgroup v1 even SIGKILL waits until they are thawed.
 */
export function thawBelow(host: Session, machine: Machine, paths: CgroupPaths): void {
  thawAnyhow(host, machine, paths)
  const folder = folderOf(paths, 'freezer')
  if (folder?.version !== 1) return
  const below = descendants(host, machine, folderPath(folder))
  if (isDeep(below)) {
    removeDeep(host, machine, folderPath(folder))
    return
  }
  for (const path of below) {
    const b = new Batch(machine)
    const gone = b.label()
    const fd = openat(b, AT_FDCWD, path, FOLDER).on(ANY, gone)
    planThawing(b, fd)
    close(b, fd)
    b.place(gone)
    host.recover(b)
  }
}

/** Visits a cgroup and all below it, each as an open folder. Ends where the way back is lost: all below is being removed then. */
export function walkDeep(host: Session, machine: Machine, top: string, visit: (folder: number) => void): void {
  const go = (from: number, name: string, leaves: boolean): number => {
    const b = new Batch(machine).about(`going through the cgroups below ${top}`)
    const end = b.label()
    const fd = openat(b, from, name, FOLDER).on(ANY, end)
    if (leaves) close(b, from)
    b.place(end)
    return host.recover(b).value(fd)!
  }
  /** What is left to be visited, by level. */
  const open: string[][] = []
  let fd = go(AT_FDCWD, top, false)
  for (let isNew = true; fd >= 0; ) {
    if (isNew) {
      visit(fd)
      open.push(subfolders(host, machine, '.', fd))
    }
    const name = open.at(-1)!.pop()
    isNew = name !== undefined
    if (name !== undefined) {
      const next = go(fd, name, true)
      if (next >= 0) fd = next
      else isNew = false
      continue
    }
    open.pop()
    if (open.length === 0) break
    const parent = go(fd, '..', true)
    if (parent < 0) break
    fd = parent
  }
  if (fd < 0) return
  const b = new Batch(machine)
  close(b, fd)
  host.recover(b)
}

/** Removes all cgroups below `top`, and ends what runs in them. Throws a RuntError if one stays in use. */
export function removeDeep(host: Session, machine: Machine, top: string): void {
  const begin = (): Batch => new Batch(machine).about(`removing the cgroups below ${top}`)
  const open = (from: number, name: string): number => {
    const b = begin()
    const end = b.label()
    const fd = openat(b, from, name, FOLDER).on(ANY, end)
    // What is frozen here holds all below, too.
    planThawing(b, fd)
    if (from !== AT_FDCWD) close(b, from)
    b.place(end)
    return host.recover(b).value(fd)!
  }
  let errno = Errno.EBUSY!
  let names: string[] = []
  let fd = open(AT_FDCWD, top)
  for (let tries = 0; fd >= 0; ) {
    if (tries > TRIES) throw new RuntError(`removing the cgroups below ${top}: ${describeErrno(errno)}`, 'EBUSY')
    const below = subfolder(host, begin(), fd)
    if (below !== null) {
      const next = open(fd, below)
      if (next >= 0) {
        fd = next
        names.push(below)
      } else tries++
      continue
    }
    const name = names.pop()
    if (name === undefined) break
    const b = begin()
    const kept = b.label()
    const lost = b.label()
    const parent = openat(b, fd, '..', FOLDER).on(ANY, lost)
    const removed = unlinkat(b, parent, name, AT_REMOVEDIR).on(ANY, kept)
    b.place(kept)
    b.place(lost)
    const answer = host.recover(b)
    const failure = answer.value(removed) ?? 0
    if (failure < 0 && failure !== -Errno.ENOENT!) {
      errno = -failure
      endAll(host, begin, fd)
      tries++
    }
    const last = begin()
    close(last, fd)
    host.run(last)
    fd = answer.value(parent)!
    if (fd >= 0) continue
    // Somebody else has removed it meanwhile.
    tries++
    names = []
    fd = open(AT_FDCWD, top)
  }
  if (fd < 0) return
  const b = begin()
  close(b, fd)
  host.run(b)
}

/** Name of a folder in an open one, if there is any. */
function subfolder(host: Session, b: Batch, fd: number): string | null {
  const buffer = b.out(ENTRIES)
  const end = b.label()
  b.call('lseek', fd, 0, 0)
  const count = b.call('getdents64', fd, buffer, ENTRIES).on(['ENOENT'], end)
  b.place(end)
  const answer = host.recover(b)
  const length = answer.value(count) ?? 0
  if (length <= 0) return null
  return readDirents(answer.bytes(buffer, length)).entries.find(({ type }) => type === DT_DIR)?.name ?? null
}

/** Kills what is in an open cgroup, and gives it time to end. */
function endAll(host: Session, begin: () => Batch, fd: number): void {
  const b = begin()
  const end = b.label()
  const buffer = b.out(PIDS)
  const unread = b.label()
  const procs = openat(b, fd, 'cgroup.procs', O_RDONLY).on(ANY, end)
  const count = read(b, procs, buffer).on(ANY, unread)
  b.place(unread)
  close(b, procs)
  b.place(end)
  const answer = host.recover(b)
  const text = answer.text(buffer, 0, Math.max(0, answer.value(count) ?? 0))
  const killing = begin()
  for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
    const gone = killing.label()
    if (Number(line) > 0) kill(killing, Number(line), SIGNALS.KILL!).on(['ESRCH'], gone)
    killing.place(gone)
  }
  sleep(killing, PAUSE)
  host.recover(killing)
}
