/**
 * The seccomp filter that a config asks for: by `linux.seccomp`, or by annotations. It is compiled once, while the init of the container is
 * busy, and kept in the state folder, because compiling would take longer than everything else that `exec` computes.
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

/** What is known of a filter before it is compiled. */
export type Foreseen = Pick<Filter, 'listener'>

/** What is known of the filter that a config asks for; null if it asks for none. */
export function foresee({ linux, annotations }: Pick<Config, 'linux' | 'annotations'>): Foreseen | null {
  if (bpfData(annotations) !== undefined) return { listener: false }
  return linux?.seccomp ? { listener: notifies(linux.seccomp) } : null
}

/** The filter that a config asks for; null if none. Throws a RuntError for one that cannot be made. */
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

/** Plans to write the filter to the state folder. Returns the length of the file, which goes into the state. */
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

/** The filter that was kept. Throws a RuntError if it is not complete: nothing may run without it. */
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
