/** Filters of many kinds, made by both engines for native.test.ts. */
import type { Machine } from '../../base/platform.ts'
import type { Seccomp, SeccompAction, SeccompArch } from '../../config/types.ts'
import { ABIS, INDEX } from '../../seccomp/abis.ts'
import { compile } from '../../seccomp/compile.ts'
import { randomProfile, usualProfile } from '../../seccomp/testing/profiles.ts'

const names = [...INDEX.keys()]
const actions: SeccompAction[] = ['SCMP_ACT_ALLOW', 'SCMP_ACT_TRAP', 'SCMP_ACT_LOG', 'SCMP_ACT_KILL_PROCESS']

/** Each call has another action than its neighbours: a tree in which returns are far away. */
const motley = (architectures: SeccompArch[]): Seccomp => ({
  defaultAction: 'SCMP_ACT_ERRNO',
  architectures,
  syscalls: actions.map((action, at) => ({ names: names.filter((_, index) => index % 4 === at), action })),
})

/** So many instructions for conditions that none, some or all of the tree has room besides them. */
const long = (conditions: number): Seccomp => ({
  defaultAction: 'SCMP_ACT_ERRNO',
  syscalls: [
    { names: names.filter((_, index) => index % 2 === 0), action: 'SCMP_ACT_ALLOW' },
    ...Array.from({ length: conditions }, (_, value) => ({
      names: ['kill'],
      action: 'SCMP_ACT_LOG' as const,
      args: [{ index: 0, value, op: 'SCMP_CMP_EQ' as const }],
    })),
  ],
})

/** Names that are no system calls but look like one to somebody who reads up to a NUL, or part of it. */
const strange: Seccomp = {
  defaultAction: 'SCMP_ACT_ERRNO',
  syscalls: [
    { names: ['read', 'open\0', 'open\0at', 'ope', '', 'ópen', 'zzz', '_', 'x'.repeat(100)], action: 'SCMP_ACT_ALLOW' },
    { names: ['wríte', 'read', 'accept', 'accept'], action: 'SCMP_ACT_TRAP' },
    // The first, the last, and from the last to the first.
    { names: [...INDEX.keys()].slice(0, 1), action: 'SCMP_ACT_ALLOW' },
    { names: [...INDEX.keys()].slice(-9).reverse(), action: 'SCMP_ACT_LOG' },
  ],
}

/** A line for each filter: its length and a hash of its bytes, or why there is none. */
export function describeFilters(): string {
  const lines: string[] = []
  const describe = (seccomp: Seccomp, machine: Machine): void => {
    try {
      const { program, unknown } = compile(seccomp, machine)
      const hash = program.reduce((sum, byte) => Math.imul(sum ^ byte, 0x0100_0193), 0)
      lines.push(`${program.length} ${hash} ${unknown}`)
    } catch (error) {
      lines.push((error as Error).message)
    }
  }
  for (const machine of ['x86_64', 'aarch64'] as const) {
    const all = ABIS[machine].map(({ arch }) => arch)
    for (const architectures of [[], all]) {
      describe(usualProfile(architectures), machine)
      describe(motley(architectures), machine)
      describe({ defaultAction: 'SCMP_ACT_ALLOW', architectures }, machine)
      for (let seed = 1; seed <= 40; seed++) describe(randomProfile(seed, names, architectures), machine)
    }
    describe(strange, machine)
    for (let conditions = 900; conditions < 1050; conditions += 5) describe(long(conditions), machine)
  }
  return lines.join('\n')
}
