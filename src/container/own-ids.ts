/**
 * A container of a user without rights needs a user namespace. Where the config has none it gets one, as with crun: its root is the user,
 * and its ids from 1 on are those that /etc/subuid and /etc/subgid give to the user (subuid(5)), if newuidmap(1) is there to map them.
 */
import { parseJson, stringifyJson } from '../base/json.ts'
import type { Config, IdMapping } from '../config/types.ts'
import { readText } from './files.ts'
import { callProgram } from './host-program.ts'
import { type Caller, callerOf } from './id-maps.ts'
import { nameOf } from './passwd.ts'
import type { Runtime } from './runtime.ts'

/**
 * The text of a config.json, with a user namespace for this user (`uid`, not root). Unchanged if it has one, or is no config: who checks
 * it says why. `path` names it in errors.
 */
export function withUserNamespace(runtime: Runtime, text: string, path: string, uid: number): string {
  const config = parseJson(text, path) as Config | null
  const { linux = {} } = Object(config) as Config
  const { namespaces = [] } = Object(linux) as NonNullable<Config['linux']>
  if (!Array.isArray(namespaces) || namespaces.some((one) => one?.type === 'user')) return text
  const caller = callerOf(runtime, uid)
  const added = { ...mappingsOf(runtime, caller), ...linux, namespaces: [...namespaces, { type: 'user' }] }
  runtime.debug('linux.namespaces: a user namespace is added, for the caller is not root')
  return stringifyJson({ ...config, linux: added })
}

/** All ids that a user may map. */
function mappingsOf(runtime: Runtime, { uid, gid }: Caller): { uidMappings: IdMapping[]; gidMappings: IdMapping[] } {
  const { host, platform } = runtime
  const read = (path: string): string => readText(host, platform.machine, path) ?? ''
  const users = [String(uid), nameOf({ text: read('/etc/passwd') }, uid)]
  const uids = subordinateIds(read('/etc/subuid'), users)
  const gids = subordinateIds(read('/etc/subgid'), users)
  // One without the other would take the right to setgroups(2), and give little.
  const helped = uids.length > 0 && gids.length > 0 && callProgram(runtime, 'newuidmap', []) !== null
  const own = (hostID: number): IdMapping => ({ containerID: 0, hostID, size: 1 })
  return {
    uidMappings: [own(uid), ...(helped ? uids : [])],
    gidMappings: [own(gid), ...(helped ? gids : [])],
  }
}

/** The ranges that a file of subuid(5) gives to a user, known by any of `names`; inside they follow each other from 1 on. */
export function subordinateIds(text: string, names: readonly (string | undefined)[]): IdMapping[] {
  const found: IdMapping[] = []
  let containerID = 1
  for (const line of text.split('\n')) {
    const [, name, start, count] = /^([^:#]+):(\d{1,10}):(\d{1,10})\s*$/.exec(line) ?? []
    if (name === undefined || !names.includes(name) || Number(count) === 0) continue
    found.push({ containerID, hostID: Number(start), size: Number(count) })
    containerID += Number(count)
  }
  return found
}
