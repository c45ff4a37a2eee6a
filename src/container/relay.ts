/**
 * A terminal in the foreground: the host passes bytes between the caller's streams and the master in slot TERMINAL until the
 * container's init has ended.
 *
 * All of it is one batch, so that the brain can end meanwhile. The caller's terminal is raw only while that batch runs, and as it was
 * afterwards, also if the host is killed.
 */
import { Struct } from '../base/bytes.ts'
import type { Process } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, at, Batch, type Label, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
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
/** In slot STATUS: the init cannot be waited for. Whoever plans the relay says so. */
const LOST = -1
/** Nanoseconds between looks at a terminal that no process has open; one may open it again. */
const PAUSE = 100_000_000

/** The caller's terminal as it was found, struct termios of the kernel; null where stdin is none, or not ours to change. */
export type Settings = Uint8Array | null

/** struct termios (asm-generic/termbits.h): four 32-bit words of flags, the line discipline, 19 control characters. */
const TERMIOS_SIZE = 36
const CC = 17

/** What cfmakeraw(3) does. */
export function makeRaw(settings: Uint8Array): Uint8Array {
  const raw = settings.slice()
  const view = new DataView(raw.buffer, raw.byteOffset)
  const change = (offset: number, clear: number, set = 0): void =>
    view.setUint32(offset, (view.getUint32(offset, true) & ~clear) | set, true)
  change(0, k.IGNBRK | k.BRKINT | k.PARMRK | k.ISTRIP | k.INLCR | k.IGNCR | k.ICRNL | k.IXON)
  change(4, k.OPOST)
  change(8, k.CSIZE | k.PARENB, k.CS8)
  change(12, k.ECHO | k.ECHONL | k.ICANON | k.ISIG | k.IEXTEN)
  raw[CC + k.VMIN] = 1
  raw[CC + k.VTIME] = 0
  return raw
}

/**
 * To be called before the program starts, so that it finds the size of its window: the caller's, unless the config has one. Nothing
 * of the caller's is changed yet.
 */
export function prepareRelay({ host, platform }: Runtime, { consoleSize }: Process): Settings {
  const b = new Batch(platform.machine)
  b.about('process.terminal: relay')
  // The description of the master is ours alone by now.
  c.fcntl(b, MASTER, k.F_SETFL, k.O_RDWR | k.O_NONBLOCK)
  if (!consoleSize) planResize(b)
  // A terminal is opened again: writes to it are not to block, and the description that we have is the caller's.
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
  // A file or a pipe gets lines as the program writes them. Nobody has changed the new terminal yet: OPOST and ONLCR are what it has.
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
  // In the background the terminal is in the hands of another job, the shell as a rule.
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

/** Changes the mode of the caller's terminal. In the background too: all signals are blocked, SIGTTOU among them. */
function planMode(b: Batch, settings: Uint8Array): void {
  const end = b.label()
  b.call('ioctl', STDIN, k.TCSETS, b.data(settings, '{…}')).on(ANY, end)
  b.place(end)
}

/**
 * A child that waits for the end of the host, and restores the caller's terminal: a host that was killed with SIGKILL cannot. It has
 * the signal mask of the host, all blocked, and of its descriptors the terminal only. Where it cannot be had, that is that.
 */
function planGuard(b: Batch, settings: Uint8Array): void {
  const child = b.label()
  const failed = b.label()
  const without = b.label()
  const parent = b.label()
  b.branch(slot(HostSlot.GUARD), 'NOT_EQUAL', 0, parent)
  const pidfd = c.pidfdOpen(b, b.call('getpid')).on(ANY, parent)
  c.clone(b, k.SIGCHLD, child).on(ANY, failed).keep(HostSlot.GUARD)
  b.jump(without)

  b.place(child)
  const moved = b.label()
  const wait = b.label()
  const restore = b.label()
  b.call('dup3', pidfd, 1, 0).on(ANY, moved)
  b.place(moved)
  b.call('close_range', 2, 0xffff_ffff, 0).on(ANY, wait)
  b.place(wait)
  const poll = b.data(new Struct(8).u32(0, 1).u32(4, k.POLLIN).bytes)
  b.call('ppoll', poll, 1, 0, 0, 0).on(['EINTR'], wait)
  b.call('ioctl', STDIN, k.TCSETS, b.data(settings, '{…}')).on(ANY, restore)
  b.place(restore)
  c.exitGroup(b, 0)

  b.place(failed)
  b.set(HostSlot.GUARD, 0)
  b.place(without)
  c.close(b, pidfd)
  b.place(parent)
}

function planGuardsEnd(b: Batch): void {
  const end = b.label()
  const guard = slot(HostSlot.GUARD)
  b.branch(guard, 'LESS', 1, end)
  c.kill(b, guard, k.SIGKILL).on(ANY, end)
  c.waitid(b, k.P_PID, guard, 0, k.WEXITED).on(ANY, end)
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

/**
 * Relays, and forwards signals to the init `pid`, until that has ended and all that was written to the terminal has been passed on. Its
 * exit status is left in slot STATUS. The last operation fails if the init cannot be waited for; before it nothing does. An interruption is
 * heeded when no byte is in flight; the relay can then be planned again, and the caller's terminal stays raw until that.
 */
export function planRelay(b: Batch, pid: number, settings: Settings, interruption?: Interruption): void {
  b.about('process.terminal: relay')
  const set = b.data(pollSet(), '{…}')
  const pause = b.data(new Struct(16).u64(8, PAUSE).bytes, '{100 ms}')
  const pending = { input: b.out(BUFFER), output: b.out(BUFFER) }
  const quiet = (entry: Entry) => load(set, 32, entry.at + REVENTS)
  const watch = (entry: Entry, fd: c.Fd, events = entry.events): void => {
    b.store(32, at(set, entry.at), fd)
    b.store(32, at(set, entry.at + 4), events)
  }
  const ignore = (entry: Entry): void => watch(entry, -1, 0)
  const loop = b.label()
  const signals = b.label()
  const data = b.label()
  const done = b.label()
  const refused = b.label()

  if (settings) {
    planGuard(b, settings)
    planMode(b, makeRaw(settings))
  }
  for (const zero of [
    HostSlot.ENDED,
    HostSlot.EOF,
    HostSlot.HUNG_UP,
    HostSlot.INPUT_LEFT,
    HostSlot.OUTPUT_LEFT,
    HostSlot.DRAINED,
  ])
    b.set(zero, 0)
  planLook(b, pid)

  b.place(loop)
  if (interruption) planInterruption(interruption)
  planWatch()
  const wait = b.label()
  b.branch(slot(HostSlot.ENDED), 'EQUAL', 0, wait)
  b.branch(slot(HostSlot.OUTPUT_LEFT), 'EQUAL', 0, data)
  b.place(wait)
  const hungUp = b.label()
  b.branch(slot(HostSlot.HUNG_UP), 'EQUAL', 1, hungUp)
  b.call('ppoll', set, ENTRY_COUNT, 0, 0, 0).on(ANY, refused).keep(HostSlot.TRIES)
  b.jump(signals)
  b.place(hungUp)
  // Here the kernel may change the time; it is set again each round.
  b.store(64, at(pause, 0), 0)
  b.store(64, at(pause, 8), PAUSE)
  b.call('ppoll', set, ENTRY_COUNT, pause, 0, 0).on(ANY, refused).keep(HostSlot.TRIES)
  b.set(HostSlot.HUNG_UP, 0)

  b.place(signals)
  b.branch(quiet(entries.signals), 'EQUAL', QUIET, data)
  planSignal()

  b.place(data)
  planOutput()
  planInput()
  b.jump(loop)

  b.place(refused)
  // Only these pass. EINVAL, for one (RLIMIT_NOFILE is below the size of the set), comes back for ever.
  for (const errno of ['EINTR', 'EAGAIN']) b.branch(slot(HostSlot.TRIES), 'EQUAL', -Errno[errno]!, loop)
  b.set(HostSlot.STATUS, LOST)
  b.place(done)
  if (settings) {
    planMode(b, settings)
    planGuardsEnd(b)
  }
  const known = b.label()
  b.branch(slot(HostSlot.STATUS), 'NOT_EQUAL', LOST, known)
  b.about('process.terminal: relay: ppoll or waitid').fail('EINVAL')
  b.place(known)

  function planInterruption({ fd, label }: Interruption): void {
    const none = b.label()
    b.branch(quiet(entries.interruption), 'EQUAL', QUIET, none)
    b.branch(slot(HostSlot.INPUT_LEFT), 'NOT_EQUAL', 0, none)
    b.branch(slot(HostSlot.OUTPUT_LEFT), 'EQUAL', 0, label)
    b.place(none)
    watch(entries.interruption, fd)
  }

  /** Says what to wait for. */
  function planWatch(): void {
    const full = b.label()
    const readMaster = b.label()
    const writeMaster = b.label()
    const output = b.label()
    const end = b.label()
    watch(entries.signals, slot(HostSlot.SIGNALS))
    ignore(entries.input)
    ignore(entries.output)
    ignore(entries.master)
    // Nothing more is passed to a program that has ended.
    b.branch(slot(HostSlot.ENDED), 'EQUAL', 1, output)
    b.branch(slot(HostSlot.INPUT_LEFT), 'NOT_EQUAL', 0, full)
    b.branch(slot(HostSlot.EOF), 'EQUAL', 1, readMaster)
    watch(entries.input, STDIN)
    b.place(readMaster)
    b.branch(slot(HostSlot.HUNG_UP), 'EQUAL', 1, output)
    b.branch(slot(HostSlot.OUTPUT_LEFT), 'NOT_EQUAL', 0, output)
    watch(entries.master, MASTER, k.POLLIN)
    b.jump(end)
    b.place(full)
    b.branch(slot(HostSlot.HUNG_UP), 'EQUAL', 1, output)
    b.branch(slot(HostSlot.OUTPUT_LEFT), 'NOT_EQUAL', 0, writeMaster)
    watch(entries.master, MASTER, k.POLLIN | k.POLLOUT)
    b.jump(end)
    b.place(writeMaster)
    watch(entries.master, MASTER, k.POLLOUT)
    b.place(output)
    b.branch(slot(HostSlot.OUTPUT_LEFT), 'EQUAL', 0, end)
    watch(entries.output, slot(HostSlot.OUTPUT))
    b.place(end)
  }

  /** One signal. struct signalfd_siginfo starts with its number. */
  function planSignal(): void {
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
    planLook(b, pid)
  }

  /** From the program to stdout. */
  function planOutput(): void {
    const empty = b.label()
    const end = b.label()
    const dropped = b.label()
    const closed = b.label()
    const left = HostSlot.OUTPUT_LEFT
    b.branch(slot(left), 'EQUAL', 0, empty)
    b.branch(quiet(entries.output), 'EQUAL', QUIET, end)
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
  function planInput(): void {
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
    b.branch(quiet(entries.input), 'EQUAL', QUIET, end)
    const count = c.read(b, STDIN, pending.input).on(ANY, eof)
    b.branch(count, 'EQUAL', 0, eof)
    b.set(HostSlot.INPUT_AT, pending.input)
    b.set(left, count)
    b.jump(end)
    b.place(eof)
    b.set(HostSlot.EOF, 1)
    b.place(end)
  }
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

/** Whether the init has ended, and how: slots ENDED and STATUS. */
function planLook(b: Batch, pid: number): void {
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
