/** Arguments and environment of the user's program, as execve(2) takes them. */
import { encodeUtf8 } from '../base/bytes.ts'
import type { Process } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Train } from '../session/train.ts'
import { InitSlot } from './slots.ts'

/** What travels with the last batch, in characters and strings; more is put into memory of its own beforehand. */
const SMALL = 0x2000
const FEW = 1024
/** Where that memory lies in the init: behind the executor, before anything that the kernel places itself. */
const BLOCK = 0x2000_0000
/** Bytes of it that one operation writes. */
const PIECE = 0x8000

/** Whether arguments and environment are more than a batch should carry. */
export function isLarge({ args, env = [] }: Process): boolean {
  if (args.length + env.length > FEW) return true
  let length = 0
  for (const text of args) length += text.length
  for (const text of env) length += text.length
  return length > SMALL
}

/**
 * argv, its null; envp, room for one more entry, its null; then the strings. Pointers are absolute, for a block that lies at
 * `base`.
 */
export function layOut({ args, env = [] }: Process, base: number): Uint8Array {
  const strings = [...args, ...env].map(encodeUtf8)
  const pointers = (strings.length + 3) * 8
  const block = new Uint8Array(strings.reduce((sum, bytes) => sum + bytes.length + 1, pointers))
  const view = new DataView(block.buffer)
  let at = pointers
  strings.forEach((bytes, index) => {
    view.setUint32((index < args.length ? index : index + 1) * 8, base + at, true)
    block.set(bytes, at)
    at += bytes.length + 1
  })
  return block
}

/**
 * Puts large vectors into the init's memory, by way of a memfd. Before the limits of the process (RLIMIT_FSIZE, RLIMIT_AS) are
 * in force.
 */
export function planBlock(train: Train, process: Process): void {
  const about = 'process.args and process.env'
  const block = layOut(process, BLOCK)
  const memfd = slot(InitSlot.MEMFD)
  c.memfdCreate(train.next(about), 'runt:args', k.MFD_CLOEXEC).keep(InitSlot.MEMFD)
  for (let at = 0; at < block.length; at += PIECE) {
    const b = train.next(about)
    const piece = block.subarray(at, at + PIECE)
    const whole = b.label()
    b.branch(c.write(b, memfd, piece), 'EQUAL', piece.length, whole)
    b.fail('ENOMEM')
    b.place(whole)
  }
  const b = train.next(about)
  b.call('mmap', BLOCK, block.length, k.PROT_READ | k.PROT_WRITE, k.MAP_PRIVATE | k.MAP_FIXED_NOREPLACE, memfd, 0)
  c.close(b, memfd)
}

/** Plans execve(2). `home`: an entry for the end of the environment, or null. */
export function planExecve(b: Batch, process: Process, program: string, home: string | null): void {
  const { args, env = [] } = process
  if (isLarge(process)) {
    const envp = BLOCK + (args.length + 1) * 8
    b.store(64, envp + env.length * 8, home ?? 0)
    b.call('execve', program, BLOCK, envp)
  } else b.call('execve', program, b.strings(args), b.strings(home === null ? env : [...env, home]))
}
