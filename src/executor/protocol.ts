/**
 * The contract between brain and executor: where things lie in the executor's memory, and how a batch of
 * system calls and its answer are laid out. The emitter, the batch builder, the session and the fake kernel
 * all read this one table.
 *
 * A batch travels as one SOCK_SEQPACKET message: header, data, operations. The executor receives it at
 * `ARENA`, so the brain knows the absolute address of every byte it sends and can put pointers into
 * arguments and structures itself. Nothing is relocated.
 *
 * All integers are little-endian (both supported machines are).
 */

/** Where the executor's text lies. The ELF header is its first bytes. */
export const TEXT = 0x20_0000
/** Address of the copy of the executor's code that the brain calls when it is alone, that is in commands of one process (boot.ts). */
export const CALLED_TEXT = 0x21_0000
/** File offset of the data segment; equal to its offset within a 64 KiB page, for arm64 kernels with large pages. */
export const DATA_OFFSET = 0x2000
/** Where a batch is received. */
export const ARENA = 0x1000_0000 + DATA_OFFSET
/** Bytes of arena. Message, results and output buffers of one batch share it. */
export const ARENA_SIZE = 0x4_0000
/** Largest message in either direction, in bytes: below the default socket buffer (net.core.wmem_default, 212,992). */
export const MESSAGE_MAX = 0x2_0000
/** Where the slots lie: 64-bit values that outlive a batch, and that a forked child inherits. */
export const SLOTS = ARENA + ARENA_SIZE
export const SLOT_COUNT = 256
/** End of the data segment in memory. */
export const DATA_END = SLOTS + SLOT_COUNT * 8

/** Slots with a fixed meaning. The brain may use `FIRST_FREE` and above as it likes. */
export const Slot = {
  /** No slot: an operation with `dst` 0 stores its result in the answer only. */
  NONE: 0,
  /** The executor's end of its own session. */
  SESSION: 1,
  /** Non-zero after an operation failed: batches are skipped until one with `Flag.FRESH` comes. */
  FAILED: 2,
  /** Host role only: pid of the brain. At the end of its session the executor waits for it and takes over its exit status. */
  BRAIN: 3,
  /** argv and envp of the executor's own start, as pointers. */
  ARGV: 4,
  ENVP: 5,
  /** The executor's ends of the sessions of the stage and of the container's init, kept by the host until handed on. */
  STAGE_SESSION: 6,
  INIT_SESSION: 7,
  /** Launcher only: 1 when no argument is a command that other executors take part in. Then the brain takes the launcher's place. */
  ALONE: 8,
  /** In a brain that is alone: address and length of the answer to the batch; length 0 if there is none. */
  ANSWER: 9,
  ANSWER_LENGTH: 10,
  FIRST_FREE: 16,
} as const

/** Batch header: 32-bit words, 32 bytes. */
export const HEADER_SIZE = 32
export const Header = {
  /** Echoed in the answer. */
  SEQUENCE: 0,
  /** How many operations there are. */
  COUNT: 4,
  FLAGS: 8,
  /** Offset in the arena where the answer is built; a multiple of 8, at or past the end of the message. */
  REPLY_AT: 12,
  /** Length of the whole answer: reply header, results, and the output bytes behind them. */
  REPLY_LENGTH: 16,
  /** Offset of the operations in the arena, a multiple of 8. */
  OPERATIONS_AT: 20,
} as const

/** Where the data of a batch lies. */
export const DATA = ARENA + HEADER_SIZE

export const Flag = {
  /** No answer when all went well. A failure is answered all the same. */
  SILENT: 1,
  /** Forget an earlier failure. */
  FRESH: 2,
} as const

/** Operation record, 64 bytes. */
export const OP_SIZE = 64
export const Op = {
  /** u32: system call number on this machine (kinds SYSCALL and FORK). */
  NUMBER: 0,
  /** u8: one of `Kind`. */
  KIND: 4,
  /** u8: one of `Test`, for Kind.BRANCH. */
  TEST: 5,
  /** u16: slot that takes the result too, an error included; 0 for none. */
  DST: 6,
  /** six u64. */
  ARGS: 8,
  /** u16: two bits an argument, argument 0 lowest; see `Mode`. */
  MODES: 56,
  /** four u8: expected errnos (0: unused, 255: any). */
  ERRNOS: 58,
  /** u16: operation to go on with after an expected errno, or after a taken jump or branch. COUNT ends the batch. */
  TARGET: 62,
} as const

/** How an argument word becomes a value. */
export const Mode = {
  /** The word itself. */
  IMMEDIATE: 0,
  /** The 64-bit value at the address in the word. */
  LOAD64: 1,
  /** The 32-bit value at that address, zero-extended. */
  LOAD32: 2,
  /** The 32-bit value at that address, sign-extended. */
  LOAD32_SIGNED: 3,
} as const

/** What an operation does. `a`…`f` are its arguments after their modes have been applied. */
export const Kind = {
  /** result = system call NUMBER(a…f). An error goes to TARGET if it is expected and stops the batch otherwise. */
  SYSCALL: 0,
  /** Go to TARGET. result = 0. */
  JUMP: 1,
  /** Go to TARGET if `a TEST b`. result = 1 if taken, else 0. */
  BRANCH: 2,
  /** 32-bit store of b at address a. result = 0. */
  STORE32: 3,
  /** 64-bit store of b at address a. result = 0. */
  STORE64: 4,
  /** result = a + b, wrapping. */
  ADD: 5,
  /**
   * As SYSCALL (clone or clone3, arguments a…e); the child (result 0) goes on at operation f. With CLONE_VM, and without CLONE_VFORK, the
   * child must not come to an answer, nor the operation have a slot: both would write to it.
   */
  FORK: 6,
  /** Answer on descriptor a from now on, and forget an earlier failure. result = 0. For forked children. */
  SESSION: 7,
  /** As a system call that failed with errno a: result = -a, and without expected errnos the batch stops. */
  FAIL: 8,
} as const

export const Test = {
  EQUAL: 0,
  NOT_EQUAL: 1,
  /** Signed a < b. */
  LESS: 2,
} as const

/** Answer: header (its last 8 bytes are zero), one i64 result per operation, output bytes. */
export const REPLY_SIZE = 16
export const Reply = {
  SEQUENCE: 0,
  /** The operation that failed; COUNT if none did; `SKIPPED` if an earlier batch failed (the answer is then 16 bytes long). */
  STOPPED_AT: 4,
} as const
export const SKIPPED = 0xffff_ffff
/** Where the batch builder has answers built, and where the results are then: behind any message. */
export const REPLY_AT = MESSAGE_MAX
export const RESULTS = ARENA + REPLY_AT + REPLY_SIZE
/** Result of an operation that did not run. */
export const NOT_RUN = -0x8000_0000_0000_0000n

/** Exit status of an executor whose session ended and that has no brain to ask. */
export const EXIT_ORPHANED = 1
/** Exit status of the host executor when the brain was killed by a signal. */
export const EXIT_BRAIN_LOST = 255
/** The same when that signal was SIGPIPE: what a shell gives for it. */
export const EXIT_BROKEN_PIPE = 141
