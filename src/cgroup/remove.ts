/** Removing a cgroup. */
import { Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, AT_REMOVEDIR } from '../linux/constants.ts'
import { describeErrno, Errno } from '../linux/errno.ts'
import { ANY, at, Batch, type Label, load, slot } from '../session/batch.ts'
import { faccessat, sleep, unlinkat } from '../session/calls.ts'
import { planRows } from '../session/rows.ts'
import type { Session } from '../session/session.ts'
import { isDeep, removeDeep } from './deep.ts'
import { type CgroupFolder, type CgroupPaths, folderPath } from './layout.ts'
import { processesBelow, processFolder } from './processes.ts'
import { descendants } from './tree.ts'

/** First and longest wait for a cgroup whose processes have just ended, in nanoseconds; the waits double. */
const FIRST_WAIT = 100_000
const LAST_WAIT = FIRST_WAIT * 2 ** 10

/** Plans a loop over the folders. In `body` slot `turn` points to the path of the current one; `next` goes on with the next. */
function planForEach(b: Batch, folders: readonly CgroupFolder[], turn: number, body: (next: Label) => void): void {
  const { pointer, stride } = planRows(b, folders.map(folderPath))
  const again = b.label()
  const next = b.label()
  b.about('removing the cgroup')
  b.set(turn, pointer)
  b.place(again)
  body(next)
  b.place(next)
  b.branch(b.add(slot(turn), stride).keep(turn), 'NOT_EQUAL', at(pointer, stride * folders.length), again)
}

/**
 * Plans to remove the container's folders when nobody will be there to look at the results. Waits for processes that are about to end,
 * 0.2 s at most for all. Goes on at `left` if a folder cannot be removed, usually because of sub-cgroups.
 */
export function planRemove(b: Batch, { folders }: CgroupPaths, left: Label, turn: number): void {
  if (folders.length === 0) return
  const time = b.data(new Struct(16).u64(8, FIRST_WAIT).bytes, '{the wait so far, doubled}')
  const nanoseconds = load(time, 64, 8)
  b.patience += (2 * LAST_WAIT) / 1_000_000
  planForEach(b, folders, turn, (next) => {
    const again = b.label()
    const failed = b.label()
    const slept = b.label()
    b.place(again)
    const removed = b.call('unlinkat', AT_FDCWD, slot(turn), AT_REMOVEDIR).on(ANY, failed)
    b.jump(next)
    b.place(failed)
    b.branch(removed, 'EQUAL', -Errno.ENOENT!, next)
    b.branch(removed, 'NOT_EQUAL', -Errno.EBUSY!, left)
    b.branch(LAST_WAIT, 'LESS', nanoseconds, left)
    b.call('nanosleep', time, 0).on(ANY, slept)
    b.place(slept)
    b.store(64, at(time, 8), b.add(nanoseconds, nanoseconds))
    b.jump(again)
  })
  b.about('')
}

/**
 * Plans to remove the container's folders if nothing is in them. The first one, which all its processes are in, shows that. Goes on at
 * `left` if something is in it, and on any other failure; then `killAll` and `remove` are needed.
 */
export function planRemoveEmpty(b: Batch, paths: CgroupPaths, left: Label, turn: number): void {
  const first = processFolder(paths)
  if (!first) return
  planForEach(b, [first, ...paths.folders.filter((other) => other !== first)], turn, () => {
    b.call('unlinkat', AT_FDCWD, slot(turn), AT_REMOVEDIR).on(ANY, left)
  })
}

/** Milliseconds that `remove` waits for a busy cgroup, and its longest pause. */
const REMOVE_PATIENCE = 5_000
const LONGEST_WAIT = 100

/**
 * Removes the container's cgroup and the cgroups that the container made below it; never anything above or beside it.
 * Folders that are gone already are fine. Throws a RuntError when one is still in use after some seconds.
 */
export function remove(host: Session, machine: Machine, paths: CgroupPaths): void {
  let busy = removeFolders(host, machine, paths.folders.map(folderPath), 0)
  let wait = 0
  for (let waited = 0; busy.length > 0; waited += wait) {
    const below = busy.flatMap((path) => {
      const inside = descendants(host, machine, path)
      if (!isDeep(inside)) return inside
      removeDeep(host, machine, path)
      return []
    })
    const left = removeFolders(host, machine, [...below, ...busy], wait)
    busy = busy.filter((path) => left.includes(path))
    if (waited > REMOVE_PATIENCE && busy.length > 0) {
      const inside = busy.flatMap((path) => processesBelow(host, machine, path))
      throw new RuntError(
        `removing the cgroup ${busy[0]}: ${describeErrno(Errno.EBUSY!)}${inside.length > 0 ? `; still in it: ${[...new Set(inside)].join(', ')}` : ''}`,
        'EBUSY',
      )
    }
    wait = Math.min(Math.max(1, 2 * wait), LONGEST_WAIT)
  }
}

/** Folders of one batch, to keep messages small. */
const CHUNK = 100

/** Removes each folder; returns those that are busy. Throws a RuntError for any other failure. */
function removeFolders(host: Session, machine: Machine, folders: readonly string[], wait: number): string[] {
  const busy: string[] = []
  for (let start = 0; start < folders.length; start += CHUNK) {
    const b = new Batch(machine)
    if (wait > 0 && start === 0) sleep(b, wait)
    const steps = folders.slice(start, start + CHUNK).map((path) => {
      const next = b.label()
      b.about(`removing the cgroup ${path}`)
      const step = unlinkat(b, AT_FDCWD, path, AT_REMOVEDIR).on(['ENOENT', 'EBUSY', 'ENOTEMPTY', 'EROFS'], next)
      b.place(next)
      return { path, step }
    })
    const answer = host.recover(b)
    for (const { path, step } of steps) {
      const value = answer.value(step)!
      if (value === -Errno.EROFS!) demandMissing(host, machine, path)
      else if (value < 0 && value !== -Errno.ENOENT!) busy.push(path)
    }
  }
  return busy
}

/** For EROFS: rmdir(2) gives it even for a folder that does not exist, and could never be made. Only one that exists is an error. */
function demandMissing(host: Session, machine: Machine, path: string): void {
  const b = new Batch(machine)
  const missing = b.label()
  const there = faccessat(b, AT_FDCWD, path, 0).on(['ENOENT'], missing)
  b.place(missing)
  if (host.run(b).ok(there))
    throw new RuntError(`removing the cgroup ${path}: ${describeErrno('EROFS')}: mount it writable first`, 'EROFS')
}
