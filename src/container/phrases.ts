/**
 * Sentences that engines look for in what a runtime says. They tell errors apart by parts of the text, since the
 * runtime-spec has no error codes; so these parts are an interface and must stay. Each function names its readers.
 */
import type { Status } from './runtime.ts'

/** containerd (shim, `does not exist`: not found), CRI-O and podman (`does not exist`). */
export const unknownId = (id: string): string => `container does not exist: ${id}`

/** containerd and CRI-O (`already exists`). */
export const existingId = (id: string): string => `container with given ID already exists: ${id}`

/**
 * For a signal to a container whose process has ended. containerd (shim, checkKillError: `container not running`,
 * `os: process already finished` or `no such process` mean that there is nothing left to kill).
 */
export const notRunning = (id: string): string => `container not running: ${id}`

/** For `pause`: runc's words, `container not running`, with what is the matter behind them. */
export const cannotPause = (id: string, status: Status): string => `${notRunning(id)}: it is ${status}`

/** For `resume`: runc's words, `container not paused`. */
export const notPaused = (id: string, status: Status): string => `container not paused: ${id}: it is ${status}`

/** For `start` of a container that is not in the state `created`. The texts of runc, which test suites compare. */
export function cannotStart(status: Status): string {
  if (status === 'running') return 'cannot start an already running container'
  if (status === 'stopped') return 'cannot start a container that has stopped'
  return `cannot start a container in the ${status} state`
}

/** For `exec`. The texts of runc, which test suites compare. */
export function cannotExec(status: Status): string {
  if (status === 'stopped') return 'cannot exec in a stopped container'
  if (status === 'paused') return 'cannot exec in a paused container (use --ignore-paused to override)'
  return `cannot exec in a container in the ${status} state`
}

/** For `events` of a container whose process has ended. The text of runc. */
export const cannotWatch = (id: string): string => `container with id ${id} is not running`

/** For `delete` without --force. Test suites of engines look for `is not stopped`. */
export const cannotDelete = (id: string, status: Status): string =>
  `cannot delete container ${id} that is not stopped: ${status}; --force kills it first`

/**
 * The program of `process.args[0]` is missing. docker looks for the name as the user gave it and for `executable file
 * not found` or `no such file or directory`, podman for the same two without the name: exit status 127.
 */
export function programMissing(name: string): string {
  const why = name.includes('/') ? 'no such file or directory' : 'executable file not found in $PATH'
  return `exec: ${JSON.stringify(name)}: ${why}`
}

/** The program may not be executed, or is a folder. docker and podman look for `permission denied`: exit status 126. */
export const programDenied = (name: string, path = name): string =>
  `exec: ${JSON.stringify(name)}: permission denied: ${path} is a folder, or lacks the x bit for this user`

/** The kernel knows no way to execute the program (ENOEXEC). */
export const programForeign = (name: string): string =>
  `exec: ${JSON.stringify(name)}: exec format error: neither a program for this machine nor a script with a #! line`
