/**
 * What a manager of control groups has to do. The files in a cgroup are the same whoever made it, so most verbs are plain functions on
 * them (limits.ts, freezer.ts, processes.ts, join.ts). A driver does what differs: making the folders, telling others of the limits, and
 * removing both. `cgroupfs.ts` makes the folders itself, `systemd/driver.ts` asks systemd for them.
 */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { Resources } from '../config/types.ts'
import type { Batch, Step } from '../session/batch.ts'
import type { Session } from '../session/session.ts'
import type { Train } from '../session/train.ts'
import type { CgroupPaths } from './layout.ts'
import type { Systemd } from './systemd/manager.ts'
import type { Property } from './systemd/properties.ts'

/** A cgroup that `begin` has begun to make. */
export interface Making {
  readonly cgroup: CgroupPaths
  readonly resources: Resources
  /** Sentences about fields that this host cannot honour and that ask for nothing vital. */
  readonly ignored: string[]
  /** cgroupfs: the operations that make the folders, in the order of `cgroup.folders`. */
  readonly attempts: readonly Step[]
  /** systemd: the connection to it, and the properties for the limits. */
  readonly systemd?: { link: Systemd; limits: readonly Property[] }
}

export interface Driver {
  /**
   * Plans the making as far as it needs no answer, into the train of the host that saves the state too, so that it costs no round trip.
   * Throws a RuntError for a limit that this host cannot have; nothing has been made then. `link`: to systemd, if that manages the cgroup.
   */
  begin(train: Train, cgroup: CgroupPaths, resources: Resources, link: Systemd | null): Making
  /**
   * Waits for `control`, the last batch of that train, and does what is left. Afterwards the cgroup has its limits and can be joined.
   * `pid`: a process of the container that a driver may move: the stage if the cgroup is made before the init (cgroup2), else the init.
   * Returns the cgroup as it was made: that of an unprivileged caller may have no folders. After a failure the caller of this removes the
   * cgroup; but not after a `CgroupInUse`: then it is somebody else's, and nothing of ours is left.
   */
  finish(host: Session, making: Making, control: Batch, pid: number): CgroupPaths
  /**
   * New limits for a cgroup that exists. `change` is what is asked for; `whole` is that laid over what the container had, for
   * controllers whose files take several fields at once. All or nothing: after a failure the old limits are back. Gives sentences as
   * in `Making.ignored`.
   */
  update(host: Session, machine: Machine, cgroup: CgroupPaths, change: Resources, whole: Resources): readonly string[]
  /**
   * Removes the cgroup and all below it, and nothing above or beside. What is gone already is fine. Waits for processes that are about
   * to end; throws a RuntError when some stay.
   */
  remove(host: Session, machine: Machine, cgroup: CgroupPaths): void
}

/** The cgroup exists and somebody else uses it, or it was refused. Nothing of ours is there to be removed. */
export class CgroupInUse extends RuntError {}
