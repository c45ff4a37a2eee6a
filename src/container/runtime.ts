/** What every command works with, and the shapes of the commands themselves. */
import type { Platform } from '../base/platform.ts'
import type { Batch, Step } from '../session/batch.ts'
import type { Session } from '../session/session.ts'

/** Who makes the cgroups of containers; `disabled`: nobody, they stay in the caller's. */
export type CgroupManager = 'cgroupfs' | 'systemd' | 'disabled'

/** Flags that stand before the command. */
export interface Globals {
  /** Folder of the containers' state, absolute. */
  root: string
  /** Whether debug messages go anywhere. */
  debug: boolean
  cgroupManager: CgroupManager
  /** Whether refusals of cgroups are no mistake. */
  rootless: boolean | 'auto'
}

export interface Runtime {
  readonly platform: Platform
  readonly host: Session
  readonly stage: Session
  readonly init: Session
  readonly globals: Globals
  /** Goes to the log at level warning. */
  warn(message: string): void
  /** Goes to the log at level debug. */
  debug(message: string): void
  /** To be called before the host is given its last batch: nothing can be logged after it. */
  lastWords(): void
}

/** Options of `create`, `run` and `run --detach`. */
export interface CreateOptions {
  id: string
  /** As given; relative to the working folder. */
  bundle: string
  /** Takes the place of config.json in the bundle; as given, relative to the working folder. */
  config: string | null
  pidFile: string | null
  consoleSocket: string | null
  pidfdSocket: string | null
  preserveFds: number
  /** Descriptors from 3 on that systemd hands to the program (sd_listen_fds(3)), before the preserved ones; 0 for none. */
  listenFds: number
  /** $NOTIFY_SOCKET, sd_notify(3). */
  notifySocket: string | null
  noPivot: boolean
  noNewKeyring: boolean
}

/** What is not asked for. */
export const CREATE_DEFAULTS: Omit<CreateOptions, 'id' | 'bundle'> = {
  config: null,
  pidFile: null,
  consoleSocket: null,
  pidfdSocket: null,
  preserveFds: 0,
  listenFds: 0,
  notifySocket: null,
  noPivot: false,
  noNewKeyring: false,
}

export interface RunOptions extends CreateOptions {
  detach: boolean
  /** Leave the state of the container when it ended. */
  keep: boolean
}

/** Options of `exec`. Null and empty lists leave the container's own process as it is. */
export interface ExecOptions {
  id: string
  /** Program and arguments. */
  command: readonly string[]
  /** File with the process section of a config.json, `-` for standard input; it takes the place of the container's own process. */
  process: string | null
  cwd: string | null
  /** `KEY=VALUE`, instead of the entry with this key if there is one. */
  env: readonly string[]
  user: { uid: number; gid: number | null } | null
  additionalGids: readonly number[]
  /** For the bounding, effective and permitted sets; for the ambient one where the container has them inheritable. */
  capabilities: readonly string[]
  noNewPrivileges: boolean
  apparmorProfile: string | null
  selinuxLabel: string | null
  terminal: boolean
  consoleSocket: string | null
  pidfdSocket: string | null
  detach: boolean
  pidFile: string | null
  preserveFds: number
  /** Cgroups below the container's: `PATH`, or `CONTROLLER[,CONTROLLER]:PATH`. */
  cgroups: readonly string[]
  ignorePaused: boolean
}

/** What is not asked for. */
export const EXEC_DEFAULTS: Omit<ExecOptions, 'id' | 'command'> = {
  process: null,
  cwd: null,
  env: [],
  user: null,
  additionalGids: [],
  capabilities: [],
  noNewPrivileges: false,
  apparmorProfile: null,
  selinuxLabel: null,
  terminal: false,
  consoleSocket: null,
  pidfdSocket: null,
  detach: false,
  pidFile: null,
  preserveFds: 0,
  cgroups: [],
  ignorePaused: false,
}

export type Status = 'creating' | 'created' | 'running' | 'stopped' | 'paused'

/** What `state` prints (runtime-spec, runtime.md, State), with the extra fields that runc has and engines read. */
export interface StateView {
  ociVersion: string
  id: string
  pid: number
  status: Status
  bundle: string
  rootfs: string
  /** RFC 3339, UTC, nanoseconds as zeros. */
  created: string
  annotations?: Record<string, string>
  /** Name of the user who made it; `#` and the uid where it has none. */
  owner: string
}

/** Plans, in the host, to find the pid of the process that was called. On Node the executor is a child of that. */
export const callerPid = (b: Batch, engine: Platform['engine']): Step =>
  b.call(engine === 'node' ? 'getppid' : 'getpid')
