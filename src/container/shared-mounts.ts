/**
 * Containers in the mount namespace of their caller: `linux.namespaces` has no entry of type mount, so it is inherited (config-linux.md,
 * "Namespaces"), or the entry's path leads to that very namespace.
 *
 * What the config mounts is then mounted for the caller too, below the root file system, as with runc and crun. To leave the caller's other
 * mounts alone, the root becomes a mount of its own that is stacked on the root file system, and what is mounted in it does not propagate.
 * The init changes its root with chroot(2) only; `delete` unmounts the stack. (runc and crun leave everything mounted, runc turns all
 * mounts of the host into slaves, and their `exec` runs its program in the host's root.)
 */
import { RuntError } from '../base/errors.ts'
import { unescapeOctal } from '../cgroup/layout.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Batch, type OutPointer, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { finishReading, planLongReading, unreadable } from './files.ts'
import { joinsNamespace } from './namespaces.ts'
import type { Runtime } from './runtime.ts'
import { HostSlot, InitSlot } from './slots.ts'

const ROOT = slot(InitSlot.ROOT)

/** Whether the container has the mounts of its caller. */
export const sharesMounts = ({ linux }: Config): boolean => !linux?.namespaces?.some(({ type }) => type === 'mount')

/** What `delete` has to know to find and unmount the stack. */
export interface Stack {
  rootfs: string
  /** Id of the mount (first field of mountinfo) that the root file system lay on when nothing of the container's was mounted. */
  on: number
  /** Id of the container's own root, once it is known. */
  root?: number
}

/**
 * Finds out where the stack is going to be; null if the container has a mount namespace of its own. A mount namespace entry whose path
 * leads to the caller's namespace is removed from the config, for pivot_root(2) would replace the host's root there.
 */
export function findStack(runtime: Runtime, config: Config, rootfs: string): Stack | null {
  if (joinsNamespace(config, 'mount')) forgetOwnNamespace(runtime, config)
  if (!sharesMounts(config)) return null
  if (config.linux?.namespaces?.some(({ type }) => type === 'user'))
    throw new RuntError(
      "linux.namespaces: a user namespace, but no mount namespace: in the caller's, its root may not mount anything",
    )
  const b = new Batch(runtime.platform.machine).about(`root.path (${rootfs})`)
  const [place, top] = [b.out(STATX), b.out(STATX)]
  planStatx(b, rootfs, place)
  planStatx(b, '/', top)
  const answer = runtime.host.run(b)
  if ([INO, MNT_ID].every((offset) => answer.long(place, offset) === answer.long(top, offset)))
    throw new RuntError(
      "root.path (/): without a mount namespace of the container's own, its mounts would cover those of the host",
    )
  return { rootfs, on: Number(answer.long(place, MNT_ID)) }
}

/** Bytes of struct statx. */
const STATX = 256
const [INO, DEV, MNT_ID] = [32, 0x88, 0x90]

const planStatx = (b: Batch, path: string, buffer: OutPointer): Step =>
  b.call('statx', k.AT_FDCWD, path, 0, k.STATX_BASIC_STATS | k.STATX_MNT_ID, buffer)

function forgetOwnNamespace({ host, platform }: Runtime, { linux }: Config): void {
  const entry = linux!.namespaces!.find(({ type }) => type === 'mount')!
  const index = linux!.namespaces!.indexOf(entry)
  const b = new Batch(platform.machine).about(`linux.namespaces[${index}] (mount): path ${entry.path}`)
  const [own, joined] = [b.out(STATX), b.out(STATX)]
  planStatx(b, '/proc/self/ns/mnt', own)
  planStatx(b, entry.path!, joined)
  const answer = host.run(b)
  if ([INO, DEV].every((offset) => answer.long(own, offset) === answer.long(joined, offset)))
    linux!.namespaces!.splice(index, 1)
}

/** Plans the mount of the root, in the init. `shared`: what is bound in it stays a peer of the host's mounts. */
export function planStackedRoot(b: Batch, rootfs: string, shared: boolean): void {
  b.about(`root.path (${rootfs})`)
  const under = c.openat(b, k.AT_FDCWD, rootfs, k.O_PATH | k.O_DIRECTORY)
  c.openTree(b, under, '', k.OPEN_TREE_CLONE | k.AT_RECURSIVE | k.AT_EMPTY_PATH).keep(InitSlot.ROOT)
  const leaveTheirPeers = (): void => {
    if (!shared) c.mountSetattr(b, ROOT, k.AT_RECURSIVE, { propagation: k.MS_SLAVE })
    c.mountSetattr(b, ROOT, 0, { propagation: k.MS_PRIVATE })
  }
  // As a peer of the mount below, it would unmount that too at its end.
  leaveTheirPeers()
  c.attachMount(b, ROOT, under)
  c.close(b, under)
  // A mount that is attached to a shared one becomes shared by that; mount_namespaces(7).
  leaveTheirPeers()
}

/** Plans the change of root, in the init. */
export function planChroot(b: Batch): void {
  b.about('chroot')
  c.fchdir(b, ROOT)
  c.chroot(b, '.')
}

/** Notes the mount id of the root, which the init has mounted by now. */
export function lookAtRoot({ host, platform }: Runtime, stack: Stack): void {
  const b = new Batch(platform.machine).about(`root.path (${stack.rootfs})`)
  const status = b.out(STATX)
  planStatx(b, stack.rootfs, status)
  stack.root = Number(host.run(b).long(status, MNT_ID))
}

/**
 * How many mounts are stacked on the mount `on`, up to the mount `top`; null if `on`, or the container's own root, is not among them.
 */
export function heightOf(mountinfo: string, top: number, { on, root }: Stack): number | null {
  const found = new Map<number, { parent: number; target: string }>()
  for (const line of mountinfo.split('\n')) {
    const [id, parent, , , target] = line.split(' ')
    if (target !== undefined) found.set(Number(id), { parent: Number(parent), target: unescapeOctal(target) })
  }
  const place = found.get(top)?.target
  let seen = root === undefined
  for (let height = 0, id = top; height <= found.size; height++) {
    if (id === on) return seen || height === 0 ? height : null
    seen ||= id === root
    const mount = found.get(id)
    if (!mount || mount.target !== place) return null
    id = mount.parent
  }
  return null
}

/**
 * Unmounts the stack of a container whose processes have ended. If something else is mounted there by now, or the command runs in another
 * mount namespace, it warns and unmounts nothing.
 */
export function unmountStack(runtime: Runtime, stack: Stack): void {
  const { host, platform } = runtime
  const { rootfs } = stack
  const looking = new Batch(platform.machine).about(`root.path (${rootfs})`)
  const status = looking.out(STATX)
  const gone = looking.label()
  const look = planStatx(looking, rootfs, status).on(['ENOENT', 'ENOTDIR'], gone)
  looking.place(gone)
  const reading = planLongReading(looking, '/proc/self/mountinfo', 0x3000)
  const answer = host.run(looking)
  const mountinfo = finishReading(host, platform.machine, answer, reading)
  if ('errno' in mountinfo) throw unreadable('/proc/self/mountinfo', mountinfo.errno)
  const height = answer.ok(look) ? heightOf(mountinfo.text, Number(answer.long(status, MNT_ID)), stack) : null
  if (height === null) {
    runtime.warn(
      `root.path (${rootfs}): the container has no mount namespace of its own, and what is mounted there now is not what it has mounted; nothing was unmounted`,
    )
    return
  }
  if (height === 0) return
  const b = new Batch(platform.machine).about(`unmounting root.path (${rootfs})`)
  c.openat(b, k.AT_FDCWD, '.', k.O_PATH).keep(HostSlot.CWD)
  for (let left = height; left > 0; left--) {
    const root = c.openat(b, k.AT_FDCWD, rootfs, k.O_PATH | k.O_DIRECTORY)
    // First private: what is unmounted in a peer of the host's mounts would be unmounted there too.
    c.mountSetattr(b, root, k.AT_RECURSIVE, { propagation: k.MS_PRIVATE })
    c.fchdir(b, root)
    c.umount2(b, '.', k.MNT_DETACH)
    c.fchdir(b, slot(HostSlot.CWD))
    c.close(b, root)
  }
  c.close(b, slot(HostSlot.CWD))
  host.run(b)
}
