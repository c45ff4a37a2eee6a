/**
 * The caller's own terminal while a container uses it: raw during the relay (relay.ts), and restored afterwards, even if the host is
 * killed.
 */
import { Struct } from '../base/bytes.ts'
import * as k from '../linux/constants.ts'
import { ANY, type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { HostSlot } from './slots.ts'

const STDIN = 0

/** Settings of the caller's terminal as they were found (the kernel's struct termios); null if stdin is none, or not ours to change. */
export type Settings = Uint8Array | null

/** struct termios (asm-generic/termbits.h): four 32-bit words of flags, the line discipline, 19 control characters. */
export const TERMIOS_SIZE = 36
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

/** Plans to make the caller's terminal raw, with a guard that restores it should the host be killed. */
export function planRaw(b: Batch, settings: Uint8Array): void {
  planGuard(b, settings)
  planMode(b, makeRaw(settings))
}

/** Plans to restore the caller's terminal, and ends the guard. */
export function planRestore(b: Batch, settings: Uint8Array): void {
  planMode(b, settings)
  planGuardsEnd(b)
}

/** Changes the mode of the caller's terminal. It works in the background too, because all signals are blocked, SIGTTOU among them. */
function planMode(b: Batch, settings: Uint8Array): void {
  const end = b.label()
  b.call('ioctl', STDIN, k.TCSETS, b.data(settings, '{…}')).on(ANY, end)
  b.place(end)
}

/**
 * The guard is a child that waits for the end of the host and then restores the caller's terminal, for a host that was killed by SIGKILL
 * cannot. It inherits the host's signal mask (all blocked), and of its descriptors it keeps the terminal only. If it cannot be forked, the
 * relay goes on without.
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
