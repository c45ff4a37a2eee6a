/** Plans mounts of the types `cgroup` and `cgroup2`: what the container sees of its control group. */
import type { CgroupMount } from '../cgroup/manager.ts'
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { planIfPrepared } from '../session/templates.ts'
import type { Train } from '../session/train.ts'
import { planBind } from './mount-bind.ts'
import { type MountEntry, type MountSetting, writable } from './mount-entry.ts'
import { planFileSystem, planNewMount } from './mount-file-system.ts'
import { type MountOptions, readMountOptions } from './mount-options.ts'
import { InitSlot } from './slots.ts'

const ROOT = slot(InitSlot.ROOT)
const MOUNT = slot(InitSlot.MOUNT)
const TARGET = slot(InitSlot.TARGET)

/**
 * One entry, of the type `cgroup` or `cgroup2`: one mount on v2; on v1 `cgroup` is a tmpfs with a folder for each hierarchy, and what it
 * says of itself holds for all of them.
 */
export function planCgroupMount(train: Train, type: string, entry: MountEntry, setting: MountSetting): void {
  const { tmpfs, unified } = setting.cgroup
  const common: MountEntry = { ...entry, options: { ...entry.options, data: [], bind: null, idmap: null } }
  const own: MountSetting = { ...setting, idmapped: none }
  if (tmpfs && type === 'cgroup') planHierarchies(train, common, own)
  else planSingle(train.next(entry.about), common, unified, own)
}

/** The only mount of a container's cgroup. */
function planSingle(b: Batch, entry: MountEntry, part: CgroupMount, setting: MountSetting): void {
  const { type, source } = part
  if (type === 'bind') {
    planBind(b, { ...entry, options: { ...entry.options, bind: 'bind' }, bind: true }, source, setting, 0)
    return
  }
  const { data } = readMountOptions(part.options)
  planFileSystem(b, { ...entry, options: { ...entry.options, data }, bind: false }, type, source, setting, 0)
}

/** A tmpfs, with a folder for each hierarchy of v1, and links for those that are mounted together. */
function planHierarchies(train: Train, entry: MountEntry, setting: MountSetting): void {
  const { about, destination, options } = entry
  const { mounts, links } = setting.cgroup
  // Read-only only when the folders are there.
  const tmpfs: MountOptions = { ...writable(options), data: [['mode', '755']] }
  planFileSystem(train.next(about), { ...entry, options: tmpfs, bind: false }, 'tmpfs', 'tmpfs', setting, 0)
  // The folders lie on a tmpfs that nobody else has seen yet: no links to mind.
  const b = train.next(about)
  c.openInRoot(b, ROOT, destination, k.O_PATH).keep(InitSlot.TARGET)
  for (const { folder, type, source, options: words } of mounts) {
    b.about(`${about}: ${folder}`)
    if (type === 'bind') {
      c.openat(b, k.AT_FDCWD, source, k.O_PATH | k.O_DIRECTORY).keep(InitSlot.CGROUP)
      const { set, clear } = options
      if (setting.slave || !planIfPrepared(b, keyOfCgroupFolder(folder, set, clear)))
        planCgroupFolder(b, folder, set, clear, setting.slave)
    } else {
      planNewMount(b, about, type, source, { ...options, data: readMountOptions(words).data }, null)
      planAttachFolder(b, folder)
    }
  }
  b.about(about)
  for (const { name, target } of links) c.symlinkat(b, target, TARGET, name)
  if (options.set & k.MOUNT_ATTR_RDONLY) c.mountSetattr(b, TARGET, 0, { set: k.MOUNT_ATTR_RDONLY })
  c.close(b, TARGET)
}

/** Mappings of ids are for other mounts than these. */
const none: ReadonlyMap<number, number> = new Map()

/** Attaches MOUNT to a new folder in TARGET. */
function planAttachFolder(b: Batch, name: string): void {
  c.mkdirat(b, TARGET, name, 0o755)
  const folder = c.openat(b, TARGET, name, k.O_PATH | k.O_DIRECTORY | k.O_NOFOLLOW)
  c.attachMount(b, MOUNT, folder)
  c.close(b, folder)
  c.close(b, MOUNT)
}

/** Key of the template of `planCgroupFolder`. */
export const keyOfCgroupFolder = (name: string, set: number, clear: number): string =>
  `cgroup folder ${name} ${set} ${clear}`

/** Shows the folder that is open in slot CGROUP as a folder of TARGET. */
export function planCgroupFolder(b: Batch, name: string, set: number, clear: number, slave = false): void {
  b.about(`mount of the cgroup (${name})`)
  c.openTree(b, slot(InitSlot.CGROUP), '', k.OPEN_TREE_CLONE | k.AT_EMPTY_PATH).keep(InitSlot.MOUNT)
  if (set || clear || slave) c.mountSetattr(b, MOUNT, 0, { set, clear, propagation: slave ? k.MS_SLAVE : 0 })
  planAttachFolder(b, name)
  c.close(b, slot(InitSlot.CGROUP))
}
