/** The kernel's numbers for seccomp: linux/seccomp.h, linux/bpf_common.h, linux/audit.h; seccomp(2). */
import type { SeccompAction, SeccompFlag } from '../config/types.ts'

export const SECCOMP_SET_MODE_FILTER = 1

/**
 * What a filter returns. The low 16 bits are data: an errno, or a number for the tracer.
 * SCMP_ACT_KILL is the older name of SCMP_ACT_KILL_THREAD.
 */
export const RET: Readonly<Record<SeccompAction, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x8000_0000,
  SCMP_ACT_TRAP: 0x0003_0000,
  SCMP_ACT_ERRNO: 0x0005_0000,
  SCMP_ACT_NOTIFY: 0x7fc0_0000,
  SCMP_ACT_TRACE: 0x7ff0_0000,
  SCMP_ACT_LOG: 0x7ffc_0000,
  SCMP_ACT_ALLOW: 0x7fff_0000,
}
export const RET_KILL_THREAD = 0
export const RET_ENOSYS = 0x0005_0000 | 38

/** SECCOMP_FILTER_FLAG_*. The init has one thread, so there is nothing to synchronise: TSYNC is no flag to pass on. */
export const FILTER_FLAGS: Readonly<Record<SeccompFlag, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 0,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 32,
}
export const FLAG_NEW_LISTENER = 8
/** Flags that are about a listener. */
export const FLAGS_OF_AGENTS = FLAG_NEW_LISTENER | FILTER_FLAGS.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV

/** Most instructions that a filter may have. */
export const BPF_MAXINSNS = 4096

/** Instructions of classic BPF: class, size or operation, and mode or source in one number. */
export const Bpf = {
  /** A = 32-bit word at offset k of struct seccomp_data. */
  LOAD: 0x20,
  /** A &= k. */
  AND: 0x54,
  /** Skips k instructions. */
  JUMP: 0x05,
  /** Skips jt instructions if the (unsigned) comparison of A with k holds, else jf. */
  JEQ: 0x15,
  JGT: 0x25,
  JGE: 0x35,
  RETURN: 0x06,
} as const

/** Offsets in struct seccomp_data. */
export const DATA_NR = 0
export const DATA_ARCH = 4
/** Six u64; both machines are little-endian. */
export const DATA_ARGS = 16

/** AUDIT_ARCH_*: what seccomp_data.arch says. x32 calls say x86-64 and set bit 30 of their number. */
export const AUDIT_ARCH = {
  x86_64: 0xc000_003e,
  x86: 0x4000_0003,
  aarch64: 0xc000_00b7,
  arm: 0x4000_0028,
} as const
export const X32_BIT = 0x4000_0000
/** __ARM_NR_BASE: calls of arm's own (set_tls, cacheflush). */
export const ARM_PRIVATE = 0xf_0000
