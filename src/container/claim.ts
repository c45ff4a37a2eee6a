/**
 * The lock on a container's folder (flock(2)) that a command holds while it makes or removes the container.
 *
 * Removing works on paths, and when the last one is gone the id is free again. Without a lock the slower of two `delete` could meet a new
 * container of the same id, end its processes and remove its files. The lock is on the folder, not on its name, so whoever has waited for
 * it sees that the folder is gone; and it ends with the processes that have the descriptor, however they end.
 *
 * Where no lock can be had, commands go on without; so does one that a hook of the container has called, for which the lock is never free.
 */
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, Batch, type Label, type OutPointer, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer } from '../session/session.ts'
import { waitsForUs } from './claim-holder.ts'
import type { Runtime } from './runtime.ts'
import { HostSlot } from './slots.ts'
import { finishLook, folderOf, planLook, planTrust, type Saved } from './state.ts'

/** Milliseconds to wait for a command that holds the lock; then this one goes on without it. */
const PATIENCE = 2_000
const PAUSE = 10

const CLAIM = slot(HostSlot.CLAIM)

const flock = (b: Batch, operation: number): Step => b.call('flock', CLAIM, operation)

/** Plans to lock a folder, without waiting. The result is EAGAIN if somebody else has the lock. */
export function planLock(b: Batch, folder: string): Step {
  const missing = b.label()
  b.about(`state folder (${folder})`)
  c.openat(b, k.AT_FDCWD, folder, k.O_RDONLY | k.O_DIRECTORY)
    .on(ANY, missing)
    .keep(HostSlot.CLAIM)
  const locked = planTryLock(b)
  b.place(missing)
  return locked
}

function planTryLock(b: Batch): Step {
  const taken = b.label()
  const locked = flock(b, k.LOCK_EX | k.LOCK_NB).on(ANY, taken)
  b.place(taken)
  return locked
}

/** Plans to unlock the folder. */
export function planUnlock(b: Batch): void {
  const free = b.label()
  flock(b, k.LOCK_UN).on(ANY, free)
  b.place(free)
}

/** Plans to wait for the lock, after `planUnlock`. Goes on at `gone` if somebody else has removed the container meanwhile. */
export function planLockAgain(b: Batch, gone: Label): void {
  const free = b.label()
  const there = b.label()
  b.patience = Infinity
  flock(b, k.LOCK_EX).on(ANY, free)
  b.place(free)
  const state = c.faccessat(b, CLAIM, 'state.json', 0).on(ANY, there)
  b.place(there)
  b.branch(state, 'EQUAL', -Errno.ENOENT!, gone)
}

/**
 * Waits for the lock, and gives the state of a container that is to be removed, as `readSaved` does. Without `force` it does not wait for a
 * container that is being created, which cannot be removed anyway; nor does it wait for a command that waits for it.
 */
export function lockSaved(runtime: Runtime, id: string, force: boolean): Saved | 'missing' | 'unfinished' {
  const { host, platform } = runtime
  for (let waited = 0; ; waited += PAUSE) {
    const b = new Batch(platform.machine)
    if (waited > 0) c.sleep(b, PAUSE)
    // Only at first by its path: then the wait is for this folder, not for a new one with its name.
    const locked = waited > 0 ? planTryLock(b) : planLock(b, folderOf(runtime, id))
    const status = planLinks(b)
    const look = planLook(b, runtime, planTrust(b, runtime), id, 0x4000)
    const answer = host.run(b)
    if (wasRemoved(answer, locked, status)) return 'missing'
    const found = finishLook(runtime, answer, look)
    const isCreating = found === 'unfinished' || (typeof found === 'object' && found.pid === 0)
    const isTaken = answer.value(locked) === -Errno.EAGAIN!
    if (!isTaken || waited >= PATIENCE || (isCreating && !force)) return found
    if (waited === 0 && waitsForUs(runtime)) return found
  }
}

/** Plans to find out whether the folder is still there. */
function planLinks(b: Batch): OutPointer {
  const status = b.out(256)
  const unknown = b.label()
  c.statx(b, CLAIM, '', k.AT_EMPTY_PATH, status).on(ANY, unknown)
  b.place(unknown)
  return status
}

const wasRemoved = (answer: Answer, locked: Step, status: OutPointer): boolean =>
  answer.ok(locked) && answer.word(status, k.STX_NLINK) === 0 && answer.half(status, k.STX_MODE) !== 0
