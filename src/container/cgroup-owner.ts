/** Who is to own the container's cgroup. */
import type { Config } from '../config/types.ts'

/**
 * The host's id of the user whom the container's process runs as, where the container may manage its cgroup: it has a cgroup namespace of
 * its own, and a cgroup mount that is not read-only (config-linux.md, "Cgroup ownership"). Null where the owner stays who he is.
 */
export function cgroupOwner({ linux, mounts, process: { user } }: Config): number | null {
  if (!linux?.namespaces?.some(({ type, path }) => type === 'cgroup' && !path)) return null
  const mount = mounts?.find(({ type }) => type === 'cgroup' || type === 'cgroup2')
  if (!mount || mount.options?.includes('ro')) return null
  const { uid } = user
  if (!linux.namespaces.some(({ type }) => type === 'user')) return uid === 0 ? null : uid
  const range = linux.uidMappings?.find(({ containerID, size }) => uid >= containerID && uid < containerID + size)
  return range ? range.hostID + (uid - range.containerID) : null
}
