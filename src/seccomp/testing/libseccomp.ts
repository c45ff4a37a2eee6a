/** libseccomp as a second opinion: the same config given to it as the other runtimes do. Through koffi, where it is installed. */
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import koffi from 'koffi'
import type { Seccomp, SeccompAction, SeccompArch, SeccompArg } from '../../config/types.ts'
import { RET } from '../kernel.ts'

/** enum scmp_compare. */
const OPERATORS = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
}

/** SCMP_ARCH_*: AUDIT_ARCH_*, but of x32. */
const ARCHITECTURES: Partial<Record<SeccompArch, number>> = {
  SCMP_ARCH_X86: 0x4000_0003,
  SCMP_ARCH_X86_64: 0xc000_003e,
  SCMP_ARCH_X32: 0x4000_003e,
  SCMP_ARCH_ARM: 0x4000_0028,
  SCMP_ARCH_AARCH64: 0xc000_00b7,
}
const EEXIST = 17

function open() {
  let library: ReturnType<typeof koffi.load>
  try {
    library = koffi.load('libseccomp.so.2')
  } catch {
    return null
  }
  const comparison = koffi.struct('scmp_arg_cmp', { arg: 'uint', op: 'int', datum_a: 'uint64_t', datum_b: 'uint64_t' })
  return {
    comparison,
    init: library.func('void *seccomp_init(uint32_t)'),
    release: library.func('void seccomp_release(void *)'),
    archAdd: library.func('int seccomp_arch_add(void *, uint32_t)'),
    archRemove: library.func('int seccomp_arch_remove(void *, uint32_t)'),
    archNative: library.func('uint32_t seccomp_arch_native()'),
    resolve: library.func('int seccomp_syscall_resolve_name(const char *)'),
    resolveFor: library.func('int seccomp_syscall_resolve_name_arch(uint32_t, const char *)'),
    ruleAdd: library.func('int seccomp_rule_add_array(void *, uint32_t, int, uint, scmp_arg_cmp *)'),
    exportBpf: library.func('int seccomp_export_bpf(void *, int)'),
  }
}

const library = open()
export const haveLibseccomp = library !== null

/** Whether libseccomp knows the name on any machine. Its tables may be older than ours. */
export const knows = (name: string): boolean => library!.resolve(name) !== -1

/** The number, negative where there is none. */
export const resolve = (arch: SeccompArch, name: string): number => library!.resolveFor(ARCHITECTURES[arch]!, name)

const action = (name: SeccompAction, errno = 1): number =>
  RET[name] + (name === 'SCMP_ACT_ERRNO' || name === 'SCMP_ACT_TRACE' ? errno : 0)

/** The program that libseccomp makes of a config, for a machine whose own ABI is `native`; null if it finds a rule twice. */
export function reference(seccomp: Seccomp, native: SeccompArch): Uint8Array | null {
  const lib = library!
  const defaultAction = action(seccomp.defaultAction, seccomp.defaultErrnoRet)
  const context = lib.init(defaultAction)
  const check = (code: number, what: string) => {
    if (code !== 0) throw new Error(`libseccomp: ${what}: ${code}`)
  }
  try {
    const archs = new Set([native, ...(seccomp.architectures ?? [])])
    for (const arch of archs) {
      const code = lib.archAdd(context, ARCHITECTURES[arch]!)
      if (code !== -EEXIST) check(code, arch)
    }
    if (lib.archNative() !== ARCHITECTURES[native]) check(lib.archRemove(context, lib.archNative()), 'remove')
    for (const rule of seccomp.syscalls ?? []) {
      const value = action(rule.action, rule.errnoRet)
      if (value === defaultAction) continue
      const { args = [] } = rule
      const repeated = new Set(args.map(({ index }) => index)).size < args.length
      for (const name of rule.names) {
        const number = lib.resolve(name)
        if (number === -1) continue
        for (const list of repeated ? args.map((arg) => [arg]) : [args]) {
          const code = lib.ruleAdd(context, value, number, list.length, list.map(comparison))
          if (code === -EEXIST) return null
          check(code, name)
        }
      }
    }
    const path = join(tmpdir(), `runt-libseccomp-${process.pid}`)
    const fd = openSync(path, 'w+')
    try {
      check(lib.exportBpf(context, fd), 'export')
      return new Uint8Array(readFileSync(path))
    } finally {
      closeSync(fd)
      rmSync(path)
    }
  } finally {
    lib.release(context)
  }
}

function comparison({ index, op, value, valueTwo = 0 }: SeccompArg) {
  return { arg: index, op: OPERATORS[op], datum_a: BigInt(value), datum_b: BigInt(valueTwo) }
}
