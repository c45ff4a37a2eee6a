/**
 * Containers with a user namespace, new or joined (user_namespaces(7)). What is different there:
 *
 * - Nothing is done in the namespace before its ids are mapped (id-maps.ts). Then the init becomes root of the namespace.
 * - Paths that only the caller can reach are opened by the stage, which stays outside (sources.ts).
 * - Device nodes cannot be made, and a file system of a namespace that belongs to somebody else cannot be mounted: both are bound
 *   from the host (devices.ts, mounts.ts).
 * - Limits above those of the caller are set by the host.
 */
import type { Config, IdMapping } from '../config/types.ts'
import type { Batch } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { IdMaps } from './id-maps.ts'
import { planVisibility } from './visibility.ts'

export interface UserNamespace {
  /** Where it is there already. */
  path: string | undefined
  /** The mappings that a new one gets. */
  maps: IdMaps | null
  /** Ids inside that the init has while it sets the container up: those of root if they are mapped. */
  root: { uid: number; gid: number }
}

/** The user namespace that the config asks for; null if the container stays in that of the caller. */
export function userNamespaceOf({ linux }: Config): UserNamespace | null {
  const namespace = linux?.namespaces?.find(({ type }) => type === 'user')
  if (!namespace) return null
  const { uidMappings: uid = [], gidMappings: gid = [] } = linux!
  return {
    path: namespace.path,
    maps: namespace.path ? null : { field: 'linux', uid, gid },
    root: { uid: firstId(uid), gid: firstId(gid) },
  }
}

/** The id to take while setting up: 0 if it is mapped, or if the mappings are not known. */
function firstId(mappings: readonly IdMapping[]): number {
  return mappings.length === 0 || mappings.some(({ containerID }) => containerID === 0) ? 0 : mappings[0]!.containerID
}

/**
 * Plans how a process in a user namespace becomes its root. What it makes then belongs to that user. `keepGroups`: see annotations.ts;
 * `visible`: see visibility.ts.
 */
export function planRootIdentity(
  b: Batch,
  { root: { uid, gid } }: UserNamespace,
  keepGroups = false,
  visible = false,
): void {
  b.about('user namespace: root of it')
  // Where the caller gave up setgroups(2) to map its ids, it keeps its groups.
  const denied = b.label()
  if (!keepGroups) c.setgroups(b, []).on(['EPERM'], denied)
  b.place(denied)
  c.setresgid(b, gid)
  c.setresuid(b, uid)
  planVisibility(b, visible)
}
