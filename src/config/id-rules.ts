/** Rules about mappings of ids (config-linux.md, "User namespace mappings"; user_namespaces(7)). */
import { first, namespace, show } from './checks.ts'
import type { Config, IdMapping } from './types.ts'

/** uid_t -1 means "leave as it is" to the kernel. */
export const ID_NONE = 0xffff_ffff
/** Lines of uid_map, since Linux 4.15; user_namespaces(7). */
const ID_MAPPINGS_MAX = 340
/** And their text less than a page. Pages may be larger on arm64; a config is to mean the same everywhere. */
const ID_MAPPINGS_TEXT = 4096

/** What the kernel would refuse of uid_map or gid_map, by its own rules: no id twice, not too many lines. */
export function idMappings(path: string, mappings: readonly IdMapping[] | undefined): string | undefined {
  if (mappings === undefined) return undefined
  if (mappings.length > ID_MAPPINGS_MAX) {
    return `${path}: ${mappings.length} entries, the kernel takes ${ID_MAPPINGS_MAX}`
  }
  const text = mappings.reduce((sum, one) => sum + `${one.containerID} ${one.hostID} ${one.size}\n`.length, 0)
  if (text >= ID_MAPPINGS_TEXT) {
    return `${path}: ${mappings.length} entries, ${text} bytes as the kernel wants them; it takes less than ${ID_MAPPINGS_TEXT}: join neighbouring ids to one entry`
  }
  const mistake = first(mappings, (mapping, index) => {
    if (mapping.size === 0) return `${path}[${index}].size: 0 maps no ids`
    for (const key of ['containerID', 'hostID'] as const) {
      if (mapping[key] + mapping.size > ID_NONE) {
        return `${path}[${index}]: ${key} ${mapping[key]} and size ${mapping.size} go beyond the last id, ${ID_NONE - 1}`
      }
    }
    return undefined
  })
  if (mistake !== undefined || mappings.length < 2) return mistake
  for (const key of ['containerID', 'hostID'] as const) {
    const order = mappings.map((_, index) => index).sort((a, b) => mappings[a]![key] - mappings[b]![key])
    for (let at = 1; at < order.length; at++) {
      const before = mappings[order[at - 1]!]!
      if (before[key] + before.size > mappings[order[at]!]![key]) {
        return `${path}[${order[at]}].${key}: ${mappings[order[at]!]![key]} is mapped by ${path}[${order[at - 1]}] already`
      }
    }
  }
  return undefined
}

function isMapped(mappings: readonly IdMapping[], id: number): boolean {
  return mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size)
}

/** New user namespaces need mappings, and mappings a user namespace. */
export function mappingsAndNamespace(config: Config): string | undefined {
  const { linux } = config
  if (linux === undefined) return undefined
  const user = namespace(config, 'user')
  for (const key of ['uidMappings', 'gidMappings'] as const) {
    const mappings = linux[key]
    if (user === undefined && mappings?.length) {
      return `linux.${key}: ${show(mappings)} needs a user namespace in linux.namespaces`
    }
    if (user !== undefined && user.path === undefined && !mappings?.length) {
      return `linux.${key}: missing, a new user namespace needs it`
    }
  }
  return undefined
}

/** The user of the process has to be among the mapped ids. */
export function userIsMapped(config: Config): string | undefined {
  const { user } = config.process
  for (const [key, mappings] of [
    ['uid', config.linux?.uidMappings],
    ['gid', config.linux?.gidMappings],
  ] as const) {
    if (mappings?.length && !isMapped(mappings, user[key])) {
      return `process.user.${key}: ${user[key]} is not mapped by linux.${key}Mappings`
    }
  }
  return undefined
}
