/**
 * The `exec` command: one more process in a container, from top to bottom.
 *
 *   host    reads state and config ── opens the init, starts the stage ─────────────────────── writes the pid file, waits
 *   stage                             joins cgroup and namespaces, forks the process
 *   init                                                              (the process) terminal, user, rights, program
 *
 * Nothing of the host's reaches the container before the user's program runs: stage and process are not dumpable, are executed from
 * a sealed file, and hold no descriptor of a folder of the host's once they are in the container's mount namespace.
 */
import { RuntError } from '../base/errors.ts'
import { attempt, succeed } from '../base/outcome.ts'
import type { Machine } from '../base/platform.ts'
import type { Process } from '../config/types.ts'
import { Flag } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { Batch, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Answer, CallError, type Session, SessionLost } from '../session/session.ts'
import { Train } from '../session/train.ts'
import { keepsGroups } from './annotations.ts'
import type { Settings } from './caller-terminal.ts'
import { joinUnified, planEntry } from './enter.ts'
import { interpretExec, type Plan } from './exec-process.ts'
import {
  finishReading,
  pathFrom,
  planCwd,
  planGiven,
  planReading,
  type Reading,
  readInput,
  USUAL_CONFIG,
  unreadable,
} from './files.ts'
import { filterOf, foresee, planRecalling, recall } from './filter.ts'
import { planEnd, planReapBrain, planSignals, planWait } from './foreground.ts'
import { joinRdt } from './intel-rdt.ts'
import { planMemoryPolicy } from './memory-policy.ts'
import { oomScoreStays } from './namespaces.ts'
import { homeOf } from './passwd.ts'
import { cannotExec } from './phrases.ts'
import { planPidFile } from './pid-file.ts'
import { planPidfdSocket, planSendPidfd } from './pidfd-socket.ts'
import * as processes from './process.ts'
import { checkProgram, explainExecution } from './program.ts'
import { isLarge, planBlock } from './program-vectors.ts'
import { planRelay, prepareRelay } from './relay.ts'
import type { ExecOptions, Runtime } from './runtime.ts'
import { agentOf, connectAgent, handOver, planChannel, planThread } from './seccomp-agent.ts'
import { HostSlot, InitSlot } from './slots.ts'
import { planSpawn, type Spawn } from './spawn-stage.ts'
import {
  finishLook,
  finishWatch,
  folderOf,
  known,
  planLook,
  planTrust,
  planWatch,
  type Saved,
  type Watch,
} from './state.ts'
import * as terminals from './terminal.ts'
import { noProgress, type Progress, undo } from './undo.ts'
import { planRootIdentity, userNamespaceOf } from './user-namespace.ts'

/** Milliseconds between tries to start the stage, and how many there are. */
const PAUSE = 10
const TRIES = 500

/** Bytes of memory that planning an exec takes. */
const MEMORY = 192 << 10

/** The exit status: 0 when detached, else the program's (128 + n when signal n ended it). On failure no process is left. */
export function exec(runtime: Runtime, options: ExecOptions): number | Promise<number> {
  const { host, platform } = runtime
  const progress = noProgress()
  let last: Batch | null
  try {
    last = startProcess(runtime, options, progress)
  } catch (error) {
    undo(runtime, options.id, progress)
    throw explain(error)
  }
  if (last === null) return 0
  runtime.lastWords()
  host.send(last, Flag.SILENT)
  return platform.handOver()
}

/** Plans the host's last batch in the foreground. `relays`: the settings of the caller's terminal; null if the process has no terminal. */
function planForeground(machine: Machine, id: string, pid: number, relays: { settings: Settings } | null): Batch {
  const b = new Batch(machine)
  planReapBrain(b)
  if (relays) planRelay(b, pid, relays.settings)
  else planWait(b, id, pid)
  const failures = { waiting: b.label(), removing: b.label() }
  b.otherwise(failures.waiting)
  planEnd(b, 'exec', id, pid, failures)
  return b
}

/** Starts the process and has it execute its program. Returns the host's last batch, null when detached. */
function startProcess(runtime: Runtime, options: ExecOptions, progress: Progress): Batch | null {
  const { host, stage, init, platform } = runtime
  const { machine } = platform

  // 1. What was saved of the container, and what the caller gave us.
  const given = new Batch(machine)
  if (!options.detach) planSignals(given)
  const cwd = planCwd(given)
  const look = planLook(given, runtime, planTrust(given, runtime), options.id, 0x4000)
  const config = planReading(
    given,
    `${folderOf(runtime, options.id)}/config.json`,
    USUAL_CONFIG,
    k.O_RDONLY | k.O_NONBLOCK,
  )
  const file = options.process !== null && options.process !== '-' ? planGiven(given, options.process) : null
  host.send(given)
  platform.prepare?.(MEMORY)
  const facts = host.wait(given)
  const saved = known(options.id, finishLook(runtime, facts, look))
  if (saved.pid === 0) throw new RuntError(cannotExec('creating'))
  const configText = finishReading(host, machine, facts, config)
  if ('errno' in configText) throw unreadable(config.path, configText.errno)
  const fileText = file && finishReading(host, machine, facts, file)
  if (fileText && 'errno' in fileText) throw unreadable(`--process (${options.process})`, fileText.errno)

  // 2. A look at the container's init, and the stage. Usually the stage needs nothing but a pidfd of the init: then it is started in the
  // same batch, and gets ready while the config is parsed.
  const startsEarly = options.process === null && !options.terminal && !saved.seccompAgent
  const { looking, pidfd, watch, kept, spawned } = sendLook(runtime, options, saved, startsEarly)
  const parse = (processText: string | null): Plan =>
    interpretExec(runtime, options, saved, configText.text, processText)
  const parsed = options.process === '-' ? null : attempt(() => parse(fileText?.text ?? null))
  const looked = waitUnlessTaken(host, looking)
  let begun: Begun | null = spawned && looked.ok(spawned.pid) ? { started: looked, spawned } : null
  if (begun) progress.stage = looked.value(begun.spawned.pid)!
  const status = finishWatch(runtime, looked, saved, watch)
  if (status !== 'running' && status !== 'created' && !(status === 'paused' && options.ignorePaused))
    throw new RuntError(cannotExec(status))
  const recalled = kept && recall(looked, kept)
  const plan = parsed ? succeed(parsed) : parse(readInput(host, machine))
  const { pidfdSocket } = options
  if (pidfdSocket !== null) {
    const b = new Batch(machine)
    planPidfdSocket(b, pidfdSocket)
    host.run(b)
  }
  const meeting = plan.wanted.terminal ? meet(runtime, options.consoleSocket) : null
  const foreseen = foresee(plan.config)
  const agent = agentOf(plan.config.linux?.seccomp, foreseen)
  const channel = agent ? openChannel(runtime) : null
  begun ??= startStage(runtime, options, startsEarly ? 1 : 0, [
    HostSlot.PIDFD,
    ...(meeting === null ? [] : [HostSlot.MEETING]),
    ...(agent ? [HostSlot.CHANNEL_END] : []),
  ])
  const { started } = begun
  progress.stage = started.value(begun.spawned.pid)!

  // 3. It joins the container, forks the process and ends.
  const entry = new Batch(machine)
  const { wanted, cgroup } = plan
  const privileged = facts.value(look.trust.uid) === 0
  planEntry(entry, {
    id: options.id,
    config: plan.config,
    cgroup,
    affinity: wanted.execCPUAffinity?.initial,
    oomScoreAdj: privileged ? undefined : wanted.oomScoreAdj,
    initSession: started.value(begun.spawned.initSession)!,
    pidfd: looked.value(pidfd)!,
    rootOf: saved.stack ? saved.pid : null,
    meeting,
    channel,
  })
  stage.send(entry, Flag.SILENT)
  progress.forks = true
  init.inherit(entry, stage.sequence)
  const born = new Batch(machine)
  const pid = born.add(slot(InitSlot.CHILD), 0)
  const joined = born.add(slot(InitSlot.JOINED), 0)
  const refusal = privileged || wanted.oomScoreAdj === undefined ? null : born.add(slot(InitSlot.REFUSAL), 0)
  // With --ignore-paused the stage joins a frozen cgroup, and is held there until that is thawed.
  if (options.ignorePaused) born.patience = Infinity
  stage.send(born)
  const goodbye = new Batch(machine)
  c.exitGroup(goodbye, 0)
  stage.send(goodbye, Flag.SILENT)

  // 4. The process becomes what it is to be, and looks for its program as the user who will run it. This is sent before it is even born.
  const train = new Train(init, machine)
  const user = userNamespaceOf(plan.config)
  if (user) planRootIdentity(train.next('user namespace'), user, keepsGroups(plan.config.annotations))
  processes.planSession(train.next('process'), options.id, saved.keyring, wanted)
  if (isLarge(wanted)) planBlock(train, wanted)
  const last = train.next('process')
  if (wanted.execCPUAffinity?.final) processes.planAffinity(last, 'final', wanted.execCPUAffinity.final)
  planRoot(last, wanted)
  if (meeting !== null) terminals.planPty(last, slot(InitSlot.ROOT), wanted)
  const number = meeting === null ? null : terminals.planHandOver(last, meeting)
  if (number) terminals.planControl(last)
  const passwd = processes.hasHome(wanted) ? null : processes.planPasswd(last)
  processes.planIdentity(last, wanted, foreseen !== null, user !== null, keepsGroups(plan.config.annotations))
  processes.planPersonality(last, plan.config.linux?.personality)
  planMemoryPolicy(last, plan.config.linux?.memoryPolicy)
  const lookup = processes.planLookup(last, wanted)
  processes.planDescriptors(last, options.preserveFds)
  const change = train.depart()
  if (options.ignorePaused) change.patience = Infinity

  const birth = stage.wait(born)
  progress.init = birth.value(pid)!
  const unified = cgroup?.folders.find((folder) => folder.version === 2)
  if (unified && birth.value(joined) !== 1)
    joinUnified(runtime, saved, unified, progress.init, options.cgroups.length === 0)
  if (saved.rdt) joinRdt(runtime, saved.rdt, progress.init)
  runtime.debug(`container ${options.id}: process ${progress.init}`)
  // Earlier versions of runt did not keep the filter.
  const filter = recalled ?? filterOf(plan.config, machine)
  const looks = new Batch(machine)
  if (refusal && birth.value(refusal)! < 0) runtime.warn(oomScoreStays(wanted.oomScoreAdj!))
  if (wanted.oomScoreAdj !== undefined && privileged) {
    looks.about('process.oomScoreAdj')
    c.writeFile(looks, k.AT_FDCWD, `/proc/${progress.init}/oom_score_adj`, String(wanted.oomScoreAdj))
  }
  looks.about('stage')
  c.waitid(looks, k.P_PID, progress.stage, 0, k.WEXITED)
  host.send(looks)
  const settled = attempt(() => init.wait(change))
  host.wait(looks)
  progress.stage = 0
  const answer = succeed(settled)
  const path = checkProgram(init, machine, { ...plan.config, process: wanted }, lookup, answer)
  const home = passwd && `HOME=${homeOf(finishReading(init, machine, answer, passwd), wanted.user.uid)}`

  // 5. All is well: the caller gets what it asks for, and the program is executed.
  if (user) {
    // By the host, because limits may be higher than what the root of a user namespace can set.
    const limits = new Batch(machine)
    processes.planLimits(limits, wanted, progress.init)
    host.run(limits)
  }
  if (number) {
    const b = new Batch(machine)
    terminals.planTaking(b)
    if (options.consoleSocket !== null) terminals.planGiving(b, options.consoleSocket, answer.word(number))
    host.run(b)
  }
  if (pidfdSocket !== null) {
    const b = new Batch(machine)
    planSendPidfd(b, pidfdSocket, progress.init, 'setns')
    host.run(b)
  }
  if (options.pidFile !== null) {
    const file = pathFrom(cwd, facts, options.pidFile)
    const writing = new Batch(machine)
    progress.pidFile = file
    planPidFile(writing, file, progress.init)
    host.run(writing)
  }
  const relays = number && !options.detach ? { settings: prepareRelay(runtime, wanted) } : null
  if (!options.detach) platform.expectSignals?.()
  const program = new Batch(machine)
  if (agent) planThread(program)
  processes.planProgram(program, wanted, path, home, filter)
  if (agent) connectAgent(runtime, agent)
  init.send(program, Flag.SILENT)
  const foreground = options.detach ? null : planForeground(machine, options.id, progress.init, relays)
  try {
    if (agent) handOver(runtime, agent, progress.init, saved, 'running')
    init.waitForEnd()
  } catch (error) {
    throw explainExecution(error, wanted.args[0]!, path)
  }
  return foreground
}

/** Makes the socket pair for the terminal of the process. Returns the descriptor of the end that the process sends it on. */
function meet({ host, platform }: Runtime, consoleSocket: string | null): number {
  const b = new Batch(platform.machine)
  if (consoleSocket !== null) terminals.planConsoleSocket(b, consoleSocket)
  terminals.planSocketPair(b)
  const own = b.add(slot(HostSlot.MEETING), 0)
  return host.run(b).value(own)!
}

/** Makes the socket pair for the listener of the process's filter. Returns the descriptor of the end that the process sends it on. */
function openChannel({ host, platform }: Runtime): number {
  const b = new Batch(platform.machine)
  planChannel(b)
  const end = b.add(slot(HostSlot.CHANNEL_END), 0)
  return host.run(b).value(end)!
}

/** Sends the batch that looks at the container's init, reads its filter and, with `spawns`, starts the stage. */
function sendLook(
  runtime: Runtime,
  { id, preserveFds }: ExecOptions,
  saved: Saved,
  spawns: boolean,
): { looking: Batch; pidfd: Step; watch: Watch; kept: Reading | null; spawned: Spawn | null } {
  const { host, stage, platform } = runtime
  const b = new Batch(platform.machine)
  b.about(`container ${id}: process ${saved.pid}`)
  const pidfd = c.pidfdOpen(b, saved.pid).keep(HostSlot.PIDFD)
  // Read after the pidfd was opened: it belongs to the process that the descriptor is for.
  const watch = planWatch(b, runtime, saved)
  const kept = saved.filter === undefined ? null : planRecalling(b, folderOf(runtime, id), saved.filter)
  const spawned = spawns ? planSpawn(b, platform.engine, folderOf(runtime, id), preserveFds, [HostSlot.PIDFD]) : null
  host.send(b)
  if (spawned) stage.inherit(b, host.sequence)
  return { looking: b, pidfd, watch, kept, spawned }
}

/** The answer to that batch, also if the stage could not be started yet (`isTaken`). */
function waitUnlessTaken(host: Session, batch: Batch): Answer {
  try {
    return host.wait(batch)
  } catch (error) {
    if (isTaken(error)) return error.answer
    throw error
  }
}

/** A stage that was started, and the answer with its pid. */
interface Begun {
  started: Answer
  spawned: Spawn
}

/** Where no memfd can be executed, the stage's image is in a file for a moment, and another exec may have that file just now. */
const isTaken = (error: unknown): error is CallError => error instanceof CallError && error.errno === 'EEXIST'

/** Starts the stage, and tries again while `isTaken`. `tries`: how many tries have failed; after one the session is recovered. */
function startStage(
  runtime: Runtime,
  { id, preserveFds }: ExecOptions,
  tries: number,
  handed: readonly number[],
): Begun {
  const { host, stage, platform } = runtime
  for (; ; tries++) {
    const b = new Batch(platform.machine)
    if (tries > 0) c.sleep(b, PAUSE)
    const spawned = planSpawn(b, platform.engine, folderOf(runtime, id), preserveFds, handed)
    try {
      const started = tries === 0 ? host.run(b) : host.recover(b)
      stage.inherit(b, host.sequence)
      return { started, spawned }
    } catch (error) {
      if (!isTaken(error) || tries === TRIES) throw error
    }
  }
}

/**
 * Opens the container's root for the plans that need it. A missing working folder is an error here, unlike in `create`: the container
 * runs, and nothing is to be made in it behind its back.
 */
function planRoot(b: Batch, { cwd }: Process): void {
  b.about('root of the container')
  const root = c.openat(b, k.AT_FDCWD, '/', k.O_PATH | k.O_DIRECTORY).keep(InitSlot.ROOT)
  b.about(`process.cwd (${cwd})`)
  const hidden = b.label()
  const folder = c.openInRoot(b, root, cwd, k.O_PATH | k.O_DIRECTORY).on(['EACCES', 'EPERM'], hidden)
  c.close(b, folder)
  b.place(hidden)
}

/** Errors that the end of the container causes, in plain words. */
function explain(error: unknown): unknown {
  if (error instanceof SessionLost)
    return new RuntError(
      'the process was ended during its set-up: the container has stopped, or linux.resources.memory.limit is too small',
    )
  if (!(error instanceof CallError)) return error
  const { name } = error.step
  // clone(2): ENOMEM too where the init of the pid namespace is gone. setns(2) and pidfd_open(2): ESRCH.
  const gone =
    ((name === 'setns' || name === 'pidfd_open') && error.errno === 'ESRCH') ||
    (name === 'clone' && error.errno === 'ENOMEM')
  return gone ? new RuntError(cannotExec('stopped')) : error
}
