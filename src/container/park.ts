/** The last batch of an init: park it until `start` comes, or go on at once. */
import type { Hooks, Process, Seccomp } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import type { Filter } from '../seccomp/compile.ts'
import { type Batch, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { partsOf, planStartHooks, type StartHook } from './hooks.ts'
import { planProgram } from './process.ts'
import { planThread } from './seccomp-agent.ts'
import { HostSlot, InitSlot } from './slots.ts'
import { START_SOCKET } from './state.ts'

/** The part of the config that is needed here; `start` reads it from the copy in the state folder. */
export interface Parked {
  process: Process
  linux?: { seccomp?: Seccomp }
  hooks?: Hooks | null
  annotations?: Record<string, string>
}

/** Descriptors of the init that outlive its set-up, besides the standard streams. */
export interface KeptOpen {
  /** The socket that it parks on. */
  listener: number
  /** Its end of its session. */
  session: number
  /** The caller's, from 3 on. */
  preserved: number
}

/**
 * Plans, in the host, the socket that the parked init listens on. It is bound from inside the folder: an address holds 107 bytes at most.
 */
export function planListener(b: Batch, folder: string): Step {
  b.about(`socket (${folder}/${START_SOCKET})`)
  const listener = c.socket(b, k.AF_UNIX, k.SOCK_SEQPACKET).keep(HostSlot.LISTENER)
  c.openat(b, k.AT_FDCWD, '.', k.O_PATH).keep(HostSlot.CWD)
  c.chdir(b, folder)
  const address = c.unixAddress(b, START_SOCKET)
  b.call('bind', listener, address.pointer, address.length)
  c.fchdir(b, slot(HostSlot.CWD))
  b.call('listen', listener, 1)
  return listener
}

/** Sequence number of the parking batch, so that `start` knows the answer when it gets one. */
export const PARK_SEQUENCE = 0xffff_fff0

/**
 * Plans to wait for a connection on the listener, to call startContainer hooks and to execute the program, which closes the connection. If
 * a hook fails or the program cannot be executed, that is answered on the connection, and the init goes on serving whoever connected. With
 * more hooks than fit into a batch it serves at once: `start` sends the hooks, and then `planStart`.
 */
export function planPark(
  b: Batch,
  config: Parked,
  program: string,
  home: string | null,
  filter: Filter | null,
  kept: KeptOpen,
): StartHook[] {
  const { listener } = kept
  b.about('parked')
  if (!config.hooks?.startContainer?.length) planClosing(b, kept)
  const again = b.label()
  b.place(again)
  b.call('accept4', listener, 0, 0, k.SOCK_CLOEXEC).on(['EINTR', 'ECONNABORTED'], again).keep(InitSlot.CONNECTION)
  b.session(slot(InitSlot.CONNECTION))
  return partsOf(config).length > 0 ? [] : planStart(b, config, program, home, filter)
}

/** What the init does once it has a connection. */
export function planStart(
  b: Batch,
  config: Parked,
  program: string,
  home: string | null,
  filter: Filter | null,
): StartHook[] {
  if (filter?.listener) {
    // A failure is answered on the connection all the same.
    b.about('linux.seccomp.listenerPath')
    c.fcntl(b, slot(InitSlot.CONNECTION), k.F_DUPFD_CLOEXEC, 3).keep(InitSlot.CHANNEL)
    planThread(b)
  }
  const hooks = planStartHooks(b, config, home, filter)
  planProgram(b, config.process, program, home, filter)
  return hooks
}

/**
 * Closes what the set-up has left open, folders of the host among it. execve(2) would close it too, but an init may be parked for long, and
 * a process of the container with CAP_SYS_PTRACE can look into its /proc/PID/fd (compare CVE-2024-21626). Not done if there are
 * startContainer hooks, which need some of it.
 */
function planClosing(b: Batch, { listener, session, preserved }: KeptOpen): void {
  let first = 3 + preserved
  for (const next of [Math.min(listener, session), Math.max(listener, session), 0x1_0000_0000]) {
    // EINVAL: there is nothing in between.
    const empty = b.label()
    b.call('close_range', first, next - 1, 0).on(['EINVAL'], empty)
    b.place(empty)
    first = Math.max(first, next + 1)
  }
}
