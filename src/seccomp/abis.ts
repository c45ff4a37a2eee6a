/**
 * The system call conventions (ABIs) of the machines that runt knows, and their numbers in a form for fast lookups: a name has
 * one index everywhere, and an ABI keeps its numbers in an array by that index. All of it is made when the program is built.
 */
import type { Machine } from '../base/platform.ts'
import type { SeccompArch } from '../config/types.ts'
import { ARM_PRIVATE, AUDIT_ARCH, X32_BIT } from './kernel.ts'
import { SYSCALLS } from './tables.ts'

export interface Abi {
  readonly arch: SeccompArch
  /** seccomp_data.arch. */
  readonly token: number
  /** What all numbers of the ABI have set. */
  readonly base: number
  /** Whether arguments have 64 bits. As libseccomp, runt looks at 32 bits of x32's. */
  readonly wide: boolean
  /** By index of the name: the number's cell; `size` where the ABI has no such call. */
  readonly cells: Int16Array
  /** By cell: index of the name, `NAMELESS` where a cell has none. */
  readonly names: Int16Array
  /** How many cells there are: ordinary calls are at their number, arm's private calls follow. */
  readonly size: number
  readonly ordinary: number
  /**
   * By index of the name, x86 only: `CALL_SOCKET + n` or `CALL_IPC + n` for what can also be reached as the nth function of socketcall(2)
   * or ipc(2).
   */
  readonly multiplexed: Int16Array | null
}

export const CALL_SOCKET = 0x100
export const CALL_IPC = 0x200

const lines = SYSCALLS.trim().split('\n')

/** Index of every system call that any machine has. */
export const INDEX: ReadonlyMap<string, number> = new Map(
  lines.map((line, index) => [line.slice(0, line.indexOf(' ')), index]),
)

/** Index of no system call. */
export const NAMELESS = lines.length

/** Functions of socketcall(2), the first is 1: linux/net.h. */
const SOCKET_CALLS =
  'socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown ' +
  'setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg'

/** Functions of ipc(2): linux/ipc.h. */
const IPC_CALLS = {
  semop: 1,
  semget: 2,
  semctl: 3,
  semtimedop: 4,
  msgsnd: 11,
  msgrcv: 12,
  msgget: 13,
  msgctl: 14,
  shmat: 21,
  shmdt: 22,
  shmget: 23,
  shmctl: 24,
}

function multiplexed(): Int16Array {
  const codes = new Int16Array(lines.length)
  for (const [index, name] of SOCKET_CALLS.split(' ').entries()) codes[INDEX.get(name)!] = CALL_SOCKET + index + 1
  for (const [name, code] of Object.entries(IPC_CALLS)) codes[INDEX.get(name)!] = CALL_IPC + code
  return codes
}

/** `column`: place of the ABI's numbers in a line of the table. */
function abi(arch: SeccompArch, token: number, column: number, base: number, wide: boolean): Abi {
  const numbers = lines.map((line) => line.split(' ')[column]!)
  const has = numbers.filter((number) => number !== '-').map(Number)
  const ordinary = 1 + Math.max(...has.filter((number) => number < ARM_PRIVATE))
  const cellOf = (number: number) => (number < ARM_PRIVATE ? number : number - ARM_PRIVATE + ordinary)
  const size = 1 + Math.max(...has.map(cellOf))
  const cells = Int16Array.from(numbers, (number) => (number === '-' ? size : cellOf(Number(number))))
  const names = new Int16Array(size).fill(NAMELESS)
  // No two names have the same number.
  cells.forEach((cell, index) => {
    if (cell < size) names[cell] = index
  })
  const mux = arch === 'SCMP_ARCH_X86' ? multiplexed() : null
  return { arch, token, base, wide, cells, names, size, ordinary, multiplexed: mux }
}

/** ABIs that a process can use, by machine; the machine's own first. Those with the same token are neighbours, lower base first. */
export const ABIS: Readonly<Record<Machine, readonly Abi[]>> = {
  x86_64: [
    abi('SCMP_ARCH_X86_64', AUDIT_ARCH.x86_64, 1, 0, true),
    abi('SCMP_ARCH_X32', AUDIT_ARCH.x86_64, 2, X32_BIT, false),
    abi('SCMP_ARCH_X86', AUDIT_ARCH.x86, 3, 0, false),
  ],
  aarch64: [
    abi('SCMP_ARCH_AARCH64', AUDIT_ARCH.aarch64, 4, 0, true),
    abi('SCMP_ARCH_ARM', AUDIT_ARCH.arm, 5, 0, false),
  ],
}
