/** Configs for tests and measurements. */
import type { Seccomp, SeccompAction, SeccompArch, SeccompArg, SeccompSyscall } from '../../config/types.ts'
import { INDEX } from '../abis.ts'

/** What a usual container may not do; the rest is what it may. */
const FORBIDDEN = new Set(
  (
    'acct add_key bpf clock_adjtime clock_adjtime64 clock_settime clock_settime64 clone clone3 create_module delete_module ' +
    'fanotify_init finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module io_uring_enter ' +
    'io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind ' +
    'migrate_pages mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at open_tree perf_event_open ' +
    'personality pivot_root process_madvise query_module quotactl quotactl_fd reboot request_key set_mempolicy ' +
    'set_mempolicy_home_node setdomainname sethostname setns settimeofday socket stime swapoff swapon sysfs _sysctl syslog ' +
    'umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old vmsplice'
  ).split(' '),
)

/** A profile of the kind that engines write: nearly everything by one rule, and some calls by their arguments. */
export function usualProfile(architectures: SeccompArch[]): Seccomp {
  const exactly = (index: number, value: number): SeccompArg => ({ index, value, op: 'SCMP_CMP_EQ' })
  const allow = (name: string, args: SeccompArg[]): SeccompSyscall => ({
    names: [name],
    action: 'SCMP_ACT_ALLOW',
    args,
  })
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 1,
    architectures,
    syscalls: [
      { names: [...INDEX.keys()].filter((name) => !FORBIDDEN.has(name)), action: 'SCMP_ACT_ALLOW' },
      allow('socket', [{ index: 0, value: 40, op: 'SCMP_CMP_NE' }]),
      ...[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff].map((value) => allow('personality', [exactly(0, value)])),
      allow('clone', [{ index: 0, value: 0x7e02_0000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }]),
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 },
    ],
  }
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b_79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
  }
}

const ACTIONS: SeccompAction[] = [
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_TRAP',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_TRACE',
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_LOG',
]
const OPERATORS: SeccompArg['op'][] = [
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
]
/** Values about which comparisons of halves go wrong. */
export const VALUES: bigint[] = [
  0n,
  1n,
  2n,
  40n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x1_0000_0001n,
  0x2_0000_0001n,
  0xffff_ffff_0000_0000n,
  0xffff_ffff_ffff_ffffn,
]

/**
 * A config of random rules over `names`. All rules with conditions for the same call have the same action, since the order in which
 * libseccomp looks at them is its own.
 */
export function randomProfile(seed: number, names: readonly string[], architectures: SeccompArch[]): Seccomp {
  const next = random(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!
  const outcome = (): Pick<SeccompSyscall, 'action' | 'errnoRet'> => {
    const action = pick(ACTIONS)
    return action === 'SCMP_ACT_ERRNO' && next() < 0.7 ? { action, errnoRet: 1 + Math.floor(next() * 40) } : { action }
  }
  const { action: defaultAction, errnoRet } = outcome()
  const syscalls: SeccompSyscall[] = []
  for (let rule = Math.floor(next() * 8); rule >= 0; rule--) {
    const share = next() * next()
    syscalls.push({ names: names.filter(() => next() < share), ...outcome() })
  }
  for (let rule = Math.floor(next() * 12); rule > 0; rule--) {
    const name = pick(names)
    const known = syscalls.find((syscall) => syscall.args !== undefined && syscall.names[0] === name)
    const result = known ? { action: known.action, errnoRet: known.errnoRet } : outcome()
    const args: SeccompArg[] = []
    for (let index = 0; index < 6; index++) {
      if (next() < 0.6) continue
      const op = pick(OPERATORS)
      const value = pick(VALUES)
      args.push(op === 'SCMP_CMP_MASKED_EQ' ? { index, op, value, valueTwo: pick(VALUES) } : { index, op, value })
      if (next() < 0.1) args.push({ index, op: 'SCMP_CMP_EQ', value: pick(VALUES) })
    }
    const { action, errnoRet: errno } = result
    syscalls.push({ names: [name], action, ...(errno === undefined ? {} : { errnoRet: errno }), args })
  }
  return { defaultAction, ...(errnoRet === undefined ? {} : { defaultErrnoRet: errnoRet }), architectures, syscalls }
}
