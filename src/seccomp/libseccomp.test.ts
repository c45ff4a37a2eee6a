import { existsSync, readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Machine } from '../base/platform.ts'
import { engineSamples } from '../config/testing/samples.ts'
import type { Seccomp, SeccompArch, SeccompSyscall } from '../config/types.ts'
import { readConfig } from '../config/validate.ts'
import { ABIS, INDEX } from './abis.ts'
import { compile } from './compile.ts'
import { runner } from './testing/bpf.ts'
import { haveLibseccomp, knows, reference, resolve } from './testing/libseccomp.ts'
import { random, randomProfile, usualProfile, VALUES } from './testing/profiles.ts'

if (!haveLibseccomp) console.log('skipped: no libseccomp.so.2 on this machine')
const maybe = haveLibseccomp ? test : test.skip

const ALL_ABIS: Record<Machine, SeccompArch[]> = {
  x86_64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  aarch64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
}
const ENOSYS = 0x5_0026
const X32 = 0x4000_0000

/** Names about which libseccomp, whose tables may be older, has the same opinion on every ABI. */
const common = haveLibseccomp
  ? [...INDEX].filter(
      ([name, index]) =>
        knows(name) &&
        [...ABIS.x86_64, ...ABIS.aarch64].every(
          ({ arch, cells, size }) => cells[index]! < size === resolve(arch, name) >= 0,
        ),
    )
  : []
const names = common.map(([name]) => name)

const only = (seccomp: Seccomp): Seccomp => ({
  ...seccomp,
  syscalls: (seccomp.syscalls ?? []).map((rule) => ({
    ...rule,
    names: rule.names.filter((name) => names.includes(name)),
  })),
})

/** What runc answers before libseccomp's program is asked: ENOSYS above the highest number that is named. */
function newer(seccomp: Seccomp, machine: Machine): (nr: number, token: number) => boolean {
  const permissive = ['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_TRACE'].includes(seccomp.defaultAction)
  if (permissive || seccomp.defaultErrnoRet === 38) return () => false
  const parts = ABIS[machine].filter(({ arch }, at) => at === 0 || seccomp.architectures?.includes(arch))
  const named = seccomp.syscalls?.flatMap((rule) => rule.names) ?? []
  const highest = parts.map(({ arch }) =>
    Math.max(0, ...named.map((name) => resolve(arch, name)).filter((nr) => (nr & ~X32) < 0xf_0000)),
  )
  return (nr, token) => {
    const at = parts.findLastIndex((part) => part.token === token && nr >= part.base)
    if (at < 0 || highest[at] === 0) return false
    if (parts[at]!.arch === 'SCMP_ARCH_X86_64' && nr >= X32) return false
    // Six calls of arm's own.
    return nr > highest[at]! && (nr < 0xf_0000 || nr > 0xf_0006 || parts[at]!.arch !== 'SCMP_ARCH_ARM')
  }
}

/** Numbers at which verdicts can change. */
const numbers: number[] = []
for (let nr = 0; nr <= 600; nr++) numbers.push(nr, X32 + nr)
for (const nr of [0xf_0000, 0xf_0001, 0xf_0002, 0xf_0005, 0xf_0006, X32 - 1, 0x7fff_ffff, 0xffff_ffff]) numbers.push(nr)

/** Compares the verdicts of both programs. False when libseccomp refuses the config. */
function compare(seccomp: Seccomp, machine: Machine, label: string, enosys: boolean): boolean {
  const ours = runner(compile(seccomp, machine, { enosys }).program)
  const program = reference(seccomp, ABIS[machine][0]!.arch)
  if (program === null) return false
  const theirs = runner(program)
  const isNewer = enosys ? newer(seccomp, machine) : () => false
  const conditional = new Set<number>([102, 117])
  for (const { names, args } of seccomp.syscalls ?? []) {
    if (args === undefined) continue
    for (const name of names) for (const { cells } of ABIS[machine]) conditional.add(cells[INDEX.get(name)!]!)
  }
  const next = random(1)
  const value = () => VALUES[Math.floor(next() * VALUES.length)]!
  const small = () => BigInt(Math.floor(next() * 26))
  for (const token of new Set([...ABIS[machine].map((abi) => abi.token), 0x1234])) {
    for (const nr of numbers) {
      const samples = conditional.has(nr & ~X32) ? 40 : 1
      for (let sample = 0; sample < samples; sample++) {
        const args = [sample % 2 ? value() : small(), value(), value(), value(), value(), value()]
        // A 32-bit process has no more.
        const given = token === ABIS.x86_64[2]!.token ? args.map((arg) => arg & 0xffff_ffffn) : args
        const call = { nr, arch: token, args: given }
        const expected = isNewer(nr, token) ? ENOSYS : theirs(call)
        if (ours(call) === expected) continue
        const shown = `${label}: ${nr.toString(16)} of ${token.toString(16)} (${given.map((arg) => arg.toString(16))})`
        assert.is(ours(call).toString(16), expected.toString(16), shown)
      }
    }
  }
  return true
}

maybe('the tables agree with those of libseccomp', () => {
  assert.ok(names.length > 450, `${names.length} names`)
  for (const { arch, cells, base, size, ordinary } of [...ABIS.x86_64, ...ABIS.aarch64]) {
    for (const [name, index] of common) {
      const cell = cells[index]!
      if (cell === size) continue
      const number = size > ordinary && cell >= ordinary ? cell - ordinary + 0xf_0000 : base + cell
      assert.is(number, resolve(arch, name), `${name} of ${arch}`)
    }
  }
})

for (const machine of ['x86_64', 'aarch64'] as Machine[]) {
  maybe(`the usual profile gives the verdicts that libseccomp gives, on ${machine}`, () => {
    const profile = only(usualProfile(ALL_ABIS[machine]))
    assert.ok(compare(profile, machine, 'with everything', false))
    assert.ok(compare(profile, machine, 'as runc has it', true))
    assert.ok(compare({ ...profile, architectures: [] }, machine, 'own ABI only', true))
  })

  maybe(`random profiles give the verdicts that libseccomp gives, on ${machine}`, () => {
    let compared = 0
    for (let seed = 1; compared < 12; seed++) {
      // Not x32: libseccomp 2.5.4 forgets to load the number if the only calls of x86-64 and x32 are conditional.
      const architectures = ALL_ABIS[machine].filter((arch, at) => (seed >> at) & 1 && arch !== 'SCMP_ARCH_X32')
      const profile = randomProfile(seed, names, architectures)
      if (compare(profile, machine, `seed ${seed}`, seed % 3 === 0)) compared++
    }
  })
}

const installed = '/usr/share/containers/seccomp.json'
/** The engines' own format: rules may depend on the machine and on what the container may do. */
interface EngineRule extends SeccompSyscall {
  includes?: { arches?: string[]; caps?: string[]; minKernel?: string }
  excludes?: { arches?: string[]; caps?: string[] }
}
interface EngineProfile extends Omit<Seccomp, 'syscalls'> {
  syscalls: EngineRule[]
}
;(haveLibseccomp && existsSync(installed) ? test : test.skip)(
  'so does the profile of podman that is installed here',
  () => {
    const { defaultAction, defaultErrnoRet, syscalls } = JSON.parse(readFileSync(installed, 'utf8')) as EngineProfile
    const errno = defaultErrnoRet === undefined ? {} : { defaultErrnoRet }
    const rules = syscalls
      .filter(({ includes = {} }) => !includes.caps?.length && (includes.arches?.includes('amd64') ?? true))
      .filter(({ excludes = {} }) => !excludes.arches?.includes('amd64'))
      .map(({ names, action, errnoRet, args }) => ({
        names,
        action,
        ...(errnoRet ? { errnoRet } : {}),
        ...(args?.length ? { args } : {}),
      }))
    const profile: Seccomp = { defaultAction, ...errno, architectures: ALL_ABIS.x86_64, syscalls: rules }
    assert.ok(compare(only(profile), 'x86_64', 'podman', true))
  },
)

const profiles = new Map(
  [...engineSamples]
    .filter(([, text]) => text.includes('"seccomp"'))
    .map(([name, text]) => [JSON.stringify(readConfig(text, name).config.linux!.seccomp!), name]),
)
for (const [profile, name] of profiles) {
  maybe(`so does what ${name} says`, () => {
    assert.ok(compare(only(JSON.parse(profile)), 'x86_64', name, true))
  })
}

test.run()
