/**
 * The story of a container's set-up, from top to bottom. `launch` tells it; `create` parks the init at the end, `run` lets it go on.
 *
 * Three executors work at the same time. What one has to wait for is said where it waits:
 *
 *   host    reads config.json ── claims the id, starts the stage ── makes the cgroup ───────────── saves the state
 *   stage                          joins and creates namespaces, forks the init
 *   init                                        mounts ── joins the cgroup ── mounts, root, rights ── parks
 */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import type { Config } from '../config/types.ts'
import { readConfig } from '../config/validate.ts'
import { Flag } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { Batch, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Answer, CallError, SessionLost } from '../session/session.ts'
import { Train } from '../session/train.ts'
import { planSpawn } from './executors.ts'
import { finishReading, planReading, planWriting } from './files.ts'
import { createsNamespace, planStage } from './namespaces.ts'
import { PARK_SEQUENCE, planPark } from './park.ts'
import { absolutePath } from './paths.ts'
import { existingId } from './phrases.ts'
import * as process from './process.ts'
import { checkProgram } from './program.ts'
import * as rootfs from './rootfs.ts'
import type { CreateOptions, Runtime } from './runtime.ts'
import { HostSlot, InitSlot } from './slots.ts'
import { folderOf, planSaving, readStat, type Saved, START_SOCKET } from './state.ts'
import { undo } from './undo.ts'

/** A container whose init waits for its last batch. */
export interface Launched {
  config: Config
  saved: Saved
  /** Descriptor, in the init, of the socket on which it can be parked. */
  listener: number
}

/** How far a launch has come; what `undo` needs to know. */
export interface Progress {
  /** The id is ours: the folder was made by us. */
  claimed: boolean
  stage: number
  init: number
  cgroup: cgroups.CgroupPaths | null
}

/** Sets a container up, up to the point where only its program is to be executed. On failure nothing of it is left. */
export function launch(runtime: Runtime, options: CreateOptions): Launched {
  const progress: Progress = { claimed: false, stage: 0, init: 0, cgroup: null }
  try {
    return tell(runtime, options, progress)
  } catch (error) {
    const cause = explain(runtime, error, progress)
    undo(runtime, options.id, progress)
    throw cause
  }
}

function tell(runtime: Runtime, options: CreateOptions, progress: Progress): Launched {
  const { host, stage, init } = runtime
  const { machine } = runtime.platform
  const folder = folderOf(runtime, options.id)

  // 1. What the caller gave us: the config, and the host's cgroups.
  const facts = new Batch(machine)
  const cwd = facts.out(4096)
  facts.about('working folder')
  facts.call('getcwd', cwd, cwd.length)
  const uid = facts.call('geteuid')
  const configPath = `${options.bundle.replace(/\/+$/, '') || (options.bundle ? '/' : '.')}/config.json`
  const configReading = planReading(facts, configPath, 0x6000)
  const mountinfo = planReading(facts, '/proc/self/mountinfo', 0x6000)
  const ownCgroup = planReading(facts, '/proc/self/cgroup', 0x1000)
  host.send(facts)

  // 2. The id is claimed and the stage started while the config is parsed.
  const spawn = new Batch(machine)
  const claim = planClaim(spawn, runtime.globals.root, folder)
  const listener = planListener(spawn, folder)
  const spawned = planSpawn(spawn, runtime.platform.engine)
  const known = host.wait(facts)
  const bundle = absolutePath(pathIn(known.bytes(cwd)), options.bundle)
  const configText = finishReading(host, machine, known, configReading)
  if ('errno' in configText) throw missingConfig(bundle, configText.errno)
  const mountinfoText = finishReading(host, machine, known, mountinfo)
  const ownCgroupText = finishReading(host, machine, known, ownCgroup)
  host.send(spawn)
  stage.inherit(spawn, host.sequence)

  const parsed = attempt(() => interpret(runtime, configText.text, bundle, options.id, [mountinfoText, ownCgroupText]))
  let started: Answer
  try {
    started = host.wait(spawn)
  } catch (error) {
    if (error instanceof CallError && error.step === claim && error.errno === 'EEXIST')
      throw new RuntError(existingId(options.id))
    progress.claimed = error instanceof CallError && error.step.index > claim.index
    throw error
  }
  progress.claimed = true
  progress.stage = started.value(spawned.pid)!
  if ('error' in parsed) throw parsed.error
  const { config, cgroup, root } = parsed.value

  // 3. The namespaces. The stage forks the init into them and ends.
  const namespaces = new Batch(machine)
  const initSession = started.value(spawned.initSession)!
  const listenerFd = started.value(listener)!
  planStage(namespaces, config, [initSession, listenerFd])
  stage.send(namespaces, Flag.SILENT)
  init.inherit(namespaces, stage.sequence)
  const born = new Batch(machine)
  const pid = born.add(slot(InitSlot.CHILD), 0)
  stage.send(born)
  const goodbye = new Batch(machine)
  c.exitGroup(goodbye, 0)
  stage.send(goodbye, Flag.SILENT)

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
    cgroup,
    program: '',
  }
  const control = new Batch(machine)
  planSaving(control, runtime, saved)
  control.about('state (config.json)')
  planWriting(control, `${folder}/config.json`, configText.text, 0o600)
  let refusals: Step[] = []
  if (cgroup) refusals = cgroups.make(control, cgroup, config.linux?.resources).refusals
  host.send(control)

  // 5. Mounts that do not depend on the cgroup.
  const train = new Train(init, machine)
  process.planSession(train.next('init'), options.id, !options.noNewKeyring)
  rootfs.planRoot(train.next('mounts'), config, root)
  const mounts = config.mounts ?? []
  const firstCgroup = mounts.findIndex((mount) => mount.type === 'cgroup' || mount.type === 'cgroup2')
  const early = firstCgroup < 0 ? mounts.length : firstCgroup
  const cgroupMounts = cgroups.mountPlan(cgroup ?? { mode: 'none', folders: [] }, createsNamespace(config, 'cgroup'))
  mounts.slice(0, early).forEach((mount, index) => {
    rootfs.planMount(train, mount, index, bundle, cgroupMounts)
  })
  train.dispatch()

  // 6. The init is in its cgroup before anything of the container's can run in it or see it.
  progress.init = stage.wait(born).value(pid)!
  try {
    host.wait(control)
    progress.cgroup = cgroup
  } catch (error) {
    // A cgroup that is in use belongs to somebody else.
    if (!(error instanceof CallError && refusals.includes(error.step))) progress.cgroup = cgroup
    throw error
  }
  const joining = new Batch(machine)
  const stat = planReading(joining, `/proc/${progress.init}/stat`, 1024)
  joining.about('stage')
  c.waitid(joining, k.P_PID, progress.stage, 0, k.WEXITED)
  if (config.process.oomScoreAdj !== undefined) {
    joining.about('process.oomScoreAdj')
    c.writeFile(joining, k.AT_FDCWD, `/proc/${progress.init}/oom_score_adj`, String(config.process.oomScoreAdj))
  }
  // In a mount namespace of somebody else's the init may not find the cgroup's files.
  const joinedMounts = config.linux?.namespaces?.some((namespace) => namespace.type === 'mount' && namespace.path)
  if (cgroup && joinedMounts) cgroups.join(joining, cgroup, progress.init)
  host.send(joining)
  let joined = cgroup && joinedMounts ? host.wait(joining) : null
  if (cgroup && !joinedMounts) cgroups.joinSelf(train.next('cgroup'), cgroup)
  if (createsNamespace(config, 'cgroup')) c.unshare(train.next('new namespaces (cgroup)'), k.CLONE_NEWCGROUP)

  // 7. The rest of the file system, then the change of root.
  mounts.slice(early).forEach((mount, index) => {
    rootfs.planMount(train, mount, early + index, bundle, cgroupMounts)
  })
  rootfs.planDevices(train, config)
  rootfs.planMasks(train, config.linux?.maskedPaths ?? [])
  rootfs.planReadonlyPaths(train, config.linux?.readonlyPaths ?? [])
  if (createsNamespace(config, 'network')) process.planLoopback(train.next('network'))
  process.planNames(train.next('hostname'), config)
  rootfs.planSysctls(train, config.linux?.sysctl ?? {})
  rootfs.planChangeOfRoot(train.next('change of root'), config, options.noPivot)

  // 8. The process becomes what the config says, and looks for its program as the user who will run it.
  const last = train.next('process')
  process.planIdentity(last, config.process)
  const lookup = process.planLookup(last, config.process)
  process.planDescriptors(last, options.preserveFds)
  const looking = train.depart()
  joined ??= host.wait(joining)
  const statText = finishReading(host, machine, joined, stat)
  if ('errno' in statText)
    throw new RuntError(`the container's init ended during its set-up (/proc/${progress.init}/stat: ${statText.errno})`)
  saved.pid = progress.init
  saved.startTime = readStat(statText.text).startTime
  const program = checkProgram(init, machine, config, lookup, init.wait(looking))
  saved.program = program

  // 9. All is well: what the caller asks for later stands in the state.
  const finish = new Batch(machine)
  planSaving(finish, runtime, saved)
  if (options.pidFile !== null) {
    const path = absolutePath(pathIn(known.bytes(cwd)), options.pidFile)
    finish.about(`--pid-file (${path})`)
    planWriting(finish, path, String(saved.pid), 0o644)
  }
  host.run(finish)
  return { config, saved, listener: listenerFd }
}

/** The `create` command: sets a container up and parks its init until `start` comes. */
export function create(runtime: Runtime, options: CreateOptions): void {
  const { config, saved, listener } = launch(runtime, options)
  const park = new Batch(runtime.platform.machine)
  planPark(park, config, saved.program, listener)
  runtime.init.send(park, Flag.SILENT, PARK_SEQUENCE)
}

type FileText = { text: string } | { errno: string }

/** Reads the config, and finds the places on the host that it names. */
function interpret(
  runtime: Runtime,
  text: string,
  bundle: string,
  id: string,
  [mountinfo, ownCgroup]: [FileText, FileText],
): { config: Config; cgroup: cgroups.CgroupPaths | null; root: string } {
  const { config, warnings } = readConfig(text, `${bundle}/config.json`)
  for (const warning of warnings) runtime.warn(warning)
  checkConfig(config)
  const layout = cgroups.detectLayout(
    'text' in mountinfo ? mountinfo.text : '',
    'text' in ownCgroup ? ownCgroup.text : '',
  )
  const cgroup = layout.mode === 'none' ? null : cgroups.locate(layout, config.linux?.cgroupsPath, id)
  return { config, cgroup, root: absolutePath(bundle, config.root.path) }
}

/** Keeps an error for later: what runs meanwhile has to be looked after first. */
function attempt<T>(work: () => T): { value: T } | { error: unknown } {
  try {
    return { value: work() }
  } catch (error) {
    return { error }
  }
}

/** Makes the container's folder. That it was not there before makes the id ours. */
function planClaim(b: Batch, root: string, folder: string): Step {
  b.about(`state folder (${root})`)
  const parents = root.split('/').slice(1)
  const there = b.label()
  const claim = b.label()
  c.faccessat(b, k.AT_FDCWD, root, 0).on(['ENOENT'], there)
  b.jump(claim)
  b.place(there)
  parents.forEach((_, index) => {
    const exists = b.label()
    c.mkdirat(
      b,
      k.AT_FDCWD,
      `/${parents.slice(0, index + 1).join('/')}`,
      index === parents.length - 1 ? 0o700 : 0o755,
    ).on(['EEXIST'], exists)
    b.place(exists)
  })
  b.place(claim)
  b.about(`state folder (${folder})`)
  return c.mkdirat(b, k.AT_FDCWD, folder, 0o700)
}

/** The socket that the parked init listens on. It is bound from inside the folder: an address holds 107 bytes at most. */
function planListener(b: Batch, folder: string): Step {
  b.about(`socket (${folder}/${START_SOCKET})`)
  const listener = c.socket(b, k.AF_UNIX, k.SOCK_SEQPACKET).keep(HostSlot.LISTENER)
  c.openat(b, k.AT_FDCWD, '.', k.O_PATH).keep(HostSlot.CWD)
  c.chdir(b, folder)
  const address = c.unixAddress(b, START_SOCKET)
  b.call('bind', listener, address.pointer, address.length)
  c.fchdir(b, slot(HostSlot.CWD))
  b.call('listen', listener, 1)
  return listener
}

/** The text of a path that the kernel ended with a NUL. */
function pathIn(bytes: Uint8Array): string {
  return decodeUtf8(bytes.subarray(0, bytes.indexOf(0)))
}

function missingConfig(bundle: string, errno: string): RuntError {
  const path = `${bundle}/config.json`
  if (errno === 'ENOENT' || errno === 'ENOTDIR')
    return new RuntError(`${path}: no such file; the bundle (--bundle) is the folder that holds config.json`, errno)
  return new RuntError(`${path}: cannot be read: ${errno}`, errno)
}

/** What this version of runt does not do, said before anything is done. */
function checkConfig(config: Config): void {
  process.checkTerminal(config.process)
  if (!config.linux?.namespaces?.some((namespace) => namespace.type === 'mount'))
    throw new RuntError(
      "linux.namespaces: no mount namespace; without one the mounts of the container would be the host's",
    )
}

/** Finds the cause behind an error: an init that was killed says nothing itself. */
function explain(runtime: Runtime, error: unknown, progress: Progress): unknown {
  if (!(error instanceof SessionLost) || progress.init === 0) return error
  const b = new Batch(runtime.platform.machine)
  const info = b.out(128)
  const gone = b.label()
  c.waitid(b, k.P_PID, progress.init, info, k.WEXITED | k.WNOHANG).on(['ECHILD'], gone)
  b.place(gone)
  let signal = 0
  try {
    const answer = runtime.host.recover(b)
    if (answer.word(info, 8) !== k.CLD_EXITED) signal = answer.word(info, 24)
  } catch {
    return error
  }
  if (signal !== k.SIGKILL) return error
  return new RuntError(
    "the container's init was killed (SIGKILL) during its set-up: if linux.resources.memory.limit is set, it may be too small",
  )
}
