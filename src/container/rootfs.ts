/** Plans the container's root: its mount, and the change of root. Runs in the init. */
import { RuntError } from '../base/errors.ts'
import { unescapeOctal } from '../cgroup/layout.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { CallError } from '../session/session.ts'
import { propagationFlag } from './mount-options.ts'
import { joinsNamespace } from './namespaces.ts'
import { planChroot, planStackedRoot, sharesMounts } from './shared-mounts.ts'
import { InitSlot } from './slots.ts'
import { deviceSource, planOpening, type Reach } from './sources.ts'

const ROOT = slot(InitSlot.ROOT)

/**
 * Plans to separate the mount namespace from the host's, so that nothing mounted here reaches the host, and to make the root a mount of its
 * own.
 *
 * With a shared `rootfsPropagation` the other mounts stay peers of the host's, because a bind mount with `rshared` has to carry what is
 * mounted in it to the host (Kubernetes: Bidirectional). Then only the mount that the root lies on becomes private, so that the root itself
 * does not get to the host. For containers without a mount namespace see shared-mounts.ts.
 */
export function planRoot(b: Batch, config: Config, rootfs: string, { opened }: Reach): void {
  const word = config.linux?.rootfsPropagation
  const wanted = word ? propagationFlag(word)! : k.MS_SLAVE | k.MS_REC
  if (sharesMounts(config)) {
    planStackedRoot(b, rootfs, (wanted & k.MS_SHARED) !== 0)
    planNull(b, config)
    return
  }
  b.about(word ? `linux.rootfsPropagation "${word}"` : 'mount namespace')
  // pivot_root(2) refuses a shared root, too.
  if (!(wanted & k.MS_SHARED))
    c.mount(b, '', '/', 0, k.MS_REC | (wanted & (k.MS_PRIVATE | k.MS_UNBINDABLE) ? k.MS_PRIVATE : k.MS_SLAVE))
  b.about(`root.path (${rootfs})`)
  const given = opened.get(rootfs)
  const under = given ?? c.openat(b, k.AT_FDCWD, rootfs, k.O_PATH | k.O_DIRECTORY)
  if (wanted & k.MS_SHARED) planPrivateBelow(b, rootfs)
  c.openTree(b, under, '', k.OPEN_TREE_CLONE | k.AT_RECURSIVE | k.AT_EMPTY_PATH).keep(InitSlot.ROOT)
  c.attachMount(b, ROOT, under)
  if (given === undefined) c.close(b, under)
  planNull(b, config)
}

/** The error for a bundle without its root file system, which the kernel's errno does not say plainly. Null for any other error. */
export function missingRoot({ step, errno }: CallError): RuntError | null {
  if (step.name !== 'openat' || !step.about.startsWith('root.path (')) return null
  if (errno !== 'ENOENT' && errno !== 'ENOTDIR') return null
  const what = errno === 'ENOENT' ? 'no such folder' : 'not a folder'
  return new RuntError(
    `${step.about}: ${what}: the root file system of the container has to be there; a relative path starts at the bundle`,
    errno,
  )
}

/** Opens /dev/null, which covers masked files. In a joined mount namespace it may be a link to anything (compare CVE-2025-31133). */
function planNull(b: Batch, config: Config): void {
  const about = '/dev/null of the host'
  b.about(about)
  if (joinsNamespace(config, 'mount'))
    b.set(InitSlot.NULL, planOpening(b, deviceSource(about, '/dev/null', { type: 'c', major: 1, minor: 3 })))
  else c.openat(b, k.AT_FDCWD, '/dev/null', k.O_PATH).keep(InitSlot.NULL)
}

/** Makes the mount that a folder lies on private. That works only at the root of that mount, so it tries folder by folder upwards. */
function planPrivateBelow(b: Batch, folder: string): void {
  const at = slot(InitSlot.PARENT)
  const up = b.label()
  const again = b.label()
  const done = b.label()
  c.openat(b, k.AT_FDCWD, folder, k.O_PATH | k.O_DIRECTORY).keep(InitSlot.PARENT)
  b.place(again)
  c.mountSetattr(b, at, 0, { propagation: k.MS_PRIVATE }).on(['EINVAL'], up)
  b.jump(done)
  b.place(up)
  const above = c.openat(b, at, '..', k.O_PATH | k.O_DIRECTORY)
  c.close(b, at)
  b.set(InitSlot.PARENT, above)
  b.jump(again)
  b.place(done)
  c.close(b, at)
}

/** Plans the change of root. `revealing`: null for pivot_root; without it, the mounts of the host that have to be unmounted. */
export function planChangeOfRoot(b: Batch, config: Config, revealing: readonly string[] | null): void {
  const word = config.linux?.rootfsPropagation
  const wanted = word ? propagationFlag(word)! : k.MS_PRIVATE
  b.about(config.root.readonly ? 'root.readonly' : 'root')
  // By default the root is private, while the mounts of the config are slaves of the host's, as with runc.
  const set = config.root.readonly ? k.MOUNT_ATTR_RDONLY : 0
  const propagation = wanted & k.MS_SLAVE ? 0 : k.MS_PRIVATE
  if (set || propagation) c.mountSetattr(b, ROOT, 0, { set, propagation })
  b.about(revealing ? 'change of root without pivot_root' : 'pivot_root')
  if (sharesMounts(config)) planChroot(b)
  else if (revealing) planMoveOfRoot(b, revealing)
  else {
    c.openat(b, k.AT_FDCWD, '/', k.O_PATH | k.O_DIRECTORY).keep(InitSlot.OLD_ROOT)
    c.fchdir(b, ROOT)
    c.pivotRoot(b, '.', '.')
    c.fchdir(b, slot(InitSlot.OLD_ROOT))
    // The old mounts may be peers of the host's; unmounting them here must not unmount those.
    if (wanted & k.MS_SHARED) c.mount(b, '', '.', 0, k.MS_SLAVE | k.MS_REC)
    c.umount2(b, '.', k.MNT_DETACH)
    c.close(b, slot(InitSlot.OLD_ROOT))
  }
  c.chdir(b, '/')
  // Private is done above, and slave from the beginning. The rest is left.
  if (wanted & (k.MS_SHARED | k.MS_UNBINDABLE) || (word && wanted & k.MS_REC)) {
    b.about(`linux.rootfsPropagation "${word}"`)
    c.mount(b, '', '/', 0, wanted)
  }
}

/**
 * Mount points of procfs and sysfs outside of the container's root, the topmost first, from the text of mountinfo.
 */
export function revealingMounts(mountinfo: string, rootfs: string): string[] {
  const found: string[] = []
  for (const line of mountinfo.split('\n')) {
    const [mount = '', type = ''] = line.split(' - ')
    const target = unescapeOctal(mount.split(' ')[4] ?? '')
    if (/^(proc|sysfs) /.test(type) && target !== rootfs && !target.startsWith(`${rootfs}/`)) found.unshift(target)
  }
  return found
}

/**
 * The change of root with --no-pivot, for roots that pivot_root(2) refuses. The host's mounts stay below the container's root, out of
 * reach. But its procfs and sysfs must go: they have no masks, so the kernel would let the container mount new ones without masks, too
 * (mount_too_revealing).
 */
function planMoveOfRoot(b: Batch, revealing: readonly string[]): void {
  // First no longer peers of the host's mounts: what is unmounted here would be unmounted there.
  c.mount(b, '', '/', 0, k.MS_SLAVE)
  for (const path of revealing) {
    const none = b.label()
    c.mount(b, '', path, 0, k.MS_SLAVE | k.MS_REC).on(['EINVAL', 'ENOENT'], none)
    c.umount2(b, path, k.MNT_DETACH).on(['EINVAL', 'ENOENT'], none)
    b.place(none)
  }
  c.fchdir(b, ROOT)
  b.call('move_mount', ROOT, '', k.AT_FDCWD, '/', k.MOVE_MOUNT_F_EMPTY_PATH)
  c.chroot(b, '.')
}
