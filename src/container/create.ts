/**
 * How a container is set up, from top to bottom: read `setUp`. Afterwards `create` parks the init, and `run` lets it go on.
 *
 * Three executors work at the same time, and the brain plans for all of them, sending each plan piece by piece. Where one has to wait for
 * another, a comment there says why:
 *
 *   host    reads config.json ── claims the id, starts the stage ── makes the cgroup ───────────── saves the state
 *   stage                          joins and creates namespaces, forks the init (on cgroup2 once the cgroup is there)
 *   init                                        mounts ── joins the cgroup ── mounts, root, rights ── parks
 */
import { RuntError } from '../base/errors.ts'
import { attempt, type Outcome, succeed } from '../base/outcome.ts'
import { absolutePath } from '../base/paths.ts'
import { VERSION } from '../base/version.ts'
import * as cgroups from '../cgroup/manager.ts'
import { cgroupOfCaller, DEVICES_LEFT_OUT, isDeniedDevices, withoutDevices } from '../cgroup/rootless.ts'
import { withoutEffect } from '../config/no-effect.ts'
import type { Config, Mount } from '../config/types.ts'
import { readConfig } from '../config/validate.ts'
import { Flag } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import type { Filter } from '../seccomp/compile.ts'
import { Batch, type OutPointer, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Answer, CallError } from '../session/session.ts'
import { Train } from '../session/train.ts'
import {
  AGENT_VARIABLE,
  contextType,
  delegatedCgroup,
  keepsGroups,
  pidfdReceiver,
  refusePlugins,
} from './annotations.ts'
import { cgroupOwner } from './cgroup-owner.ts'
import { type CgroupFacts, type CgroupPlace, placeCgroup, planUidMap } from './cgroup-place.ts'
import { planLock } from './claim.ts'
import { danglingTarget, makeTarget } from './dangling-targets.ts'
import { checkDelegated, delegateBelow } from './delegated-cgroup.ts'
import { planDevices } from './devices.ts'
import {
  finishReading,
  pathFrom,
  planCwd,
  planGiven,
  planLongReading,
  planReading,
  planWriting,
  type Reading,
  USUAL_CONFIG,
} from './files.ts'
import { type Foreseen, filterOf, foresee, planKeeping } from './filter.ts'
import { callCreateHooks, laterHooks, partsOf, pausesFor } from './hooks.ts'
import { callerOf, writeIdMaps } from './id-maps.ts'
import { asksForIdmap, prepareIdmapped } from './idmapped-mounts.ts'
import { applyRdt, findResctrl } from './intel-rdt.ts'
import { explainLaunch, missingConfig } from './launch-errors.ts'
import { planMasks, planReadonlyPaths } from './masked-paths.ts'
import { planMemoryPolicy } from './memory-policy.ts'
import type { MountLabel, MountSetting } from './mount-entry.ts'
import { mountByLooking, planMount, planReadonlyMounts } from './mounts.ts'
import { createsNamespace, joinsNamespace, oomScoreStays, planStage } from './namespaces.ts'
import { moveDevices } from './net-devices.ts'
import { addNotifySocket, planNotifyFolder } from './notify.ts'
import { withUserNamespace } from './own-ids.ts'
import { type KeptOpen, PARK_SEQUENCE, planListener, planPark } from './park.ts'
import { homeOf } from './passwd.ts'
import { existingId } from './phrases.ts'
import { planPidFile } from './pid-file.ts'
import { planPidfdSocket, planSendPidfd } from './pidfd-socket.ts'
import * as processes from './process.ts'
import { checkProgram } from './program.ts'
import { isLarge, planBlock } from './program-vectors.ts'
import * as rootfs from './rootfs.ts'
import { isMapped, refusedFrom } from './rootless.ts'
import type { CreateOptions, Runtime } from './runtime.ts'
import { agentOf, planCheck } from './seccomp-agent.ts'
import { findStack, lookAtRoot } from './shared-mounts.ts'
import { InitSlot } from './slots.ts'
import {
  ALL,
  planForgetting,
  planJoiningOpened,
  planSending,
  planTaking,
  type Reach,
  type Source,
  sourcesOf,
} from './sources.ts'
import { planSpawn } from './spawn-stage.ts'
import { folderOf, planClaim, planSaving, readStat, type Saved, START_SOCKET } from './state.ts'
import { stoppedAt } from './stop.ts'
import { checkSysctls, planSysctls } from './sysctls.ts'
import * as terminals from './terminal.ts'
import { noProgress, type Progress, undo } from './undo.ts'
import { planRootIdentity, userNamespaceOf } from './user-namespace.ts'
import { demandSight, isOutOfReach, lookAgain, unseen } from './visibility.ts'

/** Bytes of memory that planning a container takes. */
const MEMORY = 320 << 10

/** A container whose init waits for its last batch. */
export interface Launched {
  config: Config
  saved: Saved
  /** Entry for the end of the environment, where the config has no HOME. */
  home: string | null
  /** What the init needs if it is parked. */
  kept: KeptOpen
  filter: Filter | null
  /** The host's batch that writes the results (see `planResults`), to be waited for before the init gets its last batch; null: done. */
  results: Batch | null
  progress: Progress
}

/** What the caller of `launch` does afterwards. */
export interface Afterwards {
  /** It stays until the container ends, and finds the master of the container's terminal, if there is one, in the host's slot TERMINAL. */
  foreground: boolean
  /** It lets the init execute the program at once, as `run` does, instead of parking it. */
  startsNow: boolean
}

/** Sets a container up to the point where only its program is still to be executed. On failure nothing of it is left. */
export function launch(runtime: Runtime, options: CreateOptions, afterwards: Afterwards): Launched {
  const progress = noProgress()
  return orUndo(runtime, options.id, progress, () => setUp(runtime, options, afterwards, progress))
}

/** Does a part of the set-up; if it fails, what was made of the container so far is removed. */
export function orUndo<T>(runtime: Runtime, id: string, progress: Progress, part: () => T): T {
  try {
    return part()
  } catch (error) {
    const cause = explainLaunch(runtime, error, progress)
    undo(runtime, id, progress)
    throw cause
  }
}

/** The whole set-up, in order. `progress` says at each moment what would have to be undone. */
function setUp(
  runtime: Runtime,
  options: CreateOptions,
  { foreground, startsNow }: Afterwards,
  progress: Progress,
): Launched {
  const { host, stage, init } = runtime
  const { machine } = runtime.platform
  const folder = folderOf(runtime, options.id)

  // 1. What the caller gave us: the config, and the host's cgroups.
  const facts = new Batch(machine)
  const { consoleSocket } = options
  if (consoleSocket !== null && !foreground) terminals.planConsoleSocket(facts, consoleSocket)
  if (options.pidfdSocket !== null) planPidfdSocket(facts, options.pidfdSocket)
  const cwd = planCwd(facts)
  const uid = facts.call('geteuid')
  const folderOfBundle = options.bundle.replace(/\/+$/, '') || (options.bundle ? '/' : '.')
  const configPath = options.config ?? `${folderOfBundle}/config.json`
  const configReading =
    options.config === null ? planReading(facts, configPath, USUAL_CONFIG) : planGiven(facts, configPath)
  const mountinfo = planLongReading(facts, '/proc/self/mountinfo', 0x3000)
  const ownCgroup = planReading(facts, '/proc/self/cgroup', 0x800)
  const uidMap = planUidMap(facts, runtime)
  host.send(facts)
  runtime.platform.prepare?.(MEMORY)

  // 2. The id is claimed and the stage started while the config is parsed.
  const spawn = new Batch(machine)
  const claim = planClaim(spawn, runtime.globals.root, folder)
  planLock(spawn, folder)
  const listener = planListener(spawn, folder)
  if (options.notifySocket !== null) planNotifyFolder(spawn, folder)
  const spawned = planSpawn(spawn, runtime.platform.engine, folder, options.preserveFds + options.listenFds)
  const known = host.wait(facts)
  const bundle = pathFrom(cwd, known, options.bundle)
  const configText = finishReading(host, machine, known, configReading)
  if ('errno' in configText) throw missingConfig(options, bundle, configText.errno)
  const configName = options.config ?? `${bundle}/config.json`
  if (known.value(uid) !== 0)
    configText.text = withUserNamespace(runtime, configText.text, configName, known.value(uid)!)
  const text = (reading: Reading | null): string => textOf(reading && finishReading(host, machine, known, reading))
  const cgroupFacts: CgroupFacts = {
    mountinfo: text(mountinfo),
    ownCgroup: text(ownCgroup),
    uidMap: text(uidMap),
    uid: known.value(uid)!,
  }
  host.send(spawn)
  stage.inherit(spawn, host.sequence)

  const parsed = attempt(() => interpret(runtime, configText.text, bundle, options, foreground, cgroupFacts))
  let started: Answer
  try {
    started = host.wait(spawn)
  } catch (error) {
    if (error instanceof CallError && error.isOf(claim) && error.errno === 'EEXIST')
      throw new RuntError(existingId(options.id))
    progress.claimed = error instanceof CallError && error.step.index > claim.index
    throw error
  }
  progress.claimed = true
  progress.stage = started.value(spawned.pid)!
  if ('error' in parsed) throw parsed.error
  const { config, exact, cgroup, layout, root, foreseen, label, resctrl } = parsed.value
  if (!cgroup) {
    cgroups.refuseLimits(config.linux?.resources)
    // Who has chosen to do without cgroups knows it.
    if (config.linux?.resources?.devices?.length && runtime.globals.cgroupManager !== 'disabled')
      runtime.warn('linux.resources.devices: not enforced, for no cgroup hierarchy is mounted that could do it')
  }
  checkSysctls(runtime, config)
  checkDelegated(config, cgroup)
  const stack = findStack(runtime, config, root)
  const systemd = cgroup?.systemd ? cgroups.callSystemd(host, machine, cgroup) : null
  const user = userNamespaceOf(config)
  const privileged = known.value(uid) === 0
  const visible = !privileged && isOutOfReach(config)
  // Usually the init moves itself into its cgroup. It cannot if it joins a mount namespace, where the cgroup's files may not be found, or a
  // cgroup namespace, whose root it may not leave: then the host moves it.
  const movedByHost = joinsNamespace(config, 'mount') || joinsNamespace(config, 'cgroup')
  const joins = movedByHost || !cgroup ? null : cgroups.leftToJoin(cgroup)
  const { oomScoreAdj } = config.process
  const mounts = config.mounts ?? []
  const resources = privileged || cgroup?.systemd ? config.linux?.resources : withoutDevices(config.linux?.resources)
  if (resources !== config.linux?.resources && config.linux?.resources?.devices?.length) runtime.debug(DEVICES_LEFT_OUT)
  // In a user namespace the stage opens files for the init and sends them. If the caller is no root, it can reach no more than the init.
  const sends = user !== null && privileged
  let sources: Source[] = []
  // On cgroup2 the init is born in its cgroup, which must be there before; but systemd has to be given a living process, the init. And a
  // caller who is not root may be denied the cgroup, which has to be known before the init tries to join it.
  const unified = !cgroup?.systemd && (cgroup?.folders.some((folder) => folder.version === 2) ?? false)
  const cgroupFirst = unified || (cgroup !== null && !cgroup.systemd && !privileged)
  // Usually the init needs nothing from outside but its cgroup. Then its whole plan can be sent as soon as that is there.
  const { intelRdt, netDevices } = config.linux ?? {}
  const needsOnlyCgroup =
    privileged && !user && !stack && !movedByHost && !systemd && !intelRdt && !netDevices && !mounts.some(asksForIdmap)

  // 3. The namespaces. The stage forks the init into them and ends; but first it opens for it what is out of reach in a user namespace.
  const namespaces = new Batch(machine)
  const initSession = started.value(spawned.initSession)!
  const listenerFd = started.value(listener)!
  const born = new Batch(machine)
  const pid = born.add(slot(InitSlot.CHILD), 0)
  const middle = user && born.add(slot(InitSlot.MIDDLE), 0)
  const refusal = privileged ? null : born.add(slot(InitSlot.REFUSAL), 0)
  const goodbye = new Batch(machine)
  c.exitGroup(goodbye, 0)
  let idmapped: MountSetting['idmapped'] = new Map()
  const startStage = (): void => {
    progress.stack = stack
    idmapped = prepareIdmapped(runtime, config, bundle, { uid: known.value(uid)!, gid: 0 })
    const leaf = unified && cgroup?.folders.find((folder) => folder.version === 2)
    const cgroupFolder = leaf ? cgroups.folderPath(leaf) : null
    planStage(namespaces, config, {
      initSession,
      listener: listenerFd,
      cgroup: cgroupFolder,
      privileged,
      sends,
      oomScoreAdj,
    })
    stage.send(namespaces, Flag.SILENT)
    progress.forks = true
    init.inherit(namespaces, stage.sequence)
    stage.send(born)
    if (!sends) stage.send(goodbye, Flag.SILENT)
  }
  if (!cgroupFirst && !stack) startStage()

  // 4. The cgroup is made by the host while the init mounts. The state is saved first, so that `delete` finds all there is.
  const saved: Saved = {
    format: 1,
    ociVersion: config.ociVersion,
    id: options.id,
    pid: 0,
    startTime: '',
    bundle,
    rootfs: root,
    created: new Date(runtime.platform.now()).toISOString().replace('Z', '000000Z'),
    annotations: config.annotations ?? {},
    owner: known.value(uid)!,
    freezer: null,
    cgroup,
    keyring: !options.noNewKeyring,
    program: '',
    checked: exact ? undefined : VERSION,
    sharesPids: createsNamespace(config, 'pid') ? undefined : true,
    hooks: laterHooks(config),
    seccompAgent: agentOf(config.linux?.seccomp, foreseen),
    stack: stack ?? undefined,
  }
  if (stack) {
    // From here on things are mounted for the caller too. With a saved state, `delete` finds them whatever becomes of this process.
    const saving = new Train(host, machine)
    planSaving(saving, runtime, saved)
    host.wait(saving.depart())
    if (!cgroupFirst) startStage()
  }
  const state = new Train(host, machine)
  planSaving(state, runtime, saved)
  planWriting(state, 'state (config.json)', `${folder}/config.json`, configText.text, 0o600)
  if (config.process.terminal) terminals.planMeeting(state.next('process.terminal'), folder, START_SOCKET)
  const making = cgroup && cgroups.begin(state, cgroup, resources, systemd)
  const control = state.depart()
  // Waits for the cgroup. Every call after the first gives the same outcome at once.
  let made: Outcome<void> | null = null
  const finishMaking = (): Outcome<void> => {
    made ??= attempt(() => finishCgroup(runtime, control, making, ownerOf(config), progress))
    return made
  }
  if (cgroupFirst && !needsOnlyCgroup) {
    succeed(finishMaking())
    startStage()
  }

  // 5. Mounts that do not depend on the cgroup. In a user namespace all has to wait until ids are mapped and sources have come.
  const train = new Train(init, machine)
  const firstLate = mounts.findIndex(dependsOnCgroup)
  const early = firstLate < 0 ? mounts.length : firstLate
  // Lets go what waits for the cgroup: the birth of the init, if the cgroup comes first, or all that the init does once it has joined.
  let released = false
  const release = (): void => {
    if (cgroupFirst) startStage()
    train.release()
    released = true
  }
  // Called between pieces of the plan. True once the host has answered, so that it need not be asked again.
  const releaseOnceMade = (): boolean => {
    if (!host.hasAnswer()) return false
    // A failure, or a cgroup that was denied, is dealt with in step 8.
    if (!('error' in finishMaking()) && cgroup?.folders.length !== 0) release()
    return true
  }
  const planBeginning = (): Inside => {
    if (user) train.hold()
    if (sends) sources = sourcesOf(config, root, bundle, joins)
    const kept = options.preserveFds + options.listenFds + idmapped.size
    const opened = sends ? planTaking(train.next('sources'), sources, kept) : ALL.opened
    const reach: Reach = { unprivileged: user !== null, opened }
    if (user) planRootIdentity(train.next('user namespace'), user, keepsGroups(config.annotations), visible)
    processes.planSession(train.next('init'), options.id, !options.noNewKeyring, config.process)
    rootfs.planRoot(train.next('mounts'), config, root, reach)
    if (needsOnlyCgroup && cgroupFirst) train.piece()
    const slave = stack !== null && !/shared/.test(config.linux?.rootfsPropagation ?? '')
    const setting: MountSetting = { bundle, cgroup: shownCgroup(config, cgroup, layout), label, reach, idmapped, slave }
    for (let index = 0; index < early; index++) planMount(train, mounts[index]!, index, setting)
    train.dispatch()
    const revealing = options.noPivot && !stack ? rootfs.revealingMounts(cgroupFacts.mountinfo, root) : null
    return { config, options, mounts, setting, early, joins, foreseen, listener: listenerFd, revealing, visible }
  }
  if (needsOnlyCgroup && cgroupFirst) train.hold(releaseOnceMade)
  const planned = attempt(() => {
    const inside = planBeginning()

    // 6. The rest of the file system and the change of root.
    // 7. The process becomes what the config says, and looks for its program as the user who will run it.
    // Planned now, sent once the init has a cgroup to join.
    if (!needsOnlyCgroup || !cgroupFirst) train.hold(needsOnlyCgroup ? releaseOnceMade : null)
    return { inside, looking: planInside(train, inside, early) }
  })
  if ('error' in planned) {
    // `undo` has to know what has been made meanwhile.
    if (!systemd) finishMaking()
    throw planned.error
  }
  let { inside, looking } = planned.value

  // 8. The init gets into its cgroup before anything of the container's can run in it or see it.
  if (needsOnlyCgroup && cgroupFirst && !released) {
    succeed(finishMaking())
    if (cgroup?.folders.length === 0) {
      // Root of a user namespace may have been denied the cgroup: planned anew, without joining or showing it.
      train.drop()
      train.hold()
      inside = planBeginning()
      looking = planInside(train, inside, early)
    }
    release()
  }
  const birth = attempt(() => stage.wait(born))
  if ('value' in birth) progress.init = birth.value.value(pid)!
  if (!systemd || 'value' in birth) finishMaking()
  if ('error' in birth) throw birth.error
  succeed(finishMaking())
  saved.pid = progress.init
  progress.saved = saved
  if (!cgroupFirst && cgroup?.folders.length === 0) {
    train.drop()
    if (user) inside = planBeginning()
    else inside.setting = { ...inside.setting, cgroup: shownCgroup(config, cgroup, layout) }
    train.hold()
    looking = planInside(train, inside, early)
  }
  if (movedByHost && cgroup) {
    const moving = new Batch(machine)
    cgroups.join(moving, cgroups.leftToJoin(cgroup), progress.init)
    host.run(moving)
  }
  moveDevices(runtime, config, progress.init)
  if (config.linux?.intelRdt && resctrl !== null) {
    saved.rdt = { joined: [], made: [] }
    applyRdt(runtime, config.linux.intelRdt, resctrl, options.id, progress.init, saved.rdt)
    // So that `delete` finds what was made, whatever becomes of this process.
    const saving = new Train(host, machine)
    planSaving(saving, runtime, saved)
    host.wait(saving.depart())
  }
  if (user) {
    const sending = new Train(stage, machine)
    if (sends) planSending(sending, sources)
    const sent = sends ? sending.depart() : null
    if (user.maps) writeIdMaps(runtime, progress.init, user.maps, callerOf(runtime, saved.owner))
    if (sent) {
      stage.send(goodbye, Flag.SILENT)
      stage.wait(sent)
    }
    train.release()
  }
  if (!released) train.release()
  runtime.debug(`container ${options.id}: process ${progress.init}, cgroup ${config.linux?.cgroupsPath ?? '(default)'}`)
  const joining = new Batch(machine)
  const stat = planReading(joining, `/proc/${progress.init}/stat`, 1024)
  joining.about('stage')
  c.waitid(joining, k.P_PID, progress.stage, 0, k.WEXITED)
  if (refusal && birth.value.value(refusal)! < 0) runtime.warn(oomScoreStays(oomScoreAdj!))
  if (middle && birth.value.value(middle)) c.waitid(joining, k.P_PID, birth.value.value(middle)!, 0, k.WEXITED)
  if (oomScoreAdj !== undefined && privileged) {
    joining.about('process.oomScoreAdj')
    c.writeFile(joining, k.AT_FDCWD, `/proc/${progress.init}/oom_score_adj`, String(oomScoreAdj))
  }
  if (saved.seccompAgent) planCheck(joining, saved.seccompAgent)
  const joined = host.run(joining)
  let statText = finishReading(host, machine, joined, stat)
  if (visible && 'errno' in statText) statText = lookAgain(host, machine, stat.path)
  if ('errno' in statText) throw unseen(stat.path, statText.errno, privileged ? '' : cgroupFacts.mountinfo)
  saved.startTime = readStat(statText.text).startTime
  // Compiled now, while the init is busy with its plan.
  const filter = foreseen && filterOf(config, machine)
  for (const warning of filter?.warnings ?? []) runtime.debug(warning)
  // 9. The results: the final state, the pid file, pidfds. `create` writes them when all is well, for from then on the container can be
  // started. `run` has the host write them while the init still works, unless hooks or other work of the host come first.
  const results = new Train(host, machine)
  const planResults = (): void => {
    // By the host, because limits may be higher than what the root of a user namespace can set.
    if (inside.setting.reach.unprivileged) processes.planLimits(results.next('process'), config.process, saved.pid)
    if (filter) saved.filter = planKeeping(results, folder, filter)
    planSaving(results, runtime, saved)
    const receiver = options.pidfdSocket === null ? pidfdReceiver(config.annotations) : undefined
    if (receiver !== undefined) {
      const b = results.next('annotations (run.oci.pidfd_receiver)')
      planPidfdSocket(b, receiver)
      planSendPidfd(b, receiver, saved.pid, 'standard')
    }
    if (options.pidfdSocket !== null)
      planSendPidfd(results.next('--pidfd-socket'), options.pidfdSocket, saved.pid, 'standard')
    if (options.pidFile === null) return
    const path = pathFrom(cwd, known, options.pidFile)
    progress.pidFile = path
    planPidFile(results.next('--pid-file'), path, saved.pid)
  }
  const parts = partsOf(config).length > 0
  const writesEarly = startsNow && needsOnlyCgroup && !pausesFor(config) && !parts
  if (writesEarly) planResults()
  let sent = writesEarly ? results.depart() : null
  const waitForResults = (): void => {
    if (sent) host.wait(sent)
    sent = null
  }

  const { lookup, passwd, terminal, answer } = finishInside(runtime, train, inside, saved, looking, waitForResults)
  delegateBelow(runtime, config, cgroup, saved.pid)
  if (!privileged && !visible) demandSight(host, machine, stat.path, cgroupFacts.mountinfo)
  const program = checkProgram(init, machine, config, lookup, answer)
  const home = passwd && `HOME=${homeOf(finishReading(init, machine, answer, passwd), config.process.user.uid)}`
  saved.program = program
  if (stack) lookAtRoot(runtime, stack)
  if (parts) saved.served = { home }
  runtime.debug(`container ${options.id}: program ${program}`)
  if (terminal) {
    const b = results.next('process.terminal')
    terminals.planTaking(b)
    if (consoleSocket !== null) terminals.planGiving(b, consoleSocket, answer.word(terminal))
  }
  if (!writesEarly) planResults()
  const last = !writesEarly || terminal ? results.depart() : sent
  const kept = { listener: listenerFd, session: initSession, preserved: options.preserveFds + options.listenFds }
  return { config, saved, home, filter, kept, results: last, progress }
}

/** The `create` command: sets a container up and parks its init until `start` comes. */
export function create(runtime: Runtime, options: CreateOptions): void {
  const launched = launch(runtime, options, { foreground: false, startsNow: false })
  const park = new Batch(runtime.platform.machine)
  planPark(park, launched.config, launched.saved.program, launched.home, launched.filter, launched.kept)
  orUndo(runtime, options.id, launched.progress, () => {
    if (launched.results) runtime.host.wait(launched.results)
    runtime.init.send(park, Flag.SILENT, PARK_SEQUENCE)
  })
}

/** What the init's part of the plan is made from. */
interface Inside {
  config: Config
  options: CreateOptions
  mounts: readonly Mount[]
  setting: MountSetting
  /** Index of the first mount that depends on the cgroup; those before it are made without waiting for that. */
  early: number
  /** The cgroup that the init joins by itself. */
  joins: cgroups.CgroupPaths | null
  foreseen: Foreseen | null
  listener: number
  /** Mounts of the host that have to be unmounted where the root is changed without pivot_root; null with it. */
  revealing: readonly string[] | null
  /** Whether the caller may look into the init (visibility.ts). */
  visible: boolean
}

/** What the init's plan will answer. */
interface Looking {
  /** With hooks before the change of root: the batch to wait for before they are called. What comes after it is held back. */
  pause: Batch | null
  /** The last batch, in which all of the following is looked for. */
  batch: Batch
  lookup: processes.Lookup
  /** /etc/passwd, where HOME is to be taken from it. */
  passwd: Reading | null
  /** Number of the process's terminal, where it has one. */
  terminal: OutPointer | null
}

/** All that is left for the init to do before it executes its program, from the mount with index `from` on. */
function planInside(train: Train, inside: Inside, from: number): Looking {
  const { config, options, mounts, setting, early, joins } = inside
  const planMounts = (first: number, end: number): void => {
    for (let index = first; index < end; index++) planMount(train, mounts[index]!, index, setting)
  }
  planMounts(from, early)
  if (from <= early) {
    if (joins) planJoin(train.next('cgroup'), joins, setting.reach)
    if (createsNamespace(config, 'cgroup')) c.unshare(train.next('new namespaces (cgroup)'), k.CLONE_NEWCGROUP)
  }
  planMounts(Math.max(from, early), mounts.length)
  planDevices(train, config, setting.reach)
  if (config.process.terminal) {
    const b = train.next('process.terminal')
    terminals.planPty(b, slot(InitSlot.ROOT), config.process)
    terminals.planConsole(b)
  }
  train.piece()
  planReadonlyMounts(train, mounts)
  planMasks(train, config.linux?.maskedPaths ?? [], setting.label, setting.slave)
  planReadonlyPaths(train, config.linux?.readonlyPaths ?? [])
  train.piece()
  if (createsNamespace(config, 'network')) processes.planLoopback(train.next('network'))
  processes.planNames(train.next('hostname'), config)
  planSysctls(train, config)
  const pause = pausesFor(config) ? train.depart() : null
  if (pause) train.hold()
  planForgetting(train.next('sources'), setting.reach)
  if (config.root.readonly) processes.planWorkingFolder(train.next('process'), config.process)
  rootfs.planChangeOfRoot(train.next('change of root'), config, inside.revealing)

  if (isLarge(config.process)) planBlock(train, config.process)
  const last = train.next('process')
  const terminal = config.process.terminal
    ? terminals.planHandOver(last, terminals.planAccept(last, inside.listener))
    : null
  if (terminal) terminals.planControl(last)
  const passwd = processes.hasHome(config.process) ? null : processes.planPasswd(last)
  const keepGroups = keepsGroups(config.annotations)
  const filtered = inside.foreseen !== null
  processes.planIdentity(last, config.process, filtered, setting.reach.unprivileged, keepGroups, inside.visible)
  processes.planPersonality(last, config.linux?.personality)
  planMemoryPolicy(last, config.linux?.memoryPolicy)
  const lookup = processes.planLookup(last, config.process)
  processes.planDescriptors(last, options.preserveFds + options.listenFds)
  return { pause, batch: train.depart(), lookup, passwd, terminal }
}

/**
 * Waits for the init, and calls hooks on the way. Some mounts cannot be planned without looking at the image first: a destination that
 * is a dangling symbolic link, a tmpfs that begins with a copy. They are rare, so the usual plan ignores them and fails there; then the
 * mount is dealt with, and the rest is planned anew from the next one on. `waitForResults` makes the host free for that.
 */
function finishInside(
  runtime: Runtime,
  train: Train,
  inside: Inside,
  saved: Saved,
  first: Looking,
  waitForResults: () => void,
): Looking & { answer: Answer } {
  const { init } = runtime
  for (let looking = first; ; ) {
    try {
      if (looking.pause) {
        init.wait(looking.pause)
        callCreateHooks(runtime, inside.config, saved)
        train.release()
      }
      return { ...looking, answer: init.wait(looking.batch) }
    } catch (error) {
      const refused = inside.setting.reach.unprivileged ? null : refusedFrom(error, inside.mounts.length)
      if (refused !== null) waitForResults()
      if (refused !== null && isMapped(runtime)) {
        inside.setting = { ...inside.setting, reach: { ...inside.setting.reach, unprivileged: true } }
        init.recover(new Batch(runtime.platform.machine))
        train.drop()
        looking = planInside(train, inside, refused)
        continue
      }
      const stopped = stoppedAt(error)
      if (stopped !== null) {
        mountByLooking(init, runtime.platform.machine, inside.mounts[stopped]!, stopped, inside.setting)
        train.drop()
        looking = planInside(train, inside, stopped + 1)
        continue
      }
      const dangling = danglingTarget(error)
      if (dangling === null) throw error
      const { index, kind } = dangling
      if (!makeTarget(init, runtime.platform.machine, inside.mounts[index]!.destination, index, kind)) throw error
      train.drop()
      looking = planInside(train, inside, index)
    }
  }
}

/** The init joins its cgroup, unless it was born in it. */
function planJoin(b: Batch, cgroup: cgroups.CgroupPaths, reach: Reach): void {
  if (reach.opened.size > 0) {
    planJoiningOpened(b, cgroup, reach)
    return
  }
  cgroups.joinSelf(b, cgroup, 1, InitSlot.CGROUP)
  const joined = b.label()
  b.branch(slot(InitSlot.JOINED), 'EQUAL', 1, joined)
  cgroups.joinSelf(b, cgroup, 2, InitSlot.CGROUP)
  b.place(joined)
}

/** Who gets the container's cgroup; nobody, if it is one below that is for the program. */
const ownerOf = (config: Config): number | null =>
  delegatedCgroup(config.annotations) === undefined ? cgroupOwner(config) : null

/** Waits until the cgroup can be joined. */
function finishCgroup(
  runtime: Runtime,
  control: Batch,
  making: cgroups.Making | null,
  owner: number | null,
  progress: Progress,
): void {
  const { host, platform } = runtime
  if (!making) {
    host.wait(control)
    return
  }
  const { cgroup } = making
  try {
    // Folders that could not be made are neither joined nor saved in the state.
    cgroup.folders = cgroups.finish(host, making, control, progress.init || progress.stage).folders
    progress.cgroup = cgroup
    if (owner !== null) cgroups.delegate(host, platform.machine, cgroup, owner)
  } catch (error) {
    if (!(error instanceof cgroups.CgroupInUse)) progress.cgroup = cgroup
    if (!isDeniedDevices(error) || !isMapped(runtime)) throw error
    // In the user namespace of an engine around runt, device rules cannot be set, nor are they needed: it has no rights over devices.
    host.recover(new Batch(platform.machine))
    making.ignored.push(DEVICES_LEFT_OUT)
  }
  if (cgroup.folders.length === 0 && runtime.globals.rootless === false)
    throw new RuntError(`linux.cgroupsPath: ${making.ignored.at(-1)}; --rootless=false asks for one`)
  for (const sentence of making.ignored) runtime.debug(sentence)
}

/** Mounts that show the cgroup, and those that begin with a copy of the image's files, whose memory is to be charged to the cgroup. */
const dependsOnCgroup = ({ type, options }: Mount): boolean =>
  type === 'cgroup' || type === 'cgroup2' || (options?.includes('tmpcopyup') ?? false)

/** What a mount of type cgroup shows: the container's own, or the one that it stays in. */
const shownCgroup = (
  config: Config,
  cgroup: cgroups.CgroupPaths | null,
  layout: cgroups.Layout,
): cgroups.CgroupMountPlan =>
  cgroups.mountPlan(cgroup?.folders.length ? cgroup : cgroupOfCaller(layout), createsNamespace(config, 'cgroup'))

const textOf = (read: { text: string } | { errno: string } | null): string => (read && 'text' in read ? read.text : '')

/** Reads the config, and finds the places on the host that it names. */
function interpret(
  runtime: Runtime,
  text: string,
  bundle: string,
  options: CreateOptions,
  foreground: boolean,
  cgroupFacts: CgroupFacts,
): CgroupPlace & {
  config: Config
  exact: boolean
  root: string
  foreseen: Foreseen | null
  label: MountLabel | null
  resctrl: string | null
} {
  const { config, warnings, exact } = readConfig(
    text,
    options.config ?? `${bundle}/config.json`,
    runtime.platform.getenv(AGENT_VARIABLE),
  )
  for (const warning of warnings) runtime.warn(warning)
  if (runtime.globals.debug) for (const sentence of withoutEffect(config)) runtime.debug(`config.json: ${sentence}`)
  terminals.checkTerminal({ terminal: config.process.terminal, consoleSocket: options.consoleSocket, foreground })
  if (options.notifySocket !== null) addNotifySocket(config, folderOf(runtime, options.id))
  // LISTEN_PID=1, for the program is process 1 of its pid namespace. Without such a namespace that is wrong, but runc and crun do the same.
  // A config with a LISTEN_PID may know better: who has a program of its own for process 1.
  if (options.listenFds > 0) {
    const given = runtime.platform.getenv('LISTEN_FDNAMES')
    const names = given ? [`LISTEN_FDNAMES=${given}`] : []
    const env = config.process.env ?? []
    const pid = env.some((entry) => entry.startsWith('LISTEN_PID=')) ? [] : ['LISTEN_PID=1']
    config.process.env = [...env, `LISTEN_FDS=${options.listenFds}`, ...pid, ...names]
  }
  const place = placeCgroup(runtime, config, options.id, cgroupFacts)
  refusePlugins(config.annotations)
  const labelType = contextType(config.annotations)
  // Without SELinux a label is left out: file systems would refuse the option.
  const selinux = config.linux?.mountLabel && / - selinuxfs /.test(cgroupFacts.mountinfo)
  return {
    config,
    exact,
    ...place,
    root: absolutePath(bundle, config.root.path),
    foreseen: foresee(config),
    resctrl: config.linux?.intelRdt ? findResctrl(cgroupFacts.mountinfo) : null,
    label: selinux ? { type: labelType, text: config.linux!.mountLabel! } : null,
  }
}
