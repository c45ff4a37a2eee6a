/**
 * Hooks (runtime-spec, config.md, "POSIX-platform Hooks"; runtime.md, "Lifecycle").
 *
 *   kind             when                                    forked by  as
 *   prestart         create, all is mounted, before the      host       the caller
 *   createRuntime      change of root
 *   createContainer  after these                             init       root of the container's namespaces; paths of the host
 *   startContainer   start, before the program               init       the user of the program, with its rights; paths of the container
 *   poststart        start, after execve(2) of the program   host       the caller
 *   poststop         delete, when all is removed             host       the caller
 *
 * A startContainer hook is a file of the image's, so it gets no more rights than the program, and is under its filter, as with runc.
 * A hook without `env` has the environment of the caller; a startContainer hook that of the program. So it is with runc and crun.
 *
 * A hook is a child of an executor's. Its stdin is a sealed memfd with the state and its stderr another one: a hook that does not
 * read, that writes much, or that leaves a daemon behind cannot make anybody wait, and is sent no SIGPIPE. Its stdout is /dev/null.
 */
import { decodeUtf8, encodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { Config, Hook, HookKind, Process, State, Status } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { describeErrno } from '../linux/errno.ts'
import type { Filter } from '../seccomp/compile.ts'
import { FLAGS_OF_AGENTS } from '../seccomp/kernel.ts'
import { type Loading, prepareSeccomp } from '../seccomp/load.ts'
import { ANY, at, Batch, load, type OutPointer, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Answer, CallError, type Session } from '../session/session.ts'
import { Train } from '../session/train.ts'
import { fieldOf, type HookOutput, hookOutput } from './annotations.ts'
import { planContent } from './files.ts'
import { envAt, environmentOf, planVectors } from './program-vectors.ts'
import type { Runtime } from './runtime.ts'
import { HookSlot, SIGNAL } from './slots.ts'
import type { Saved } from './state.ts'

/** Bytes of a hook's stderr that an error shows: the last ones. */
const SHOWN = 1024
/** Exit status of a child that could not execute its hook. Why not stands in the verdict (slot VERDICT). */
const NOT_EXECUTED = 127
/** The umask of hooks. (The init's own is 0 while it makes the root.) */
const UMASK = 0o022
/** Up to so many bytes of arguments and environment travel with the batch; more is put into the executor's memory beforehand. */
const SMALL = 0x800
/** Where that memory lies: behind what program-vectors.ts uses. Each startContainer hook has a place of its own. */
const VECTORS = 0x4000_0000
const PLACE = 0x100_0000
/** So many startContainer hooks fit into the init's last batch. More of them are called in parts of PART hooks, a batch each. */
const START_HOOKS = 16
const PART = 8

/** What the answer to a batch tells about a hook. */
interface Outcome {
  about: string
  timeout: number | undefined
  /** A step that runs only if the hook did not end in time. */
  timedOut: Step
  /** siginfo_t of waitid(2). */
  info: OutPointer
  /** If the hook was not executed, two 64-bit words: the result of the last system call, and whether that was execve(2). */
  verdict: OutPointer
  judged: Step
  stderr: OutPointer
  /** Its result: where in stderr the reading starts; an errno if stderr is short. Null if stderr is a file, which `kept` names. */
  tail: Step | null
  shown: Step | null
  kept: string | undefined
}

/** A startContainer hook among the operations before the program. */
export interface StartHook extends Outcome {
  /** The operation that fails if the hook has failed. */
  failure: Step
}

/** Kinds that have to be called, or prepared for, before the change of root. */
const early: readonly HookKind[] = ['prestart', 'createRuntime', 'createContainer', 'startContainer']

/** All kinds, in the order in which they are called. */
export const hookKinds: readonly HookKind[] = [...early, 'poststart', 'poststop']

/** Whether a container's set-up has to pause before the change of root. */
export const pausesFor = ({ hooks }: Config): boolean => early.some((kind) => hooks?.[kind]?.length)

/** The hooks that commands after `create` call; undefined if there are none. */
export function laterHooks({ hooks }: Config): Saved['hooks'] {
  const { poststart = [], poststop = [] } = hooks ?? {}
  return poststart.length + poststop.length > 0 ? { poststart, poststop } : undefined
}

/**
 * If there are too many startContainer hooks for the init's last batch: the parts in which they are called, as the index of the first hook
 * of each. Empty otherwise.
 */
export function partsOf({ hooks }: Pick<WithHooks, 'hooks'>): number[] {
  const count = hooks?.startContainer?.length ?? 0
  return count > START_HOOKS ? Array.from({ length: Math.ceil(count / PART) }, (_, part) => part * PART) : []
}

const argsOf = ({ path, args }: Hook): readonly string[] => (args?.length ? args : [path])

/** A hook with the environment that it is called with. */
interface Prepared extends Hook {
  env: string[]
  /** The environment is that of the program, to which a HOME may be added later. */
  ofProgram: boolean
}

const prepare = (hook: Hook, inherited: readonly string[], ofProgram: boolean): Prepared => ({
  ...hook,
  env: hook.env ?? [...inherited],
  ofProgram: ofProgram && hook.env === undefined,
})

/** Whether a hook's arguments and environment are more than a batch should carry. Does not depend on HOME, which is not known at first. */
function isLarge(hook: Prepared): boolean {
  if (hook.ofProgram) return true
  return [...argsOf(hook), ...hook.env].reduce((sum, text) => sum + text.length + 16, 0) > SMALL
}

/** Brings the arguments and environment of a large hook to the executor that is to fork it. */
function planLargeHook(train: Train, about: string, hook: Prepared, base: number): void {
  planVectors(train, about, { args: [...argsOf(hook)], env: hook.env }, base, HookSlot.VECTORS)
}

/**
 * Calls the hooks that come before the change of root, when the container's mounts are in place. Also gives the init what startContainer
 * hooks need and what is out of its reach after that: the state, and the host's /dev/null. Throws when a hook fails.
 */
export function callCreateHooks(runtime: Runtime, { hooks = {}, process: program }: Config, saved: Saved): void {
  callHooks(runtime, 'prestart', hooks.prestart, saved, 'creating')
  callHooks(runtime, 'createRuntime', hooks.createRuntime, saved, 'creating')
  callHooks(runtime, 'createContainer', hooks.createContainer, saved, 'creating')
  if (!hooks.startContainer?.length) return
  supply(runtime, runtime.init, saved, 'created')
  const train = new Train(runtime.init, runtime.platform.machine)
  hooks.startContainer.forEach((given, index) => {
    const hook = prepare(given, environmentOf(program), true)
    if (isLarge(hook)) planLargeHook(train, nameOf('startContainer', index, hook), hook, VECTORS + index * PLACE)
  })
  train.dispatch()
}

/** Throws when a hook fails. */
export const callPoststart = (runtime: Runtime, saved: Saved): void =>
  callHooks(runtime, 'poststart', saved.hooks?.poststart, saved, 'running')

/** Calls the poststop hooks of a container that has been removed. A failure is only a warning. */
export function callPoststop(runtime: Runtime, saved: Saved): void {
  const hooks = saved.hooks?.poststop ?? []
  if (hooks.length === 0) return
  try {
    for (const mistake of perform(runtime, 'poststop', hooks, saved, 'stopped', true)) runtime.warn(mistake)
  } catch (error) {
    if (!(error instanceof RuntError)) throw error
    runtime.warn(`hooks.poststop: ${error.message}`)
  }
}

function callHooks(runtime: Runtime, kind: HookKind, hooks: Hook[] = [], saved: Saved, status: Status): void {
  if (hooks.length === 0) return
  const [mistake] = perform(runtime, kind, hooks, saved, status, false)
  if (mistake !== undefined) throw new RuntError(mistake)
}

/** Calls one hook after the other, all of them or up to the first that fails. Gives what failed. */
function perform(
  runtime: Runtime,
  kind: HookKind,
  hooks: readonly Hook[],
  saved: Saved,
  status: Status,
  all: boolean,
): string[] {
  const { machine } = runtime.platform
  const session = kind === 'createContainer' ? runtime.init : runtime.host
  supply(runtime, session, saved, status)
  const mistakes: string[] = []
  const inherited = hooks.some(({ env }) => env === undefined) ? entriesOf(runtime.platform.env) : []
  for (const [index, given] of hooks.entries()) {
    const hook = prepare(given, inherited, false)
    runtime.debug(`container ${saved.id}: ${nameOf(kind, index, hook)}`)
    const train = new Train(session, machine)
    if (isLarge(hook)) planLargeHook(train, nameOf(kind, index, hook), hook, VECTORS)
    train.dispatch()
    const b = new Batch(machine)
    const outcome = planHook(b, kind, index, hook, saved.bundle, hookOutput(saved.annotations))
    if (isLarge(hook)) b.call('munmap', VECTORS, PLACE)
    let mistake: string | null
    try {
      mistake = judge(outcome, session.run(b))
    } catch (error) {
      if (!all || !(error instanceof CallError)) throw error
      mistake = error.message
      session.recover(new Batch(machine))
    }
    if (mistake === null) continue
    mistakes.push(mistake)
    if (!all) break
  }
  const b = new Batch(machine).about('hooks')
  c.close(b, slot(HookSlot.STATE))
  c.close(b, slot(HookSlot.STDOUT))
  if (hookOutput(saved.annotations).stderr !== undefined) c.close(b, slot(HookSlot.STDERR))
  session.run(b)
  return mistakes
}

const entriesOf = (env: Readonly<Record<string, string>>): string[] =>
  Object.entries(env).map(([name, value]) => `${name}=${value}`)

const nameOf = (kind: HookKind, index: number, { path }: Hook): string => `hooks.${kind}[${index}] (${path})`

/** Makes what all hooks of a kind share: the file with the state, and where their stdout goes. */
function supply({ platform }: Runtime, session: Session, saved: Saved, status: Status): void {
  const state: State = {
    ociVersion: saved.ociVersion,
    id: saved.id,
    status,
    ...(status === 'stopped' ? {} : { pid: saved.pid }),
    bundle: saved.bundle,
    annotations: saved.annotations,
  }
  const bytes = encodeUtf8(`${JSON.stringify(state)}\n`)
  const about = 'hooks: state'
  const train = new Train(session, platform.machine)
  const file = slot(HookSlot.STATE)
  c.memfdCreate(train.next(about), 'runt:state', k.MFD_CLOEXEC | k.MFD_ALLOW_SEALING).keep(HookSlot.STATE)
  planContent(train, about, file, bytes, 'ENOMEM')
  const b = train.next(about)
  c.fcntl(b, file, k.F_ADD_SEALS, k.F_SEAL_SEAL | k.F_SEAL_SHRINK | k.F_SEAL_GROW | k.F_SEAL_WRITE)
  b.about('hooks: /dev/null')
  const { stdout, stderr } = hookOutput(saved.annotations)
  if (stdout === undefined) c.openat(b, k.AT_FDCWD, '/dev/null', k.O_WRONLY).keep(HookSlot.STDOUT)
  else planOutput(b, 'stdout', stdout, HookSlot.STDOUT)
  if (stderr !== undefined) planOutput(b, 'stderr', stderr, HookSlot.STDERR)
  session.wait(train.depart())
}

/** Opens the file that hooks write to; see annotations.ts. */
function planOutput(b: Batch, stream: 'stdout' | 'stderr', path: string, keep: number): void {
  b.about(`${fieldOf(`run.oci.hooks.${stream}`)} (${path})`)
  c.openat(b, k.AT_FDCWD, path, k.O_WRONLY | k.O_CREAT | k.O_APPEND, 0o700).keep(keep)
}

/** The part of the config that startContainer hooks need. */
interface WithHooks {
  process: Process
  hooks?: Config['hooks'] | null
  annotations?: Config['annotations']
}

/** Calls the startContainer hooks if they are too many for the init's last batch (`partsOf`). Throws when one fails. */
export function callStartHooks(
  session: Session,
  machine: Machine,
  config: WithHooks,
  home: string | null,
  filter: Filter | null,
): void {
  for (const from of partsOf(config)) {
    const b = new Batch(machine)
    const hooks = planStartHooks(b, config, home, filter, from)
    try {
      session.run(b)
    } catch (error) {
      throw explainHook(error, hooks)
    }
  }
}

/**
 * Plans the startContainer hooks in the init's last batch; or, with `from`, the part of them that begins at that index (`partsOf`). The
 * batch stops at the first hook that fails; `explainHook` makes a sentence of that. `home`: see planExecve.
 */
export function planStartHooks(
  b: Batch,
  config: WithHooks,
  home: string | null,
  filter: Filter | null,
  from?: number,
): StartHook[] {
  const all = config.hooks?.startContainer ?? []
  const hooks = from !== undefined ? all.slice(from, from + PART) : partsOf(config).length > 0 ? [] : all
  if (hooks.length === 0) return []
  // A hook is under the program's filter, but without its agent: a call that the agent would decide fails with ENOSYS.
  const flags = filter ? filter.flags & ~(filter.optionalFlags | FLAGS_OF_AGENTS) : 0
  const loading = filter && prepareSeccomp(b, { ...filter, flags, optionalFlags: 0 })
  const env = environmentOf(config.process)
  return hooks.map((given, place) => {
    const index = (from ?? 0) + place
    const hook = prepare(given, env, true)
    const outcome = planHook(b, 'startContainer', index, hook, null, hookOutput(config.annotations), {
      base: VECTORS + index * PLACE,
      home,
      loading,
    })
    const failed = b.label()
    const next = b.label()
    b.branch(load(outcome.info, 32, k.SI_CODE), 'NOT_EQUAL', k.CLD_EXITED, failed)
    b.branch(load(outcome.info, 32, k.SI_STATUS), 'EQUAL', 0, next)
    b.place(failed)
    const failure = b.fail('ECANCELED')
    b.place(next)
    return { ...outcome, failure }
  })
}

/** The failure of a startContainer hook in words. Other errors are given back as they are. */
export function explainHook(error: unknown, hooks: readonly StartHook[]): unknown {
  if (!(error instanceof CallError) || !error.answer) return error
  const hook = hooks.find(({ failure }) => error.isOf(failure))
  const mistake = hook && judge(hook, error.answer)
  return mistake ? new RuntError(mistake) : error
}

/**
 * Plans to fork a hook, to wait for it, and to collect what there is to say about it. A hook that fails is no failure of the batch.
 * `folder`: where it is to run; null for where the executor is.
 */
function planHook(
  b: Batch,
  kind: HookKind,
  index: number,
  hook: Prepared,
  folder: string | null,
  output: HookOutput,
  last: Last = { base: VECTORS, home: null, loading: null },
): Outcome {
  const about = nameOf(kind, index, hook)
  const timeout = hook.timeout ?? undefined
  b.about(about)
  const child = b.label()
  const parent = b.label()
  const ended = b.label()
  const state = slot(HookSlot.STATE)
  const kept = output.stderr
  const stderr = kept === undefined ? c.memfdCreate(b, 'runt:stderr', k.MFD_CLOEXEC) : slot(HookSlot.STDERR)
  // Parts of a hook that open /dev/stderr again do not write over each other.
  if (kept === undefined) c.fcntl(b, stderr, k.F_SETFL, k.O_APPEND)
  const verdictFile = c.memfdCreate(b, 'runt:verdict', k.MFD_CLOEXEC).keep(HookSlot.VERDICT)
  b.call('lseek', state, 0, k.SEEK_SET)
  // struct pollfd. The kernel stores the pidfd in it (CLONE_PIDFD, Linux 5.2).
  const poll = b.data(new Struct(8).u16(4, k.POLLIN).bytes)
  b.fork('clone', [k.CLONE_PIDFD | k.SIGCHLD, 0, poll, 0, 0], child)
  b.jump(parent)

  b.place(child)
  planExecution(
    b,
    hook,
    [state, slot(HookSlot.STDOUT), stderr],
    kind === 'createContainer' ? UMASK : null,
    folder,
    last,
  )

  b.place(parent)
  const pidfd = load(poll, 32)
  const wait = b.label()
  // ppoll(2) itself, other than its wrapper in libc, leaves the time that is left in the structure.
  const limit = timeout === undefined ? 0 : b.data(new Struct(16).u64(0, timeout).bytes, () => `{${timeout} s}`)
  b.patience += timeout === undefined ? Infinity : timeout * 1000
  b.place(wait)
  const ready = b.call('ppoll', poll, 1, limit, 0, 8).on(['EINTR'], wait)
  b.branch(ready, 'NOT_EQUAL', 0, ended)
  const timedOut = c.pidfdSendSignal(b, pidfd, k.SIGKILL).on(ANY, ended)
  b.place(ended)
  const info = b.out(128)
  c.waitid(b, k.P_PIDFD, pidfd, info, k.WEXITED).on(['EINTR'], ended)
  const verdict = b.out(16)
  const judged = b.call('pread64', verdictFile, verdict, verdict.length, 0)
  const text = b.out(SHOWN)
  const { tail, shown } = kept === undefined ? planTail(b, stderr, text) : { tail: null, shown: null }
  c.close(b, pidfd)
  if (kept === undefined) c.close(b, stderr)
  c.close(b, verdictFile)
  return { about, timeout, timedOut, info, verdict, judged, stderr: text, tail, shown, kept }
}

/** Reads the end of a hook's stderr. */
function planTail(b: Batch, stderr: c.Fd, text: OutPointer): { tail: Step; shown: Step } {
  const short = b.label()
  const read = b.label()
  const tail = b.call('lseek', stderr, -SHOWN, k.SEEK_END).on(['EINVAL'], short)
  b.jump(read)
  b.place(short)
  b.call('lseek', stderr, 0, k.SEEK_SET)
  b.place(read)
  return { tail, shown: c.read(b, stderr, text) }
}

/** What the hook's process does last. */
interface Last {
  /** Where the vectors of a large hook are. */
  base: number
  home: string | null
  /** Loads the filter of the program. */
  loading: (() => Loading) | null
}

/**
 * Plans the child that becomes the hook. If it fails to, it writes the reason into the verdict and ends. It must not answer, for the
 * session is its parent's.
 */
function planExecution(
  b: Batch,
  hook: Prepared,
  streams: readonly c.Fd[],
  umask: number | null,
  folder: string | null,
  { base, home, loading }: Last,
): void {
  const failed = b.label()
  const must = (step: Step): Step => step.on(ANY, failed).keep(HookSlot.RESULT)
  // Out of the way of the standard streams, which the caller of runt may have left closed.
  must(c.fcntl(b, slot(HookSlot.VERDICT), k.F_DUPFD_CLOEXEC, 3))
  b.set(HookSlot.VERDICT, slot(HookSlot.RESULT))
  const moved = streams.map((fd) => must(c.fcntl(b, fd, k.F_DUPFD_CLOEXEC, 3)))
  moved.forEach((fd, stream) => {
    must(b.call('dup3', fd, stream, 0))
  })
  must(b.call('close_range', 3, 0xffff_ffff, k.CLOSE_RANGE_CLOEXEC))
  must(c.sigprocmask(b, k.SIG_SETMASK, 0n))
  c.defaultActions(b, SIGNAL)
  if (umask !== null) c.umask(b, umask)
  if (folder !== null) {
    // The bundle may be gone by the time of poststop hooks.
    const gone = b.label()
    c.chdir(b, folder).on(ANY, gone)
    b.place(gone)
  }
  for (const step of loading?.() ?? []) must(step)
  const report = b.data(new Uint8Array(16))
  b.store(64, at(report, 8), 1)
  const args = argsOf(hook)
  const envp = envAt(base, args)
  if (hook.ofProgram) b.store(64, envp + hook.env.length * 8, home ?? 0)
  if (isLarge(hook)) must(b.call('execve', hook.path, base, envp))
  else must(b.call('execve', hook.path, b.strings(args), b.strings(hook.env)))
  b.place(failed)
  const end = b.label()
  b.store(64, report, slot(HookSlot.RESULT))
  b.call('pwrite64', slot(HookSlot.VERDICT), report, report.length, 0).on(ANY, end)
  b.place(end)
  c.exitGroup(b, NOT_EXECUTED)
}

/** What went wrong with a hook, in one line; null if nothing did. */
function judge(outcome: Outcome, answer: Answer): string | null {
  const { about, timeout, info, verdict, stderr } = outcome
  const status = answer.word(info, k.SI_STATUS)
  const exited = answer.word(info, k.SI_CODE) === k.CLD_EXITED
  if (exited && status === 0) return null
  if ((answer.value(outcome.judged) ?? 0) === verdict.length) {
    const doing = answer.long(verdict, 8) === 0n ? 'it cannot be prepared' : 'execve'
    return `${about}: ${doing}: ${describeErrno(-answer.word(verdict))}`
  }
  const ending =
    answer.value(outcome.timedOut) !== undefined
      ? `it took longer than its timeout of ${timeout} s, and was killed`
      : exited
        ? `exit status ${status}`
        : `ended by signal ${k.signalName(status)}`
  if (outcome.shown === null || outcome.tail === null) return `${about}: ${ending}; its stderr is in ${outcome.kept}`
  const text = oneLine(answer.bytes(stderr, answer.value(outcome.shown) ?? 0), (answer.value(outcome.tail) ?? 0) > 0)
  return `${about}: ${ending}${text && `; its stderr: ${text}`}`
}

/** Text of a hook's for a message of one line; `cut`: the beginning is missing. */
function oneLine(bytes: Uint8Array, cut: boolean): string {
  let from = 0
  // Not in the middle of a character.
  if (cut) while (from < 4 && (bytes[from]! & 0xc0) === 0x80) from++
  const text = decodeUtf8(bytes.subarray(from))
    .replace(/[\s\x00-\x1f\x7f]+/g, ' ')
    .trim()
  return cut ? `… ${text}` : text
}
