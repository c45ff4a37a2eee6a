/**
 * A terminal in the foreground: the host passes bytes between the caller's streams and the master in slot TERMINAL until the
 * container's init has ended.
 *
 * All of it is one batch, so that the brain can end meanwhile. The caller's terminal is raw only while that batch runs
 * (caller-terminal.ts).
 */
import { Struct } from '../base/bytes.ts'
import type { Process } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, at, Batch, type DataPointer, type Label, load, type OutPointer, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { planRaw, planRestore, type Settings, TERMIOS_SIZE } from './caller-terminal.ts'
import { type Interruption, planStatus } from './foreground.ts'
import type { Runtime } from './runtime.ts'
import { HostSlot } from './slots.ts'

const STDIN = 0
const STDOUT = 1
const MASTER = slot(HostSlot.TERMINAL)

/** Bytes in flight in each direction. What poll(2) promises room for in a pipe (PIPE_BUF). */
const BUFFER = 4096
/**
 * Bytes read from a terminal after the program's end: more than it can have written before (the kernel keeps 12 KiB for the reader), so
 * that others who write to it for ever keep nobody waiting.
 */
const DRAIN = 0x1_0000
/** In slot STATUS: the init cannot be waited for. Who plans the relay reports that. */
const LOST = -1
/** Nanoseconds between looks at a terminal that no process has open; one may open it again. */
const PAUSE = 100_000_000

/**
 * Prepares the container's terminal, before the program starts: it gets the size of the caller's window, unless the config has one. The
 * caller's terminal is not changed yet. Returns its settings.
 */
export function prepareRelay({ host, platform }: Runtime, { consoleSize }: Process): Settings {
  const b = new Batch(platform.machine)
  b.about('process.terminal: relay')
  // By now nobody else has the master open, so its flags can be changed.
  c.fcntl(b, MASTER, k.F_SETFL, k.O_RDWR | k.O_NONBLOCK)
  if (!consoleSize) planResize(b)
  // If stdout is a terminal it is opened again, non-blocking: the flags of the caller's own descriptor must stay as they are.
  const plain = b.label()
  b.set(HostSlot.OUTPUT, STDOUT)
  const ready = b.label()
  const scratch = b.scratch(64)
  b.call('ioctl', STDOUT, k.TCGETS, scratch).on(ANY, plain)
  const opened = c
    .openat(b, k.AT_FDCWD, `/proc/self/fd/${STDOUT}`, k.O_WRONLY | k.O_NONBLOCK | k.O_NOCTTY)
    .on(ANY, ready)
  b.set(HostSlot.OUTPUT, opened)
  b.jump(ready)
  // If stdout is a file or a pipe, lines are to arrive as the program writes them, with no CR added: of the output flags of the new
  // terminal (OPOST and ONLCR) only OPOST is left.
  b.place(plain)
  b.call('ioctl', MASTER, k.TCGETS, scratch).on(ANY, ready)
  b.store(32, at(scratch, 4), k.OPOST)
  b.call('ioctl', MASTER, k.TCSETS, scratch).on(ANY, ready)
  b.place(ready)
  const settings = b.out(64)
  const none = b.label()
  const found = b.call('ioctl', STDIN, k.TCGETS, settings).on(ANY, none)
  const holder = b.out(8)
  const own = b.call('getpgid', 0)
  const controls = b.call('ioctl', STDIN, k.TIOCGPGRP, holder).on(ANY, none)
  b.place(none)
  const answer = host.run(b)
  if (!answer.ok(found)) return null
  // In the background: another job, usually the shell, has the terminal, so it is not ours to change.
  if (answer.ok(controls) && answer.word(holder) !== answer.value(own)) return null
  return answer.bytes(settings, TERMIOS_SIZE)
}

/** Gives the terminal the size of the caller's window, if there is one. */
function planResize(b: Batch): void {
  const size = b.scratch(64)
  const second = b.label()
  const known = b.label()
  const end = b.label()
  b.call('ioctl', STDIN, k.TIOCGWINSZ, size).on(ANY, second)
  b.jump(known)
  b.place(second)
  b.call('ioctl', STDOUT, k.TIOCGWINSZ, size).on(ANY, end)
  b.place(known)
  b.call('ioctl', MASTER, k.TIOCSWINSZ, size).on(ANY, end)
  b.place(end)
}

/** One entry of the poll set, struct pollfd. */
interface Entry {
  /** Offset in the set. */
  readonly at: number
  readonly events: number
}

/**
 * The poll set. Behind each entry is one that poll(2) ignores (descriptor -1): an executor compares words and knows no bits, and so
 * the word at revents is `QUIET` as long as there is no event.
 */
const entries = {
  input: { at: 0, events: k.POLLIN },
  master: { at: 16, events: 0 },
  output: { at: 32, events: k.POLLOUT },
  signals: { at: 48, events: k.POLLIN },
  interruption: { at: 64, events: k.POLLIN },
} as const satisfies Record<string, Entry>
const ENTRY_COUNT = 10
const REVENTS = 6
const QUIET = -0x1_0000

function pollSet(): Uint8Array {
  const set = new Struct(8 * ENTRY_COUNT)
  for (let i = 0; i < ENTRY_COUNT; i++) set.u32(8 * i, 0xffff_ffff)
  return set.bytes
}

/** What the parts of the relay share. */
interface Relay {
  b: Batch
  /** The container's init. */
  pid: number
  /** The poll set, see `entries`. */
  set: DataPointer
  /** Bytes that have been read from one side and not yet been written to the other. */
  pending: { input: OutPointer; output: OutPointer }
  /** Where it goes on when signals have been seen to: bytes are passed on. */
  data: Label
  /** Where it goes on when the program has ended and nothing is left to pass on. */
  done: Label
}

/**
 * Relays, and forwards signals to the init `pid`, until that has ended and all that was written to the terminal has been passed on. Its
 * exit status is left in slot STATUS. The last operation fails if the init cannot be waited for; no other one does. An interruption takes
 * effect when no byte is in flight; the relay can then be planned again, and the caller's terminal stays raw until that.
 */
export function planRelay(b: Batch, pid: number, settings: Settings, interruption?: Interruption): void {
  b.about('process.terminal: relay')
  const set = b.data(pollSet(), '{…}')
  const pause = b.data(new Struct(16).u64(8, PAUSE).bytes, '{100 ms}')
  const pending = { input: b.out(BUFFER), output: b.out(BUFFER) }
  const relay: Relay = { b, pid, set, pending, data: b.label(), done: b.label() }
  const loop = b.label()
  const signals = b.label()
  const refused = b.label()

  if (settings) planRaw(b, settings)
  for (const zero of [
    HostSlot.ENDED,
    HostSlot.EOF,
    HostSlot.HUNG_UP,
    HostSlot.INPUT_LEFT,
    HostSlot.OUTPUT_LEFT,
    HostSlot.DRAINED,
  ])
    b.set(zero, 0)
  planCheckEnd(b, pid)

  b.place(loop)
  if (interruption) planInterruption(relay, interruption)
  planPollSet(relay)
  const wait = b.label()
  // After the program's end there is no need to wait, unless output is left that cannot be written yet.
  b.branch(slot(HostSlot.ENDED), 'EQUAL', 0, wait)
  b.branch(slot(HostSlot.OUTPUT_LEFT), 'EQUAL', 0, relay.data)
  b.place(wait)
  const hungUp = b.label()
  b.branch(slot(HostSlot.HUNG_UP), 'EQUAL', 1, hungUp)
  b.call('ppoll', set, ENTRY_COUNT, 0, 0, 0).on(ANY, refused).keep(HostSlot.POLLED)
  b.jump(signals)
  b.place(hungUp)
  // Here the kernel may change the time; it is set again each round.
  b.store(64, at(pause, 0), 0)
  b.store(64, at(pause, 8), PAUSE)
  b.call('ppoll', set, ENTRY_COUNT, pause, 0, 0).on(ANY, refused).keep(HostSlot.POLLED)
  b.set(HostSlot.HUNG_UP, 0)

  b.place(signals)
  b.branch(quiet(relay, entries.signals), 'EQUAL', QUIET, relay.data)
  planSignal(relay)

  b.place(relay.data)
  planOutput(relay)
  planInput(relay)
  b.jump(loop)

  b.place(refused)
  // Only these errors go away by themselves. EINVAL (RLIMIT_NOFILE is below the size of the poll set), for one, would come back for ever.
  for (const errno of ['EINTR', 'EAGAIN']) b.branch(slot(HostSlot.POLLED), 'EQUAL', -Errno[errno]!, loop)
  b.set(HostSlot.STATUS, LOST)
  b.place(relay.done)
  if (settings) planRestore(b, settings)
  const known = b.label()
  b.branch(slot(HostSlot.STATUS), 'NOT_EQUAL', LOST, known)
  b.about('process.terminal: relay: ppoll or waitid').fail('EINVAL')
  b.place(known)
}

/** A word that is `QUIET` as long as there is no event for the entry. */
const quiet = ({ set }: Relay, entry: Entry): DataPointer | OutPointer => load(set, 32, entry.at + REVENTS)

function watch({ b, set }: Relay, entry: Entry, fd: c.Fd, events = entry.events): void {
  b.store(32, at(set, entry.at), fd)
  b.store(32, at(set, entry.at + 4), events)
}

const ignore = (relay: Relay, entry: Entry): void => watch(relay, entry, -1, 0)

/** Goes on at the interruption's label if there is one and no byte is in flight. */
function planInterruption(relay: Relay, { fd, label }: Interruption): void {
  const { b } = relay
  const none = b.label()
  b.branch(quiet(relay, entries.interruption), 'EQUAL', QUIET, none)
  b.branch(slot(HostSlot.INPUT_LEFT), 'NOT_EQUAL', 0, none)
  b.branch(slot(HostSlot.OUTPUT_LEFT), 'EQUAL', 0, label)
  b.place(none)
  watch(relay, entries.interruption, fd)
}

/** Sets the poll set up: what to wait for, given what is in flight and what has ended. */
function planPollSet(relay: Relay): void {
  const { b } = relay
  const full = b.label()
  const readMaster = b.label()
  const writeMaster = b.label()
  const output = b.label()
  const end = b.label()
  watch(relay, entries.signals, slot(HostSlot.SIGNALS))
  ignore(relay, entries.input)
  ignore(relay, entries.output)
  ignore(relay, entries.master)
  // Nothing more is passed to a program that has ended.
  b.branch(slot(HostSlot.ENDED), 'EQUAL', 1, output)
  b.branch(slot(HostSlot.INPUT_LEFT), 'NOT_EQUAL', 0, full)
  b.branch(slot(HostSlot.EOF), 'EQUAL', 1, readMaster)
  watch(relay, entries.input, STDIN)
  b.place(readMaster)
  b.branch(slot(HostSlot.HUNG_UP), 'EQUAL', 1, output)
  b.branch(slot(HostSlot.OUTPUT_LEFT), 'NOT_EQUAL', 0, output)
  watch(relay, entries.master, MASTER, k.POLLIN)
  b.jump(end)
  b.place(full)
  b.branch(slot(HostSlot.HUNG_UP), 'EQUAL', 1, output)
  b.branch(slot(HostSlot.OUTPUT_LEFT), 'NOT_EQUAL', 0, writeMaster)
  watch(relay, entries.master, MASTER, k.POLLIN | k.POLLOUT)
  b.jump(end)
  b.place(writeMaster)
  watch(relay, entries.master, MASTER, k.POLLOUT)
  b.place(output)
  b.branch(slot(HostSlot.OUTPUT_LEFT), 'EQUAL', 0, end)
  watch(relay, entries.output, slot(HostSlot.OUTPUT))
  b.place(end)
}

/** Takes one signal and acts on it. struct signalfd_siginfo starts with its number. */
function planSignal({ b, pid, data, done }: Relay): void {
  const info = b.out(128)
  const number = load(info, 32)
  const look = b.label()
  const resize = b.label()
  b.call('read', slot(HostSlot.SIGNALS), info, 128).on(ANY, data)
  b.branch(number, 'EQUAL', k.SIGCHLD, look)
  b.branch(number, 'EQUAL', k.SIGWINCH, resize)
  // Our own: stdout was closed.
  b.branch(number, 'EQUAL', k.SIGPIPE, data)
  // Whoever sends a signal after the program's end does not want to wait for its last words to be read.
  b.branch(slot(HostSlot.ENDED), 'EQUAL', 1, done)
  c.kill(b, pid, number).on(ANY, data)
  b.jump(data)
  b.place(resize)
  planResize(b)
  b.jump(data)
  b.place(look)
  planCheckEnd(b, pid)
}

/** From the program to stdout. */
function planOutput(relay: Relay): void {
  const { b, pending, done } = relay
  const empty = b.label()
  const end = b.label()
  const dropped = b.label()
  const closed = b.label()
  const left = HostSlot.OUTPUT_LEFT
  b.branch(slot(left), 'EQUAL', 0, empty)
  b.branch(quiet(relay, entries.output), 'EQUAL', QUIET, end)
  planWrite(b, slot(HostSlot.OUTPUT), HostSlot.OUTPUT_AT, left, end, dropped)
  b.place(dropped)
  // Nobody reads any longer: the program goes on, into the void.
  b.set(left, 0)
  b.jump(end)
  b.place(empty)
  const blocked = b.label()
  b.branch(DRAIN, 'LESS', slot(HostSlot.DRAINED), done)
  const count = c.read(b, MASTER, pending.output).on(ANY, closed)
  b.branch(count, 'EQUAL', 0, closed)
  b.set(HostSlot.OUTPUT_AT, pending.output)
  b.set(left, count)
  b.branch(slot(HostSlot.ENDED), 'EQUAL', 0, end)
  b.add(slot(HostSlot.DRAINED), count).keep(HostSlot.DRAINED)
  b.jump(end)
  b.place(closed)
  b.branch(count, 'EQUAL', -Errno.EAGAIN!, blocked)
  // EIO: no process has the terminal open.
  b.set(HostSlot.HUNG_UP, 1)
  b.place(blocked)
  // All that was written has been read.
  b.branch(slot(HostSlot.ENDED), 'EQUAL', 1, done)
  b.place(end)
}

/** From stdin to the program. */
function planInput(relay: Relay): void {
  const { b, pending } = relay
  const left = HostSlot.INPUT_LEFT
  const empty = b.label()
  const end = b.label()
  const dropped = b.label()
  const eof = b.label()
  b.branch(slot(HostSlot.ENDED), 'EQUAL', 1, end)
  b.branch(slot(left), 'EQUAL', 0, empty)
  planWrite(b, MASTER, HostSlot.INPUT_AT, left, end, dropped)
  b.place(dropped)
  b.set(left, 0)
  b.jump(end)
  b.place(empty)
  b.branch(quiet(relay, entries.input), 'EQUAL', QUIET, end)
  const count = c.read(b, STDIN, pending.input).on(ANY, eof)
  b.branch(count, 'EQUAL', 0, eof)
  b.set(HostSlot.INPUT_AT, pending.input)
  b.set(left, count)
  b.jump(end)
  b.place(eof)
  b.set(HostSlot.EOF, 1)
  b.place(end)
}

/** Writes what is left of a buffer. What cannot be written now stays; on any other error it goes on at `dropped`. */
function planWrite(b: Batch, fd: c.Fd, position: number, left: number, end: Label, dropped: Label): void {
  const failed = b.label()
  const written = b.call('write', fd, slot(position), slot(left)).on(ANY, failed)
  b.add(slot(position), written).keep(position)
  b.add(slot(left), b.negate(written)).keep(left)
  b.jump(end)
  b.place(failed)
  b.branch(written, 'EQUAL', -Errno.EAGAIN!, end)
  b.jump(dropped)
}

/** Finds out whether the init has ended, and how: slots ENDED and STATUS. */
function planCheckEnd(b: Batch, pid: number): void {
  const info = b.out(128)
  const ended = b.label()
  const lost = b.label()
  const end = b.label()
  b.branch(slot(HostSlot.ENDED), 'EQUAL', 1, end)
  b.store(32, at(info, 16), 0)
  c.waitid(b, k.P_PID, pid, info, k.WEXITED | k.WNOHANG).on(ANY, lost)
  b.branch(load(info, 32, k.SI_PID), 'EQUAL', 0, end)
  planStatus(b, info)
  b.jump(ended)
  b.place(lost)
  b.set(HostSlot.STATUS, LOST)
  b.place(ended)
  b.set(HostSlot.ENDED, 1)
  b.place(end)
}
