/** The flags of `update` as linux.resources, with runc's units and its way with numbers. */
import type { Int64, Resources } from '../config/types.ts'
import { quote, UsageError } from './normalise.ts'
import type { Options } from './parse.ts'

/** What a flag of runc's takes, and the fields that it sets. */
type Numbers = readonly [
  flag: string,
  section: 'cpu' | 'memory' | 'pids' | 'blockIO',
  field: string,
  kind: keyof typeof kinds,
]

export const resourceFlags: readonly Numbers[] = [
  ['blkio-weight', 'blockIO', 'weight', 'unsigned'],
  ['cpu-period', 'cpu', 'period', 'unsigned'],
  ['cpu-quota', 'cpu', 'quota', 'signed'],
  ['cpu-burst', 'cpu', 'burst', 'unsigned'],
  ['cpu-share', 'cpu', 'shares', 'unsigned'],
  ['cpu-rt-period', 'cpu', 'realtimePeriod', 'unsigned'],
  ['cpu-rt-runtime', 'cpu', 'realtimeRuntime', 'signed'],
  ['cpu-idle', 'cpu', 'idle', 'signed'],
  ['memory', 'memory', 'limit', 'bytes'],
  ['memory-reservation', 'memory', 'reservation', 'bytes'],
  ['memory-swap', 'memory', 'swap', 'bytes'],
  ['kernel-memory', 'memory', 'kernel', 'bytes'],
  ['kernel-memory-tcp', 'memory', 'kernelTCP', 'bytes'],
  ['pids-limit', 'pids', 'limit', 'signed'],
]

const kinds = {
  unsigned: { read: (text: string) => (/^\d{1,20}$/.test(text) ? integer(text) : null), name: 'a number, 0 or more' },
  signed: { read: (text: string) => (/^[+-]?\d{1,19}$/.test(text) ? integer(text) : null), name: 'a number' },
  bytes: { read: readBytes, name: 'a size such as 512, 64m, 1.5GiB, or -1 for no limit' },
}

function integer(text: string): Int64 {
  const number = Number(text)
  return Number.isSafeInteger(number) ? number : BigInt(text.replace('+', ''))
}

/**
 * Bytes: a number with a unit, in powers of 1024: `b`, or `k`, `m`, `g`, `t`, `p` with or without `b` or `ib` behind, in any case
 * (as docker and runc read them). -1 stands for no limit. Null for anything else.
 */
export function readBytes(text: string): Int64 | null {
  if (text === '-1') return -1
  const found = /^(\d+|\d*\.\d+|\d+\.) ?(?:([kmgtp])(?:i?b)?|b)?$/i.exec(text)
  if (!found) return null
  const factor = found[2] ? 1024 ** (1 + 'kmgtp'.indexOf(found[2].toLowerCase())) : 1
  if (/^\d+$/.test(found[1]!)) {
    const exact = BigInt(found[1]!) * BigInt(factor)
    return exact <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(exact) : exact
  }
  const bytes = Math.trunc(Number(found[1]) * factor)
  return Number.isSafeInteger(bytes) ? bytes : null
}

/** Throws a UsageError that names the flag. */
export function resourcesOf(options: Options): Resources {
  const result: Record<string, Record<string, unknown>> = {}
  const set = (section: string, field: string, value: unknown): void => {
    result[section] = { ...result[section], [field]: value }
  }
  for (const [flag, section, field, kind] of resourceFlags) {
    const text = options.text(flag)
    if (text === null) continue
    const value = kinds[kind].read(text)
    if (value === null) throw new UsageError('update', `flag --${flag}: ${quote(text)} is not ${kinds[kind].name}`)
    set(section, field, value)
  }
  for (const [flag, field] of [
    ['cpuset-cpus', 'cpus'],
    ['cpuset-mems', 'mems'],
  ] as const) {
    const text = options.text(flag)
    if (text !== null) set('cpu', field, text)
  }
  return result
}
