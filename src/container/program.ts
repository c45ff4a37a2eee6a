/** Says whether the user's program can be executed, and if not, why in plain words. */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Answer, CallError, type Session } from '../session/session.ts'
import { programDenied, programForeign, programMissing } from './phrases.ts'
import type { Lookup } from './process.ts'

/** Path of the program that the lookup found. Throws when there is none, or when what the kernel needs to run it is missing. */
export function checkProgram(init: Session, machine: Machine, config: Config, lookup: Lookup, answer: Answer): string {
  const name = config.process.args[0]!
  const index = lookup.taken.findIndex((step) => answer.value(step) !== undefined)
  if (index < 0) {
    // The empty name is found as each folder of PATH.
    const denied = name === '' ? -1 : lookup.denied.findIndex((step) => answer.value(step) !== undefined)
    if (denied >= 0) throw new RuntError(programDenied(name, lookup.candidates[denied]!), 'EACCES')
    throw new RuntError(programMissing(name), 'ENOENT')
  }
  const path = lookup.candidates[index]!
  const read = answer.value(lookup.headRead) ?? -1
  if (read < 0) return path
  const needed = interpreterOf(answer.bytes(lookup.head, read))
  if (needed === null) return path
  const b = new Batch(machine)
  const end = b.label()
  const there = c.faccessat(b, k.AT_FDCWD, needed.path, 0).on(ANY, end)
  b.place(end)
  if (init.run(b).ok(there)) return path
  throw new RuntError(
    `process.args[0]: ${path}: no such file or directory: its ${needed.kind} ${needed.path} is missing in the container`,
    'ENOENT',
  )
}

/** Says in words why execve(2) of the program failed. Other errors are given back as they are. */
export function explainExecution(error: unknown, name: string, program: string): unknown {
  if (!(error instanceof CallError) || error.step.name !== 'execve') return error
  if (error.errno === 'ENOEXEC') return new RuntError(programForeign(name), error.errno)
  if (error.errno === 'EPERM')
    return new RuntError(
      `${error.message}: forbidden by linux.seccomp, or by a security module (process.selinuxLabel, process.apparmorProfile)`,
      error.errno,
    )
  if (error.errno === 'EACCES')
    return new RuntError(`${programDenied(name, program)}; a noexec mount, or process.selinuxLabel?`, error.errno)
  if (error.errno === 'ENOENT')
    return new RuntError(
      `process.args[0]: ${program}: no such file or directory: it, its interpreter or its ELF loader is gone`,
      error.errno,
    )
  return error
}

/** What the kernel loads to run a file that begins with these bytes (execve(2)): null for a static ELF file. */
export function interpreterOf(head: Uint8Array): { kind: 'script interpreter' | 'ELF loader'; path: string } | null {
  if (head[0] === 0x23 && head[1] === 0x21) {
    const end = head.indexOf(0x0a)
    const line = decodeUtf8(head.subarray(2, end < 0 ? Math.min(head.length, 256) : end))
    const path = /^[ \t]*([^ \t\0]+)/.exec(line)?.[1]
    return path ? { kind: 'script interpreter', path } : null
  }
  // elf(5): a 64-bit little-endian file; its program header of type PT_INTERP (3) names the loader.
  if (head.length < 64 || head[0] !== 0x7f || head[1] !== 0x45 || head[2] !== 0x4c || head[3] !== 0x46 || head[4] !== 2)
    return null
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  const offset = Number(view.getBigUint64(32, true))
  const size = view.getUint16(54, true)
  const count = view.getUint16(56, true)
  for (let i = 0; i < count; i++) {
    const at = offset + i * size
    if (at + 56 > head.length) return null
    if (view.getUint32(at, true) !== 3) continue
    const start = Number(view.getBigUint64(at + 8, true))
    const length = Number(view.getBigUint64(at + 32, true))
    if (length < 2 || start + length > head.length) return null
    return { kind: 'ELF loader', path: decodeUtf8(head.subarray(start, start + length - 1)) }
  }
  return null
}
