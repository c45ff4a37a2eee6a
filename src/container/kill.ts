/** The `kill` command. */
import { Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import * as k from '../linux/constants.ts'
import { ANY, type Arg, Batch, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { finishReading, planReading } from './files.ts'
import { notRunning } from './phrases.ts'
import type { Runtime } from './runtime.ts'
import { HostSlot, SIGNAL } from './slots.ts'
import {
  CLAIMED_SOCKET,
  finishWatch,
  folderOf,
  known,
  planWatch,
  readSaved,
  readStat,
  type Saved,
  START_SOCKET,
} from './state.ts'

/**
 * Sends a signal to the container's init or, with `all`, to every process of its cgroup. When an init is killed, the kernel kills all other
 * processes of its pid namespace. If the container has no such namespace of its own, SIGKILL goes to all processes of its cgroup, also when
 * the init is gone.
 */
export function kill(runtime: Runtime, id: string, signal: number, all: boolean): void {
  const saved = known(id, readSaved(runtime, id))
  if (saved.pid === 0) throw new RuntError(`cannot kill container ${id}: it is being created`)
  const { host, platform } = runtime
  const { machine } = platform
  const b = new Batch(machine)
  const pidfd = planHold(b, saved)
  const watch = planWatch(b, runtime, saved)
  const answer = host.run(b)
  const status = finishWatch(runtime, answer, saved, watch)
  const paused = status === 'paused'
  // A parked init handles no signal, so as process 1 of its namespace it would survive these. It is killed instead.
  const ends = status === 'created' && !saved.sharesPids && ENDING.has(signal)
  if (all && saved.cgroup && !ends) {
    cgroups.signalAll(host, machine, saved.cgroup, signal, paused)
    return
  }
  if (signal === k.SIGKILL && saved.sharesPids && saved.cgroup)
    if (cgroups.signalAll(host, machine, saved.cgroup, signal, paused)) return
  if (
    status === 'stopped' ||
    !(answer.ok(pidfd) ? signalHeld(runtime, saved, signal, ends) : signalInit(runtime, saved, signal))
  )
    throw new RuntError(notRunning(id))
  // A frozen process of cgroup v1 dies only when it is thawed; what is left of the container goes on then, as with runc.
  if (signal !== k.SIGKILL || !saved.cgroup) return
  if (sleepsFirmly(finishReading(host, machine, answer, watch.stat))) cgroups.thawBelow(host, machine, saved.cgroup)
  else if (paused) cgroups.thawAnyhow(host, machine, saved.cgroup)
}

/** Whether a process is in state D, as what is frozen by cgroup v1 is: by its cgroup or, unknown to us, by one below. */
const sleepsFirmly = (stat: { text: string } | { errno: string }): boolean =>
  'text' in stat && readStat(stat.text).state === 'D'

/**
 * Plans to open a pidfd of the init, so that a later process with the same pid is never hit. Whether it is the init's shows what is read
 * of the process afterwards (its start time).
 */
export function planHold(b: Batch, saved: Saved): Step {
  const failed = b.label()
  b.about(aboutInit(saved))
  const pidfd = c.pidfdOpen(b, saved.pid).on(ANY, failed).keep(HostSlot.PIDFD)
  b.place(failed)
  return pidfd
}

/** Plans to signal the process of the pidfd that `planHold` opened. The result is ESRCH if that is gone. */
export function planSignal(b: Batch, saved: Saved, signal: Arg): Step {
  const end = b.label()
  b.about(aboutInit(saved))
  const sent = c.pidfdSendSignal(b, slot(HostSlot.PIDFD), signal).on(['ESRCH'], end)
  b.place(end)
  return sent
}

/** Signals that ask a process to end. A waiting init of runc, a program in Go, dies of them; so a parked one of runt's does too. */
const ENDING: ReadonlySet<number> = new Set(['HUP', 'INT', 'QUIT', 'ABRT', 'TERM'].map((name) => k.SIGNALS[name]!))

/**
 * Plans to claim a parked init, as `start` does, so that nobody starts it meanwhile. Gives the signal to send: SIGKILL to a parked init, or
 * the given one if somebody was faster and the program has been started.
 */
function planClaimParked(b: Batch, folder: string, signal: number): Arg {
  const started = b.label()
  b.about(`${folder}/${START_SOCKET}`)
  b.set(SIGNAL, signal)
  c.renameat(b, k.AT_FDCWD, `${folder}/${START_SOCKET}`, k.AT_FDCWD, `${folder}/${CLAIMED_SOCKET}`).on(
    ['ENOENT'],
    started,
  )
  c.unlinkat(b, k.AT_FDCWD, `${folder}/${CLAIMED_SOCKET}`)
  b.set(SIGNAL, k.SIGKILL)
  b.place(started)
  return slot(SIGNAL)
}

const aboutInit = ({ id, pid }: Saved): string => `container ${id}: process ${pid}`

function signalHeld(runtime: Runtime, saved: Saved, signal: number, ends: boolean): boolean {
  const b = new Batch(runtime.platform.machine)
  const sent = planSignal(b, saved, ends ? planClaimParked(b, folderOf(runtime, saved.id), signal) : signal)
  c.close(b, slot(HostSlot.PIDFD))
  return runtime.host.run(b).ok(sent)
}

/** Signals the init, after a check that it is the init still. False when it is gone. */
export function signalInit(runtime: Runtime, saved: Saved, signal: number): boolean {
  const { host, platform } = runtime
  const b = new Batch(platform.machine)
  const gone = b.label()
  b.about(aboutInit(saved))
  const pidfd = c.pidfdOpen(b, saved.pid).on(['ESRCH'], gone).keep(HostSlot.PIDFD)
  b.place(gone)
  const stat = planReading(b, `/proc/${saved.pid}/stat`, 1024)
  const answer = host.run(b)
  const text = finishReading(host, platform.machine, answer, stat)
  if (!answer.ok(pidfd) || 'errno' in text || readStat(text.text).startTime !== saved.startTime) return false
  const send = new Batch(platform.machine)
  const sent = planSignal(send, saved, signal)
  return host.run(send).ok(sent)
}

/** Milliseconds that a killed init has to end. */
export const INIT_PATIENCE = 10_000

/** Waits until the process of the pidfd has ended; false if it has not within `patience` milliseconds. */
export function waitForInit(runtime: Runtime, patience = INIT_PATIENCE): boolean {
  const b = new Batch(runtime.platform.machine)
  const ended = planAwaitEnd(b, patience)
  return (runtime.host.run(b).value(ended) ?? 0) > 0
}

/** Plans to wait until the process of the pidfd has ended: the result is 1 if it has within `patience` milliseconds. */
export function planAwaitEnd(b: Batch, patience = INIT_PATIENCE): Step {
  const end = b.label()
  b.patience += patience
  // struct pollfd; events (u16) lies at 4.
  const poll = b.data(new Struct(8).u16(4, k.POLLIN).bytes)
  b.store(32, poll, slot(HostSlot.PIDFD))
  const ready = b.call('ppoll', poll, 1, c.timespec(b, patience), 0, 8).on(ANY, end)
  b.place(end)
  return ready
}
