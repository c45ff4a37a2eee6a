/**
 * Plans `mounts` of the config (config.md, "Mounts"). Runs in the init. Which mount is which is decided here; each kind has a file:
 *
 *   mount-entry.ts        what an entry says, and what is refused (mount-options.ts: its words; proc-guard.ts: procfs)
 *   mount-file-system.ts  new file systems
 *   mount-bind.ts         bind mounts
 *   mount-cgroup.ts       the container's view of its control group
 *   mount-attach.ts       how a mount gets to its place
 *
 * A mount is first made detached (slot MOUNT) and its target opened (slot TARGET); then the one is attached to the other by descriptor. So
 * no path is walked a second time, when the image could have changed it meanwhile.
 */
import { cleanPath } from '../base/paths.ts'
import type { Machine } from '../base/platform.ts'
import type { Mount } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { planIfPrepared } from '../session/templates.ts'
import type { Train } from '../session/train.ts'
import { planPropagation, planRecursiveAttributes } from './mount-attach.ts'
import { copySymlink, planBind } from './mount-bind.ts'
import { planCgroupMount } from './mount-cgroup.ts'
import { aboutMount, isReadonlyLater, type MountEntry, type MountSetting, readMount } from './mount-entry.ts'
import { hostFolders, mountWithCopy, planFileSystem, planMountOrBind, planParameters } from './mount-file-system.ts'
import { readMountOptions } from './mount-options.ts'
import { coverFolder, makeFolder } from './paths.ts'
import { planRefuseProc } from './proc-guard.ts'
import { InitSlot } from './slots.ts'
import { planStop } from './stop.ts'

const ROOT = slot(InitSlot.ROOT)
const TARGET = slot(InitSlot.TARGET)
const FS = slot(InitSlot.FS)

/** Plans one entry of `mounts`; or, where the image has to be looked at first, a stop (stop.ts) that `mountByLooking` takes up. */
export function planMount(train: Train, mount: Mount, index: number, setting: MountSetting): void {
  const about = aboutMount(mount, index)
  const b = train.next(about)
  const folder = setting.reach.unprivileged ? hostFolders[mount.type ?? ''] : undefined
  if (!folder && setting.label === null && planIfPrepared(b, keyOfMount(mount, index))) {
    coverFolder(b, cleanPath(mount.destination))
    return
  }
  const entry = readMount(mount, index)
  if (entry.options.remount) planRemount(b, entry)
  else if (entry.options.copySymlink) planStop(b, about, 'the look at the source for copy-symlink')
  else if (entry.bind) planBind(b, entry, mount.source ?? '', setting, index)
  else if (mount.type === 'cgroup' || mount.type === 'cgroup2') planCgroupMount(train, mount.type, entry, setting)
  else if (entry.options.tmpcopyup) {
    b.set(InitSlot.MADE, 0)
    makeFolder(b, entry.destination, InitSlot.TARGET, 0, InitSlot.MADE)
    planStop(b, about, 'the copy for tmpcopyup')
  } else if (folder) planMountOrBind(b, entry, mount.type!, mount.source ?? '', folder)
  else planFileSystem(b, entry, mount.type ?? '', mount.source ?? '', setting, index)
}

/** Key of the template of a mount that is neither a bind nor of cgroups. */
export const keyOfMount = (mount: Mount, index: number): string =>
  `mount ${index} ${mount.destination} ${mount.type} ${mount.source} ${mount.options?.join(',')}`

/** A mount of a file system of its own that depends on nothing but its entry. */
export function planPlainMount(b: Batch, mount: Mount, index: number): void {
  b.about(aboutMount(mount, index))
  planFileSystem(b, readMount(mount, index), mount.type ?? '', mount.source ?? '', null, index)
}

/**
 * Does the mount at which a plan has stopped, looking at the image. Recovers the failed session; the caller then plans the rest, from the
 * next mount on.
 */
export function mountByLooking(
  init: Session,
  machine: Machine,
  mount: Mount,
  index: number,
  setting: MountSetting,
): void {
  const entry = readMount(mount, index)
  if (entry.options.copySymlink) copySymlink(init, machine, entry, mount, setting, index)
  else mountWithCopy(init, machine, entry, mount, setting)
}

/** Makes the mounts read-only that were writable for what comes into them. After all mounts and devices. */
export function planReadonlyMounts(train: Train, mounts: readonly Mount[]): void {
  mounts.forEach((mount, index) => {
    // Most mounts are done with here.
    if (!mount.options?.includes('ro') || !isReadonlyLater(mount, readMountOptions(mount.options))) return
    if (isUndone(mount, mounts.slice(index + 1))) return
    const b = train.next(aboutMount(mount, index))
    c.openInRoot(b, ROOT, cleanPath(mount.destination), k.O_PATH).keep(InitSlot.TARGET)
    c.mountSetattr(b, TARGET, 0, { set: k.MOUNT_ATTR_RDONLY })
    c.close(b, TARGET)
  })
}

/** Whether one of the later mounts makes it writable again, or hides it: at its place there is another one then. */
function isUndone({ destination }: Mount, later: readonly Mount[]): boolean {
  const place = cleanPath(destination)
  return later.some((mount) => {
    const cover = cleanPath(mount.destination)
    const { remount, clear } = readMountOptions(mount.options ?? [])
    if (remount) return cover === place && (clear & k.MOUNT_ATTR_RDONLY) !== 0
    return cover === place || place.startsWith(`${cover}/`)
  })
}

/**
 * `remount`: changes what is mounted at the destination, and keeps what the options don't name, as mount(8) does. Alone it changes the
 * file system and the mount, with `bind` only the mount.
 */
function planRemount(b: Batch, { about, destination, options }: MountEntry): void {
  b.about(`${about}: remount`)
  c.openInRoot(b, ROOT, destination, k.O_PATH).keep(InitSlot.TARGET)
  planRefuseProc(b, about, destination)
  b.about(`${about}: remount`)
  if (!options.bind) {
    c.fspick(b, TARGET).keep(InitSlot.FS)
    planParameters(b, options)
    if (options.set & k.MOUNT_ATTR_RDONLY) c.fsconfigFlag(b, FS, 'ro')
    else if (options.clear & k.MOUNT_ATTR_RDONLY) c.fsconfigFlag(b, FS, 'rw')
    c.fsconfigReconfigure(b, FS)
    c.close(b, FS)
  }
  if (options.set || options.clear) c.mountSetattr(b, TARGET, 0, { set: options.set, clear: options.clear })
  planRecursiveAttributes(b, options, TARGET)
  for (const flag of options.propagation) planPropagation(b, TARGET, flag)
  c.close(b, TARGET)
}
