/**
 * Callers without the rights of root: users, and the root of a user namespace that an engine or another container has made.
 *
 * A user needs a user namespace, which maps its own ids, or those that newuidmap(1) lets it have (id-maps.ts); a config without one gets
 * one (own-ids.ts). Everything else follows from what the kernel refuses. A caller with euid 0 may be root of a user namespace only; that
 * is found out when something is refused, so that it costs the real root nothing.
 */
import { mapsAllIds } from '../linux/id-map.ts'
import { Batch } from '../session/batch.ts'
import { CallError } from '../session/session.ts'
import { finishReading, planReading } from './files.ts'
import type { Runtime } from './runtime.ts'

/** Whether the caller is in a user namespace that maps less than all ids, as rootless engines and containers make; user_namespaces(7). */
export function isMapped({ host, platform }: Runtime): boolean {
  const b = new Batch(platform.machine)
  const reading = planReading(b, '/proc/self/uid_map', 256)
  const map = finishReading(host, platform.machine, host.recover(b), reading)
  return 'text' in map && !mapsAllIds(map.text)
}

/**
 * If the init was refused something that only root of the host may do (device nodes, file systems that show the host's namespaces): the
 * index of the mount to plan on from. Null for any other error.
 */
export function refusedFrom(error: unknown, mounts: number): number | null {
  if (!(error instanceof CallError) || error.errno !== 'EPERM') return null
  const { name, about } = error.step
  if (name === 'mknodat') return mounts
  const index = /^mounts\[(\d+)\]/.exec(about)?.[1]
  return index !== undefined && (name === 'fsopen' || name === 'fsmount' || name === 'fsconfig') ? Number(index) : null
}
