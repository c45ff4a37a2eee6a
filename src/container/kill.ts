/** The `kill` command. */
import { Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { finishReading, planReading } from './files.ts'
import { notRunning } from './phrases.ts'
import type { Runtime } from './runtime.ts'
import { HostSlot } from './slots.ts'
import { loadState, readStat, type Saved } from './state.ts'

/**
 * Sends a signal to the container's init or, with `all`, to every process of its cgroup. With the init the kernel kills all others of its
 * pid namespace; where that is not the container's own they are looked for in the cgroup, also when the init is gone.
 */
export function kill(runtime: Runtime, id: string, signal: number, all: boolean): void {
  const { saved, status } = loadState(runtime, id)
  if (status === 'creating') throw new RuntError(`cannot kill container ${id}: it is being created`)
  const { host, platform } = runtime
  const paused = status === 'paused'
  if (all && saved.cgroup) {
    cgroups.signalAll(host, platform.machine, saved.cgroup, signal, paused)
    return
  }
  if (signal === k.SIGKILL && saved.sharesPids && saved.cgroup)
    if (cgroups.signalAll(host, platform.machine, saved.cgroup, signal, paused)) return
  if (status === 'stopped' || !signalInit(runtime, saved, signal)) throw new RuntError(notRunning(id))
  // A frozen process of cgroup v1 dies only when it is thawed; what is left of the container goes on then, as with runc.
  if (paused && signal === k.SIGKILL) cgroups.thawAnyhow(host, platform.machine, saved.cgroup!)
}

/** Signals the init through a pidfd, so that a later process with its pid is never hit. False when it is gone. */
export function signalInit(runtime: Runtime, saved: Saved, signal: number): boolean {
  const { host, platform } = runtime
  const b = new Batch(platform.machine)
  const gone = b.label()
  b.about(`container ${saved.id}: process ${saved.pid}`)
  const pidfd = c.pidfdOpen(b, saved.pid).on(['ESRCH'], gone).keep(HostSlot.PIDFD)
  b.place(gone)
  // Read after the pidfd was opened: it belongs to the process that the descriptor is for.
  const stat = planReading(b, `/proc/${saved.pid}/stat`, 1024)
  const answer = host.run(b)
  const text = finishReading(host, platform.machine, answer, stat)
  if (!answer.ok(pidfd) || 'errno' in text || readStat(text.text).startTime !== saved.startTime) return false
  const send = new Batch(platform.machine)
  send.about(`container ${saved.id}: process ${saved.pid}`)
  const end = send.label()
  const sent = c.pidfdSendSignal(send, slot(HostSlot.PIDFD), signal).on(['ESRCH'], end)
  send.place(end)
  return host.run(send).ok(sent)
}

/** Milliseconds that a killed init has to end. */
export const INIT_PATIENCE = 10_000

/** Waits until the process behind the pidfd of `signalInit` has ended; false if it does not in time. */
export function waitForInit(runtime: Runtime): boolean {
  const b = new Batch(runtime.platform.machine)
  const end = b.label()
  b.patience = INIT_PATIENCE
  // struct pollfd; events (u16) lies at 4.
  const poll = b.data(new Struct(8).u16(4, k.POLLIN).bytes)
  b.store(32, poll, slot(HostSlot.PIDFD))
  const ready = b.call('ppoll', poll, 1, c.timespec(b, INIT_PATIENCE), 0, 8).on(ANY, end)
  b.place(end)
  return (runtime.host.run(b).value(ready) ?? 0) > 0
}
