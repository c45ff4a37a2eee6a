/** Reading and writing whole files through an executor. */
import { decodeUtf8, encodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { absolutePath, demandFolder } from '../base/paths.ts'
import type { Machine } from '../base/platform.ts'
import * as k from '../linux/constants.ts'
import { readDirents } from '../linux/dirents.ts'
import { describeErrno, errnoName } from '../linux/errno.ts'
import { ANY, type Arg, Batch, type OutPointer, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer, Session } from '../session/session.ts'
import type { Train } from '../session/train.ts'
import { HostSlot, READ_COUNT } from './slots.ts'

/** Bytes read in one go when a file is longer than expected. */
const CHUNK = 0x1_0000
/** Bytes of names that are read in one go. */
const NAMES = 0x8000
/** Bytes that one operation writes. */
const PIECE = 0x8000
/** Bytes of a usual config.json and one more, with a seccomp profile and indentation: it is read in one go. */
export const USUAL_CONFIG = 0x6000
/** Longest file that is read whole; config.json of a sane container is some KiB. */
const LONGEST = 64 * 1024 * 1024

/** A file that a batch begins to read; `finishReading` reads what is left of it. */
export interface Reading {
  readonly path: string
  readonly flags: number
  readonly fd: Step
  /** The last read: its result is a count of bytes, 0 at the end of the file, or an errno. */
  readonly last: Step
  /** Where there may have been several reads: the step that sums up the bytes. Null for a single read. */
  readonly total: Step | null
  readonly buffer: OutPointer
  /** A file longer than this gives the errno EFBIG. Without it, one longer than LONGEST throws. */
  readonly longest?: number
}

/**
 * Plans to open a file and read up to `size` bytes at once. That should be the whole file: if there may be more, `finishReading` reads it
 * again from the start. A failure does not stop the batch; `finishReading` reports it. `flags`: with O_NONBLOCK where the path may be
 * somebody else's FIFO.
 */
export function planReading(b: Batch, path: string, size: number, flags = k.O_RDONLY): Reading {
  const end = b.label()
  const close = b.label()
  b.about(path)
  const fd = c.openat(b, k.AT_FDCWD, path, flags).on(ANY, end)
  const buffer = b.out(size)
  const last = b.call('read', fd, buffer, size).on(ANY, close)
  b.place(close)
  c.close(b, fd)
  b.place(end)
  return { path, flags, fd, last, total: null, buffer }
}

/**
 * As planReading, for a file that the caller names. It may be a pipe: a read then gives only what is there at that moment, and nothing can
 * be read twice.
 */
export const planGiven = (b: Batch, path: string): Reading => planLongReading(b, path, 0x2000, k.O_RDONLY, 0x2000)

/** As planReading, in a loop, for files that come in several pieces, as long ones of procfs do. */
export function planLongReading(
  b: Batch,
  path: string,
  size: number,
  flags = k.O_RDONLY,
  piece = Math.min(size, 0x1000),
): Reading {
  const again = b.label()
  const finished = b.label()
  const end = b.label()
  b.about(path)
  const fd = c.openat(b, k.AT_FDCWD, path, flags).on(ANY, end)
  const buffer = b.out(size + piece)
  b.set(READ_COUNT, 0)
  b.place(again)
  const position = b.add(buffer, slot(READ_COUNT))
  const last = b.call('read', fd, position, piece).on(ANY, finished)
  b.branch(last, 'EQUAL', 0, finished)
  const total = b.add(slot(READ_COUNT), last).keep(READ_COUNT)
  b.branch(total, 'LESS', size, again)
  b.jump(end)
  b.place(finished)
  c.close(b, fd)
  b.place(end)
  return { path, flags, fd, last, total, buffer }
}

/** The text of the file, or the name of the errno that opening or reading it gave. */
export function finishReading(
  session: Session,
  machine: Machine,
  answer: Answer,
  reading: Reading,
): { text: string } | { errno: string } {
  const fd = answer.value(reading.fd)!
  if (fd < 0) return { errno: errnoName(-fd) }
  let count = answer.value(reading.last)!
  if (count < 0) return { errno: errnoName(-count) }
  if (reading.total === null) {
    const { path, flags, buffer, longest } = reading
    // procfs ends a read before the record that no longer fits; anything else only at the end or when the buffer is full.
    const whole = path.startsWith('/proc/') ? count <= buffer.length / 2 : count < buffer.length
    if (whole) return { text: decodeUtf8(answer.bytes(buffer, count)) }
    const b = new Batch(machine)
    const again = planLongReading(b, path, CHUNK / 2, flags)
    return finishReading(session, machine, session.run(b), longest === undefined ? again : { ...again, longest })
  }
  let total = answer.value(reading.total) ?? 0
  const pieces = [answer.bytes(reading.buffer, total)]
  while (count > 0) {
    if (reading.longest !== undefined && total > reading.longest) {
      const closing = new Batch(machine)
      c.close(closing, fd)
      session.run(closing)
      return { errno: 'EFBIG' }
    }
    if (total > LONGEST) throw new RuntError(`${reading.path}: longer than ${LONGEST} bytes`)
    const b = new Batch(machine)
    const buffer = b.out(CHUNK)
    const end = b.label()
    const more = c.read(b, fd, buffer).on(ANY, end)
    b.branch(more, 'NOT_EQUAL', 0, end)
    c.close(b, fd)
    b.place(end)
    const next = session.run(b)
    count = next.value(more)!
    if (count > 0) pieces.push(next.bytes(buffer, count))
    total += Math.max(count, 0)
  }
  if (count < 0) return { errno: errnoName(-count) }
  return { text: decodeUtf8(join(pieces)) }
}

function join(pieces: Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

/** Reads standard input to its end. */
export function readInput(host: Session, machine: Machine): string {
  const pieces: Uint8Array[] = []
  for (let total = 0, count = 1; count > 0; ) {
    const b = new Batch(machine)
    const buffer = b.out(CHUNK)
    const again = b.label()
    b.patience = Infinity
    b.about('standard input')
    b.place(again)
    const read = c.read(b, 0, buffer).on(['EINTR'], again)
    const answer = host.run(b)
    count = answer.value(read)!
    total += count
    if (total > LONGEST) throw new RuntError(`standard input: longer than ${LONGEST} bytes`)
    if (count > 0) pieces.push(answer.bytes(buffer, count))
  }
  return pieces.length === 0 ? '' : decodeUtf8(join(pieces))
}

/** Names in an open folder, by getdents64(2); without `.` and `..`. */
export function namesIn(session: Session, machine: Machine, about: string, folder: number): string[] {
  const names: string[] = []
  for (;;) {
    const b = new Batch(machine).about(about)
    const buffer = b.out(NAMES)
    const count = b.call('getdents64', folder, buffer, buffer.length)
    const answer = session.run(b)
    const length = answer.value(count)!
    if (length === 0) return names
    for (const { name } of readDirents(answer.bytes(buffer, length)).entries) names.push(name)
  }
}

/** The error for a file that cannot be read. `errno`: its name, as `finishReading` gives it. */
export const unreadable = (what: string, errno: string): RuntError =>
  new RuntError(`${what}: cannot be read: ${describeErrno(errno)}`, errno)

/** Reads a whole file; null if it isn't there. Other errors are thrown. */
export function readText(host: Session, machine: Machine, path: string): string | null {
  const b = new Batch(machine)
  const reading = planReading(b, path, 0x4000)
  const result = finishReading(host, machine, host.run(b), reading)
  if ('text' in result) return result.text
  if (result.errno === 'ENOENT' || result.errno === 'ENOTDIR') return null
  throw unreadable(path, result.errno)
}

/** Plans to write all bytes to an open file; a short write fails the plan with `errno`. */
export function planContent(train: Train, about: string, file: Arg, bytes: Uint8Array, errno: string): void {
  for (let at = 0; at < bytes.length; at += PIECE) {
    const b = train.next(about)
    const piece = bytes.subarray(at, at + PIECE)
    const whole = b.label()
    b.branch(c.write(b, file, piece), 'EQUAL', piece.length, whole)
    b.fail(errno)
    b.place(whole)
  }
}

/** The name of a file while it is written. */
const temporaryName = (path: string): string => `${path}.tmp`

/**
 * Plans to write a file so that readers see the old content or the new one, never a part: a temporary file in the same folder, then
 * rename(2). The path is absolute. A full file system fails the plan (ENOSPC on write, or a short write).
 */
export function planWriting(train: Train, about: string, path: string, text: string, mode: number): void {
  const temporary = temporaryName(path)
  const bytes = encodeUtf8(text)
  const file = slot(HostSlot.FILE)
  c.openat(train.next(about), k.AT_FDCWD, temporary, k.O_WRONLY | k.O_CREAT | k.O_TRUNC | k.O_NOFOLLOW, mode).keep(
    HostSlot.FILE,
  )
  planContent(train, about, file, bytes, 'ENOSPC')
  const b = train.next(about)
  c.close(b, file)
  c.renameat(b, k.AT_FDCWD, temporary, k.AT_FDCWD, path)
}

/** A question for the working folder; `pathFrom` uses the answer. */
export interface Cwd {
  step: Step
  path: OutPointer
}

export function planCwd(b: Batch): Cwd {
  const gone = b.label()
  const path = b.out(4096)
  b.about('working folder')
  const step = b.call('getcwd', path, path.length).on(ANY, gone)
  b.place(gone)
  return { step, path }
}

/** `path`, made absolute and cleaned. A working folder that has been removed is an error only if `path` is relative. */
export function pathFrom({ step, path: folder }: Cwd, answer: Answer, path: string): string {
  const length = answer.value(step) ?? 0
  const cwd = length > 0 ? decodeUtf8(answer.bytes(folder, length - 1)) : ''
  demandFolder(cwd, path)
  return absolutePath(cwd, path)
}
