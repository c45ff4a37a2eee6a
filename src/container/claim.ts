/**
 * Who a container's folder belongs to at the moment. What removes a container acts on paths, and with the last of them the id is free: one
 * who is slower than another would meet a new container of the same id, end its processes and remove its files. So who makes or removes a
 * container has a lock (flock(2)) on its folder meanwhile. A lock ends with the processes that have the descriptor, however they end; it
 * is on the folder, not on its name, so who has waited for it sees that the folder is gone.
 *
 * It is advice: where no lock can be had all goes on without.
 */
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, Batch, type Label, type OutPointer, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer } from '../session/session.ts'
import type { Runtime } from './runtime.ts'
import { HostSlot } from './slots.ts'
import { finishLook, folderOf, planLook, planTrust, type Saved } from './state.ts'

/** Milliseconds that somebody else may take who removes or makes the container; then we go on without a lock. */
const PATIENCE = 2_000
const PAUSE = 10

const CLAIM = slot(HostSlot.CLAIM)

const flock = (b: Batch, operation: number): Step => b.call('flock', CLAIM, operation)

/** Plans to lock a folder. The result is EAGAIN where somebody else has the lock. */
export function planHold(b: Batch, folder: string): Step {
  const missing = b.label()
  b.about(`state folder (${folder})`)
  c.openat(b, k.AT_FDCWD, folder, k.O_RDONLY | k.O_DIRECTORY)
    .on(ANY, missing)
    .keep(HostSlot.CLAIM)
  const locked = planTry(b)
  b.place(missing)
  return locked
}

function planTry(b: Batch): Step {
  const taken = b.label()
  const locked = flock(b, k.LOCK_EX | k.LOCK_NB).on(ANY, taken)
  b.place(taken)
  return locked
}

/** Plans to unlock it: for a host that stays while the container runs. */
export function planLetGo(b: Batch): void {
  const free = b.label()
  flock(b, k.LOCK_UN).on(ANY, free)
  b.place(free)
}

/** Plans to lock it again; goes on at `gone` if somebody else has removed the container meanwhile. */
export function planHoldAgain(b: Batch, gone: Label): void {
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
 * The state of a container that is to be removed, as `readSaved` gives it, once nobody else makes or removes it. `force`: it is worth
 * waiting for one that is being created.
 */
export function holdSaved(runtime: Runtime, id: string, force: boolean): Saved | 'missing' | 'unfinished' {
  const { host, platform } = runtime
  for (let waited = 0; ; waited += PAUSE) {
    const b = new Batch(platform.machine)
    if (waited > 0) c.sleep(b, PAUSE)
    // Waiting is for this folder, and not for another that gets its name.
    const locked = waited > 0 ? planTry(b) : planHold(b, folderOf(runtime, id))
    const status = planLinks(b)
    const look = planLook(b, runtime, planTrust(b, runtime), id, 0x4000)
    const answer = host.run(b)
    if (wasRemoved(answer, locked, status)) return 'missing'
    const found = finishLook(runtime, answer, look)
    const isCreating = found === 'unfinished' || (typeof found === 'object' && found.pid === 0)
    const isTaken = answer.value(locked) === -Errno.EAGAIN!
    if (!isTaken || waited >= PATIENCE || (isCreating && !force)) return found
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
