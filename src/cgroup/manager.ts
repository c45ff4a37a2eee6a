/**
 * The control group of a container: what commands do with it.
 *
 * Functions that take a Batch or a Train plan for an executor in the host's mount namespace. Functions that take a Session send batches of
 * their own, and also work after a failure of that session, because some are for cleaning up.
 */
import type { Machine } from '../base/platform.ts'
import type { Resources } from '../config/types.ts'
import type { Batch } from '../session/batch.ts'
import type { Session } from '../session/session.ts'
import type { Train } from '../session/train.ts'
import { cgroupfs } from './cgroupfs.ts'
import type { Driver, Making } from './driver.ts'
import type { CgroupPaths } from './layout.ts'
import { writesFor } from './limits.ts'
import { systemd } from './systemd/driver.ts'
import type { Systemd } from './systemd/manager.ts'

export { thawBelow } from './deep.ts'
export { delegate } from './delegate.ts'
export { CgroupInUse, type Making } from './driver.ts'
export { FROZEN_WORD, freeze, freezerFile, saysFrozen, thaw, thawAnyhow } from './freezer.ts'
export { join, joinKey, joinSelf, planJoining } from './join.ts'
export {
  type CgroupFolder,
  type CgroupMount,
  type CgroupMountPlan,
  type CgroupPaths,
  detectLayout,
  folderPath,
  type Layout,
  locate,
  mountPlan,
} from './layout.ts'
export { killAll, processes, signalAll } from './processes.ts'
export { planRemove, planRemoveEmpty } from './remove.ts'
export { attach, callSystemd, leftToJoin, locateUnit } from './systemd/driver.ts'

const driverOf = (cgroup: CgroupPaths): Driver => (cgroup.systemd ? systemd : cgroupfs)

/** See Driver.begin. */
export const begin = (
  train: Train,
  cgroup: CgroupPaths,
  resources: Resources = {},
  link: Systemd | null = null,
): Making => driverOf(cgroup).begin(train, cgroup, resources, link)

/** See Driver.finish. */
export const finish = (host: Session, making: Making, control: Batch, pid: number): CgroupPaths =>
  driverOf(making.cgroup).finish(host, making, control, pid)

/** See Driver.update. */
export const update = (
  host: Session,
  machine: Machine,
  cgroup: CgroupPaths,
  change: Resources,
  whole: Resources,
): readonly string[] => driverOf(cgroup).update(host, machine, cgroup, change, whole)

/** See Driver.remove. */
export const remove = (host: Session, machine: Machine, cgroup: CgroupPaths): void =>
  driverOf(cgroup).remove(host, machine, cgroup)

/** For a container without a cgroup: throws a RuntError if the resources ask for a limit. */
export function refuseLimits(resources: Resources = {}): void {
  writesFor({ mode: 'none', folders: [] }, resources, [])
}
