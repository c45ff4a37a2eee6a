/** Arguments and environment of the user's program, as execve(2) takes them. */
import { encodeUtf8 } from '../base/bytes.ts'
import type { Process } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Train } from '../session/train.ts'
import { planContent } from './files.ts'
import { InitSlot } from './slots.ts'

/** What travels with the last batch, in characters and strings; more is put into memory of its own beforehand. */
const SMALL = 0x2000
const FEW = 1024
/** Where that memory lies in the init: behind the executor, before anything that the kernel places itself. */
const BLOCK = 0x2000_0000

/**
 * The environment as the program gets it: of several entries with one name the last, and no HOME without a value, in whose place the
 * container's passwd has one. getenv(3) would take the first; the peers, and who adds entries to what an image has, mean the last.
 */
export function environmentOf({ env = [] }: Pick<Process, 'env'>): string[] {
  const last = new Map<string, number>()
  for (let index = 0; index < env.length; index++) last.set(nameOf(env[index]!), index)
  return env.filter((entry, index) => last.get(nameOf(entry)) === index && entry !== 'HOME=')
}

const nameOf = (entry: string): string => entry.slice(0, entry.indexOf('='))

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
export function layOut({ args, env = [] }: Pick<Process, 'args' | 'env'>, base: number): Uint8Array {
  const strings = [...args, ...env].map(encodeUtf8)
  const pointers = (strings.length + 3) * 8
  const block = new Uint8Array(strings.reduce((sum, bytes) => sum + bytes.length + 1, pointers))
  const view = new DataView(block.buffer)
  let at = pointers
  strings.forEach((bytes, index) => {
    const pointer = (index < args.length ? index : index + 1) * 8
    view.setUint32(pointer, (base + at) % 0x1_0000_0000, true)
    view.setUint32(pointer + 4, (base + at) / 0x1_0000_0000, true)
    block.set(bytes, at)
    at += bytes.length + 1
  })
  return block
}

/**
 * Puts large vectors into the init's memory, by way of a memfd. Before the limits of the process (RLIMIT_FSIZE, RLIMIT_AS) are
 * in force.
 */
export function planBlock(train: Train, wanted: Process): void {
  const vectors = { args: wanted.args, env: environmentOf(wanted) }
  planVectors(train, 'process.args and process.env', vectors, BLOCK, InitSlot.MEMFD)
}

/** Puts vectors into an executor's memory, at `base`; where execve(2) finds them then. `memfd`: a slot for a moment. */
export function planVectors(
  train: Train,
  about: string,
  vectors: Pick<Process, 'args' | 'env'>,
  base: number,
  memfd: number,
): void {
  const block = layOut(vectors, base)
  const file = slot(memfd)
  c.memfdCreate(train.next(about), 'runt:args', k.MFD_CLOEXEC).keep(memfd)
  planContent(train, about, file, block, 'ENOMEM')
  const b = train.next(about)
  b.call('mmap', base, block.length, k.PROT_READ | k.PROT_WRITE, k.MAP_PRIVATE | k.MAP_FIXED_NOREPLACE, file, 0)
  c.close(b, file)
}

/** Where envp of vectors at `base` begins. */
export const envAt = (base: number, args: readonly string[]): number => base + (args.length + 1) * 8

/** Plans execve(2). `home`: an entry for the end of the environment, or null. */
export function planExecve(b: Batch, process: Process, program: string, home: string | null): void {
  const { args } = process
  const env = environmentOf(process)
  if (isLarge(process)) {
    const envp = envAt(BLOCK, args)
    b.store(64, envp + env.length * 8, home ?? 0)
    b.call('execve', program, BLOCK, envp)
  } else b.call('execve', program, b.strings(args), b.strings(home === null ? env : [...env, home]))
}
