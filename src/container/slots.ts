/** Slots that the batches of the container room use, by executor. What they hold is said here once. */
import { Slot } from '../executor/protocol.ts'
import type { SlotNames } from '../session/render.ts'

const first = Slot.FIRST_FREE

/** In any executor: bytes read so far of a file. */
export const READ_COUNT = first + 15

/** In any executor: the current signal of a loop over all of them. */
export const SIGNAL = first + 76

/** In the host executor and the init: for hooks. */
export const HookSlot = {
  /** File with the state, for stdin. */
  STATE: first + 60,
  /** Where stdout goes. */
  STDOUT: first + 61,
  /** File in which a child says why it could not execute the hook. */
  VERDICT: first + 62,
  /** Result of the child's last system call. */
  RESULT: first + 63,
  /** File with arguments and environment of a hook, for a moment. */
  VECTORS: first + 64,
  /** File that their stderr is added to. */
  STDERR: first + 65,
} as const

/** In the host executor. */
export const HostSlot = {
  /** The sealed memfd while the stage is made. */
  MEMFD: first,
  /** Listening socket that the parked init waits on. */
  LISTENER: first + 1,
  /** The working folder, to return to. */
  CWD: first + 2,
  /** signalfd of a foreground run. */
  SIGNALS: first + 3,
  PIDFD: first + 4,
  /** Exit status of a foreground run. */
  STATUS: first + 5,
  /** What ppoll(2) has returned (relay.ts). */
  POLLED: first + 6,
  /** Connection to a parked init. */
  CONNECTION: first + 7,
  /** A file while it is written. */
  FILE: first + 8,
  /** The file of --log. */
  LOG: first + 9,
  /** Pointer to the path of the current folder while the cgroup's folders are removed. */
  FOLDER: first + 10,
  /** The folder of a container that is made or removed, with a lock (claim.ts). */
  CLAIM: first + 11,
  /** Connection to the console socket. */
  CONSOLE: first + 40,
  /** Master of the container's terminal. */
  TERMINAL: first + 41,
  /** The relay of a terminal (relay.ts): where its output goes; whether the init, stdin, the terminal have ended; what is in flight. */
  OUTPUT: first + 42,
  ENDED: first + 43,
  EOF: first + 44,
  HUNG_UP: first + 45,
  INPUT_AT: first + 46,
  INPUT_LEFT: first + 47,
  OUTPUT_AT: first + 48,
  OUTPUT_LEFT: first + 49,
  /** Bytes that were read from the terminal after the end of the program. */
  DRAINED: first + 50,
  /** The end of the socket pair on which the process of an exec sends its terminal. */
  MEETING: first + 51,
  /** The child that restores the caller's terminal if the host is killed. */
  GUARD: first + 54,
  /** Connection to the socket of --pidfd-socket. */
  PIDFD_SOCKET: first + 52,
  /** The container's socket for sd_notify(3). */
  NOTIFY: first + 53,
  /** Connection to the seccomp agent; the one on which the filtered process sends the listener; the process's end of the latter. */
  AGENT: first + 70,
  CHANNEL: first + 71,
  CHANNEL_END: first + 72,
  /** The listener, between the process and the agent. */
  LISTENER_TAKEN: first + 73,
} as const

/** In the host executor: for the loops of `list` over many containers (scan.ts). */
export const ScanSlot = {
  /** The folder of all states. */
  ROOT: first + 16,
  /** Number of the current row, and where its strings and results are. */
  TURN: first + 17,
  STRINGS: first + 18,
  RESULTS: first + 19,
  /** Result of the current row so far: a length or a negative errno. */
  OUTCOME: first + 20,
  /** Where the next text goes. */
  TEXT: first + 21,
} as const

/** Types of namespaces: config-linux.md, Namespaces. */
export const NAMESPACE_COUNT = 8

/** In the stage and, inherited, in the init. */
export const InitSlot = {
  /** The root of the container's tree of mounts. */
  ROOT: first,
  /** What is being mounted. */
  MOUNT: first + 1,
  /** Where it is being mounted. */
  TARGET: first + 2,
  /** The file system context, for its messages. */
  FS: first + 3,
  /** A folder while a path is made. */
  PARENT: first + 4,
  /** /dev/null of the host, for masks. */
  NULL: first + 5,
  /** The empty read-only file system, for masked folders. */
  EMPTY: first + 6,
  /** Pointer to the path of the user's program. */
  PROGRAM: first + 7,
  /** Connection of the command that starts a parked init. */
  CONNECTION: first + 8,
  /** The host's root, until it is unmounted. */
  OLD_ROOT: first + 9,
  /** Non-zero once the working folder has been entered. */
  ENTERED: first + 10,
  /** /dev of the container. */
  DEV: first + 11,
  /** Stage: pid of the init. */
  CHILD: first + 12,
  /** The current capability of a loop over all of them. */
  CAPABILITY: first + 13,
  /** The folder below PARENT while a path is made. */
  CHILD_FOLDER: first + 14,
  /** Non-zero once a folder has been made that was missing. */
  MADE: first + 28,
  /** 1 when the init was born in its cgroup. */
  JOINED: first + 26,
  /** A folder of the container's cgroup. */
  CGROUP: first + 27,
  /** Namespaces to join: NAMESPACE_COUNT slots. */
  NAMESPACES: first + 16,
  /** The ends of the pair of sockets on which the stage sends descriptors; see sources.ts. */
  SENDER: first + 80,
  RECEIVER: first + 81,
  /** Stage: an errno where it may not set its OOM score. */
  REFUSAL: first + 83,
  /** Stage: pid of the process between it and the init. */
  MIDDLE: first + 82,
  /** Arguments and environment of the user's program, while they are brought here. */
  MEMFD: first + 24,
  /** The two ends of the process's terminal. */
  MASTER: first + 40,
  SLAVE: first + 41,
  /** The listener of the seccomp filter; the connection on which it is sent to the host; non-zero when the agent has it. */
  LISTENER: first + 70,
  CHANNEL: first + 71,
  TAKEN: first + 72,
  /** A procfs. */
  PROC: first + 73,
  /** How far a file has been copied, in bytes. */
  COPIED: first + 74,
} as const

/** `CHILD_FOLDER` is shown as `<child folder>` in place of an argument. */
const namesOf = (...tables: Readonly<Record<string, number>>[]): SlotNames =>
  Object.fromEntries(
    tables.flatMap((table) =>
      Object.entries(table).map(([name, number]) => [number, name.toLowerCase().replaceAll('_', ' ')]),
    ),
  )

/** For error messages: the slots of the host executor, and those of stage and init. */
export const hostSlots = namesOf(HookSlot, HostSlot, ScanSlot)
export const initSlots: SlotNames = {
  ...namesOf(HookSlot, InitSlot),
  ...Object.fromEntries(
    Array.from({ length: NAMESPACE_COUNT }, (_, order) => [InitSlot.NAMESPACES + order, 'namespace']),
  ),
}
