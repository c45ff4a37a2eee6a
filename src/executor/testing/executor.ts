/** Starts executors for tests: a socket pair, an image in a temporary file, a child process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import koffi from 'koffi'
import type { Machine } from '../../base/platform.ts'
import { type Answer, type Batch, decode, encode } from './batch.ts'

const libc = koffi.load('libc.so.6')
const socketpair = libc.func('int socketpair(int, int, int, _Out_ int *)')
const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint)')
const read = libc.func('long read(int, _Out_ uint8_t *, ulong)')
const write = libc.func('long write(int, const uint8_t *, ulong)')
const close = libc.func('int close(int)')

const AF_UNIX = 1
const SOCK_SEQPACKET_CLOEXEC = 5 | 0o2000000
const SOL_SOCKET = 1
const SO_RCVTIMEO = 20
/** A test that waits longer than this for an answer has failed. */
const PATIENCE_SECONDS = 10n

/** One end of a SOCK_SEQPACKET pair. */
export interface Session {
  readonly fd: number
  send(message: Uint8Array): void
  /** The next message; null at the end of the session. Throws when none comes. */
  receive(): Uint8Array | null
  /** Sends a batch and waits for its answer. */
  run(batch: Batch): Answer
  close(): void
}

const buffer = new Uint8Array(0x4_0000)

function session(fd: number): Session {
  let open = true
  const self: Session = {
    fd,
    send(message) {
      if (Number(write(fd, message, message.length)) !== message.length) throw new Error('the executor is gone')
    },
    receive() {
      const length = Number(read(fd, buffer, buffer.length))
      if (length < 0) throw new Error('no answer')
      return length === 0 ? null : buffer.slice(0, length)
    },
    run(batch) {
      self.send(encode(batch))
      const bytes = self.receive()
      if (bytes === null) throw new Error('the executor ended')
      return decode(batch, bytes)
    },
    close() {
      if (open) close(fd)
      open = false
    },
  }
  return self
}

/** Both ends of a session. Neither survives an exec. */
export function pair(): [Session, Session] {
  const fds = [0, 0]
  if (socketpair(AF_UNIX, SOCK_SEQPACKET_CLOEXEC, 0, fds) !== 0) throw new Error('socketpair')
  const timeout = new BigInt64Array([PATIENCE_SECONDS, 0n])
  setsockopt(fds[0]!, SOL_SOCKET, SO_RCVTIMEO, timeout, 16)
  return [session(fds[0]!), session(fds[1]!)]
}

export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<{ status: number | null; signal: string | null; stderr: string }>
}

const isNative = (machine: Machine) => machine === (process.arch === 'arm64' ? 'aarch64' : 'x86_64')
const emulators: Record<Machine, string> = { x86_64: 'qemu-x86_64-static', aarch64: 'qemu-aarch64-static' }

/** Whether this computer can run images for the machine. */
export const canRun = (machine: Machine) =>
  isNative(machine) ||
  (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, emulators[machine])))

/** Runs an image, under an emulator if it is for another machine. `fds` become descriptors 3 and up. */
export function start(
  machine: Machine,
  image: Uint8Array,
  fds: readonly number[],
  args: readonly string[] = [],
): Running {
  const folder = mkdtempSync(join(tmpdir(), 'runt-executor-'))
  const path = join(folder, 'image')
  writeFileSync(path, image, { mode: 0o755 })
  const [command, ...before] = isNative(machine) ? [path] : [emulators[machine], path]
  const child = spawn(command!, [...before, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', ...fds],
    env: { RUNT_TEST: 'yes' },
  })
  let stderr = ''
  child.stderr!.on('data', (chunk) => {
    stderr += chunk
  })
  const deadline = setTimeout(() => child.kill('SIGKILL'), 2000 * Number(PATIENCE_SECONDS))
  const ended = new Promise<{ status: number | null; signal: string | null; stderr: string }>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => resolve({ status, signal, stderr }))
  }).finally(() => {
    clearTimeout(deadline)
    rmSync(folder, { recursive: true, force: true })
  })
  return { child, ended }
}
