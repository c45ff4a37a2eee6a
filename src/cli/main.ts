/** The command line: reads it, carries the command out, tells what went wrong. */
import { RuntError } from '../base/errors.ts'
import { stringifyJson } from '../base/json.ts'
import { demandFolder } from '../base/paths.ts'
import type { Platform } from '../base/platform.ts'
import { COMMIT, SPEC_VERSION, VERSION } from '../base/version.ts'
import { create } from '../container/create.ts'
import { remove } from '../container/delete.ts'
import { type Event, measure, statsEvent, watch } from '../container/events.ts'
import { exec } from '../container/exec.ts'
import { features } from '../container/features.ts'
import { checkId } from '../container/id.ts'
import { kill } from '../container/kill.ts'
import { list, listIds } from '../container/list.ts'
import { notifySocketOf } from '../container/notify.ts'
import { pause, resume } from '../container/pause.ts'
import { hostTable, look, pidsOf } from '../container/ps.ts'
import { run } from '../container/run.ts'
import {
  type CgroupManager,
  type CreateOptions,
  callerPid,
  type ExecOptions,
  type Runtime,
} from '../container/runtime.ts'
import { openSessions, type Sessions } from '../container/sessions.ts'
import { start } from '../container/start.ts'
import { state } from '../container/state.ts'
import { update } from '../container/update.ts'
import { signalNumber } from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import type { CommandName } from './commands.ts'
import { parseDuration } from './duration.ts'
import { Log, type LogTarget } from './log.ts'
import { quote, UsageError } from './normalise.ts'
import { type Invocation, type Options, parseCommand, parseGlobals, programHelp } from './parse.ts'
import { absolute, defaultRoot, findOwnFolder, findPlace, type Place } from './place.ts'
import { resourcesOf } from './resources.ts'
import { writeSpec } from './spec.ts'
import { listTable, processTable } from './table.ts'
import { CallLog, drawFile, observe, Stopwatch, writeTrace } from './trace.ts'

/** Exit status for a mistake of the user's or a refusal of the kernel's; and for a bug of runt's. */
const FAILED = 1
const BROKEN = 255
/** As FAILED, for commands that pass on the exit status of a program: runc's choice, so that the two can be told apart. */
const FAILED_BY: Partial<Record<CommandName, number>> = { exec: 255 }

/** A command failed. */
class CommandError extends RuntError {
  readonly status: number

  /** Errors start with the command (docs/design.md, section 4). */
  constructor(command: CommandName, cause: RuntError) {
    super(`${command}: ${cause.message}`, cause.errno)
    this.status = FAILED_BY[command] ?? FAILED
  }
}

/** One run of the program. */
class Program {
  readonly platform: Platform
  readonly log: Log
  #sessions: Sessions | null = null
  #place: Place | null = null

  constructor(platform: Platform) {
    this.platform = platform
    this.log = new Log(platform, () => this.sessions.host)
  }

  /** Opened when first needed: `--help` needs none. */
  get sessions(): Sessions {
    this.#sessions ??= openSessions(this.platform)
    return this.#sessions
  }

  get place(): Place {
    this.#place ??= findPlace(this.sessions.host, this.platform.machine)
    return this.#place
  }

  absolute(path: string): string {
    if (path.startsWith('/')) return path
    const { cwd } = this.place
    demandFolder(cwd, path)
    return absolute(path, cwd)
  }

  /** Tells what was observed, if anything was. To tell it takes system calls itself, so the observing ends first. */
  tellTrace(failed = false): void {
    const tell = this.#trace
    this.#trace = null
    tell?.(failed)
  }
  #trace: ((failed: boolean) => void) | null = null

  #observe(command: CommandName, debug: boolean, file: string | null): void {
    const calls = debug ? new CallLog() : null
    const watch = file === null ? null : new Stopwatch(() => this.platform.now())
    const path = file === null ? '' : this.absolute(file)
    const stop = observe(
      this.sessions,
      [calls, watch].filter((one) => one !== null),
    )
    this.#trace = (failed) => {
      stop()
      for (const line of calls?.lines ?? []) this.log.debug(line)
      if (!watch) return
      const { host } = this.sessions
      const { machine } = this.platform
      try {
        if (failed) host.recover(new Batch(machine))
        writeTrace(host, machine, path, `runt ${command}`, watch.spans())
      } catch (error) {
        if (!(error instanceof RuntError)) throw error
        this.log.warning(error.message)
      }
    }
  }

  /** What the commands of a container's life work with. */
  runtime(globals: Options, command: CommandName): Runtime {
    const debug = wantsDebug(globals)
    const trace = globals.text('trace')
    if (debug || trace !== null) this.#observe(command, debug, trace)
    const root = globals.text('root')
    const manager = globals.text('cgroup-manager')
    const rootless = globals.text('rootless')
    return {
      platform: this.platform,
      ...this.sessions,
      globals: {
        root:
          root === null
            ? defaultRoot(this.place, this.platform.getenv, (uid) =>
                findOwnFolder(this.sessions.host, this.platform.machine, uid),
              )
            : this.absolute(root),
        debug,
        rootless: rootless === 'auto' ? 'auto' : rootless === 'true',
        cgroupManager: (manager as CgroupManager | null) ?? (globals.flag('systemd-cgroup') ? 'systemd' : 'cgroupfs'),
      },
      warn: (message) => this.log.warning(message),
      debug: (message) => this.log.debug(message),
      lastWords: () => this.tellTrace(),
    }
  }
}

type Status = number | Promise<number>

/** What a command of a container's life does. Gives the exit status. */
type Action = (runtime: Runtime, options: Options, operands: readonly string[]) => Status

const actions: Record<Exclude<CommandName, 'help' | 'spec' | 'trace' | 'checkpoint' | 'restore'>, Action> = {
  features({ platform }) {
    platform.stdout(`${stringifyJson(features(platform.machine), 2)}\n`)
    return 0
  },
  create(runtime, options, [id]) {
    create(runtime, createOptions(runtime, id!, options))
    return 0
  },
  start(runtime, _options, [id]) {
    checkId(id!)
    start(runtime, id!, notifySocketOf(runtime.platform))
    return 0
  },
  state(runtime, _options, [id]) {
    checkId(id!)
    runtime.platform.stdout(`${stringifyJson(state(runtime, id!), 2)}\n`)
    return 0
  },
  kill(runtime, options, [id, name = 'SIGTERM']) {
    const signal = signalNumber(name)
    if (signal === null) throw new RuntError(`unknown signal ${quote(name)}`)
    forAll(runtime, wantedIds(runtime, options, [id!]), (each) => kill(runtime, each, signal, options.flag('all')))
    return 0
  },
  delete(runtime, options, ids) {
    forAll(runtime, wantedIds(runtime, options, ids), (id) => remove(runtime, id, options.flag('force')))
    return 0
  },
  run(runtime, options, [id]) {
    return run(runtime, {
      ...createOptions(runtime, id!, options),
      detach: options.flag('detach'),
      keep: options.flag('keep'),
    })
  },
  exec(runtime, options, [id, ...words]) {
    checkId(id!)
    return exec(runtime, execOptions(id!, words, options))
  },
  pause(runtime, _options, [id]) {
    checkId(id!)
    pause(runtime, id!)
    return 0
  },
  resume(runtime, _options, [id]) {
    checkId(id!)
    resume(runtime, id!)
    return 0
  },
  update(runtime, options, [id]) {
    checkId(id!)
    update(runtime, {
      id: id!,
      file: options.text('resources'),
      resources: resourcesOf(options),
      l3CacheSchema: options.text('l3-cache-schema'),
      memBwSchema: options.text('mem-bw-schema'),
    })
    return 0
  },
  ps(runtime, options, [id, ...words]) {
    checkId(id!)
    const { format, rest } = psFormat(options.text('format')!, words)
    const pids = pidsOf(runtime, id!)
    if (format === 'json') {
      runtime.platform.stdout(`${stringifyJson(pids)}\n`)
      return 0
    }
    const table = hostTable(runtime, pids, rest)
    if (table === null && rest.length > 0) throw new RuntError('no program ps in $PATH, to which the options would go')
    runtime.platform.stdout(table ?? processTable(look(runtime, pids)))
    return 0
  },
  events(runtime, options, [id]) {
    checkId(id!)
    const interval = intervalOf(options)
    const tell = (event: Event): void => runtime.platform.stdout(`${stringifyJson(event)}\n`)
    if (options.flag('stats')) tell(statsEvent(id!, measure(runtime, id!)))
    else watch(runtime, id!, interval, tell)
    return 0
  },
  list(runtime, options) {
    runtime.platform.stdout(
      options.flag('quiet')
        ? listIds(runtime)
            .map((id) => `${id}\n`)
            .join('')
        : options.text('format') === 'json'
          ? `${stringifyJson(list(runtime))}\n`
          : listTable(list(runtime)),
    )
    return 0
  },
}

/** The ids themselves, or with --regex those of all containers that one of them matches. */
function wantedIds(runtime: Runtime, options: Options, ids: readonly string[]): readonly string[] {
  if (!options.flag('regex')) {
    for (const id of ids) checkId(id)
    return ids
  }
  const patterns = ids.map((id) => {
    try {
      return new RegExp(id, 'u')
    } catch {
      throw new RuntError(`--regex: ${quote(id)} is no regular expression`)
    }
  })
  return listIds(runtime).filter((id) => patterns.some((pattern) => pattern.test(id)))
}

/** One that fails does not keep the others from what is to be done. */
function forAll(runtime: Runtime, ids: readonly string[], action: (id: string) => void): void {
  const failures: string[] = []
  for (const id of ids) {
    try {
      action(id)
    } catch (error) {
      if (!(error instanceof RuntError) || ids.length === 1) throw error
      failures.push(error.message)
      runtime.host.recover(new Batch(runtime.platform.machine))
    }
  }
  if (failures.length > 0) throw new RuntError(failures.join('; '))
}

function createOptions(runtime: Runtime, id: string, options: Options): CreateOptions {
  checkId(id)
  return {
    id,
    bundle: options.text('bundle')!,
    config: options.text('config'),
    pidFile: options.text('pid-file'),
    consoleSocket: options.text('console-socket'),
    pidfdSocket: options.text('pidfd-socket'),
    preserveFds: options.count('preserve-fds'),
    listenFds: listenFds(runtime),
    notifySocket: notifySocketOf(runtime.platform),
    noPivot: options.flag('no-pivot'),
    noNewKeyring: options.flag('no-new-keyring'),
  }
}

function execOptions(id: string, command: readonly string[], options: Options): ExecOptions {
  const user = options.text('user')
  const ids = user === null ? null : /^(\d{1,10})(?::(\d{1,10}))?$/.exec(user)
  if (user !== null && !ids) throw new UsageError('exec', `flag --user: ${quote(user)} is neither UID nor UID:GID`)
  const process = options.text('process')
  if (process === null && command.length === 0)
    throw new UsageError('exec', 'no program: name one after the id, or a file with --process')
  return {
    id,
    command,
    process,
    cwd: options.text('cwd'),
    env: options.list('env'),
    user: ids && { uid: Number(ids[1]), gid: ids[2] === undefined ? null : Number(ids[2]) },
    additionalGids: options.list<number>('additional-gids'),
    capabilities: options.list('cap'),
    noNewPrivileges: options.flag('no-new-privs'),
    apparmorProfile: options.text('apparmor'),
    selinuxLabel: options.text('process-label'),
    terminal: options.flag('tty'),
    consoleSocket: options.text('console-socket'),
    pidfdSocket: options.text('pidfd-socket'),
    detach: options.flag('detach'),
    pidFile: options.text('pid-file'),
    preserveFds: options.count('preserve-fds'),
    cgroups: options.list('cgroup'),
    ignorePaused: options.flag('ignore-paused'),
  }
}

/** What stands behind the id goes to ps(1), which takes neither of these formats: it is ours there, too. */
function psFormat(format: string, words: readonly string[]): { format: string; rest: readonly string[] } {
  const found = /^(?:-f|--format)([ =])(table|json)(?: |$)/.exec(words.join(' '))
  return found ? { format: found[2]!, rest: words.slice(found[1] === ' ' ? 2 : 1) } : { format, rest: words }
}

/** Nanoseconds. */
function intervalOf(options: Options): number {
  const text = options.text('interval')!
  const interval = parseDuration(text)
  if (interval === null)
    throw new UsageError('events', `flag --interval: ${quote(text)} is no duration such as 5s, 1m30s or 100ms`)
  if (interval <= 0) throw new UsageError('events', `flag --interval: ${quote(text)} is not greater than 0`)
  return interval
}

/**
 * How many descriptors systemd has opened for us, sd_listen_fds(3): $LISTEN_FDS, if $LISTEN_PID is us. Who starts a runtime by a program
 * of his own does not know its pid beforehand; so none counts as ours too, as for crun.
 */
function listenFds({ platform, host }: Runtime): number {
  const count = platform.getenv('LISTEN_FDS')
  if (!count || !/^\d{1,4}$/.test(count)) return 0
  const pid = platform.getenv('LISTEN_PID')
  if (!pid) return Number(count)
  const batch = new Batch(platform.machine)
  const self = callerPid(batch, platform.engine)
  return host.run(batch).value(self) === Number(pid) ? Number(count) : 0
}

/** Carries out a command line. Returns the exit status; errors are told, not thrown. */
export function main(platform: Platform): Status {
  const program = new Program(platform)
  try {
    const status = execute(program)
    program.tellTrace()
    return typeof status === 'number' ? status : status.catch((error: unknown) => report(program.log, error))
  } catch (error) {
    program.tellTrace(true)
    return report(program.log, error)
  }
}

function report(log: Log, error: unknown): number {
  if (error instanceof RuntError) {
    log.error(error.message)
    return error instanceof CommandError ? error.status : FAILED
  }
  log.crash(error)
  return BROKEN
}

function wantsDebug(globals: Options): boolean {
  return globals.flag('debug') || globals.text('log-level') === 'debug'
}

/** A path, or as for crun `file:PATH`, `journald:NAME` or `syslog:NAME`. */
function logTarget(program: Program, globals: Options): LogTarget | null {
  const text = globals.text('log')
  if (text === null) return null
  const [, kind, name] = /^(file|journald|syslog):(.*)$/s.exec(text) ?? []
  if (kind === undefined) return { kind: 'file', name: program.absolute(text) }
  if (kind === 'journald' || kind === 'syslog') {
    if (!/^[\x21-\x7e]{0,64}$/.test(name!))
      throw new UsageError(null, `flag --log: ${quote(name!)}: a name has up to 64 letters, and no blanks`)
    return { kind, name: name || 'runt' }
  }
  if (!name) throw new UsageError(null, `flag --log: ${quote(text)} names no file`)
  return { kind: 'file', name: program.absolute(name) }
}

function execute(program: Program): Status {
  const { platform, log } = program
  const { options: globals, rest } = parseGlobals(platform.args)
  const print = (text: string): number => {
    platform.stdout(text)
    return 0
  }
  if (globals.flag('help')) return print(programHelp())
  if (globals.flag('version')) return print(versionText(platform))

  log.configure({
    target: logTarget(program, globals),
    format: globals.text('log-format') === 'json' ? 'json' : 'text',
    debug: wantsDebug(globals),
    quiet: globals.text('log-level') === 'error',
  })
  const invocation = parseCommand(rest)
  if (typeof invocation === 'string') return print(invocation)
  try {
    const status = carryOut(program, globals, invocation)
    return typeof status === 'number' ? status : status.catch((error) => Promise.reject(within(invocation, error)))
  } catch (error) {
    throw within(invocation, error)
  }
}

function carryOut(program: Program, globals: Options, { command, options, operands }: Invocation): Status {
  switch (command) {
    // The parser has answered them.
    case 'help':
    case 'checkpoint':
    case 'restore':
      return 0
    case 'spec':
      writeSpec(
        program.sessions.host,
        program.platform.machine,
        absolute(options.text('file')!, options.text('bundle')!),
        options.flag('rootless'),
      )
      return 0
    case 'trace': {
      const file = program.absolute(operands[0]!)
      program.platform.stdout(`${drawFile(program.sessions.host, program.platform.machine, file)}\n`)
      return 0
    }
    default:
      return actions[command](program.runtime(globals, command), options, operands)
  }
}

function within({ command }: Invocation, error: unknown): unknown {
  if (!(error instanceof RuntError) || error instanceof UsageError) return error
  return new CommandError(command, error)
}

function versionText(platform: Platform): string {
  const commit = COMMIT === '' ? '' : `commit: ${COMMIT}\n`
  return `runt version ${VERSION}\n${commit}spec: ${SPEC_VERSION}\nengine: ${platform.engine}\n`
}
