/**
 * The filter that a config asks for: `linux.seccomp`, and what annotations say about it. It is made once, while the init of the container
 * is busy, and kept in the state folder: making it takes longer than all else that `exec` has to think about.
 */
import { Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { errnoName } from '../linux/errno.ts'
import { compile, type Filter, notifies } from '../seccomp/compile.ts'
import { BPF_MAXINSNS, FLAG_NEW_LISTENER } from '../seccomp/kernel.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer } from '../session/session.ts'
import type { Train } from '../session/train.ts'
import { BPF_DATA, bpfData, decodeBase64, failsUnknown, fieldOf } from './annotations.ts'
import { planContent, planReading, type Reading, unreadable } from './files.ts'
import { HostSlot } from './slots.ts'

/** sizeof(struct sock_filter). */
const INSTRUCTION = 8

/** What is known of a filter before it is made. */
export type Foreseen = Pick<Filter, 'listener'>

/** Whether a config asks for a filter; null: for none. */
export function foresee({ linux, annotations }: Pick<Config, 'linux' | 'annotations'>): Foreseen | null {
  if (bpfData(annotations) !== undefined) return { listener: false }
  return linux?.seccomp ? { listener: notifies(linux.seccomp) } : null
}

/** Makes the filter. Null: none. Throws a RuntError for one that cannot be had. */
export function filterOf(
  { linux, annotations }: Pick<Config, 'linux' | 'annotations'>,
  machine: Machine,
): Filter | null {
  const data = bpfData(annotations)
  if (data !== undefined) return readFilter(data)
  if (!linux?.seccomp) return null
  const filter = compile(linux.seccomp, machine)
  const unknown = failsUnknown(annotations) ? filter.unknown[0] : undefined
  if (unknown !== undefined) throw new RuntError(unknown)
  return filter
}

function readFilter(data: string): Filter {
  const field = fieldOf(BPF_DATA)
  const program = decodeBase64(data, field)
  const count = program.length / INSTRUCTION
  if (!Number.isInteger(count) || count < 1 || count > BPF_MAXINSNS)
    throw new RuntError(
      `${field}: ${program.length} bytes are not 1 to ${BPF_MAXINSNS} instructions of ${INSTRUCTION} bytes`,
    )
  return { program, flags: 0, optionalFlags: 0, listener: false, warnings: [], unknown: [] }
}

/** Its name in the state folder. */
export const FILTER_FILE = 'filter'

/** Bytes before the program in that file: flags and optional flags, as seccomp/compile.ts has them. */
const HEAD = 8

/** Plans to keep a filter. Gives how long the file is: the state, which is written after it, says so. */
export function planKeeping(train: Train, folder: string, { program, flags, optionalFlags }: Filter): number {
  const path = `${folder}/${FILTER_FILE}`
  const about = `state (${path})`
  const bytes = new Uint8Array(HEAD + program.length)
  bytes.set(new Struct(HEAD).u32(0, flags).u32(4, optionalFlags).bytes)
  bytes.set(program, HEAD)
  const mode = k.O_WRONLY | k.O_CREAT | k.O_TRUNC | k.O_NOFOLLOW
  c.openat(train.next(about), k.AT_FDCWD, path, mode, 0o600).keep(HostSlot.FILE)
  planContent(train, about, slot(HostSlot.FILE), bytes, 'ENOSPC')
  c.close(train.next(about), slot(HostSlot.FILE))
  return bytes.length
}

/** Plans to read a filter that was kept; `length`: of the file. */
export const planRecalling = (b: Batch, folder: string, length: number): Reading =>
  planReading(b, `${folder}/${FILTER_FILE}`, length, k.O_RDONLY | k.O_NOFOLLOW)

/** The filter that was kept. Throws a RuntError where it is not there as a whole: nothing is to run without it. */
export function recall(answer: Answer, { path, fd, last, buffer }: Reading): Filter {
  const opened = answer.value(fd)!
  const count = opened < 0 ? opened : answer.value(last)!
  const what = `the container's seccomp filter (${path})`
  if (count < 0) throw unreadable(what, errnoName(-count))
  if (count < buffer.length || count <= HEAD)
    throw new RuntError(`${what}: damaged: it has ${count} bytes of ${buffer.length}`)
  const [flags, optionalFlags] = [answer.word(buffer) >>> 0, answer.word(buffer, 4) >>> 0]
  const program = answer.bytes(buffer).subarray(HEAD)
  return { program, flags, optionalFlags, listener: (flags & FLAG_NEW_LISTENER) !== 0, warnings: [], unknown: [] }
}
