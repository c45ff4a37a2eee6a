/** Plans `linux.maskedPaths` and `linux.readonlyPaths`. Runs in the init. */
import { RuntError } from '../base/errors.ts'
import { cleanPath } from '../base/paths.ts'
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { planPrepared } from '../session/templates.ts'
import type { Train } from '../session/train.ts'
import type { MountLabel } from './mount-entry.ts'
import { InitSlot } from './slots.ts'

const ROOT = slot(InitSlot.ROOT)
const MOUNT = slot(InitSlot.MOUNT)
const TARGET = slot(InitSlot.TARGET)
const FS = slot(InitSlot.FS)
const EMPTY = slot(InitSlot.EMPTY)

/**
 * `linux.maskedPaths`: files are covered by the host's /dev/null, folders by an empty read-only tmpfs, the same for all. `label`: the
 * SELinux context of that, if any. `slave`: see MountSetting.
 */
export function planMasks(train: Train, paths: readonly string[], label: MountLabel | null, slave: boolean): void {
  for (const path of paths) {
    const about = `linux.maskedPaths (${path})`
    if (cleanPath(path) === '/') throw new RuntError(`${about}: the root itself cannot be masked`)
    const b = train.next(about)
    if (label === null && !slave) planPrepared(b, about, () => planMask(b, path, null))
    else planMask(b, path, label, slave)
  }
}

/** One of them; the key of its template is what it is about. */
export function planMask(b: Batch, path: string, label: MountLabel | null, slave = false): void {
  b.about(`linux.maskedPaths (${path})`)
  const missing = b.label()
  const file = b.label()
  const again = b.label()
  const attach = b.label()
  const end = b.label()
  c.openInRoot(b, ROOT, path, k.O_PATH).on(['ENOENT', 'ENOTDIR'], missing).keep(InitSlot.TARGET)
  const probe = c.openat(b, TARGET, '.', k.O_PATH | k.O_DIRECTORY).on(['ENOTDIR'], file)
  c.close(b, probe)
  // Another mount of the same file system is cheaper than another file system.
  b.branch(EMPTY, 'NOT_EQUAL', 0, again)
  c.fsopen(b, 'tmpfs').keep(InitSlot.FS)
  if (label !== null) c.fsconfigString(b, FS, label.type, label.text)
  c.fsconfigCreate(b, FS)
  const attributes = k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC
  c.fsmount(b, FS, attributes).keep(InitSlot.EMPTY)
  c.close(b, FS)
  c.attachMount(b, EMPTY, TARGET)
  b.jump(end)
  b.place(again)
  c.openTree(b, EMPTY, '', k.OPEN_TREE_CLONE | k.AT_EMPTY_PATH).keep(InitSlot.MOUNT)
  b.jump(attach)
  b.place(file)
  c.openTree(b, slot(InitSlot.NULL), '', k.OPEN_TREE_CLONE | k.AT_EMPTY_PATH).keep(InitSlot.MOUNT)
  if (slave) c.mountSetattr(b, MOUNT, 0, { propagation: k.MS_SLAVE })
  b.place(attach)
  c.attachMount(b, MOUNT, TARGET)
  c.close(b, MOUNT)
  b.place(end)
  c.close(b, TARGET)
  b.place(missing)
}

/** `linux.readonlyPaths`: with all mounts below, such as binfmt_misc of a /proc that is the host's; runc and crun leave those writable. */
export function planReadonlyPaths(train: Train, paths: readonly string[]): void {
  for (const path of paths) {
    const about = `linux.readonlyPaths (${path})`
    planPrepared(train.next(about), about, (b) => planReadonlyPath(b, path))
  }
}

/** One of them; the key of its template is what it is about. */
export function planReadonlyPath(b: Batch, path: string): void {
  b.about(`linux.readonlyPaths (${path})`)
  if (cleanPath(path) === '/') {
    // Nothing can be mounted over the root of a process. The mounts below stay as they are, as with root.readonly.
    c.mountSetattr(b, ROOT, 0, { set: k.MOUNT_ATTR_RDONLY })
    return
  }
  const missing = b.label()
  c.openInRoot(b, ROOT, path, k.O_PATH).on(['ENOENT', 'ENOTDIR'], missing).keep(InitSlot.TARGET)
  c.openTree(b, TARGET, '', k.OPEN_TREE_CLONE | k.AT_EMPTY_PATH | k.AT_RECURSIVE).keep(InitSlot.MOUNT)
  c.mountSetattr(b, MOUNT, k.AT_RECURSIVE, { set: k.MOUNT_ATTR_RDONLY })
  c.attachMount(b, MOUNT, TARGET)
  c.close(b, MOUNT)
  c.close(b, TARGET)
  b.place(missing)
}
