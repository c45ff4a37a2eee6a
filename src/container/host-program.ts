/** Programs of the host's, executed as the caller would; their output is read. */
import { decodeUtf8, encodeUtf8 } from '../base/bytes.ts'
import { DEFAULT_PATH } from '../base/paths.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch, type Step } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Runtime } from './runtime.ts'

export interface Output {
  /** Exit status; 128 + n when signal n ended it. */
  status: number
  /** stdout and stderr. */
  text: string
}

/** Exit status of the child when no such program was found. */
const NOT_FOUND = 127
/** Bytes of output that are read at once. */
const PIECE = 0x1_0000
/** Longest entry of the environment that is passed on, for it travels in a message. Such programs need no longer ones. */
const LONGEST_ENTRY = 4096
const ENVIRONMENT = 0x8000

/**
 * Executes a program from $PATH and waits for it; null if there is none. Its stdin is /dev/null. `about`: what for, in an error. Relative
 * folders of $PATH are ignored: they would depend on the working folder.
 */
export function callProgram(runtime: Runtime, name: string, args: readonly string[], about = name): Output | null {
  const { host, platform } = runtime
  const { env } = platform
  const b = new Batch(platform.machine).about(about)
  b.patience = Infinity
  const child = b.label()
  const parent = b.label()
  const failed = b.label()
  const ended = b.label()
  const output = c.memfdCreate(b, `runt:${name}`, k.MFD_CLOEXEC)
  const nothing = c.openat(b, k.AT_FDCWD, '/dev/null', k.O_RDONLY)
  const pid = c.clone(b, k.SIGCHLD, child)
  b.jump(parent)

  b.place(child)
  const must = (step: Step): Step => step.on(ANY, failed)
  // Out of the way of the standard streams, which the caller may have left closed.
  const [input, file] = [nothing, output].map((fd) => must(c.fcntl(b, fd, k.F_DUPFD_CLOEXEC, 3)))
  must(b.call('dup3', input!, 0, 0))
  must(b.call('dup3', file!, 1, 0))
  must(b.call('dup3', file!, 2, 0))
  must(b.call('close_range', 3, 0xffff_ffff, k.CLOSE_RANGE_CLOEXEC))
  must(c.sigprocmask(b, k.SIG_SETMASK, 0n))
  const argv = b.strings([name, ...args])
  const envp = b.strings(passedOn(env))
  for (const folder of (env.PATH || DEFAULT_PATH).split(':')) {
    if (!folder.startsWith('/')) continue
    const next = b.label()
    b.call('execve', `${folder}/${name}`, argv, envp).on(ANY, next)
    b.place(next)
  }
  b.place(failed)
  c.exitGroup(b, NOT_FOUND)

  b.place(parent)
  const info = b.out(128)
  c.close(b, nothing)
  b.place(ended)
  c.waitid(b, k.P_PID, pid, info, k.WEXITED).on(['EINTR'], ended)
  const length = b.call('lseek', output, 0, k.SEEK_END)
  const answer = host.run(b)
  const exited = answer.word(info, k.SI_CODE) === k.CLD_EXITED
  const status = answer.word(info, k.SI_STATUS) + (exited ? 0 : 128)
  const text = readBack(runtime, answer.value(output)!, answer.value(length)!)
  return exited && status === NOT_FOUND ? null : { status, text }
}

/** All of a file in memory, which is closed. */
function readBack({ host, platform }: Runtime, fd: number, length: number): string {
  const bytes = new Uint8Array(length)
  for (let from = 0; from < length; from += PIECE) {
    const b = new Batch(platform.machine)
    const buffer = b.out(Math.min(PIECE, length - from))
    b.call('pread64', fd, buffer, buffer.length, from)
    bytes.set(host.run(b).bytes(buffer), from)
  }
  const b = new Batch(platform.machine)
  c.close(b, fd)
  host.run(b)
  return decodeUtf8(bytes)
}

function passedOn(env: Readonly<Record<string, string>>): string[] {
  const entries = Object.entries(env).map(([key, value]) => `${key}=${value}`)
  let size = 0
  return entries.filter((entry) => {
    const length = encodeUtf8(entry).length
    if (length > LONGEST_ENTRY || size + length > ENVIRONMENT) return false
    size += length + 16
    return true
  })
}
