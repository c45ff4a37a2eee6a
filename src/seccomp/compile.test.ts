import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Machine } from '../base/platform.ts'
import { engineSamples } from '../config/testing/samples.ts'
import type { Seccomp, SeccompAction, SeccompArch, SeccompArg, SeccompSyscall, Uint64 } from '../config/types.ts'
import { readConfig } from '../config/validate.ts'
import { ABIS, INDEX } from './abis.ts'
import { type CompileOptions, compile } from './compile.ts'
import { AUDIT_ARCH, RET } from './kernel.ts'
import { runner, verify } from './testing/bpf.ts'
import { usualProfile, VALUES } from './testing/profiles.ts'

const { x86_64, x86, aarch64, arm } = AUDIT_ARCH
const EPERM = 0x5_0001
const ENOSYS = 0x5_0026
const ALLOW = RET.SCMP_ACT_ALLOW
const KILL = 0
const X32 = 0x4000_0000

/** A filter ready to be asked. */
function filter(seccomp: Partial<Seccomp>, options: CompileOptions = { enosys: false }, machine: Machine = 'x86_64') {
  const { program } = compile({ defaultAction: 'SCMP_ACT_ERRNO', ...seccomp }, machine, options)
  const run = runner(program)
  return (nr: number, args: (number | bigint)[] = [], arch: number = machine === 'x86_64' ? x86_64 : aarch64) =>
    run({ nr, arch, args })
}

const allow = (...names: string[]): SeccompSyscall => ({ names, action: 'SCMP_ACT_ALLOW' })
const rule = (name: string, args: SeccompArg[], action: SeccompAction = 'SCMP_ACT_ALLOW'): SeccompSyscall => ({
  names: [name],
  action,
  args,
})

test('calls that rules name get their action, others the default one', () => {
  const verdict = filter({ syscalls: [allow('read', 'openat'), { names: ['write'], action: 'SCMP_ACT_KILL_PROCESS' }] })
  assert.is(verdict(0), ALLOW)
  assert.is(verdict(257), ALLOW)
  assert.is(verdict(1), RET.SCMP_ACT_KILL_PROCESS)
  for (const nr of [2, 256, 258, 0x3fff_ffff]) assert.is(verdict(nr), EPERM)
})

test('every action has its return value, with the errno where it has one', () => {
  const expected: [SeccompAction, number | undefined, number][] = [
    ['SCMP_ACT_KILL', undefined, 0],
    ['SCMP_ACT_KILL_THREAD', undefined, 0],
    ['SCMP_ACT_KILL_PROCESS', undefined, 0x8000_0000],
    ['SCMP_ACT_TRAP', undefined, 0x3_0000],
    ['SCMP_ACT_ERRNO', undefined, 0x5_0001],
    ['SCMP_ACT_ERRNO', 0, 0x5_0000],
    ['SCMP_ACT_ERRNO', 38, 0x5_0026],
    ['SCMP_ACT_TRACE', undefined, 0x7ff0_0001],
    ['SCMP_ACT_TRACE', 0xffff, 0x7ff0_ffff],
    ['SCMP_ACT_LOG', undefined, 0x7ffc_0000],
    ['SCMP_ACT_NOTIFY', undefined, 0x7fc0_0000],
  ]
  for (const [action, errnoRet, value] of expected) {
    const errno = errnoRet === undefined ? {} : { errnoRet }
    const verdict = filter({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mkdir'], action, ...errno }] })
    assert.is(verdict(83), value, action)
    assert.is(verdict(84), ALLOW)
    if (action === 'SCMP_ACT_NOTIFY') continue
    const byDefault = errnoRet === undefined ? {} : { defaultErrnoRet: errnoRet }
    assert.is(filter({ defaultAction: action, ...byDefault })(83), value, `default ${action}`)
  }
})

test('each operator compares all 64 bits, unsigned', () => {
  const holds: Record<SeccompArg['op'], (a: bigint, value: bigint, two: bigint) => boolean> = {
    SCMP_CMP_NE: (a, value) => a !== value,
    SCMP_CMP_LT: (a, value) => a < value,
    SCMP_CMP_LE: (a, value) => a <= value,
    SCMP_CMP_EQ: (a, value) => a === value,
    SCMP_CMP_GE: (a, value) => a >= value,
    SCMP_CMP_GT: (a, value) => a > value,
    SCMP_CMP_MASKED_EQ: (a, value, two) => (a & value) === (two & value),
  }
  for (const op of Object.keys(holds) as SeccompArg['op'][]) {
    for (const value of VALUES) {
      // Values come as numbers where they are exact.
      const given: Uint64 = value < 2n ** 53n ? Number(value) : value
      for (const valueTwo of op === 'SCMP_CMP_MASKED_EQ' ? VALUES : [0n]) {
        const verdict = filter({ syscalls: [rule('dup', [{ index: 3, op, value: given, valueTwo }])] })
        for (const a of VALUES) {
          const args = [7, 7, 7, a, 7, 7]
          assert.is(verdict(32, args), holds[op](a, value, valueTwo) ? ALLOW : EPERM, `${a} ${op} ${value} ${valueTwo}`)
        }
      }
    }
  }
})

test('all conditions of a rule must hold, and one of several rules', () => {
  const one = (index: number, value: number): SeccompArg => ({ index, op: 'SCMP_CMP_EQ', value })
  const verdict = filter({ syscalls: [rule('dup', [one(0, 1), one(1, 2)]), rule('dup', [one(2, 3)])] })
  assert.is(verdict(32, [1, 2]), ALLOW)
  assert.is(verdict(32, [1, 3]), EPERM)
  assert.is(verdict(32, [0, 2]), EPERM)
  assert.is(verdict(32, [0, 0, 3]), ALLOW)
})

test('two conditions on the same argument are two rules', () => {
  const verdict = filter({
    syscalls: [
      rule('dup', [
        { index: 0, op: 'SCMP_CMP_EQ', value: 1 },
        { index: 0, op: 'SCMP_CMP_EQ', value: 2 },
        { index: 1, op: 'SCMP_CMP_EQ', value: 5 },
      ]),
    ],
  })
  assert.is(verdict(32, [1]), ALLOW)
  assert.is(verdict(32, [2]), ALLOW)
  assert.is(verdict(32, [3]), EPERM)
  assert.is(verdict(32, [3, 5]), ALLOW)
})

test('of rules with conditions the first that holds decides; one without beats them all', () => {
  const least = (value: number, action: SeccompAction) => rule('dup', [{ index: 0, op: 'SCMP_CMP_GE', value }], action)
  const rules = [least(10, 'SCMP_ACT_ALLOW'), least(5, 'SCMP_ACT_TRAP')]
  const ordered = filter({ syscalls: rules })
  assert.equal([ordered(32, [10]), ordered(32, [9]), ordered(32, [1])], [ALLOW, RET.SCMP_ACT_TRAP, EPERM])
  for (const syscalls of [
    [...rules, allow('dup')],
    [allow('dup'), ...rules],
  ]) {
    assert.is(filter({ syscalls })(32, [7]), ALLOW)
  }
  const twice = filter({ syscalls: [allow('dup'), { names: ['dup'], action: 'SCMP_ACT_TRAP' }] })
  assert.is(twice(32), ALLOW)
})

test('a rule that does what the default action does is left out', () => {
  const verdict = filter({ syscalls: [{ names: ['dup'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }, allow('dup')] })
  assert.is(verdict(32), ALLOW)
})

test('a mask of zero is no condition', () => {
  const masked: SeccompArg = { index: 0, op: 'SCMP_CMP_MASKED_EQ', value: 0, valueTwo: 5 }
  assert.is(filter({ syscalls: [rule('dup', [masked])] })(32, [1]), ALLOW)
})

test("the machine's own ABI always has its part; calls by others are killed unless listed", () => {
  const own = filter({ syscalls: [allow('read', 'write')], architectures: ['SCMP_ARCH_X86'] })
  assert.is(own(0), ALLOW)
  assert.is(own(3, [], x86), ALLOW)
  assert.is(own(0, [], x86), EPERM)
  assert.is(own(X32 + 0), KILL)
  assert.is(own(0, [], aarch64), KILL)
  assert.is(filter({ syscalls: [allow('read')] })(3, [], x86), KILL)
  const arms = filter({ syscalls: [allow('read')], architectures: ['SCMP_ARCH_ARM'] }, { enosys: false }, 'aarch64')
  assert.equal([arms(63), arms(3), arms(3, [], arm), arms(63, [], x86_64)], [ALLOW, EPERM, ALLOW, KILL])
})

test('x32 calls have their own numbers behind bit 30', () => {
  const verdict = filter({ syscalls: [allow('read', 'readv')], architectures: ['SCMP_ARCH_X32'] })
  assert.equal([verdict(X32), verdict(19), verdict(X32 + 19), verdict(X32 + 515)], [ALLOW, ALLOW, EPERM, ALLOW])
})

test('the number -1 that a tracer leaves gets the default action', () => {
  assert.is(filter({ syscalls: [allow('read')] }, {})(-1), EPERM)
})

test("arm's private calls are known", () => {
  const options = { enosys: true }
  const verdict = filter({ syscalls: [allow('set_tls', 'read')], architectures: ['SCMP_ARCH_ARM'] }, options, 'aarch64')
  assert.is(verdict(0xf_0005, [], arm), ALLOW)
  assert.is(verdict(0xf_0002, [], arm), EPERM)
  assert.is(verdict(4, [], arm), ENOSYS)
})

test('a name that only another machine has is ignored without a word, one that nobody has with a warning', () => {
  const seccomp: Seccomp = {
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_MIPS'],
    syscalls: [allow('s390_pci_mmio_read', 'waitpid', 'frobnicate', 'read')],
  }
  assert.equal(compile(seccomp, 'x86_64').warnings, [
    'linux.seccomp.architectures: SCMP_ARCH_MIPS: no process can have it on x86_64: ignored',
    'linux.seccomp.syscalls[0].names: "frobnicate" is no system call that runt knows: ignored',
  ])
})

test('on x86 the functions of socketcall and ipc follow the calls of the same names', () => {
  const architectures: SeccompArch[] = ['SCMP_ARCH_X86']
  const verdict = filter({
    architectures,
    syscalls: [rule('socket', [{ index: 0, op: 'SCMP_CMP_NE', value: 40 }]), allow('bind', 'shmat', 'semop')],
  })
  assert.equal([verdict(359, [40], x86), verdict(359, [1], x86)], [EPERM, ALLOW])
  assert.equal(
    [1, 2, 3].map((code) => verdict(102, [code], x86)),
    [ALLOW, ALLOW, EPERM],
  )
  assert.equal(
    [1, 2, 21].map((code) => verdict(117, [code], x86)),
    [ALLOW, EPERM, ALLOW],
  )
  assert.is(verdict(102, [1]), EPERM)
  const whole = filter({ architectures, syscalls: [allow('bind', 'socketcall')] })
  assert.is(whole(102, [3], x86), ALLOW)
})

test('calls above the highest that the rules name answer ENOSYS, for each ABI', () => {
  const syscalls: SeccompSyscall[] = [allow('read'), { names: ['openat2'], action: 'SCMP_ACT_KILL' }]
  const verdict = filter({ syscalls, architectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] }, {})
  assert.equal([verdict(436), verdict(437), verdict(438)], [EPERM, KILL, ENOSYS])
  assert.equal([verdict(X32 + 437), verdict(X32 + 438), verdict(X32 - 1)], [KILL, ENOSYS, ENOSYS])
  assert.equal([verdict(436, [], x86), verdict(438, [], x86)], [EPERM, ENOSYS])
  assert.is(filter({ syscalls })(438), EPERM)
  // A rule that has no effect counts too.
  const idle = filter({ syscalls: [allow('read'), { names: ['openat2'], action: 'SCMP_ACT_ERRNO' }] }, {})
  assert.equal([idle(437), idle(438)], [EPERM, ENOSYS])
})

test('no call answers ENOSYS where the default action is permissive, or says so itself, or nothing is named', () => {
  for (const defaultAction of ['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_TRACE'] as const) {
    const verdict = filter({ defaultAction, syscalls: [{ names: ['dup'], action: 'SCMP_ACT_KILL' }] }, {})
    assert.is(verdict(5000), RET[defaultAction] + (defaultAction === 'SCMP_ACT_TRACE' ? 1 : 0))
  }
  const itself = filter({ defaultErrnoRet: 38, syscalls: [allow('dup')] }, {})
  assert.equal([itself(5000), itself(1)], [ENOSYS, ENOSYS])
  assert.is(filter({ syscalls: [allow('read')] }, {})(5000), EPERM)
  assert.is(filter({}, {})(5000), EPERM)
})

test('flags become those of seccomp(2); without any, SPEC_ALLOW is asked for and can be done without', () => {
  const flags = (seccomp: Partial<Seccomp>) => {
    const made = compile({ defaultAction: 'SCMP_ACT_ALLOW', ...seccomp }, 'x86_64')
    return [made.flags, made.optionalFlags, made.listener, made.warnings.length]
  }
  assert.equal(flags({}), [4, 4, false, 0])
  assert.equal(flags({ flags: [] }), [0, 0, false, 0])
  assert.equal(flags({ flags: ['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG'] }), [2, 0, false, 0])
  assert.equal(flags({ flags: ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'] }), [0, 0, false, 1])
  const syscalls: SeccompSyscall[] = [{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }]
  assert.equal(flags({ flags: ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'], syscalls }), [40, 0, true, 0])
})

test('a usual profile is a few hundred instructions', () => {
  const { program } = compile(usualProfile(['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']), 'x86_64')
  assert.ok(program.length / 8 < 800, `${program.length / 8} instructions`)
})

test('programs whose jumps do not fit eight bits are right all the same', () => {
  const names = [...INDEX.keys()]
  // Every call by one of its arguments: nothing can be shared.
  const syscalls = names.map((name, at) => rule(name, [{ index: at % 6, op: 'SCMP_CMP_EQ', value: at }]))
  const { program } = compile({ defaultAction: 'SCMP_ACT_ERRNO', syscalls }, 'x86_64', { enosys: false })
  assert.ok(program.length / 8 > 1500)
  const run = runner(program)
  const { cells, size } = ABIS.x86_64[0]!
  for (let at = 0; at < names.length; at++) {
    const nr = cells[at]!
    if (nr === size) continue
    const args = [0, 0, 0, 0, 0, 0]
    if (at !== 0) assert.is(run({ nr, arch: x86_64, args }), EPERM, names[at])
    args[at % 6] = at
    assert.is(run({ nr, arch: x86_64, args }), ALLOW, names[at])
  }
  assert.is(run({ nr: 5000, arch: x86_64 }), EPERM)
  assert.is(run({ nr: 0, arch: x86 }), KILL)
})

test('the names of system calls are sorted and short, as host.c has them', () => {
  const names = [...INDEX.keys()]
  assert.equal(names, [...names].sort())
  assert.ok(names.every((name) => /^[ -~]{1,31}$/.test(name)))
})

test('a filter that is too large for the kernel is refused', () => {
  const syscalls = Array.from({ length: 1100 }, (_, value) => rule('dup', [{ index: 0, op: 'SCMP_CMP_EQ', value }]))
  assert.throws(
    () => compile({ defaultAction: 'SCMP_ACT_ERRNO', syscalls }, 'x86_64'),
    'linux.seccomp: the rules need more than the 4096 instructions that the kernel takes (BPF_MAXINSNS)',
  )
  verify(compile({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: syscalls.slice(0, 1000) }, 'x86_64').program)
})

test('so are more return values than it takes: none is mistaken for another', () => {
  const syscalls = Array.from({ length: 5000 }, (_, errnoRet) => ({
    ...rule('dup', [], 'SCMP_ACT_TRACE'),
    errnoRet,
  }))
  assert.throws(() => compile({ defaultAction: 'SCMP_ACT_ERRNO', syscalls }, 'x86_64'), 'BPF_MAXINSNS')
})

test('where the conditions of a rule ask nothing, it decides before a later one without conditions', () => {
  const high: SeccompArg = { index: 0, op: 'SCMP_CMP_MASKED_EQ', value: 0xffff_ffff_0000_0000n, valueTwo: 0n }
  const verdict = filter({
    architectures: ['SCMP_ARCH_X86'],
    syscalls: [rule('dup', [high], 'SCMP_ACT_TRAP'), allow('dup')],
  })
  assert.is(verdict(41, [0], x86), RET.SCMP_ACT_TRAP)
  assert.is(verdict(32, [0]), ALLOW)
})

for (const [name, text] of engineSamples) {
  if (!text.includes('"seccomp"')) continue
  test(`the filter of ${name} allows what programs need and refuses the rest`, () => {
    const { config } = readConfig(text, name)
    const { program, warnings } = compile(config.linux!.seccomp!, 'x86_64')
    assert.equal(warnings, [])
    verify(program)
    const verdict = runner(program)
    const ask = (nr: number, args: (number | bigint)[] = []) => verdict({ nr, arch: x86_64, args })
    for (const nr of [0, 1, 59, 231, 257]) assert.is(ask(nr), ALLOW)
    // personality(2) by its argument; kexec_load(2), open_by_handle_at(2).
    assert.is(ask(135, [0]), ALLOW)
    for (const [nr, ...args] of [[135, 5], [246], [304]] as const) assert.ok([EPERM, ENOSYS].includes(ask(nr, args)))
  })
}

test.run()
