/** The `delete` command (runtime.md, "Delete"). */
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { Batch, type Label, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer } from '../session/session.ts'
import { lockSaved, planUnlock } from './claim.ts'
import { callPoststop } from './hooks.ts'
import { planRemoveRdt } from './intel-rdt.ts'
import { INIT_PATIENCE, planAwaitEnd, planHold, planSignal, signalInit, waitForInit } from './kill.ts'
import { cannotDelete, unknownId } from './phrases.ts'
import type { Runtime } from './runtime.ts'
import { unmountStack } from './shared-mounts.ts'
import { HostSlot } from './slots.ts'
import { finishWatch, folderOf, planRemoveFolder, planWatch, type Saved } from './state.ts'

/**
 * Removes a container: its processes if there are any left, its cgroup, its state; then calls its poststop hooks. Without `force` it has to
 * be stopped or not yet started. With `force` what a cut-short create left is removed too, and an unknown id is no error.
 */
export function remove(runtime: Runtime, id: string, force: boolean): void {
  const { host, platform } = runtime
  const saved = lockSaved(runtime, id, force)
  if (saved === 'missing') {
    if (force) return
    throw new RuntError(unknownId(id))
  }
  if (saved === 'unfinished') {
    if (!force) throw new RuntError(cannotDelete(id, 'creating'))
    const b = new Batch(platform.machine)
    planRemoveFolder(b, folderOf(runtime, id))
    host.run(b)
    return
  }
  const remover = endAndRemove(runtime, saved, force) ?? removeAll(runtime, saved)
  if (remover !== 'this' || !saved.hooks?.poststop.length) return
  // The id is free again, whatever the hooks do.
  const b = new Batch(platform.machine)
  planUnlock(b)
  host.run(b)
  callPoststop(runtime, saved)
}

/** Who has removed the state: if several commands delete a container at once, only that one calls the poststop hooks. */
type Remover = 'this' | 'another'

/** Ends the init, unless it has ended. Usually the rest is removed in the same round trips; null if that is still to be done. */
function endAndRemove(runtime: Runtime, saved: Saved, force: boolean): Remover | null {
  const { host, platform } = runtime
  if (saved.pid === 0) {
    if (!force) throw new RuntError(cannotDelete(saved.id, 'creating'))
    return null
  }
  const b = new Batch(platform.machine)
  const gone = b.label()
  const end = b.label()
  const pidfd = planHold(b, saved)
  b.branch(pidfd, 'EQUAL', -Errno.ESRCH!, gone)
  // The process has ended. It may be a later one with the same pid, but then the init has ended too.
  b.branch(planAwaitEnd(b, 0), 'EQUAL', 1, gone)
  const watch = planWatch(b, runtime, saved)
  b.jump(end)
  b.place(gone)
  const removing = b.add(0, 0)
  const removed = planRemoveUsual(b, runtime, saved, end)
  b.place(end)
  const answer = host.run(b)
  if (answer.ok(removing)) return removerOf(answer, removed)
  const status = finishWatch(runtime, answer, saved, watch)
  if (!force && status !== 'stopped' && status !== 'created') throw new RuntError(cannotDelete(saved.id, status))
  const held = answer.ok(pidfd)
  if (status !== 'stopped' && (status === 'paused' || !held)) {
    endInit(runtime, saved, status === 'paused')
    return null
  }
  const last = new Batch(platform.machine)
  const left = last.label()
  const ended = status === 'stopped' ? null : planKilling(last, saved)
  if (ended) last.branch(ended, 'LESS', 1, left)
  if (held) c.close(last, slot(HostSlot.PIDFD))
  const done = planRemoveUsual(last, runtime, saved, left)
  last.place(left)
  const outcome = host.run(last)
  if (!ended || (outcome.value(ended) ?? 0) > 0) return removerOf(outcome, done)
  waitThawed(runtime, saved)
  return null
}

function planKilling(b: Batch, saved: Saved): Step {
  planSignal(b, saved, k.SIGKILL)
  return planAwaitEnd(b, FIRST_PATIENCE)
}

/** What a batch removes. `all`: a step that runs only if nothing is left; `state`: the step that removes the state. */
interface Removal {
  all: Step
  state: Step | null
}

/** Plans to remove what a container usually leaves: an empty cgroup and its state. Goes on at `left` if there is more. */
function planRemoveUsual(b: Batch, runtime: Runtime, saved: Saved, left: Label): Removal {
  let state: Step | null = null
  // These are rare; `removeAll` takes care of them in further round trips.
  if (saved.cgroup?.systemd || saved.stack || saved.rdt) b.jump(left)
  else {
    if (saved.cgroup) cgroups.planRemoveEmpty(b, saved.cgroup, left, HostSlot.FOLDER)
    state = planRemoveFolder(b, folderOf(runtime, saved.id))
  }
  return { all: b.add(0, 0), state }
}

function removerOf(answer: Answer, { all, state }: Removal): Remover | null {
  if (!answer.ok(all)) return null
  return state && answer.ok(state) ? 'this' : 'another'
}

/** Removes what is left, whatever it is. */
function removeAll(runtime: Runtime, saved: Saved): Remover {
  const { host, platform } = runtime
  if (saved.cgroup) {
    cgroups.killAll(host, platform.machine, saved.cgroup)
    cgroups.remove(host, platform.machine, saved.cgroup)
  }
  if (saved.stack) unmountStack(runtime, saved.stack)
  const b = new Batch(platform.machine)
  if (saved.rdt) planRemoveRdt(b, saved.rdt)
  const state = planRemoveFolder(b, folderOf(runtime, saved.id))
  return host.run(b).ok(state) ? 'this' : 'another'
}

/** Milliseconds to wait for a killed init before looking whether it is frozen. */
const FIRST_PATIENCE = 500

function endInit(runtime: Runtime, saved: Saved, paused: boolean): void {
  if (!signalInit(runtime, saved, k.SIGKILL)) return
  // A frozen process of cgroup v1 dies only when it is thawed.
  if (paused) cgroups.thawAnyhow(runtime.host, runtime.platform.machine, saved.cgroup!)
  if (!waitForInit(runtime, FIRST_PATIENCE)) waitThawed(runtime, saved)
}

/** For an init that does not end: it may be frozen in a cgroup below its own. */
function waitThawed(runtime: Runtime, saved: Saved): void {
  if (saved.cgroup) cgroups.thawBelow(runtime.host, runtime.platform.machine, saved.cgroup)
  if (!waitForInit(runtime)) throw stays(saved)
}

const stays = ({ id, pid }: Saved): RuntError =>
  new RuntError(`container ${id}: process ${pid} did not end within ${INIT_PATIENCE / 1000} s of SIGKILL`)
