/** Plans the container's root: its mount, sysctls, and the change of root. Runs in the init. */
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Train } from '../session/train.ts'
import { propagationFlag } from './mount-options.ts'
import { InitSlot } from './slots.ts'

const ROOT = slot(InitSlot.ROOT)

/** Makes the mount namespace ours: nothing mounted here reaches the host, and the root is a mount of its own. */
export function planRoot(b: Batch, config: Config, rootfs: string): void {
  const word = config.linux?.rootfsPropagation
  const wanted = word ? propagationFlag(word)! : k.MS_SLAVE | k.MS_REC
  b.about(word ? `linux.rootfsPropagation "${word}"` : 'mount namespace')
  // A shared root would carry the container's mounts to the host, and pivot_root(2) refuses it: slave first, in any case.
  c.mount(b, '', '/', 0, wanted & (k.MS_PRIVATE | k.MS_UNBINDABLE) ? k.MS_PRIVATE | k.MS_REC : k.MS_SLAVE | k.MS_REC)
  b.about(`root.path (${rootfs})`)
  c.openTree(b, k.AT_FDCWD, rootfs, k.OPEN_TREE_CLONE | k.AT_RECURSIVE).keep(InitSlot.ROOT)
  const under = c.openat(b, k.AT_FDCWD, rootfs, k.O_PATH | k.O_DIRECTORY)
  c.attachMount(b, ROOT, under)
  c.close(b, under)
  b.about('/dev/null of the host')
  c.openat(b, k.AT_FDCWD, '/dev/null', k.O_PATH).keep(InitSlot.NULL)
}

/** `linux.sysctl`, through the host's /proc, which shows the namespaces of the process that writes. */
export function planSysctls(train: Train, sysctl: Record<string, string>): void {
  for (const [key, value] of Object.entries(sysctl)) {
    const b = train.next(`linux.sysctl "${key}"`)
    // Dots separate; where a name holds a dot itself (an interface eth0.1), slashes do, and dots stand for themselves.
    const path = key.includes('/') ? key : key.replaceAll('.', '/')
    c.writeFile(b, k.AT_FDCWD, `/proc/sys/${path}`, value)
  }
}

/** The container's tree becomes the root. */
export function planChangeOfRoot(b: Batch, config: Config, noPivot: boolean): void {
  const word = config.linux?.rootfsPropagation
  b.about('root.readonly')
  if (config.root.readonly) c.mountSetattr(b, ROOT, 0, { set: k.MOUNT_ATTR_RDONLY })
  b.about(noPivot ? 'change of root without pivot_root' : 'pivot_root')
  if (noPivot) {
    c.fchdir(b, ROOT)
    b.call('move_mount', ROOT, '', k.AT_FDCWD, '/', k.MOVE_MOUNT_F_EMPTY_PATH)
    c.chroot(b, '.')
  } else {
    c.openat(b, k.AT_FDCWD, '/', k.O_PATH | k.O_DIRECTORY).keep(InitSlot.OLD_ROOT)
    c.fchdir(b, ROOT)
    c.pivotRoot(b, '.', '.')
    c.fchdir(b, slot(InitSlot.OLD_ROOT))
    c.umount2(b, '.', k.MNT_DETACH)
    c.close(b, slot(InitSlot.OLD_ROOT))
  }
  c.chdir(b, '/')
  if (word) {
    b.about(`linux.rootfsPropagation "${word}"`)
    c.mount(b, '', '/', 0, propagationFlag(word)!)
  }
}
