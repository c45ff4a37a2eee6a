/** Plans `linux.maskedPaths` and `linux.readonlyPaths`. Runs in the init. */
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { planPrepared } from '../session/templates.ts'
import type { Train } from '../session/train.ts'
import { InitSlot } from './slots.ts'

const ROOT = slot(InitSlot.ROOT)
const MOUNT = slot(InitSlot.MOUNT)
const TARGET = slot(InitSlot.TARGET)
const FS = slot(InitSlot.FS)

/** `linux.maskedPaths`: files are covered by the host's /dev/null, folders by an empty read-only tmpfs. */
export function planMasks(train: Train, paths: readonly string[]): void {
  for (const path of paths) {
    const about = `linux.maskedPaths (${path})`
    planPrepared(train.next(about), about, (b) => planMask(b, path))
  }
}

/** One of them; the key of its template is what it is about. */
export function planMask(b: Batch, path: string): void {
  b.about(`linux.maskedPaths (${path})`)
  const missing = b.label()
  const file = b.label()
  const attach = b.label()
  c.openInRoot(b, ROOT, path, k.O_PATH).on(['ENOENT', 'ENOTDIR'], missing).keep(InitSlot.TARGET)
  const probe = c.openat(b, TARGET, '.', k.O_PATH | k.O_DIRECTORY).on(['ENOTDIR'], file)
  c.close(b, probe)
  c.fsopen(b, 'tmpfs').keep(InitSlot.FS)
  c.fsconfigCreate(b, FS)
  c.fsmount(b, FS, k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC).keep(
    InitSlot.MOUNT,
  )
  c.close(b, FS)
  b.jump(attach)
  b.place(file)
  c.openTree(b, slot(InitSlot.NULL), '', k.OPEN_TREE_CLONE | k.AT_EMPTY_PATH).keep(InitSlot.MOUNT)
  b.place(attach)
  c.attachMount(b, MOUNT, TARGET)
  c.close(b, MOUNT)
  c.close(b, TARGET)
  b.place(missing)
}

/** `linux.readonlyPaths`. */
export function planReadonlyPaths(train: Train, paths: readonly string[]): void {
  for (const path of paths) {
    const about = `linux.readonlyPaths (${path})`
    planPrepared(train.next(about), about, (b) => planReadonlyPath(b, path))
  }
}

/** One of them; the key of its template is what it is about. */
export function planReadonlyPath(b: Batch, path: string): void {
  b.about(`linux.readonlyPaths (${path})`)
  const missing = b.label()
  c.openInRoot(b, ROOT, path, k.O_PATH).on(['ENOENT', 'ENOTDIR'], missing).keep(InitSlot.TARGET)
  c.openTree(b, TARGET, '', k.OPEN_TREE_CLONE | k.AT_EMPTY_PATH | k.AT_RECURSIVE).keep(InitSlot.MOUNT)
  c.mountSetattr(b, MOUNT, k.AT_RECURSIVE, { set: k.MOUNT_ATTR_RDONLY })
  c.attachMount(b, MOUNT, TARGET)
  c.close(b, MOUNT)
  c.close(b, TARGET)
  b.place(missing)
}
