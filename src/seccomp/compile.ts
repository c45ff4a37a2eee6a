/**
 * `linux.seccomp` of config.json becomes a filter for seccomp(2). There is no libseccomp; what the engines' profiles rely on is
 * the same:
 *
 * - The machine's own ABI always has its part, whether `architectures` names it or not. A call by an ABI without a part
 *   kills the thread.
 * - A name that only other machines have, or nobody, has no effect.
 * - A rule without conditions beats those with conditions for the same call, and the first of several. Of rules with conditions
 *   the first that holds decides. Rules that do what the default action does are left out before that.
 * - All `args` of a rule must hold, unless two are for the same argument: then each is a rule of its own (as for runc).
 * - 32-bit ABIs and x32 compare the low halves of arguments and values.
 * - On x86, what can be reached by socketcall(2) or ipc(2) as well is let through or stopped there too. Their arguments cannot be
 *   seen: the condition on argument 0 becomes one on the function.
 *
 * System calls that are newer than the profile. A profile that lists what is allowed would answer them with, say, EPERM, and a
 * libc that tries the new call first would not fall back on the older one. So, as with runc, they answer ENOSYS: those
 * with a number above the highest that the rules name for the same ABI, whatever those rules do. That is so unless the
 * default action is SCMP_ACT_ALLOW, SCMP_ACT_LOG or SCMP_ACT_TRACE, or `defaultErrnoRet` is ENOSYS anyway, or the rules name no
 * call of that ABI above 0. (Unlike runc, arm's private calls, 0xf0000 and above, do not count as the highest.)
 */
import type { Machine } from '../base/platform.ts'
import type { Seccomp, SeccompAction, SeccompArg, Uint64 } from '../config/types.ts'
import { Errno } from '../linux/errno.ts'
import { ABIS, type Abi, CALL_IPC, CALL_SOCKET, INDEX, NAMELESS } from './abis.ts'
import { Program, tooLong } from './emit.ts'
import {
  ARM_PRIVATE,
  BPF_MAXINSNS,
  Bpf,
  DATA_ARCH,
  DATA_ARGS,
  DATA_NR,
  FILTER_FLAGS,
  FLAG_NEW_LISTENER,
  RET,
  RET_ENOSYS,
  RET_KILL_THREAD,
  X32_BIT,
} from './kernel.ts'
import { addCells, addRange, addTree, decide, newRanges, type Ranges } from './search.ts'

export interface Filter {
  /** Array of struct sock_filter, 8 bytes each. */
  readonly program: Uint8Array
  /** SECCOMP_FILTER_FLAG_*, for seccomp(2). */
  readonly flags: number
  /** Those of the flags that nobody asked for: left out where the kernel does not know them. */
  readonly optionalFlags: number
  /** Whether seccomp(2) gives a descriptor for an agent to listen on. */
  readonly listener: boolean
  /** What of the config has no effect, a line each. Profiles name calls of other machines and other times: for --debug only. */
  readonly warnings: readonly string[]
  /** Of these, the names that are no system calls. */
  readonly unknown: readonly string[]
}

export interface CompileOptions {
  /** Whether calls that are newer than the profile answer ENOSYS; default true. */
  enosys?: boolean
}

/** A condition on an argument; values in halves. */
interface Condition {
  readonly index: number
  /** Of Bpf, with `not` for the opposite; masks only with JEQ. */
  readonly code: number
  readonly not: boolean
  readonly high: number
  readonly low: number
  readonly highMask: number
  readonly lowMask: number
}

/** What decides about one system call: rules in order, and their verdicts. */
interface Check {
  readonly conditions: (readonly Condition[])[]
  readonly verdicts: number[]
  /** Whether both halves of arguments count. */
  readonly wide: boolean
}

/** By index of a system call: the index of a return value, 0 for the default action; or -index - 1 of a check. */
type Verdicts = Int16Array

/** An ABI that takes part. */
interface Part {
  readonly abi: Abi
  /** Of rules with conditions. */
  readonly own: Verdicts
  /** For which indices there are some. */
  readonly touched: number[]
  /** Highest ordinary cell that rules without effect name. */
  last: number
}

const ALL = 0xffff_ffff
/** One condition for every function of socketcall(2) and ipc(2). */
const functionConditions = new Map<number, readonly Condition[]>()

/**
 * Makes the filter. Throws a RuntError when it would be larger than the kernel takes. The config has been validated.
 */
export function compile(seccomp: Seccomp, machine: Machine, { enosys = true }: CompileOptions = {}): Filter {
  const warnings: string[] = []
  const unknown: string[] = []
  const parts = participants(seccomp, machine, warnings)
  const defaultReturn = returnValue(seccomp.defaultAction, seccomp.defaultErrnoRet)
  const returns: number[] = [defaultReturn]
  const checks: Check[] = []
  /** Of rules without conditions: the same for all ABIs. */
  const plain: Verdicts = new Int16Array(NAMELESS + 1)

  const rules = seccomp.syscalls ?? []
  for (let at = 0; at < rules.length; at++) {
    const { names, action, errnoRet, args } = rules[at]!
    const value = returnValue(action, errnoRet)
    if (value !== defaultReturn && (args === undefined || args.length === 0)) {
      const verdict = number(returns, value)
      if (!decide(plain, names, verdict))
        for (const name of names) if (!INDEX.has(name)) unknown.push(unknownName(at, name))
      for (const part of parts) addMultiplexed(part, names, plain, undefined, verdict, checks)
      continue
    }
    const indices: number[] = []
    for (const name of names) {
      const index = INDEX.get(name)
      if (index === undefined) unknown.push(unknownName(at, name))
      else indices.push(index)
    }
    if (value === defaultReturn) {
      for (const part of parts) for (const index of indices) mention(part, part.abi.cells[index]!)
      continue
    }
    const verdict = number(returns, value)
    const alternatives = split(args!)
    for (const part of parts) {
      for (const index of indices)
        for (const conditions of alternatives) add(part, index, plain, conditions, verdict, checks)
      addMultiplexed(part, names, plain, alternatives, verdict, checks)
    }
  }

  const stub = enosys && answersNew(seccomp)
  const program = emit(parts, plain, returns, checks, stub)
  const listener = notifies(seccomp)
  let flags = listener ? FLAG_NEW_LISTENER : 0
  let optionalFlags = 0
  if (seccomp.flags === undefined) {
    // As runc: programs in the container are not to run slower for the mitigation of a speculative store bypass.
    optionalFlags = FILTER_FLAGS.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    flags |= optionalFlags
  } else {
    for (const flag of seccomp.flags) {
      if (flag === 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV' && !listener) {
        warnings.push(`linux.seccomp.flags: ${flag} without a rule of SCMP_ACT_NOTIFY: ignored`)
      } else flags |= FILTER_FLAGS[flag]
    }
  }
  warnings.push(...unknown.map((text) => `${text}: ignored`))
  return { program, flags, optionalFlags, listener, warnings, unknown }
}

/** Whether a filter of this section has a listener. */
export const notifies = ({ defaultAction, syscalls }: Seccomp): boolean =>
  defaultAction === 'SCMP_ACT_NOTIFY' || (syscalls?.some(({ action }) => action === 'SCMP_ACT_NOTIFY') ?? false)

const unknownName = (rule: number, name: string): string =>
  `linux.seccomp.syscalls[${rule}].names: "${name}" is no system call that runt knows`

function participants(seccomp: Seccomp, machine: Machine, warnings: string[]): Part[] {
  const known = ABIS[machine]
  const wanted = seccomp.architectures ?? []
  for (const arch of wanted) {
    if (known.some((abi) => abi.arch === arch)) continue
    warnings.push(`linux.seccomp.architectures: ${arch}: no process can have it on ${machine}: ignored`)
  }
  return known
    .filter((abi, index) => index === 0 || wanted.includes(abi.arch))
    .map((abi) => ({ abi, own: new Int16Array(NAMELESS), touched: [], last: 0 }))
}

/** A rule without effect names this cell. */
function mention(part: Part, cell: number): void {
  if (cell > part.last && cell < part.abi.ordinary) part.last = cell
}

/** What the filter returns for an action. Errnos are EPERM unless given. */
function returnValue(action: SeccompAction, errno: number = Errno.EPERM!): number {
  const value = RET[action]
  return action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE' ? value + (errno & 0xffff) : value
}

/** Place of a return value in the list, to which it is added if it is not there. Each takes an instruction. */
function number(returns: number[], value: number): number {
  const at = returns.indexOf(value)
  if (at >= 0) return at
  if (returns.length === BPF_MAXINSNS) throw tooLong()
  return returns.push(value) - 1
}

/** Whether new calls answer ENOSYS; see the top. A tracer and a log are expected to cope with new calls themselves. */
function answersNew({ defaultAction, defaultErrnoRet }: Seccomp): boolean {
  if (defaultErrnoRet === Errno.ENOSYS) return false
  return defaultAction !== 'SCMP_ACT_ALLOW' && defaultAction !== 'SCMP_ACT_LOG' && defaultAction !== 'SCMP_ACT_TRACE'
}

const high = (value: Uint64): number =>
  typeof value === 'bigint' ? Number((value >> 32n) & 0xffff_ffffn) : Math.floor(value / 2 ** 32)
const low = (value: Uint64): number => (typeof value === 'bigint' ? Number(value & 0xffff_ffffn) : value >>> 0)

const COMPARISONS: Record<Exclude<SeccompArg['op'], 'SCMP_CMP_MASKED_EQ'>, { code: number; not: boolean }> = {
  SCMP_CMP_EQ: { code: Bpf.JEQ, not: false },
  SCMP_CMP_NE: { code: Bpf.JEQ, not: true },
  SCMP_CMP_GT: { code: Bpf.JGT, not: false },
  SCMP_CMP_LE: { code: Bpf.JGT, not: true },
  SCMP_CMP_GE: { code: Bpf.JGE, not: false },
  SCMP_CMP_LT: { code: Bpf.JGE, not: true },
}

function condition({ index, op, value, valueTwo = 0 }: SeccompArg): Condition {
  if (op !== 'SCMP_CMP_MASKED_EQ') {
    const { code, not } = COMPARISONS[op]
    return { index, code, not, high: high(value), low: low(value), highMask: ALL, lowMask: ALL }
  }
  // Bits of valueTwo outside of the mask are ignored, as by libseccomp.
  const highMask = high(value)
  const lowMask = low(value)
  return {
    index,
    code: Bpf.JEQ,
    not: false,
    high: (high(valueTwo) & highMask) >>> 0,
    low: (low(valueTwo) & lowMask) >>> 0,
    highMask,
    lowMask,
  }
}

/** The conditions of a rule: lists of which one must hold as a whole. */
function split(args: readonly SeccompArg[]): (readonly Condition[])[] {
  if (args.length === 1) return [[condition(args[0]!)]]
  const conditions = args.map(condition)
  const indices = new Set(args.map((arg) => arg.index))
  return indices.size < args.length ? conditions.map((one) => [one]) : [conditions]
}

/** Adds a rule with conditions for a system call. */
function add(
  { abi, own, touched }: Part,
  index: number,
  plain: Verdicts,
  conditions: readonly Condition[],
  verdict: number,
  checks: Check[],
): void {
  const { wide, size, cells } = abi
  const before = own[index]!
  if (before > 0 || plain[index]! > 0 || cells[index] === size) return
  // A mask of zero asks nothing.
  const usual = conditions.length === 1 && conditions[0]!.lowMask !== 0
  const asking = usual ? conditions : conditions.filter((one) => one.lowMask !== 0 || (wide && one.highMask !== 0))
  if (before === 0) touched.push(index)
  if (asking.length === 0) own[index] = verdict
  else if (before < 0) {
    const check = checks[-before - 1]!
    check.conditions.push(asking)
    check.verdicts.push(verdict)
  } else own[index] = -checks.push({ conditions: [asking], verdicts: [verdict], wide })
}

/** Adds a rule for the functions of socketcall(2) and ipc(2), where the ABI has them: they do the same as calls of these names. */
function addMultiplexed(
  part: Part,
  names: readonly string[],
  plain: Verdicts,
  alternatives: readonly (readonly Condition[])[] | undefined,
  verdict: number,
  checks: Check[],
): void {
  const { multiplexed } = part.abi
  if (multiplexed === null) return
  const decided = (index: number): boolean => plain[index]! > 0 || part.own[index]! > 0
  if (decided(SOCKETCALL) && decided(IPC)) return
  for (const name of names) {
    const code = multiplexed[INDEX.get(name) ?? NAMELESS]!
    if (!code) continue
    const isIpc = code >= CALL_IPC
    let called = functionConditions.get(code)
    if (called === undefined) {
      called = [condition({ index: 0, op: 'SCMP_CMP_EQ', value: code - (isIpc ? CALL_IPC : CALL_SOCKET) })]
      functionConditions.set(code, called)
    }
    for (const conditions of alternatives ?? [[]]) {
      const others = conditions.filter(({ index }) => index !== 0)
      add(part, isIpc ? IPC : SOCKETCALL, plain, [...called, ...others], verdict, checks)
    }
  }
}

const SOCKETCALL = INDEX.get('socketcall')!
const IPC = INDEX.get('ipc')!

/** Ranges of the ordinary calls of an ABI, and of arm's private ones. `rest`: verdict on numbers above those that rules name. */
function partRanges(ranges: Ranges, { abi, last: mentioned }: Part, verdicts: Verdicts, rest: number): void {
  const { base, names, ordinary, size } = abi
  let last = ordinary - 1
  while (last > mentioned && verdicts[names[last]!] === 0) last--
  addCells(ranges, verdicts, names, 0, last + 1, base)
  // Without any rule there is nothing that a call could be newer than.
  const beyond = last > 0 ? rest : 0
  addRange(ranges, base + last + 1, beyond)
  if (size === ordinary) return
  addCells(ranges, verdicts, names, ordinary, size, ARM_PRIVATE)
  addRange(ranges, ARM_PRIVATE + size - ordinary, beyond)
}

/** Writes the program. `returns[0]` is the default action. */
function emit(
  parts: readonly Part[],
  plain: Verdicts,
  returns: number[],
  checks: readonly Check[],
  stub: boolean,
): Uint8Array {
  const kill = number(returns, RET_KILL_THREAD)
  const rest = stub ? number(returns, RET_ENOSYS) : 0
  const program = new Program(returns, checks.length)
  const ranges = newRanges()
  let next = program.return(kill)
  for (let at = parts.length - 1; at >= 0; at--) {
    let first = at
    while (first > 0 && parts[first - 1]!.abi.token === parts[at]!.abi.token) first--
    ranges.count = 0
    for (const part of parts.slice(first, at + 1)) {
      const verdicts = plain.slice()
      for (const index of part.touched) {
        const verdict = part.own[index]!
        // A rule without conditions beats those with some, but not one whose conditions ask nothing here and that came first.
        if (verdict < 0 && plain[index] !== 0) continue
        verdicts[index] = verdict
        if (verdict < 0) program.setCheck(verdict, chain(program, checks[-verdict - 1]!))
      }
      partRanges(ranges, part, verdicts, rest)
    }
    const { arch, token } = parts[at]!.abi
    if (arch === 'SCMP_ARCH_X86_64') {
      // x32 has no part. -1 is what a tracer leaves when it has skipped a call.
      addRange(ranges, X32_BIT, kill)
      addRange(ranges, ALL, 0)
    }
    const section = addTree(program, ranges)
    const entry = ranges.count > 1 ? program.load(DATA_NR, section) : section
    next = program.jump(Bpf.JEQ, token, entry, next)
    at = first
  }
  program.load(DATA_ARCH, next)
  return program.bytes()
}

/** The rules of one call, the first first. */
function chain(program: Program, { conditions, verdicts, wide }: Check): number {
  let next = program.return(0)
  for (let rule = conditions.length - 1; rule >= 0; rule--) {
    let yes = program.return(verdicts[rule]!)
    const all = conditions[rule]!
    for (let at = all.length - 1; at >= 0; at--) yes = compare(program, all[at]!, wide, yes, next)
    next = yes
  }
  return next
}

/** One condition: goes on at `holds` or at `fails`. */
function compare(program: Program, asked: Condition, wide: boolean, holds: number, fails: number): number {
  const { index, code, not, highMask, lowMask } = asked
  const yes = not ? fails : holds
  const no = not ? holds : fails
  const offset = DATA_ARGS + 8 * index
  let entry = yes
  if (lowMask !== 0) {
    entry = program.jump(code, asked.low, yes, no)
    if (lowMask !== ALL) entry = program.and(lowMask, entry)
    entry = program.load(offset, entry)
  }
  if (!wide || highMask === 0) return entry
  // The low half decides where the high ones are equal.
  entry = program.jump(Bpf.JEQ, asked.high, entry, no)
  if (code !== Bpf.JEQ) entry = program.jump(Bpf.JGT, asked.high, yes, entry)
  if (highMask !== ALL) entry = program.and(highMask, entry)
  return program.load(offset + 4, entry)
}
