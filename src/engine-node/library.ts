/**
 * runt as a library for Node.js.
 *
 * Every call has an executor of its own, a process of a few pages. A call occupies this thread for the milliseconds that it takes; what a
 * container's program takes, it does not. Errors are RuntErrors with one line for people; calls that return promises reject with them.
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
  /** Folder of the containers' state, absolute. Default: /run/runt, or for other users than root runt in $XDG_RUNTIME_DIR. */
  root?: string
  /** Who manages control groups; `cgroupsPath` is then to be `slice:prefix:name` for systemd. */
  cgroupManager?: Globals['cgroupManager']
  /** Get along without what may not be done to control groups; `auto`, the default: where the caller is not root of the host. */
  rootless?: Globals['rootless']
  /** Gets messages that no call fails for; otherwise nobody does. */
  warn?: (message: string) => void
}

export interface BundleOptions {
  /** Folder with config.json. */
  bundle: string
  /** AF_UNIX socket that receives the master end of the terminal, where `process.terminal` is true. */
  consoleSocket?: string
  pidFile?: string
}

export interface RunOptions {
  bundle: string
  /** Leave the state when the container has ended. */
  keep?: boolean
  /** As `stdio` of node:child_process; default `pipe`. */
  stdio?: Stdio
}

export interface ExecuteOptions {
  /** Program and arguments, in the place of the container's own. */
  args: readonly string[]
  cwd?: string
  /** `key=value`, added to those of the container's process. */
  env?: readonly string[]
  user?: { uid: number; gid?: number }
  stdio?: Stdio
}

/** A program that runs. */
export interface Running {
  /** null unless they are pipes. */
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  readonly stderr: Readable | null
  /** Its exit status, or 128 + n where signal n ended it. */
  readonly status: Promise<number>
}

/** A container runtime with its state in one folder. */
export class Runt {
  readonly #options: RuntOptions

  constructor(options: RuntOptions = {}) {
    this.#options = options
  }

  /** Sets a container up; its program waits for `start` (runtime.md, "Create"). */
  create(id: string, options: BundleOptions): void {
    checkId(id)
    this.#call((runtime) => create(runtime, { ...CREATE_DEFAULTS, ...options, id }))
  }

  /** Lets the program of a created container run. */
  start(id: string): void {
    checkId(id)
    this.#call((runtime) => start(runtime, id, null))
  }

  /** Creates a container and starts it. It is deleted when its program ends. Throws when it cannot be made. */
  run(id: string, { bundle, keep = false, stdio = 'pipe' }: RunOptions): Running {
    checkId(id)
    return this.#foreground(stdio, (runtime) => run(runtime, { ...CREATE_DEFAULTS, id, bundle, keep, detach: false }))
  }

  /** Runs one more program in a container. Throws when it cannot be executed. */
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

  state(id: string): StateView {
    checkId(id)
    return this.#call((runtime) => state(runtime, id))
  }

  list(): StateView[] {
    return this.#call(list)
  }

  /** Process ids of the host of all processes in a container. */
  processes(id: string): number[] {
    checkId(id)
    return this.#call((runtime) => pidsOf(runtime, id))
  }

  /** `signal` as kill(1) takes it, or a number. */
  kill(id: string, signal: NodeJS.Signals | number = 'SIGTERM', { all = false } = {}): void {
    checkId(id)
    const number = k.signalNumber(String(signal))
    if (number === null) throw new RuntError(`unknown signal ${JSON.stringify(signal)}`)
    this.#call((runtime) => kill(runtime, id, number, all))
  }

  /** With `force` a container that runs is killed, and one that is not there is no error. */
  delete(id: string, { force = false } = {}): void {
    checkId(id)
    this.#call((runtime) => remove(runtime, id, force))
  }

  pause(id: string): void {
    checkId(id)
    this.#call((runtime) => pause(runtime, id))
  }

  resume(id: string): void {
    checkId(id)
    this.#call((runtime) => resume(runtime, id))
  }

  /** Changes limits; what is not given stays. */
  update(id: string, resources: Resources): void {
    checkId(id)
    this.#call((runtime) => update(runtime, { id, file: null, resources, l3CacheSchema: null, memBwSchema: null }))
  }

  /** Resolves when the container's init has ended; at once if it has already. Rejects when there is no such container. */
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
    // The executor ends with the program's status, or answers and is ended then.
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
