/** Where a container's cgroup is to be, by whoever manages it. */
import * as cgroups from '../cgroup/manager.ts'
import type { Config } from '../config/types.ts'
import { mapsAllIds } from '../linux/id-map.ts'
import type { Batch } from '../session/batch.ts'
import { planReading, type Reading } from './files.ts'
import type { Runtime } from './runtime.ts'

export interface CgroupPlace {
  /** The container's own; null where it gets none. */
  cgroup: cgroups.CgroupPaths | null
  /** What the host has, and where the caller is: the container stays there if it gets none. */
  layout: cgroups.Layout
}

/** What there is to know for it. */
export interface CgroupFacts {
  mountinfo: string
  ownCgroup: string
  /** Only where it was asked for; see `planUidMap`. */
  uidMap: string
  uid: number
}

/** Reads the map of user ids, where it decides whose systemd is asked. */
export const planUidMap = (b: Batch, { globals }: Runtime): Reading | null =>
  globals.cgroupManager === 'systemd' ? planReading(b, '/proc/self/uid_map', 256) : null

/** Throws a RuntError for a `linux.cgroupsPath` that the manager cannot have. */
export function placeCgroup(runtime: Runtime, config: Config, id: string, facts: CgroupFacts): CgroupPlace {
  const layout = cgroups.detectLayout(facts.mountinfo, facts.ownCgroup)
  const path = config.linux?.cgroupsPath
  const manager = runtime.globals.cgroupManager
  if (layout.mode === 'none' || manager === 'disabled') return { cgroup: null, layout }
  const mapped = facts.uidMap !== '' && !mapsAllIds(facts.uidMap)
  const cgroup =
    manager === 'systemd'
      ? cgroups.locateUnit(layout, path, id, config.annotations, { uid: facts.uid, mapped, env: runtime.platform.env })
      : cgroups.locate(layout, path, id)
  return { cgroup, layout }
}
