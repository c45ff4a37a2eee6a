/** The `run` command: create and start in one, in the foreground or detached. */

import * as cgroups from '../cgroup/manager.ts'
import { Flag } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Launched, launch, orUndo } from './create.ts'
import { remove } from './delete.ts'
import { type Interruption, planReapBrain, planSignals, planWait } from './foreground.ts'
import { callPoststart, explainHook, planStartHooks } from './hooks.ts'
import { planRemoveRdt } from './intel-rdt.ts'
import { createsNamespace } from './namespaces.ts'
import { attendUntilReady, openNotify, waitForReady } from './notify.ts'
import { planProgram } from './process.ts'
import { explainExecution } from './program.ts'
import { planRelay, prepareRelay, type Settings } from './relay.ts'
import type { RunOptions, Runtime } from './runtime.ts'
import { connectAgent, handOver } from './seccomp-agent.ts'
import { HostSlot } from './slots.ts'
import { folderOf, planRemoveFolder, START_SOCKET } from './state.ts'

/** The exit status: 0 when detached, else the program's (128 + n when signal n ended it). */
export function run(runtime: Runtime, options: RunOptions): number | Promise<number> {
  const { host, init, platform } = runtime
  if (!options.detach) {
    const b = new Batch(platform.machine)
    planSignals(b)
    host.send(b, Flag.SILENT)
  }
  const launched = launch(runtime, options, !options.detach)
  if (!options.detach) platform.expectSignals?.()
  const program = new Batch(platform.machine)
  const hooks = planStartHooks(program, launched.config, launched.home, launched.filter)
  planProgram(program, launched.config.process, launched.saved.program, launched.home, launched.filter)
  let settings: Settings = null
  orUndo(runtime, options.id, launched.progress, () => {
    if (!options.detach && launched.config.process.terminal) settings = prepareRelay(runtime, launched.config.process)
    const { seccompAgent, pid } = launched.saved
    if (options.notifySocket !== null) openNotify(runtime, options.id)
    if (seccompAgent) connectAgent(runtime, seccompAgent)
    try {
      init.send(program, Flag.SILENT)
      if (seccompAgent) handOver(runtime, seccompAgent, pid, launched.saved, 'creating')
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
  const { notifySocket } = options
  if (options.detach) {
    if (notifySocket !== null) c.pidfdOpen(socket, launched.saved.pid).keep(HostSlot.PIDFD)
    host.run(socket)
    if (notifySocket !== null) waitForReady(runtime, notifySocket, launched.saved.pid)
    return 0
  }
  host.send(socket, Flag.SILENT)
  if (notifySocket === null) return attend(runtime, options, launched, settings, false)
  const ended = attendUntilReady(runtime, notifySocket, (b, interruption) =>
    planAttendance(b, launched, settings, interruption),
  )
  return typeof ended === 'boolean'
    ? attend(runtime, options, launched, settings, ended)
    : ended.then((already) => attend(runtime, options, launched, settings, already))
}

/** Stays until the init has ended (`ended`: it has, and its status is in slot STATUS), and removes the container. */
function attend(
  runtime: Runtime,
  options: RunOptions,
  launched: Launched,
  settings: Settings,
  ended: boolean,
): number | Promise<number> {
  const { host, platform } = runtime
  const ownPids = createsNamespace(launched.config, 'pid')
  // With its init the whole container is gone: the host can finish alone, and the brain need not stay.
  // A scope whose cgroup vanishes too fast for systemd to see it empty stays for ever: somebody has to say that it is over.
  const afterwards = launched.saved.hooks?.poststop.length || launched.saved.cgroup?.systemd
  const alone = ownPids && (options.keep || !afterwards)
  const b = new Batch(platform.machine)
  if (alone) {
    planReapBrain(b)
    if (!ended) planAttendance(b, launched, settings)
    if (!options.keep) {
      if (launched.saved.cgroup) cgroups.planRemove(b, launched.saved.cgroup)
      if (launched.saved.rdt) planRemoveRdt(b, launched.saved.rdt)
      planRemoveFolder(b, folderOf(runtime, options.id))
    }
    c.exitGroup(b, slot(HostSlot.STATUS))
    runtime.lastWords()
    host.send(b, Flag.SILENT)
    return platform.handOver()
  }
  b.patience = Infinity
  if (!ended) planAttendance(b, launched, settings)
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
function planAttendance(b: Batch, launched: Launched, settings: Settings, interruption?: Interruption): void {
  if (launched.config.process.terminal) planRelay(b, launched.saved.pid, settings, interruption)
  else planWait(b, launched.saved.id, launched.saved.pid, interruption)
}
