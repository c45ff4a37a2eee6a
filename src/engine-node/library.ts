/**
 * runt as a library for Node.js: the class `Runt`.
 *
 * Calls are synchronous: each starts an executor of its own, a process of a few pages, and occupies this thread for the milliseconds that
 * the command takes. The programs of containers run beside it; what waits for them is a promise. Errors are thrown as RuntErrors, with one
 * line for people; promises reject with them.
 */
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { RuntError } from '../base/errors.ts'
import { defaultRoot, findOwnFolder, findPlace } from '../cli/place.ts'
import type { Config, Process, Resources } from '../config/types.ts'
import { create } from '../container/create.ts'
import { remove } from '../container/delete.ts'
import { exec } from '../container/exec.ts'
import { checkId } from '../container/id.ts'
import { kill } from '../container/kill.ts'
import { list } from '../container/list.ts'
import { pause, resume } from '../container/pause.ts'
import { pidsOf } from '../container/ps.ts'
import { run } from '../container/run.ts'
import {
  CREATE_DEFAULTS,
  EXEC_DEFAULTS,
  type ExecOptions,
  type Globals,
  type Runtime,
  type StateView,
} from '../container/runtime.ts'
import { openSessions } from '../container/sessions.ts'
import { start } from '../container/start.ts'
import { state } from '../container/state.ts'
import { update } from '../container/update.ts'
import * as k from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import { type NodePlatform, openPlatform, type Stdio } from './platform.ts'

export type { Config, Process, Resources, StateView }

export interface RuntOptions {
  /** Folder of the containers' state, an absolute path. Default: /run/runt, for other users than root `$XDG_RUNTIME_DIR/runt`. */
  root?: string
  /** Who manages control groups; default `cgroupfs`. With `systemd`, `linux.cgroupsPath` has the form `slice:prefix:name`. */
  cgroupManager?: Globals['cgroupManager']
  /** Go on if the caller has no permission for control groups. Default `auto`: only if the caller is not root of the host. */
  rootless?: Globals['rootless']
  /** Is called with warnings: one line about something that did not make a call fail. Without it they are dropped. */
  warn?: (message: string) => void
}

export interface BundleOptions {
  /** Folder with config.json. */
  bundle: string
  /** Path of the AF_UNIX socket that receives the master end of the terminal, if `process.terminal` is true. */
  consoleSocket?: string
  /** File to which the process id of the container's init is written. */
  pidFile?: string
}

export interface RunOptions {
  /** Folder with config.json. */
  bundle: string
  /** Do not delete the container after its end; default false. */
  keep?: boolean
  /** Standard streams of the program, as `stdio` of node:child_process; default `pipe`. */
  stdio?: Stdio
}

export interface ExecuteOptions {
  /** Program and arguments. */
  args: readonly string[]
  /** Working folder in the container; default: that of the container's own process. */
  cwd?: string
  /** `key=value`, added to those of the container's process. */
  env?: readonly string[]
  /** Default: the user of the container's own process. */
  user?: { uid: number; gid?: number }
  /** Standard streams of the program, as `stdio` of node:child_process; default `pipe`. */
  stdio?: Stdio
}

/** A program that runs in a container. */
export interface Running {
  /** Its standard streams; null if they are no pipes. */
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
  /** Resolves when it has ended: with its exit status, or 128 + n if signal n ended it. */
  readonly status: Promise<number>
}

/** A program whose standard streams are all pipes, which is the default. */
export interface Piped extends Running {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
}

/**
 * A container runtime with its state in one folder.
 *
 *     const runt = new Runt()
 *     const program = runt.run('id', { bundle: '/path/to/bundle' })
 *     for await (const chunk of program.stdout) process.stdout.write(chunk)
 *     console.log(await program.status)
 */
export class Runt {
  readonly #options: RuntOptions

  constructor(options: RuntOptions = {}) {
    this.#options = options
  }

  /** Sets a container up; its program waits for `start` (runtime.md, "Create"). On failure nothing of it is left. */
  create(id: string, options: BundleOptions): void {
    checkId(id)
    this.#call((runtime) => create(runtime, { ...CREATE_DEFAULTS, ...options, id }))
  }

  /** Lets the program of a created container run. Returns when it is being executed; throws if it cannot be. */
  start(id: string): void {
    checkId(id)
    this.#call((runtime) => start(runtime, id, null))
  }

  /** Creates a container and starts its program. The container is deleted when that has ended. Throws if it cannot be made. */
  run(id: string, options: RunOptions & { stdio?: 'pipe' }): Piped
  run(id: string, options: RunOptions): Running
  run(id: string, { bundle, keep = false, stdio = 'pipe' }: RunOptions): Running {
    checkId(id)
    return this.#foreground(stdio, (runtime) => run(runtime, { ...CREATE_DEFAULTS, id, bundle, keep, detach: false }))
  }

  /** Runs one more program in a container that is created or running. Throws if it cannot be executed. */
  exec(id: string, options: ExecuteOptions & { stdio?: 'pipe' }): Piped
  exec(id: string, options: ExecuteOptions): Running
  exec(id: string, { args, cwd, env = [], user, stdio = 'pipe' }: ExecuteOptions): Running {
    checkId(id)
    const options: ExecOptions = {
      ...EXEC_DEFAULTS,
      id,
      command: args,
      cwd: cwd ?? null,
      env,
      user: user ? { uid: user.uid, gid: user.gid ?? null } : null,
    }
    return this.#foreground(stdio, (runtime) => exec(runtime, options))
  }

  /** The state of a container (runtime.md, "State"), with the fields that runc adds. Throws if there is none of this id. */
  state(id: string): StateView {
    checkId(id)
    return this.#call((runtime) => state(runtime, id))
  }

  /** The states of all containers, by id. */
  list(): StateView[] {
    return this.#call(list)
  }

  /** The process ids, as the host sees them, of all processes in a container. */
  processes(id: string): number[] {
    checkId(id)
    return this.#call((runtime) => pidsOf(runtime, id))
  }

  /** Sends a signal to the container's init; with `all` to all its processes. Throws if the container has stopped. */
  kill(id: string, signal: NodeJS.Signals | number = 'SIGTERM', { all = false } = {}): void {
    checkId(id)
    const number = k.signalNumber(String(signal))
    if (number === null) throw new RuntError(`unknown signal ${JSON.stringify(signal)}`)
    this.#call((runtime) => kill(runtime, id, number, all))
  }

  /** Removes a stopped container. With `force` one that still runs is killed first, and one that does not exist is no error. */
  delete(id: string, { force = false } = {}): void {
    checkId(id)
    this.#call((runtime) => remove(runtime, id, force))
  }

  /** Stops all processes of a container until `resume`. Returns when they have stopped. */
  pause(id: string): void {
    checkId(id)
    this.#call((runtime) => pause(runtime, id))
  }

  /** Lets a paused container go on. */
  resume(id: string): void {
    checkId(id)
    this.#call((runtime) => resume(runtime, id))
  }

  /** Changes limits, in the form of `linux.resources`. What is not given stays as it is; either all is changed, or nothing. */
  update(id: string, resources: Resources): void {
    checkId(id)
    this.#call((runtime) => update(runtime, { id, file: null, resources, l3CacheSchema: null, memBwSchema: null }))
  }

  /** Resolves when the container's init has ended, at once if it has already. Rejects if there is no such container. */
  async wait(id: string): Promise<void> {
    const { pid, status } = this.state(id)
    if (status === 'stopped') return
    const platform = openPlatform([])
    try {
      const { host } = openSessions(platform)
      const b = new Batch(platform.machine)
      b.patience = Number.POSITIVE_INFINITY
      b.about(`container ${id}: process ${pid}`)
      const gone = b.label()
      const again = b.label()
      const pidfd = b.call('pidfd_open', pid, 0).on(['ESRCH'], gone)
      // struct pollfd: POLLIN is 1.
      const poll = b.data(new Uint8Array([0, 0, 0, 0, 1, 0, 0, 0]))
      b.store(32, poll, pidfd)
      b.place(again)
      b.call('ppoll', poll, 1, 0, 0, 8).on(['EINTR'], again)
      b.place(gone)
      host.send(b)
      await platform.hostAnswers!()
      host.wait(b)
    } finally {
      platform.close()
    }
  }

  #foreground(stdio: Stdio, action: (runtime: Runtime) => number | Promise<number>): Running {
    const node = openPlatform([], stdio)
    const { executor } = node
    // Usually the executor itself ends with the program's status. Where more is to be done afterwards it answers instead.
    const ended = new Promise<number>((resolve) => {
      executor.once('close', (status, signal) => resolve(status ?? 128 + (signal ? constants.signals[signal] : 0)))
    })
    const platform: NodePlatform = { ...node, handOver: () => ended as Promise<never> }
    // Signals of this process are its own business.
    delete platform.expectSignals
    try {
      const outcome = action(this.#runtime(platform))
      executor.ref()
      const status = Promise.resolve(outcome).finally(() => node.close())
      return { stdin: executor.stdin, stdout: executor.stdout, stderr: executor.stderr, status }
    } catch (error) {
      node.close()
      throw error
    }
  }

  #runtime(platform: NodePlatform): Runtime {
    const { warn = () => {} } = this.#options
    const sessions = openSessions(platform)
    const place = findPlace(sessions.host, platform.machine)
    const ownFolder = (uid: number): string => findOwnFolder(sessions.host, platform.machine, uid)
    const root = this.#options.root ?? defaultRoot(place, platform.getenv, ownFolder)
    const { cgroupManager = 'cgroupfs', rootless = 'auto' } = this.#options
    const globals: Globals = { root, debug: false, cgroupManager, rootless }
    return { platform, ...sessions, globals, warn, debug() {}, lastWords() {} }
  }

  #call<T>(action: (runtime: Runtime) => T): T {
    const platform = openPlatform([])
    try {
      return action(this.#runtime(platform))
    } finally {
      platform.close()
    }
  }
}
