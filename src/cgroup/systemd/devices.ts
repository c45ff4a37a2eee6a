/**
 * Device rules as systemd has them: a list of what is allowed (systemd.resource-control(5), "DeviceAllow="), while those of a config are
 * a sequence in which the last word counts. The rules themselves are enforced by devices.ts, in the same cgroup. On v2 systemd's program
 * and ours both have to agree, so systemd's list allows as much at least. On v1 both write to the same files, systemd again when it
 * reloads; there its list allows nothing that the rules do not.
 */
import type { DeviceRule } from '../../config/types.ts'
import { type Variant, variant } from '../../dbus/marshal.ts'
import { accessesOf, DEFAULT_RULES, isAll, isAny } from '../devices.ts'
import type { Property } from './properties.ts'

/** The version that takes `char-MAJOR` as a name of all devices with a major number. */
const MAJORS_SINCE = 240

interface Allowed {
  type: string
  major: number | undefined
  minor: number | undefined
  access: Set<string>
}

/** `skipped` gets sentences about rules that systemd is not told of. */
export function deviceProperties(
  rules: readonly DeviceRule[],
  unified: boolean,
  version: number,
  skipped: string[] = [],
): Property[] {
  const { allowed, everything, exceptions } = simplify(rules)
  if (everything && (unified || !exceptions)) return policy('auto', [])
  if (everything) {
    skipped.push('linux.resources.devices: systemd cannot allow all devices but some, and allows none')
    return policy('strict', [])
  }
  const entries = new Map<string, Set<string>>()
  for (const { type, major, minor, access } of allowed) {
    const group = type === 'b' ? 'block' : 'char'
    let name = `/dev/${group}/${major}:${minor}`
    if (major === undefined && minor === undefined) name = `${group}-*`
    else if (major === undefined || (minor === undefined && version < MAJORS_SINCE)) {
      skipped.push(
        `linux.resources.devices: systemd cannot be told of ${type} ${major ?? '*'}:${minor ?? '*'}${unified ? ' alone' : ''}`,
      )
      if (!unified) continue
      name = `${group}-*`
    } else if (minor === undefined) name = `${group}-${major}`
    const before = entries.get(name) ?? new Set()
    entries.set(name, new Set([...before, ...access]))
  }
  return policy(
    'strict',
    [...entries].map(([name, access]) => [name, [...'rwm'].filter((letter) => access.has(letter)).join('')] as const),
  )
}

function policy(name: 'auto' | 'strict', entries: (readonly [string, string])[]): Property[] {
  const list = (entries: (readonly [string, string])[]): Variant => variant('a(ss)', entries)
  // An empty list takes back what was there.
  const allow: Property[] = [['DeviceAllow', list([])]]
  if (entries.length > 0) allow.push(['DeviceAllow', list(entries)])
  return [...allow, ['DevicePolicy', variant('s', name)]]
}

/** What is allowed in the end; or, with `everything`, all is, but for `exceptions`. */
function simplify(rules: readonly DeviceRule[]): { allowed: Allowed[]; everything: boolean; exceptions: boolean } {
  let allowed: Allowed[] = []
  let everything = false
  let exceptions = false
  for (const rule of [...rules, ...DEFAULT_RULES]) {
    if (isAll(rule)) {
      allowed = []
      everything = rule.allow
      exceptions = false
      continue
    }
    const type = rule.type!
    const major = isAny(rule.major) ? undefined : rule.major
    const minor = isAny(rule.minor) ? undefined : rule.minor
    const access = new Set(accessesOf(rule))
    if (everything) exceptions ||= !rule.allow
    else if (rule.allow) allowed.push({ type, major, minor, access })
    else
      for (const entry of allowed) {
        const covers =
          entry.type === type &&
          (major === undefined || entry.major === major) &&
          (minor === undefined || entry.minor === minor)
        if (covers) entry.access = new Set([...entry.access].filter((letter) => !access.has(letter)))
      }
  }
  return { allowed: allowed.filter(({ access }) => access.size > 0), everything, exceptions }
}
