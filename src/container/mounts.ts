/** Plans `mounts` of the config (config.md, "Mounts"): new file systems, bind mounts, cgroups. Runs in the init. */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { CgroupMountPlan } from '../cgroup/manager.ts'
import type { Mount } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Batch, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { planPrepared } from '../session/templates.ts'
import type { Train } from '../session/train.ts'
import { copyUp, planStop } from './copy-up.ts'
import { type MountOptions, readMountOptions } from './mount-options.ts'
import { absolutePath, cleanPath, coverFolder, makeFile, makeFolder, tentatively } from './paths.ts'
import { InitSlot } from './slots.ts'

const ROOT = slot(InitSlot.ROOT)
const MOUNT = slot(InitSlot.MOUNT)
const TARGET = slot(InitSlot.TARGET)
const FS = slot(InitSlot.FS)

/** fsconfig(2) takes string values of at most 255 bytes. */
const FSCONFIG_MAX = 255

/** One entry of `mounts`. `bundle` is the folder that relative sources start from. */
export function planMount(train: Train, mount: Mount, index: number, bundle: string, cgroup: CgroupMountPlan): void {
  const about = `mounts[${index}] (${mount.destination})`
  if (mount.type === 'cgroup' || mount.type === 'cgroup2') {
    const { destination, options } = readMount(about, mount)
    planCgroupMount(train, about, destination, options, cgroup)
    return
  }
  const b = train.next(about)
  if (mount.type === 'bind' || mount.options?.some((word) => word === 'bind' || word === 'rbind')) {
    const { destination, options } = readMount(about, mount)
    planBind(b, about, mount, options, bundle, destination)
    c.close(b, MOUNT)
    c.close(b, TARGET)
    return
  }
  if (mount.options?.includes('tmpcopyup')) {
    makeFolder(b, readMount(about, mount).destination, InitSlot.TARGET)
    planStop(b, about)
    return
  }
  planPrepared(b, keyOfMount(mount, index), () => planPlainMount(b, mount, index))
  coverFolder(b, cleanPath(mount.destination))
}

/** Key of the template of a mount that is neither a bind nor of cgroups. */
export const keyOfMount = (mount: Mount, index: number): string =>
  `mount ${index} ${mount.destination} ${mount.type} ${mount.source} ${mount.options?.join(',')}`

/** A mount of a file system of its own. */
export function planPlainMount(b: Batch, mount: Mount, index: number): void {
  const about = `mounts[${index}] (${mount.destination})`
  b.about(about)
  const { destination, options } = readMount(about, mount)
  planFileSystem(b, about, mount.type ?? '', mount.source ?? '', options, destination)
  c.close(b, MOUNT)
  c.close(b, TARGET)
}

/** The mount at which a plan has stopped, of `tmpcopyup`. The session has failed and is recovered. */
export function mountWithCopy(init: Session, machine: Machine, mount: Mount, index: number): void {
  const about = `mounts[${index}] (${mount.destination})`
  const { destination, options } = readMount(about, mount)
  const made = new Batch(machine).about(about)
  // Read-only only when all is there.
  planNewMount(made, 'tmpfs', mount.source ?? '', { ...options, set: options.set & ~k.MOUNT_ATTR_RDONLY })
  init.recover(made)
  copyUp(init, machine, about, options)
  const b = new Batch(machine).about(about)
  if (options.set & k.MOUNT_ATTR_RDONLY) c.mountSetattr(b, MOUNT, 0, { set: k.MOUNT_ATTR_RDONLY })
  planRecursiveAttributes(b, options)
  planAttach(b, destination, options)
  c.close(b, MOUNT)
  c.close(b, TARGET)
  init.run(b)
}

/** Reads an entry, and refuses what cannot be done. */
function readMount(about: string, mount: Mount): { destination: string; options: MountOptions } {
  const destination = cleanPath(mount.destination)
  const options = readMountOptions(mount.options ?? [])
  if (options.tmpcopyup && mount.type !== 'tmpfs')
    throw new RuntError(`${about}: the option "tmpcopyup" is for mounts of type tmpfs`)
  if (options.idmap || mount.uidMappings || mount.gidMappings)
    throw new RuntError(`${about}: id-mapped mounts are not supported yet`)
  if (options.remount) throw new RuntError(`${about}: the option "remount" has no meaning for a new mount`)
  if (destination === '/') throw new RuntError(`${about}: the root itself cannot be a destination; use root.path`)
  refuseProc(about, destination, mount)
  return { destination, options }
}

function planBind(
  b: Batch,
  about: string,
  mount: Mount,
  options: MountOptions,
  bundle: string,
  destination: string,
): void {
  if (!mount.source) throw new RuntError(`${about}: a bind mount needs a source`)
  const source = absolutePath(bundle, mount.source)
  const recursive = options.bind === 'bind' ? 0 : k.AT_RECURSIVE
  b.about(`${about}: source ${source}`)
  c.openTree(b, k.AT_FDCWD, source, k.OPEN_TREE_CLONE | recursive).keep(InitSlot.MOUNT)
  b.about(about)
  if (options.set || options.clear) c.mountSetattr(b, MOUNT, 0, { set: options.set, clear: options.clear })
  planRecursiveAttributes(b, options)
  // The target is to be what the source is: a folder, or else a file.
  const file = b.label()
  const attach = b.label()
  const probe = c.openat(b, MOUNT, '.', k.O_PATH | k.O_DIRECTORY).on(['ENOTDIR'], file)
  c.close(b, probe)
  tentatively(b, () => makeFolder(b, destination, InitSlot.TARGET))
  b.jump(attach)
  b.place(file)
  makeFile(b, destination, InitSlot.TARGET)
  b.place(attach)
  planAttach(b, destination, options)
}

function planFileSystem(
  b: Batch,
  about: string,
  type: string,
  source: string,
  options: MountOptions,
  destination: string,
): void {
  if (type === '') throw new RuntError(`${about}: no type; only bind mounts do without`)
  makeFolder(b, destination, InitSlot.TARGET)
  if (options.data.some(([, value]) => (value?.length ?? 0) > FSCONFIG_MAX) || source.length > FSCONFIG_MAX) {
    planLongFileSystem(b, type, source, options, destination)
    return
  }
  planNewMount(b, type, source, options)
  planRecursiveAttributes(b, options)
  planAttach(b, destination, options)
}

/** A new mount of a file system, not yet attached. */
function planNewMount(b: Batch, type: string, source: string, options: MountOptions): void {
  c.fsopen(b, type).keep(InitSlot.FS)
  if (source) c.fsconfigString(b, FS, 'source', source)
  for (const [key, value] of options.data) {
    if (value === undefined) c.fsconfigFlag(b, FS, key)
    else c.fsconfigString(b, FS, key, value)
  }
  c.fsconfigCreate(b, FS)
  c.fsmount(b, FS, options.set).keep(InitSlot.MOUNT)
  c.close(b, FS)
}

/** mount(2) for values that fsconfig(2) does not take. The target is entered, so that no path is walked again. */
function planLongFileSystem(b: Batch, type: string, source: string, options: MountOptions, destination: string): void {
  const { set } = options
  const flags =
    (set & (k.MS_RDONLY | k.MS_NOSUID | k.MS_NODEV | k.MS_NOEXEC)) |
    (set & k.MOUNT_ATTR_NOATIME ? 1 << 10 : 0) |
    (set & k.MOUNT_ATTR_NODIRATIME ? 1 << 11 : 0) |
    (set & k.MOUNT_ATTR_STRICTATIME ? 1 << 24 : 0)
  const data = options.data.map(([key, value]) => (value === undefined ? key : `${key}=${value}`)).join(',')
  c.fchdir(b, TARGET)
  c.mount(b, source || 'none', '.', type, flags, data)
  coverFolder(b, destination)
  c.fchdir(b, ROOT)
  c.openInRoot(b, ROOT, destination, k.O_PATH).keep(InitSlot.MOUNT)
  planRecursiveAttributes(b, options)
  for (const flag of options.propagation) planPropagation(b, flag)
}

function planRecursiveAttributes(b: Batch, options: MountOptions): void {
  if (options.recursiveSet || options.recursiveClear)
    c.mountSetattr(b, MOUNT, k.AT_RECURSIVE, { set: options.recursiveSet, clear: options.recursiveClear })
}

function planPropagation(b: Batch, flag: number): void {
  c.mountSetattr(b, MOUNT, flag & k.MS_REC ? k.AT_RECURSIVE : 0, { propagation: flag & ~k.MS_REC })
}

function planAttach(b: Batch, destination: string, options: MountOptions): void {
  if (destination !== '/proc' && !destination.startsWith('/proc/')) planRefuseProc(b, destination)
  c.attachMount(b, MOUNT, TARGET)
  coverFolder(b, destination)
  for (const flag of options.propagation) planPropagation(b, flag)
}

/** Files of procfs that lxcfs and engines cover on purpose. */
const procTargets = new Set(
  'cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo net/dev sys/kernel/ns_last_pid sys/crypto/fips_enabled pressure/cpu pressure/io pressure/memory'
    .split(' ')
    .map((name) => `/proc/${name}`),
)

/** A mount over procfs could feign a process's state to the runtime; only a few files may be covered (CVE-2019-16884). */
function refuseProc(about: string, destination: string, mount: Mount): void {
  if (destination === '/proc') {
    if (
      mount.type === 'proc' ||
      mount.options?.some((word) => word === 'bind' || word === 'rbind') ||
      mount.type === 'bind'
    )
      return
    throw new RuntError(`${about}: only a mount of type proc, or a bind of one, may cover /proc`)
  }
  if (destination.startsWith('/proc/') && !procTargets.has(destination))
    throw new RuntError(`${about}: a destination inside /proc is refused`)
}

/** The same rule for a destination that leads into /proc by a link of the image. */
function planRefuseProc(b: Batch, destination: string): void {
  const buffer = b.scratch(120)
  const fine = b.label()
  c.fstatfs(b, TARGET, buffer)
  b.branch(load(buffer, 64), 'NOT_EQUAL', k.PROC_SUPER_MAGIC, fine)
  b.about(`mounts (${destination}): the destination leads into /proc by a symbolic link`)
  b.fail('EPERM')
  b.place(fine)
  b.about(`mounts (${destination})`)
}

/** A mount of type `cgroup`: one file system on v2; a tmpfs with one folder a hierarchy on v1. */
function planCgroupMount(
  train: Train,
  about: string,
  destination: string,
  options: MountOptions,
  cgroup: CgroupMountPlan,
): void {
  const settings = { ...options, data: [], bind: null }
  if (cgroup.tmpfs) {
    // Read-only only when the folders are there.
    const writable = {
      ...settings,
      set: options.set & ~k.MOUNT_ATTR_RDONLY,
      data: [['mode', '755']] as [string, string][],
    }
    const b = train.next(about)
    planFileSystem(b, about, 'tmpfs', 'tmpfs', writable, destination)
    c.close(b, MOUNT)
    c.close(b, TARGET)
  }
  if (!cgroup.tmpfs) {
    for (const part of cgroup.mounts) {
      const b = train.next(about)
      if (part.type === 'bind')
        planBind(b, about, { destination, source: part.source }, { ...settings, bind: 'bind' }, '/', destination)
      else
        planFileSystem(
          b,
          about,
          part.type,
          part.source,
          { ...settings, data: readMountOptions(part.options).data },
          destination,
        )
      c.close(b, MOUNT)
      c.close(b, TARGET)
    }
    return
  }
  // The folders lie on a tmpfs that nobody else has seen yet: no links to mind.
  const b = train.next(about)
  c.openInRoot(b, ROOT, destination, k.O_PATH).keep(InitSlot.TARGET)
  for (const part of cgroup.mounts) {
    b.about(`${about}: ${part.folder}`)
    if (part.type === 'bind') {
      c.openat(b, k.AT_FDCWD, part.source, k.O_PATH | k.O_DIRECTORY).keep(InitSlot.CGROUP)
      const { set, clear } = options
      planPrepared(b, keyOfCgroupFolder(part.folder, set, clear), () => planCgroupFolder(b, part.folder, set, clear))
    } else {
      planNewMount(b, part.type, part.source, { ...settings, data: readMountOptions(part.options).data })
      planAttachFolder(b, part.folder)
    }
  }
  b.about(about)
  for (const { name, target } of cgroup.links) c.symlinkat(b, target, TARGET, name)
  if (options.set & k.MOUNT_ATTR_RDONLY) c.mountSetattr(b, TARGET, 0, { set: k.MOUNT_ATTR_RDONLY })
  c.close(b, TARGET)
}

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
export function planCgroupFolder(b: Batch, name: string, set: number, clear: number): void {
  b.about(`mount of the cgroup (${name})`)
  c.openTree(b, slot(InitSlot.CGROUP), '', k.OPEN_TREE_CLONE | k.AT_EMPTY_PATH).keep(InitSlot.MOUNT)
  if (set || clear) c.mountSetattr(b, MOUNT, 0, { set, clear })
  planAttachFolder(b, name)
  c.close(b, slot(InitSlot.CGROUP))
}
