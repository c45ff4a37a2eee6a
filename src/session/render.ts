/** Shows a system call as strace(1) does, from the arguments that the batch was built with. */
import { Kind } from '../executor/protocol.ts'
import { describeErrno, errnoName } from '../linux/errno.ts'
import { hintFor } from '../linux/hints.ts'
import type { SyscallName } from '../linux/syscalls.ts'
import type { Arg, Step } from './batch.ts'
import { Ref } from './operation.ts'
import type { Answer } from './session.ts'

/** What the slots of an executor hold, in words. */
export type SlotNames = Readonly<Record<number, string>>

/** How an argument is shown: d decimal, o octal, x hexadecimal, f descriptor or AT_FDCWD, s string, p pointer. */
const shapes: Partial<Record<SyscallName, string>> = {
  read: 'fpd',
  write: 'fsd',
  close: 'f',
  openat: 'fsxo',
  openat2: 'fssd',
  statx: 'fsxxp',
  readlinkat: 'fspd',
  getdents64: 'fpd',
  fcntl: 'fdx',
  dup3: 'ffx',
  close_range: 'ddx',
  faccessat: 'fsd',
  faccessat2: 'fsdx',
  mkdirat: 'fso',
  mknodat: 'fsox',
  symlinkat: 'sfs',
  linkat: 'fsfsx',
  unlinkat: 'fsx',
  renameat: 'fsfs',
  fchmod: 'fo',
  fchmodat: 'fso',
  fchown: 'fdd',
  fchownat: 'fsddx',
  umask: 'o',
  chdir: 's',
  fchdir: 'f',
  chroot: 's',
  mount: 'sssxs',
  umount2: 'sx',
  pivot_root: 'ss',
  open_tree: 'fsx',
  move_mount: 'fsfsx',
  fsopen: 'sx',
  fspick: 'fsx',
  fsconfig: 'fdssd',
  fsmount: 'fxx',
  mount_setattr: 'fsxsd',
  fstatfs: 'fp',
  clone: 'xpppp',
  clone3: 'sd',
  execve: 'spp',
  execveat: 'fsppx',
  exit_group: 'd',
  waitid: 'ddpdp',
  kill: 'dd',
  pidfd_open: 'dx',
  pidfd_send_signal: 'fdpd',
  prctl: 'dxxxx',
  unshare: 'x',
  setns: 'fx',
  setresuid: 'ddd',
  setresgid: 'ddd',
  setgroups: 'dp',
  capset: 'ss',
  prlimit64: 'ddsp',
  sethostname: 'sd',
  setdomainname: 'sd',
  keyctl: 'dsddd',
  socket: 'ddd',
  bind: 'fsd',
  listen: 'fd',
  accept4: 'fppx',
  connect: 'fsd',
  ioctl: 'fxs',
  memfd_create: 'sx',
  personality: 'x',
  pwrite64: 'fsdd',
}

const fsconfigCommands = [
  'SET_FLAG',
  'SET_STRING',
  'SET_BINARY',
  'SET_PATH',
  'SET_PATH_EMPTY',
  'SET_FD',
  'CMD_CREATE',
  'CMD_RECONFIGURE',
]

function renderArg(arg: Arg, shape: string, answer: Answer | null, slots: SlotNames): string {
  if (typeof arg === 'number' || typeof arg === 'bigint') {
    if (shape === 'f' && arg === -100) return 'AT_FDCWD'
    if (shape === 'o' && arg !== 0) return `0${arg.toString(8)}`
    if (shape === 'x' && arg > 9) return `0x${arg.toString(16)}`
    if ((shape === 's' || shape === 'p') && arg === 0) return 'NULL'
    return String(arg)
  }
  if (typeof arg === 'string') return JSON.stringify(arg)
  if (arg instanceof Uint8Array) return `<${arg.length} bytes>`
  if (arg.ref === Ref.STEP) {
    const value = answer?.value(arg)
    return value === undefined ? `<${arg.name ?? 'value'}>` : String(value)
  }
  if (arg.ref === Ref.SLOT) return `<${slots[arg.slot] ?? `slot ${arg.slot}`}>`
  if (arg.ref === Ref.DATA && arg.text !== undefined)
    return typeof arg.text === 'function' ? arg.text() : JSON.stringify(arg.text)
  return `<${arg.length} bytes>`
}

/** `openat(AT_FDCWD, "/x", 0x80000, 0)`. With an answer, values that were known only at run time are shown. */
export function renderCall(step: Step, answer: Answer | null = null, slots: SlotNames = {}): string {
  if (step.kind !== Kind.SYSCALL && step.kind !== Kind.FORK) {
    const name = Object.keys(Kind).find((key) => Kind[key as keyof typeof Kind] === step.kind) ?? `kind ${step.kind}`
    return `${name.toLowerCase()}(${step.args.map((arg) => renderArg(arg, 'd', answer, slots)).join(', ')})`
  }
  const name = step.name!
  const shape = shapes[name] ?? ''
  const shown = step.args.map((arg, index) => {
    if (name === 'fsconfig' && index === 1 && typeof arg === 'number') return `FSCONFIG_${fsconfigCommands[arg] ?? arg}`
    return renderArg(arg, shape[index] ?? 'd', answer, slots)
  })
  return `${name}(${shown.join(', ')})`
}

/** `openat(…): ENOENT (No such file or directory)`. */
export function renderFailure(step: Step, errno: number, answer: Answer, slots: SlotNames): string {
  const fails = step.kind === Kind.FAIL
  const hint = hintFor(fails ? 'fail' : (step.name ?? ''), errnoName(errno))
  const call = fails ? '' : `${renderCall(step, answer, slots)}: `
  return `${call}${describeErrno(errno)}${hint === undefined ? '' : `: ${hint}`}`
}

/** `openat(…) = 5` or `= -1 ENOENT (…)`, as strace prints it. */
export function renderResult(step: Step, answer: Answer, slots: SlotNames = {}): string {
  const value = answer.value(step)
  const call = renderCall(step, answer, slots)
  if (value === undefined) return `${call} (not run)`
  return `${call} = ${value < 0 && value > -4096 ? `-1 ${describeErrno(-value)}` : value}`
}
