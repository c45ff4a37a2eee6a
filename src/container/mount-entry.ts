/** What an entry of `mounts` says (config.md, "Mounts"), and what all of them have in common. */
import { RuntError } from '../base/errors.ts'
import { cleanPath } from '../base/paths.ts'
import type { CgroupMountPlan } from '../cgroup/manager.ts'
import type { Mount } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type MountOptions, readMountOptions } from './mount-options.ts'
import { refuseProc } from './proc-guard.ts'
import type { Reach } from './sources.ts'

/** `linux.mountLabel`: an SELinux context, and the mount option that takes it (annotations.ts, contextType). */
export interface MountLabel {
  type: string
  text: string
}

/** What the mounts of a container have in common. */
export interface MountSetting {
  /** The folder that relative sources start from. */
  bundle: string
  cgroup: CgroupMountPlan
  /** Where SELinux is there to read it. */
  label: MountLabel | null
  reach: Reach
  /** By index of the mount: a descriptor for a mount with mapped ids (idmapped-mounts.ts, prepareIdmapped). */
  idmapped: ReadonlyMap<number, number>
  /** Bind mounts are made slaves one by one, because the namespace is the host's and cannot be as a whole (shared-mounts.ts). */
  slave: boolean
}

/** One entry, read and found possible. */
export interface MountEntry {
  about: string
  destination: string
  options: MountOptions
  bind: boolean
}

/** How errors name a mount. */
export const aboutMount = (mount: Mount, index: number): string => `mounts[${index}] (${mount.destination})`

/** Reads an entry. Throws a RuntError for what cannot be done, before anything is. */
export function readMount(mount: Mount, index: number): MountEntry {
  const about = aboutMount(mount, index)
  const destination = cleanPath(mount.destination)
  const given = readMountOptions(mount.options ?? [])
  const bind = mount.type === 'bind' || given.bind !== null
  const options = isReadonlyLater(mount, given) ? writable(given) : given
  if (options.tmpcopyup && (mount.type !== 'tmpfs' || bind))
    throw new RuntError(`${about}: the option "tmpcopyup" is for mounts of type tmpfs`)
  if (options.copySymlink && (!bind || options.sourceNofollow || options.targetNofollow))
    throw new RuntError(
      `${about}: the option "copy-symlink" is for bind mounts, and excludes "src-nofollow" and "dest-nofollow"`,
    )
  // Parameters with a value (mode=755) mean nothing here, as with mount(2); a word alone may be a protection that is misspelled.
  const unknown = bind ? options.data.find(([, value]) => value === undefined) : undefined
  if (unknown)
    throw new RuntError(
      `${about}: the option ${JSON.stringify(unknown[0])} is unknown, and a bind mount has no file system of its own to pass it to`,
    )
  if (options.remount) {
    if (options.mountFlags)
      throw new RuntError(`${about}: a remount cannot change what "iversion" and "silent" stand for`)
  } else if (destination === '/')
    throw new RuntError(`${about}: the root itself cannot be a destination; use root.path`)
  if (!bind && !options.remount && !mount.type) throw new RuntError(`${about}: no type; only bind mounts do without`)
  refuseProc(about, destination, mount.type === 'proc' || bind || options.remount)
  return { about, destination, options, bind }
}

/** Whether a read-only mount is mounted writable at first, because folders, device nodes and later mounts still go into it. */
export const isReadonlyLater = ({ type, destination }: Mount, { set, bind, remount }: MountOptions): boolean =>
  (set & k.MOUNT_ATTR_RDONLY) !== 0 &&
  !remount &&
  bind === null &&
  (type === 'tmpfs' || (type !== 'bind' && cleanPath(destination) === '/dev'))

/** The options of such a mount as long as it is writable. */
export const writable = (options: MountOptions): MountOptions => ({
  ...options,
  set: options.set & ~k.MOUNT_ATTR_RDONLY,
})
