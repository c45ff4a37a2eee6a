/** The `run` command: create and start in one, in the foreground or detached. */

import { Struct } from '../base/bytes.ts'
import * as cgroups from '../cgroup/manager.ts'
import { Flag, Slot } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { ANY, at, Batch, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Launched, launch, orUndo } from './create.ts'
import { remove } from './delete.ts'
import { callPoststart, explainHook, planStartHooks } from './hooks.ts'
import { createsNamespace } from './namespaces.ts'
import { planProgram } from './process.ts'
import { explainExecution } from './program.ts'
import { planRelay, prepareRelay, type Settings } from './relay.ts'
import type { RunOptions, Runtime } from './runtime.ts'
import { HostSlot } from './slots.ts'
import { folderOf, planRemoveFolder, START_SOCKET } from './state.ts'

/** Every signal but SIGKILL and SIGSTOP, as a mask. */
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn

/** The exit status: 0 when detached, else the program's (128 + n when signal n ended it). */
export function run(runtime: Runtime, options: RunOptions): number | Promise<number> {
  const { host, init, platform } = runtime
  if (!options.detach) {
    // From now on signals wait in the descriptor until there is somebody to forward them to.
    const b = new Batch(platform.machine)
    b.about('signals')
    c.sigprocmask(b, k.SIG_BLOCK, ALL_SIGNALS)
    b.call('signalfd4', -1, b.data(new Struct(8).u64(0, ALL_SIGNALS).bytes), 8, k.O_CLOEXEC).keep(HostSlot.SIGNALS)
    host.send(b, Flag.SILENT)
  }
  const launched = launch(runtime, options, !options.detach)
  const ownPids = createsNamespace(launched.config, 'pid')
  // With its init the whole container is gone: the host can finish alone, and the brain need not stay.
  const alone = ownPids && (options.keep || !launched.saved.hooks?.poststop.length)
  if (!options.detach) platform.expectSignals?.()
  const program = new Batch(platform.machine)
  const hooks = planStartHooks(program, launched.config.hooks?.startContainer)
  planProgram(program, launched.config.process, launched.saved.program, launched.home, launched.filter)
  let settings: Settings = null
  orUndo(runtime, options.id, launched.progress, () => {
    if (!options.detach && launched.config.process.terminal) settings = prepareRelay(runtime, launched.config.process)
    try {
      init.send(program, Flag.SILENT)
      init.waitForEnd()
    } catch (error) {
      throw explainExecution(explainHook(error, hooks), launched.config.process.args[0]!, launched.saved.program)
    }
  })
  try {
    callPoststart(runtime, launched.saved)
  } catch (error) {
    remove(runtime, options.id, true)
    throw error
  }
  const socket = new Batch(platform.machine)
  c.unlinkat(socket, k.AT_FDCWD, `${folderOf(runtime, options.id)}/${START_SOCKET}`)
  if (options.detach) {
    host.run(socket)
    return 0
  }
  host.send(socket, Flag.SILENT)

  const b = new Batch(platform.machine)
  if (alone) {
    planReapBrain(b)
    planAttendance(b, launched, settings)
    if (!options.keep) {
      if (launched.saved.cgroup) cgroups.planRemove(b, launched.saved.cgroup)
      planRemoveFolder(b, folderOf(runtime, options.id))
    }
    c.exitGroup(b, slot(HostSlot.STATUS))
    runtime.lastWords()
    host.send(b, Flag.SILENT)
    return platform.handOver()
  }
  b.patience = Infinity
  planAttendance(b, launched, settings)
  const status = b.add(slot(HostSlot.STATUS), 0)
  const finish = (): number => {
    const answer = host.wait(b)
    if (!options.keep) remove(runtime, options.id, true)
    return answer.value(status)!
  }
  host.send(b)
  return platform.hostAnswers ? platform.hostAnswers().then(finish) : finish()
}

/** Looks after the container until its init ends, and leaves the exit status in slot STATUS. */
function planAttendance(b: Batch, launched: Launched, settings: Settings): void {
  if (launched.config.process.terminal) planRelay(b, launched.saved.pid, settings)
  else planWait(b, launched)
}

/** The brain ends while the container runs; on Node there is none to wait for. */
function planReapBrain(b: Batch): void {
  const none = b.label()
  b.about('brain')
  b.branch(slot(Slot.BRAIN), 'EQUAL', 0, none)
  c.waitid(b, k.P_PID, slot(Slot.BRAIN), 0, k.WEXITED).on(ANY, none)
  b.place(none)
}

/** Forwards signals to the init until it ends, and leaves its exit status in slot STATUS. */
function planWait(b: Batch, { saved }: Launched): void {
  const look = b.label()
  const next = b.label()
  const exited = b.label()
  const done = b.label()
  const signal = b.out(128)
  const info = b.out(128)
  b.about(`container ${saved.id}: process ${saved.pid}`)
  b.place(look)
  b.store(32, at(info, 16), 0)
  c.waitid(b, k.P_PID, saved.pid, info, k.WEXITED | k.WNOHANG).on(['EINTR'], look)
  b.branch(load(info, 32, 16), 'EQUAL', 0, next)
  b.branch(load(info, 32, 8), 'EQUAL', k.CLD_EXITED, exited)
  b.add(load(info, 32, 24), 128).keep(HostSlot.STATUS)
  b.jump(done)
  b.place(exited)
  b.add(load(info, 32, 24), 0).keep(HostSlot.STATUS)
  b.jump(done)
  b.place(next)
  // struct signalfd_siginfo starts with the signal's number.
  b.call('read', slot(HostSlot.SIGNALS), signal, 128).on(['EINTR'], next)
  b.branch(load(signal, 32), 'EQUAL', k.SIGCHLD, look)
  c.kill(b, saved.pid, load(signal, 32)).on(ANY, look)
  b.jump(next)
  b.place(done)
}
