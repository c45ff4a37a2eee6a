/**
 * The platform on Node.js: the executor is a child process, executed from a sealed memfd; koffi makes what Node.js
 * cannot make itself.
 *
 * What the caller passed to Node.js (socket activation, --preserve-fds) keeps its numbers in the executor, whose sessions
 * are the three descriptors behind them: 3, 4 and 5 where there are none.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { decodeUtf8, encodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Channel, Machine, Platform } from '../base/platform.ts'
import { stageImage } from '../executor/elf.ts'
import { MESSAGE_MAX } from '../executor/protocol.ts'
import {
  AF_UNIX,
  F_ADD_SEALS,
  F_DUPFD_CLOEXEC,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  MFD_EXEC,
  MSG_NOSIGNAL,
  SOCK_CLOEXEC,
  SOCK_SEQPACKET,
} from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { callError, type Libc, loadLibc } from './libc.ts'

const POLLIN = 1
const POLLOUT = 4
/** Milliseconds between looks at a session while the event loop turns. */
const LOOK_EVERY = 10
/** poll(2) takes an int. */
const LONGEST_POLL = 0x7fff_ffff

/** Signals that a runtime passes on to the container while it waits in the foreground. */
const FORWARDED = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
  'SIGURG',
  'SIGVTALRM',
  'SIGWINCH',
  'SIGIO',
  'SIGPWR',
] as const satisfies readonly NodeJS.Signals[]

export interface NodePlatform extends Platform {
  /** Process id of the host executor. */
  readonly executorPid: number
  /** The executor. A program in the foreground has its standard streams, and ends it with its own exit status. */
  readonly executor: ChildProcess
  /** Ends the sessions, and with them the executor. */
  close(): void
}

/** What stdin, stdout and stderr of the executor are, and so those of programs in the foreground; as node:child_process has it. */
export type Stdio = 'inherit' | 'pipe' | 'ignore' | readonly [StdioEntry, StdioEntry, StdioEntry]
export type StdioEntry = 'inherit' | 'pipe' | 'ignore' | number

function poll(libc: Libc, fd: number, events: number, timeoutMs: number): boolean {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const left = Math.max(0, Math.ceil(deadline - performance.now()))
    const pollfd = new Uint16Array([fd & 0xffff, fd >>> 16, events, 0])
    const ready = libc.poll(pollfd, 1, timeoutMs === Infinity ? -1 : Math.min(left, LONGEST_POLL))
    if (ready > 0) return true
    if (ready === 0 && performance.now() >= deadline) return false
    if (ready < 0 && libc.errno() !== Errno.EINTR) throw callError('poll', libc.errno())
  }
}

function channel(libc: Libc, fd: number, name: string, buffer: Uint8Array): Channel {
  let open = true
  return {
    send(message) {
      while (open && libc.send(fd, message, message.length, MSG_NOSIGNAL) < 0) {
        const code = libc.errno()
        if (code !== Errno.EINTR) throw callError(`the ${name} executor is gone: send`, code)
      }
      if (!open) throw new RuntError(`the session with the ${name} executor is closed`)
    },
    receive(timeoutMs) {
      for (;;) {
        if (!open) return null
        if (!poll(libc, fd, POLLIN, Math.max(0, timeoutMs))) return 'timeout'
        const length = Number(libc.recv(fd, buffer, buffer.length, 0))
        if (length > 0) return buffer.subarray(0, length)
        if (length === 0) return null
        const code = libc.errno()
        if (code === Errno.ECONNRESET) return null
        if (code !== Errno.EINTR) throw callError(`the ${name} executor cannot be heard: recv`, code)
      }
    },
    close() {
      if (open) libc.close(fd)
      open = false
    },
  }
}

function socketPair(libc: Libc): [number, number] {
  const ends = new Int32Array(2)
  if (libc.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) throw callError('socketpair', libc.errno())
  return [ends[0]!, ends[1]!]
}

/** A sealed memfd with these bytes, at a number that spawn does not overwrite; null where programs in memfds may not be executed. */
function memfd(libc: Libc, bytes: Uint8Array): number | null {
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING
  // MFD_EXEC: since Linux 6.3. Earlier kernels answer EINVAL; with vm.memfd_noexec=2 it is EACCES.
  let fd = libc.memfd_create('runt-executor', flags | MFD_EXEC)
  if (fd < 0 && libc.errno() === Errno.EINVAL) fd = libc.memfd_create('runt-executor', flags)
  if (fd < 0) return null
  const moved = libc.fcntl(fd, F_DUPFD_CLOEXEC, 10)
  libc.close(fd)
  if (moved < 0) return null
  if (writeSync(moved, bytes) !== bytes.length) throw new RuntError('memfd: short write')
  libc.fcntl(moved, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
  return moved
}

/**
 * The first descriptor behind stderr that the caller has not passed on to us. Node.js makes all it finds close-on-exec when
 * it starts, so they look like its own; but the first of its own is that of its event loop.
 */
function firstOwn(): number {
  for (let fd = 3; ; fd++) {
    try {
      if (/^anon_inode:\[(?:eventpoll|io_uring)\]/.test(readlinkSync(`/proc/self/fd/${fd}`))) return fd
    } catch {
      return fd
    }
  }
}

/** Starts the executor with its ends of the sessions behind all inherited descriptors. */
function startExecutor(libc: Libc, machine: Machine, ends: readonly number[], stdio: Stdio): ChildProcess {
  const first = firstOwn()
  const image = stageImage(machine, first)
  const passed = Array.from({ length: first - 3 }, (_, at) => at + 3)
  const execute = (path: string): ChildProcess => {
    const standard = typeof stdio === 'string' ? [stdio, stdio, stdio] : stdio
    const child = spawn(path, [], { argv0: 'runt', stdio: [...standard, ...passed, ...ends] })
    // Without a listener, a failure to execute would be thrown later on. It shows in the missing pid right away.
    child.on('error', () => {})
    return child
  }
  const fd = memfd(libc, image)
  if (fd !== null) {
    const child = execute(`/proc/self/fd/${fd}`)
    libc.close(fd)
    if (child.pid !== undefined) return child
  }
  const folder = mkdtempSync(join(tmpdir(), 'runt-'))
  try {
    const path = join(folder, 'executor')
    writeFileSync(path, image)
    chmodSync(path, 0o700)
    const child = execute(path)
    if (child.pid === undefined)
      throw new RuntError(`the executor can be started neither from a memfd nor from ${folder} (is it mounted noexec?)`)
    return child
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Strings of a /proc file that are separated by NUL, byte for byte. */
function rawStrings(path: string): string[] {
  return decodeUtf8(readFileSync(path)).split('\0').slice(0, -1)
}

/** Node.js decodes arguments as UTF-8 and loses other bytes; then they are read again from /proc. */
function rawArguments(args: readonly string[]): readonly string[] {
  if (args.length === 0 || !args.some((arg) => arg.includes('\ufffd'))) return args
  return rawStrings('/proc/self/cmdline').slice(-args.length)
}

function rawEnvironment(): Record<string, string> {
  const env: Record<string, string> = {}
  let lost = false
  for (const [name, value = ''] of Object.entries(process.env)) {
    env[name] = value
    lost ||= `${name}${value}`.includes('\ufffd')
  }
  if (!lost) return env
  for (const entry of rawStrings('/proc/self/environ')) {
    const at = entry.indexOf('=', 1)
    const name = entry.slice(0, at)
    if (at > 0 && env[name]?.includes('\ufffd')) env[name] = entry.slice(at + 1)
  }
  return env
}

/** Starts an executor. Throws a RuntError when the machine is not supported or the executor cannot be started. */
export function openPlatform(args: readonly string[] = process.argv.slice(2), stdio: Stdio = 'inherit'): NodePlatform {
  const machines: Partial<Record<NodeJS.Architecture, Machine>> = { x64: 'x86_64', arm64: 'aarch64' }
  const machine = machines[process.arch]
  if (process.platform !== 'linux' || !machine)
    throw new RuntError(`runt runs on Linux on x86-64 and arm64, not on ${process.platform} on ${process.arch}`)
  const libc = loadLibc()
  const buffer = new Uint8Array(MESSAGE_MAX)
  const pairs = [socketPair(libc), socketPair(libc), socketPair(libc)] as const
  const [host, stage, init] = pairs.map(([own], i) => channel(libc, own, ['host', 'stage', 'init'][i]!, buffer)) as [
    Channel,
    Channel,
    Channel,
  ]
  let child: ChildProcess
  try {
    child = startExecutor(
      libc,
      machine,
      pairs.map(([, other]) => other),
      stdio,
    )
  } catch (error) {
    for (const session of [host, stage, init]) session.close()
    throw error
  } finally {
    for (const [, other] of pairs) libc.close(other)
  }
  child.unref()

  const write = (fd: number, text: string) => {
    for (let bytes = encodeUtf8(text); bytes.length > 0; ) {
      try {
        bytes = bytes.subarray(writeSync(fd, bytes))
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
        poll(libc, fd, POLLOUT, Infinity)
      }
    }
  }

  const env = rawEnvironment()
  return {
    engine: 'node',
    machine,
    // The bundles of command and library lie beside each other.
    self: [process.execPath, fileURLToPath(new URL('runt.js', import.meta.url))],
    args: rawArguments(args),
    env,
    getenv: (name) => env[name],
    now: () => performance.timeOrigin + performance.now(),
    host,
    stage,
    init,
    executorPid: child.pid!,
    executor: child,
    stdout(text) {
      try {
        write(1, text)
      } catch (error) {
        throw new RuntError(`cannot write to stdout: ${error instanceof Error ? error.message : error}`)
      }
    },
    stderr(text) {
      try {
        write(2, text)
      } catch {
        // Nothing is left to tell about a broken stderr.
      }
    },
    exit: (status) => process.exit(status),
    /**
     * Passes signals on to the executor, once the event loop turns after `handOver`. A signal from the terminal reaches both
     * processes by itself, and the executor a second time from here.
     */
    expectSignals() {
      for (const signal of FORWARDED) process.on(signal, () => child.kill(signal))
    },
    hostAnswers: () =>
      new Promise((resolve) => {
        const timer = setInterval(() => {
          if (!poll(libc, pairs[0][0], POLLIN, 0)) return
          clearInterval(timer)
          resolve()
        }, LOOK_EVERY)
      }),
    /** Ends as the executor ends. That has its last batch; should it fail, there is nobody to tell, and it ends too. */
    handOver() {
      for (const session of [host, stage, init]) session.close()
      child.ref()
      const finish = (status: number | null, signal: NodeJS.Signals | null) =>
        process.exit(status ?? 128 + (signal === null ? 0 : constants.signals[signal]))
      return new Promise<never>(() => {
        if (child.exitCode !== null || child.signalCode !== null) finish(child.exitCode, child.signalCode)
        child.once('exit', finish)
      })
    },
    close() {
      for (const session of [host, stage, init]) session.close()
    },
  }
}
