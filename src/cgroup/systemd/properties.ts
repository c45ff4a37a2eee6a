/**
 * What systemd is told of a container's limits: properties of units (systemd.resource-control(5), org.freedesktop.systemd1(5)) for the
 * writes that table.ts makes of `linux.resources`. systemd writes them to the same files, also later on, when it reloads. What it has no
 * property for stays with the files.
 */
import { RuntError } from '../../base/errors.ts'
import { type Value, type Variant, variant } from '../../dbus/marshal.ts'
import { parseVariant } from '../../dbus/variant-text.ts'
import type { Write } from '../table.ts'

export type Property = readonly [name: string, value: Variant]

/** What systemd calls infinity. */
const INFINITY = 0xffff_ffff_ffff_ffffn

/** The versions of systemd that a property came with; those not listed are older than any that Linux 5.12 meets. */
const SINCE: Readonly<Record<string, number>> = {
  CollectMode: 236,
  MemoryMin: 240,
  CPUQuotaPeriodUSec: 242,
  AllowedCPUs: 244,
  AllowedMemoryNodes: 244,
  MemoryZSwapMax: 253,
  // Of scopes.
  OOMPolicy: 253,
}

/** `CPUWeight` 0 means idle since this version. */
const IDLE_SINCE = 252

/** Leaves out what this version of systemd does not know. */
export const known = (properties: readonly Property[], version: number): Property[] =>
  properties.filter(([name]) => version >= (SINCE[name] ?? 0))

/** A number, or infinity for `max` and negative ones; null for what is neither. */
function amount(text: string): bigint | null {
  const word = text.trim()
  if (word === 'max' || /^-\d+$/.test(word)) return INFINITY
  return /^\d+$/.test(word) ? BigInt(word) : null
}

/** What a file's content becomes; undefined where that is nothing that systemd would take. */
type Rule = (content: string, version: number) => Property[] | undefined

const simple =
  (name: string): Rule =>
  (content) => {
    const value = amount(content)
    return value === null ? undefined : [[name, variant('t', value)]]
  }

const set =
  (name: string): Rule =>
  (content) => {
    const bits = bitsOf(content)
    return bits === undefined ? undefined : [[name, variant('ay', bits)]]
  }

/** Sets of CPUs and nodes that fit the kernel's (CONFIG_NR_CPUS is at most 8192). */
const SET_MAX = 8192

/** `0-2,7` as a mask of bytes, the lowest first; undefined for what is no such list. */
export function bitsOf(list: string): Uint8Array | undefined {
  const bytes: number[] = []
  for (const part of list.trim().split(',')) {
    const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part)
    if (!match) return undefined
    const first = Number(match[1])
    const last = Number(match[2] ?? match[1])
    if (last < first || last >= SET_MAX) return undefined
    for (let bit = first; bit <= last; bit++) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (1 << (bit & 7))
  }
  return Uint8Array.from(bytes, (byte) => byte ?? 0)
}

const PERIOD = 100_000n
const SECOND = 1_000_000n
/** systemd counts in hundredths of a CPU. */
const PERCENT = SECOND / 100n

/**
 * Time on the CPU within a second, rounded up to what systemd can express: a cgroup inside may then have all that it was promised.
 */
function bandwidth(quota: bigint | null, period: bigint | null): Property[] {
  const properties: Property[] = []
  const length = period || PERIOD
  if (period) properties.push(['CPUQuotaPeriodUSec', variant('t', period)])
  if (quota !== null) {
    const time = quota === INFINITY ? INFINITY : (quota * SECOND) / length
    const rounded = time === INFINITY ? time : ((time + PERCENT - 1n) / PERCENT) * PERCENT
    properties.push(['CPUQuotaPerSecUSec', variant('t', rounded)])
  }
  return properties
}

/** `8:0 rbps=1000 wiops=max`: entries for lists of devices. */
const IO_MAX: Readonly<Record<string, string>> = {
  rbps: 'IOReadBandwidthMax',
  wbps: 'IOWriteBandwidthMax',
  riops: 'IOReadIOPSMax',
  wiops: 'IOWriteIOPSMax',
}

const deviceEntry = (device: string, value: bigint): Variant => variant('a(st)', [[`/dev/block/${device}`, value]])

/** By name of the file: those of v2, which `unified` names too, then those of v1. */
const rules: Readonly<Record<string, Rule>> = {
  'memory.max': simple('MemoryMax'),
  'memory.high': simple('MemoryHigh'),
  'memory.low': simple('MemoryLow'),
  'memory.min': simple('MemoryMin'),
  'memory.swap.max': simple('MemorySwapMax'),
  'memory.zswap.max': simple('MemoryZSwapMax'),
  'memory.oom.group': (content) => [['OOMPolicy', variant('s', content.trim() === '1' ? 'kill' : 'continue')]],
  'pids.max': simple('TasksMax'),
  'cpu.weight': simple('CPUWeight'),
  'cpu.idle': (content, version) =>
    content.trim() === '1' && version >= IDLE_SINCE ? [['CPUWeight', variant('t', 0n)]] : undefined,
  'cpu.max': (content) => {
    const [quota = '', period] = content.trim().split(/\s+/)
    const time = amount(quota)
    const length = period === undefined ? null : amount(period)
    return time === null || length === INFINITY ? undefined : bandwidth(time, length)
  },
  'cpuset.cpus': set('AllowedCPUs'),
  'cpuset.mems': set('AllowedMemoryNodes'),
  'io.weight': (content) => {
    const [device, weight = ''] = content.trim().split(/\s+/)
    const value = amount(weight || device!)
    if (value === null || value === INFINITY) return undefined
    if (weight === '' || device === 'default') return [['IOWeight', variant('t', value)]]
    return /^\d+:\d+$/.test(device!) ? [['IODeviceWeight', deviceEntry(device!, value)]] : undefined
  },
  'io.max': (content) => {
    const [device, ...limits] = content.trim().split(/\s+/)
    if (!/^\d+:\d+$/.test(device!)) return undefined
    return limits.flatMap((limit): Property[] => {
      const [key, text = ''] = limit.split('=')
      const value = amount(text)
      const name = IO_MAX[key!]
      return name === undefined || value === null ? [] : [[name, deviceEntry(device!, value)]]
    })
  },
  'memory.limit_in_bytes': simple('MemoryLimit'),
  'cpu.shares': simple('CPUShares'),
  'blkio.weight': simple('BlockIOWeight'),
}

/**
 * The properties for a set of limits. `skipped` gets sentences about those that systemd is not told of. On v1 the two files of the
 * bandwidth make one property, so both are looked at.
 */
export function resourceProperties(writes: readonly Write[], version: number, skipped: string[] = []): Property[] {
  const found: Property[] = []
  const bandwidths = new Map<string, string>()
  for (const { field, files } of writes) {
    const named = files.find(({ name }) => name in rules || name.startsWith('cpu.cfs_'))
    if (named?.name === 'cpu.cfs_quota_us' || named?.name === 'cpu.cfs_period_us') {
      bandwidths.set(named.name, named.content)
      continue
    }
    const properties = named && rules[named.name]?.(named.content, version)
    if (properties) for (const property of properties) put(found, property)
    else skipped.push(`linux.resources.${field} is not told to systemd`)
  }
  if (bandwidths.size > 0) {
    const quota = bandwidths.get('cpu.cfs_quota_us')
    const period = bandwidths.get('cpu.cfs_period_us')
    // A period without a quota is one of an unlimited cgroup.
    found.push(...bandwidth(quota === undefined ? INFINITY : amount(quota), period ? amount(period) : null))
  }
  return known(found, version)
}

/** A later value takes the place of an earlier one; lists of devices grow. */
function put(found: Property[], [name, value]: Property): void {
  const index = found.findIndex(([other]) => other === name)
  if (index < 0) found.push([name, value])
  else if (value.signature === 'a(st)')
    found[index] = [name, variant('a(st)', [...(found[index]![1].value as Value[]), ...(value.value as Value[])])]
  else found[index] = [name, value]
}

const PREFIX = 'org.systemd.property.'
const MICRO = 1_000_000

/**
 * Properties of annotations, `org.systemd.property.NAME` (runc's docs/systemd.md): by name of the property, the value as text. Throws a
 * RuntError for what cannot be one, so that it is found out before anything is made.
 */
export function annotatedProperties(annotations: Readonly<Record<string, string>> = {}): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [key, text] of Object.entries(annotations)) {
    if (!key.startsWith(PREFIX) || key === PREFIX) continue
    const name = key.slice(PREFIX.length)
    if (!/^[A-Za-z]{3,}$/.test(name))
      throw new RuntError(
        `annotations: ${key}: a property has a name of three letters or more, and nothing but letters`,
      )
    readProperty(name, text)
    found[name] = text
  }
  return found
}

/** One of `annotatedProperties`. `…Sec`, which is for people, becomes `…USec`, which is for systemd. */
export function readProperty(name: string, text: string): Property {
  const about = `annotations: ${PREFIX}${name}=${text}`
  let value: Variant
  try {
    value = parseVariant(text)
  } catch (error) {
    if (!(error instanceof RuntError)) throw error
    throw new RuntError(
      `${about}: not a value as GVariant writes it (uint64 5, 'text', true, ['a', 'b']): ${error.message}`,
    )
  }
  if (!/[a-z]Sec$/.test(name)) return [name, value]
  const seconds = 'ynqiuxtd'.includes(value.signature) ? Number(value.value) : NaN
  const time = Math.trunc(seconds * MICRO)
  if (!(time >= 0 && time <= Number.MAX_SAFE_INTEGER)) throw new RuntError(`${about}: not a number of seconds`)
  return [name.replace(/Sec$/, 'USec'), variant('t', BigInt(time))]
}
