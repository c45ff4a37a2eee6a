/** The `run` command: create and start in one, in the foreground or detached. */

import * as cgroups from '../cgroup/manager.ts'
import { Flag, Slot } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch, type Label, load, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Settings } from './caller-terminal.ts'
import { planLockAgain, planUnlock } from './claim.ts'
import { type Launched, launch, orUndo } from './create.ts'
import { remove } from './delete.ts'
import { type Interruption, planEnd, planReapBrain, planSignals, planWait } from './foreground.ts'
import { callPoststart, callStartHooks, explainHook, planStartHooks } from './hooks.ts'
import { planRemoveRdt } from './intel-rdt.ts'
import { createsNamespace } from './namespaces.ts'
import { attendUntilReady, openNotify, waitForReady } from './notify.ts'
import { planProgram } from './process.ts'
import { explainExecution } from './program.ts'
import { planRelay, prepareRelay } from './relay.ts'
import type { RunOptions, Runtime } from './runtime.ts'
import { connectAgent, handOver, planAnswering } from './seccomp-agent.ts'
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
  const launched = launch(runtime, options, { foreground: !options.detach, startsNow: true })
  if (!options.detach) platform.expectSignals?.()
  const program = new Batch(platform.machine)
  const { seccompAgent, pid } = launched.saved
  const startSocket = `${folderOf(runtime, options.id)}/${START_SOCKET}`
  if (seccompAgent) planAnswering(program, launched.kept.listener)
  const hooks = planStartHooks(program, launched.config, launched.home, launched.filter)
  planProgram(program, launched.config.process, launched.saved.program, launched.home, launched.filter)
  const { notifySocket } = options
  const unlinkSocket = (b: Batch): Step => {
    // Others may remove the container from here on.
    planUnlock(b)
    b.about(`container ${options.id}: ${startSocket}`)
    return c.unlinkat(b, k.AT_FDCWD, startSocket)
  }
  const attends = !options.detach && notifySocket === null
  let settings: Settings = null
  const attendance = orUndo(runtime, options.id, launched.progress, () => {
    if (launched.results) host.wait(launched.results)
    if (!options.detach && launched.config.process.terminal) settings = prepareRelay(runtime, launched.config.process)
    if (options.notifySocket !== null) openNotify(runtime, options.id)
    if (seccompAgent) connectAgent(runtime, seccompAgent, startSocket)
    callStartHooks(init, platform.machine, launched.config, launched.home, launched.filter)
    try {
      init.send(program, Flag.SILENT)
      if (seccompAgent) handOver(runtime, seccompAgent, pid, launched.saved, 'creating')
      // The last batch is planned while the kernel executes the program.
      const b = new Batch(platform.machine)
      const gone = b.label()
      unlinkSocket(b).on(ANY, gone)
      b.place(gone)
      const planned = attends ? planAttending(b, runtime, options, launched, settings, false) : null
      init.waitForEnd()
      return planned
    } catch (error) {
      throw explainExecution(explainHook(error, hooks), launched.config.process.args[0]!, launched.saved.program)
    }
  })
  try {
    const { hooks: later } = launched.saved
    if (options.detach || later?.poststart.length) {
      // Without its socket the container counts as running, for hooks too. ENOENT: somebody who tried to start it has taken the socket.
      const socket = new Batch(platform.machine)
      const gone = socket.label()
      unlinkSocket(socket).on(['ENOENT'], gone)
      socket.place(gone)
      if (options.detach && notifySocket !== null) c.pidfdOpen(socket, launched.saved.pid).keep(HostSlot.PIDFD)
      host.run(socket)
    }
    callPoststart(runtime, launched.saved)
  } catch (error) {
    const { pidFile } = launched.progress
    const taking = new Batch(platform.machine)
    planUnlock(taking)
    const gone = taking.label()
    if (pidFile !== null) c.unlinkat(taking, k.AT_FDCWD, pidFile).on(ANY, gone)
    taking.place(gone)
    host.recover(taking)
    remove(runtime, options.id, true)
    throw error
  }
  if (options.detach) {
    if (notifySocket !== null) waitForReady(runtime, notifySocket, launched.saved.pid)
    return 0
  }
  if (attendance) return attend(runtime, options, attendance)
  const socket = new Batch(platform.machine)
  const gone = socket.label()
  unlinkSocket(socket).on(ANY, gone)
  socket.place(gone)
  host.send(socket, Flag.SILENT)
  const stay = (ended: boolean): number | Promise<number> =>
    attend(runtime, options, planAttending(new Batch(platform.machine), runtime, options, launched, settings, ended))
  const ended = attendUntilReady(runtime, notifySocket!, (b, interruption) =>
    planAttendance(b, launched, settings, interruption),
  )
  return typeof ended === 'boolean' ? stay(ended) : ended.then(stay)
}

/** The host's last batch, once the program runs in the foreground. */
interface Attendance {
  batch: Batch
  /** The step with the exit status, if the brain stays to hear it; null if the host finishes alone. */
  status: Step | null
}

/** Plans to stay until the init has ended (`ended`: it has, and its status is in slot STATUS), and to remove the container. */
function planAttending(
  b: Batch,
  runtime: Runtime,
  options: RunOptions,
  launched: Launched,
  settings: Settings,
  ended: boolean,
): Attendance {
  const { saved } = launched
  const ownPids = createsNamespace(launched.config, 'pid')
  // If the whole container ends with its init and nothing needs the brain afterwards, the host finishes alone. A scope of systemd does need
  // it: if its cgroup vanishes before systemd has seen it empty, the scope stays for ever unless somebody stops it.
  const afterwards = saved.hooks?.poststop.length || saved.cgroup?.systemd || saved.stack
  if (ownPids && (options.keep || !afterwards)) {
    planReapBrain(b)
    if (!ended) planAttendance(b, launched, settings)
    const failures = { waiting: b.label(), removing: b.label() }
    const gone = b.label()
    b.otherwise(failures.waiting)
    if (!options.keep) {
      planLockAgain(b, gone)
      if (saved.cgroup) cgroups.planRemove(b, saved.cgroup, failures.removing, HostSlot.FOLDER)
      if (saved.rdt) planRemoveRdt(b, saved.rdt)
      planRemoveFolder(b, folderOf(runtime, options.id), failures.removing)
    }
    b.otherwise(failures.removing)
    b.place(gone)
    planEnd(b, 'run', options.id, saved.pid, failures, () =>
      planDelete(b, runtime.globals.root, options.id, runtime.platform.self),
    )
    return { batch: b, status: null }
  }
  b.patience = Infinity
  if (!ended) planAttendance(b, launched, settings)
  return { batch: b, status: b.add(slot(HostSlot.STATUS), 0) }
}

/** Sends the last batch; ends the brain, or waits for the exit status and removes the container. */
function attend(runtime: Runtime, options: RunOptions, { batch, status }: Attendance): number | Promise<number> {
  const { host, platform } = runtime
  if (status === null) {
    runtime.lastWords()
    host.send(batch, Flag.SILENT)
    return platform.handOver()
  }
  const finish = (): number => {
    const answer = host.wait(batch)
    if (!options.keep) remove(runtime, options.id, true)
    return answer.value(status)!
  }
  host.send(batch)
  return platform.hostAnswers ? platform.hostAnswers().then(finish) : finish()
}

/**
 * Plans, for a host whose brain has gone, to run `runt delete --force` if something is left that the host cannot remove by itself: cgroups
 * that the container has made, say. Returns the label where it goes on if that fails.
 */
function planDelete(b: Batch, root: string, id: string, self: readonly string[]): Label {
  const [child, parent, failed] = [b.label(), b.label(), b.label()]
  planUnlock(b)
  b.about(`container ${id}: delete`)
  const pid = c.clone(b, k.SIGCHLD, child).on(ANY, failed)
  b.jump(parent)
  b.place(child)
  const end = b.label()
  c.sigprocmask(b, k.SIG_SETMASK, 0n).on(ANY, end)
  const words = [...self, '--root', root, 'delete', '--force', id]
  b.call('execve', self[0]!, b.strings(words), slot(Slot.ENVP)).on(ANY, end)
  b.place(end)
  c.exitGroup(b, 1)
  b.place(parent)
  const info = b.out(128)
  c.waitid(b, k.P_PID, pid, info, k.WEXITED).on(ANY, failed)
  // waitid(2) leaves the bytes behind it as they were.
  b.branch(load(info, 32, k.SI_STATUS), 'NOT_EQUAL', 0, failed)
  return failed
}

/** Plans to relay the terminal or forward signals until the init ends. The exit status is then in slot STATUS. */
function planAttendance(b: Batch, launched: Launched, settings: Settings, interruption?: Interruption): void {
  if (launched.config.process.terminal) planRelay(b, launched.saved.pid, settings, interruption)
  else planWait(b, launched.saved.id, launched.saved.pid, interruption)
}
