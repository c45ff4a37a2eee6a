/** What the host does while a program runs in the foreground: wait for it, and forward signals to it. */
import { Struct } from '../base/bytes.ts'
import { Slot } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { ANY, at, type Batch, type Label, load, type OutPointer, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { HostSlot } from './slots.ts'

/** Every signal but SIGKILL and SIGSTOP, as a mask. */
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn

const STDERR = 2
/** Exit status when the program's cannot be known. */
const WAIT_FAILED = 255

/** Blocks all signals. From here on they wait in a signalfd until there is a program to forward them to. */
export function planSignals(b: Batch): void {
  b.about('signals')
  c.sigprocmask(b, k.SIG_BLOCK, ALL_SIGNALS)
  b.call('signalfd4', -1, b.data(new Struct(8).u64(0, ALL_SIGNALS).bytes), 8, k.O_CLOEXEC).keep(HostSlot.SIGNALS)
}

/** Plans to reap the brain, which ends while the program runs. On Node.js it is no child of the host. */
export function planReapBrain(b: Batch): void {
  const none = b.label()
  b.about('brain')
  b.branch(slot(Slot.BRAIN), 'EQUAL', 0, none)
  c.waitid(b, k.P_PID, slot(Slot.BRAIN), 0, k.WEXITED).on(ANY, none)
  b.place(none)
}

/** Something that interrupts the waiting for the program: there is something to read from `fd`. */
export interface Interruption {
  fd: c.Fd
  /** Where to go on then. */
  label: Label
}

/** Leaves the exit status of a child that has ended, as waitid(2) tells it, in slot STATUS: 128 + n when signal n ended it. */
export function planStatus(b: Batch, info: OutPointer): void {
  const exited = b.label()
  b.set(HostSlot.STATUS, load(info, 32, k.SI_STATUS))
  b.branch(load(info, 32, k.SI_CODE), 'EQUAL', k.CLD_EXITED, exited)
  b.add(slot(HostSlot.STATUS), 128).keep(HostSlot.STATUS)
  b.place(exited)
}

/** Forwards signals to a child until it ends, and leaves its exit status in slot STATUS. */
export function planWait(b: Batch, id: string, pid: number, interruption?: Interruption): void {
  const look = b.label()
  const next = b.label()
  const done = b.label()
  const signal = b.out(128)
  const info = b.out(128)
  b.about(`container ${id}: process ${pid}`)
  b.place(look)
  b.store(32, at(info, 16), 0)
  // All signals are blocked, so neither call can be interrupted.
  c.waitid(b, k.P_PID, pid, info, k.WEXITED | k.WNOHANG)
  b.branch(load(info, 32, k.SI_PID), 'EQUAL', 0, next)
  planStatus(b, info)
  b.jump(done)
  b.place(next)
  if (interruption) planInterruption(b, interruption)
  // struct signalfd_siginfo starts with the signal's number.
  b.call('read', slot(HostSlot.SIGNALS), signal, 128)
  b.branch(load(signal, 32), 'EQUAL', k.SIGCHLD, look)
  c.kill(b, pid, load(signal, 32)).on(ANY, look)
  b.jump(next)
  b.place(done)
}

/** Where the last batch goes on when a call of it fails. The brain is gone by then, so the batch itself prints the error (`planEnd`). */
export interface Failures {
  waiting: Label
  removing: Label
}

/**
 * Ends the last batch, and the host with the program's exit status. `command`: what errors begin with. `again`: plans another way to
 * remove the container; gives the label where that goes on if it fails.
 */
export function planEnd(
  b: Batch,
  command: 'run' | 'exec',
  id: string,
  pid: number,
  failures: Failures,
  again: (() => Label) | null = null,
): void {
  const complain = (what: string): void => {
    const silent = b.label()
    c.write(b, STDERR, `runt: ${command}: container ${id}: ${what}\n`).on(ANY, silent)
    b.place(silent)
  }
  c.exitGroup(b, slot(HostSlot.STATUS))
  b.place(failures.waiting)
  complain(`process ${pid} cannot be waited for: waitid, ppoll or read was refused; it may still run`)
  c.exitGroup(b, WAIT_FAILED)
  b.place(failures.removing)
  if (again) {
    const left = again()
    c.exitGroup(b, slot(HostSlot.STATUS))
    b.place(left)
  }
  complain('it has ended, but a system call failed that was to remove it; delete --force removes what is left')
  c.exitGroup(b, slot(HostSlot.STATUS))
}

/** Waits for a signal or for the interruption. */
function planInterruption(b: Batch, { fd, label }: Interruption): void {
  // Two of struct pollfd, and some room, for the second revents is read as a part of a 32-bit word: 0 if nothing has happened.
  const set = b.data(new Struct(24).bytes)
  const again = b.label()
  b.place(again)
  b.store(32, set, slot(HostSlot.SIGNALS))
  b.store(32, at(set, 4), k.POLLIN)
  b.store(32, at(set, 8), fd)
  b.store(32, at(set, 12), k.POLLIN)
  b.call('ppoll', set, 2, 0, 0, 8).on(['EINTR'], again)
  b.branch(load(set, 32, 14), 'NOT_EQUAL', 0, label)
}
