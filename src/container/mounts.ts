/** Plans `mounts` of the config (config.md, "Mounts"): new file systems, bind mounts, remounts, cgroups. Runs in the init. */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { basename, cleanPath, dirname } from '../base/paths.ts'
import type { Machine } from '../base/platform.ts'
import type { CgroupMountPlan } from '../cgroup/manager.ts'
import type { Mount } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { Batch, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { planIfPrepared } from '../session/templates.ts'
import type { Train } from '../session/train.ts'
import { copyUp } from './copy-up.ts'
import { planIdmap } from './idmapped-mounts.ts'
import { forMount2, type MountOptions, readMountOptions } from './mount-options.ts'
import { coverFolder, makeFile, makeFolder, tentatively } from './paths.ts'
import { InitSlot } from './slots.ts'
import { bindSource, linkKey, type Reach } from './sources.ts'
import { planStop } from './stop.ts'

const ROOT = slot(InitSlot.ROOT)
const MOUNT = slot(InitSlot.MOUNT)
const TARGET = slot(InitSlot.TARGET)
const FS = slot(InitSlot.FS)

/** fsconfig(2) takes string values of at most 255 bytes. */
const FSCONFIG_MAX = 255
/** mount(2) takes a page of options, with the NUL at its end, and cuts off what is longer. */
const MOUNT_DATA_MAX = 4095

/** What the mounts of a container have in common. */
export interface MountSetting {
  /** The folder that relative sources start from. */
  bundle: string
  cgroup: CgroupMountPlan
  /** `linux.mountLabel`, where SELinux is there to read it. */
  label: string | null
  reach: Reach
  /** By index: descriptors of mounts with mapped ids, or for them (idmapped-mounts.ts). */
  idmapped: ReadonlyMap<number, number>
  /** What is bound would be a peer of the host's mount, and is not to be: the namespace as a whole has not been told (shared-mounts.ts). */
  slave: boolean
}

/** One mount, read and found possible. */
interface Reading {
  about: string
  destination: string
  options: MountOptions
  bind: boolean
}

/** One entry of `mounts`. */
export function planMount(train: Train, mount: Mount, index: number, setting: MountSetting): void {
  const about = aboutMount(mount, index)
  const b = train.next(about)
  const folder = setting.reach.unprivileged ? hostFolders[mount.type ?? ''] : undefined
  if (!folder && setting.label === null && planIfPrepared(b, keyOfMount(mount, index))) {
    coverFolder(b, cleanPath(mount.destination))
    return
  }
  const reading = readMount(mount, index)
  if (reading.options.remount) planRemount(b, reading)
  else if (reading.options.copySymlink) planStop(b, about, 'the look at the source for copy-symlink')
  else if (reading.bind) planBind(b, reading, mount.source ?? '', setting, index)
  else if (mount.type === 'cgroup' || mount.type === 'cgroup2') {
    planCgroupMount(train, reading, setting)
    return
  } else if (reading.options.tmpcopyup) {
    b.set(InitSlot.MADE, 0)
    makeFolder(b, reading.destination, InitSlot.TARGET, 0, InitSlot.MADE)
    planStop(b, about, 'the copy for tmpcopyup')
    return
  } else if (folder) planMountOrBind(b, reading, mount.type!, mount.source ?? '', folder)
  else planFileSystem(b, reading, mount.type ?? '', mount.source ?? '', setting, index)
}

const aboutMount = (mount: Mount, index: number): string => `mounts[${index}] (${mount.destination})`

/** Key of the template of a mount that is neither a bind nor of cgroups. */
export const keyOfMount = (mount: Mount, index: number): string =>
  `mount ${index} ${mount.destination} ${mount.type} ${mount.source} ${mount.options?.join(',')}`

/** A mount of a file system of its own that depends on nothing but its entry. */
export function planPlainMount(b: Batch, mount: Mount, index: number): void {
  b.about(aboutMount(mount, index))
  planFileSystem(b, readMount(mount, index), mount.type ?? '', mount.source ?? '', null, index)
}

/**
 * Does the mount at which a plan has stopped, and which depends on what is there. The session has failed and is recovered. The plan is
 * to go on with the next mount.
 */
export function mountByLooking(
  init: Session,
  machine: Machine,
  mount: Mount,
  index: number,
  setting: MountSetting,
): void {
  const reading = readMount(mount, index)
  if (reading.options.copySymlink) copySymlink(init, machine, reading, mount, setting, index)
  else mountWithCopy(init, machine, reading, mount, setting)
}

/** `tmpcopyup`: TARGET is open, and MADE says whether the image lacked it. */
function mountWithCopy(
  init: Session,
  machine: Machine,
  { about, destination, options }: Reading,
  mount: Mount,
  setting: MountSetting,
): void {
  const made = new Batch(machine).about(about)
  planNewMount(made, about, 'tmpfs', mount.source ?? '', options, setting.label)
  init.recover(made)
  copyUp(init, machine, about, options)
  const b = new Batch(machine).about(about)
  planRecursiveAttributes(b, options)
  planAttach(b, about, destination, options)
  init.run(b)
}

const PATH_MAX = 4096

/** The option `copy-symlink`: a source that is a link is not mounted, the destination becomes the same link. */
function copySymlink(
  init: Session,
  machine: Machine,
  reading: Reading,
  mount: Mount,
  setting: MountSetting,
  index: number,
): void {
  const { about, destination } = reading
  const source = sourceOf(reading, mount.source ?? '', setting)
  const looking = new Batch(machine).about(`${about}: source ${source}`)
  const buffer = looking.out(PATH_MAX)
  const plain = looking.label()
  const read = c.readlinkat(looking, k.AT_FDCWD, source, buffer).on(['EINVAL'], plain)
  looking.place(plain)
  const answer = init.recover(looking)
  const b = new Batch(machine).about(about)
  if (!answer.ok(read)) {
    planBind(b, reading, mount.source ?? '', setting, index)
    init.run(b)
    return
  }
  const target = decodeUtf8(answer.bytes(buffer, answer.value(read)!))
  makeFolder(b, dirname(destination), InitSlot.TARGET)
  planRefuseProc(b, about, destination)
  const done = b.label()
  const link = c.symlinkat(b, target, TARGET, basename(destination)).on(['EEXIST'], done)
  b.place(done)
  // What is there may be this very link; EINVAL: it is none.
  const there = b.out(PATH_MAX)
  const end = b.label()
  const again = c.readlinkat(b, TARGET, basename(destination), there).on(['EINVAL'], end)
  b.place(end)
  c.close(b, TARGET)
  const made = init.run(b)
  if (made.ok(link)) return
  const length = made.value(again)!
  if (length < 0 || decodeUtf8(made.bytes(there, length)) !== target)
    throw new RuntError(
      `${about}: copy-symlink: something else than a link to ${JSON.stringify(target)} is there already`,
    )
}

/** Reads an entry, and refuses what cannot be done. */
function readMount(mount: Mount, index: number): Reading {
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

/** Places that the set-up itself puts folders and nodes into, and that later mounts may lie in. */
const isReadonlyLater = ({ type, destination }: Mount, { set, bind, remount }: MountOptions): boolean =>
  (set & k.MOUNT_ATTR_RDONLY) !== 0 &&
  !remount &&
  bind === null &&
  (type === 'tmpfs' || (type !== 'bind' && cleanPath(destination) === '/dev'))

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

function sourceOf({ about }: Reading, source: string, { bundle }: MountSetting): string {
  if (source === '') throw new RuntError(`${about}: a bind mount needs a source`)
  return bindSource(bundle, source)
}

function planBind(b: Batch, reading: Reading, path: string, setting: MountSetting, index: number): void {
  const { about, destination, options } = reading
  const source = sourceOf(reading, path, setting)
  const idmapped = setting.idmapped.get(index)
  b.about(`${about}: source ${source}`)
  if (idmapped !== undefined) b.set(InitSlot.MOUNT, idmapped)
  else {
    const recursive = options.bind === 'bind' ? 0 : k.AT_RECURSIVE
    const nofollow = options.sourceNofollow ? k.AT_SYMLINK_NOFOLLOW : 0
    const given = setting.reach.opened.get(options.sourceNofollow ? linkKey(source) : source)
    if (given === undefined)
      c.openTree(b, k.AT_FDCWD, source, k.OPEN_TREE_CLONE | recursive | nofollow).keep(InitSlot.MOUNT)
    else c.openTree(b, given, '', k.OPEN_TREE_CLONE | recursive | k.AT_EMPTY_PATH).keep(InitSlot.MOUNT)
  }
  if (destination === '/proc') planDemandProc(b, about, source)
  b.about(about)
  if (setting.slave) c.mountSetattr(b, MOUNT, k.AT_RECURSIVE, { propagation: k.MS_SLAVE })
  if (options.set || options.clear) c.mountSetattr(b, MOUNT, 0, { set: options.set, clear: options.clear })
  planRecursiveAttributes(b, options)
  // The target is to be what the source is: a folder, or else a file.
  const file = b.label()
  const attach = b.label()
  if (!options.targetNofollow) {
    b.about(`${about}: source ${source} is a folder`)
    const folder = b.label()
    const closed = b.label()
    const probe = c.openat(b, MOUNT, '.', k.O_PATH | k.O_DIRECTORY).on(['ENOTDIR', 'ELOOP', 'EACCES'], closed)
    c.close(b, probe)
    b.jump(folder)
    b.place(closed)
    // EACCES: a folder that the root of a user namespace may not enter.
    b.branch(probe, 'NOT_EQUAL', -Errno.EACCES!, file)
    b.place(folder)
    tentatively(b, () => makeFolder(b, destination, InitSlot.TARGET, resolveFor(destination)))
    b.jump(attach)
    b.place(file)
  }
  b.about(`${about}: source ${source} is no folder`)
  makeFile(b, destination, InitSlot.TARGET, options.targetNofollow)
  b.place(attach)
  planAttach(b, `${about}: source ${source}`, destination, options)
}

/** procfs and sysfs are mounted on real folders: by a link the image could have them somewhere else (CVE-2023-27561). */
function resolveFor(destination: string, type = ''): number {
  return type === 'proc' || type === 'sysfs' || destination === '/proc' ? k.RESOLVE_NO_SYMLINKS : 0
}

function planFileSystem(
  b: Batch,
  { about, destination, options }: Reading,
  type: string,
  source: string,
  setting: MountSetting | null,
  index: number,
): void {
  const label = setting?.label ?? null
  const userns = setting?.idmapped.get(index)
  // A tmpfs has the mode of the folder that it covers, if the options don't say another.
  const inherits = type === 'tmpfs' && !options.data.some(([key]) => key === 'mode')
  if (inherits) b.set(InitSlot.MADE, 0)
  makeFolder(b, destination, InitSlot.TARGET, resolveFor(destination, type), inherits ? InitSlot.MADE : undefined)
  if (isForMount2(options, source)) {
    if (userns !== undefined) throw new RuntError(`${about}: its options are too long for an id-mapped mount`)
    planLongFileSystem(b, about, destination, type, source, options, label, inherits)
    return
  }
  planNewMount(b, about, type, source, options, label)
  if (userns !== undefined) planIdmap(b, MOUNT, userns, about, `the file system ${type}`, false)
  if (inherits) planInheritMode(b)
  planRecursiveAttributes(b, options)
  planAttach(b, about, destination, options)
}

/** File systems that show a namespace, and where the host has them. */
const hostFolders: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  sysfs: '/sys',
  mqueue: '/dev/mqueue',
})

/**
 * A file system that only the owner of a namespace can mount anew. Who is not, the network being the host's, say, gets what the host
 * has, with all that is mounted below.
 */
function planMountOrBind(
  b: Batch,
  { about, destination, options }: Reading,
  type: string,
  source: string,
  folder: string,
): void {
  const refused = b.label()
  const made = b.label()
  makeFolder(b, destination, InitSlot.TARGET, resolveFor(destination, type))
  c.fsopen(b, type).on(['EPERM'], refused).keep(InitSlot.FS)
  if (source && source.length <= FSCONFIG_MAX) c.fsconfigString(b, FS, 'source', source)
  c.fsconfigCreate(b, FS).on(['EPERM'], refused)
  c.fsmount(b, FS, options.set).on(['EPERM'], refused).keep(InitSlot.MOUNT)
  c.close(b, FS)
  b.jump(made)
  b.place(refused)
  b.about(`${about}: ${folder} of the host`)
  c.openTree(b, k.AT_FDCWD, folder, k.OPEN_TREE_CLONE | k.AT_RECURSIVE).keep(InitSlot.MOUNT)
  c.mountSetattr(b, MOUNT, k.AT_RECURSIVE, { set: options.set, propagation: k.MS_SLAVE })
  b.place(made)
  b.about(about)
  planRecursiveAttributes(b, options)
  planAttach(b, about, destination, options)
}

const writable = (options: MountOptions): MountOptions => ({ ...options, set: options.set & ~k.MOUNT_ATTR_RDONLY })

/** The root of MOUNT, writable still, takes the mode of TARGET, unless that has just been made. */
function planInheritMode(b: Batch): void {
  const stat = b.scratch(256)
  const made = b.label()
  b.branch(slot(InitSlot.MADE), 'NOT_EQUAL', 0, made)
  b.call('statx', TARGET, '', k.AT_EMPTY_PATH, k.STATX_BASIC_STATS, stat)
  // stx_mode, and zeros behind it; the kernel takes the bits that chmod(2) knows.
  b.call('fchmodat', MOUNT, '.', load(stat, 32, 28))
  b.place(made)
}

/** File systems that are no place of files: read-only is a matter of the mount alone. Their superblock is shared with others. */
const kernels = new Set(['tmpfs', 'ramfs', 'proc', 'sysfs', 'devpts', 'mqueue', 'cgroup', 'cgroup2', 'bpf', 'debugfs'])

/** File systems that take no SELinux context from mount options. */
const unlabelled = new Set(['proc', 'sysfs', 'cgroup', 'cgroup2'])

/** A new mount of a file system, not yet attached. */
function planNewMount(
  b: Batch,
  about: string,
  type: string,
  source: string,
  options: MountOptions,
  label: string | null,
): void {
  c.fsopen(b, type).keep(InitSlot.FS)
  if (source) c.fsconfigString(b, FS, 'source', source)
  planParameters(b, options)
  // A device may be read-only itself, and a journal is not to be replayed.
  if (options.set & k.MOUNT_ATTR_RDONLY && !kernels.has(type)) c.fsconfigFlag(b, FS, 'ro')
  const labels = label !== null && takesLabel(type, options)
  const aboutLabel = `${about}: linux.mountLabel (${label})`
  if (labels && type !== 'mqueue') {
    b.about(aboutLabel)
    c.fsconfigString(b, FS, 'context', label)
    b.about(about)
  }
  c.fsconfigCreate(b, FS)
  c.fsmount(b, FS, options.set).keep(InitSlot.MOUNT)
  if (labels && type === 'mqueue') {
    const folder = c.openat(b, MOUNT, '.', k.O_RDONLY | k.O_DIRECTORY)
    const text = b.string(label)
    b.about(aboutLabel)
    b.call('fsetxattr', folder, 'security.selinux', text, text.length - 1, 0)
    b.about(about)
    c.close(b, folder)
  }
  c.close(b, FS)
}

/** Whether the label is to be set: the mount's own options come first. */
function takesLabel(type: string, { data }: MountOptions): boolean {
  return !unlabelled.has(type) && !data.some(([key]) => key === 'context')
}

function planParameters(b: Batch, options: MountOptions): void {
  for (const word of options.superblock) c.fsconfigFlag(b, FS, word)
  for (const [key, value] of options.data) {
    if (value === undefined) c.fsconfigFlag(b, FS, key)
    else c.fsconfigString(b, FS, key, value)
  }
}

/** Whether fsconfig(2) cannot say it: long values, and flags without a word. */
function isForMount2(options: MountOptions, source: string): boolean {
  return (
    options.mountFlags !== 0 ||
    source.length > FSCONFIG_MAX ||
    options.data.some(([, value]) => (value?.length ?? 0) > FSCONFIG_MAX)
  )
}

/** By mount(2). The target is entered, so that no path is walked again. */
function planLongFileSystem(
  b: Batch,
  about: string,
  destination: string,
  type: string,
  source: string,
  options: MountOptions,
  label: string | null,
  inherits: boolean,
): void {
  const { flags, data } = forMount2(options)
  const context = label !== null && type !== 'mqueue' && takesLabel(type, options) ? `context="${label}"` : ''
  const all = [data, context].filter((part) => part !== '').join(',')
  if (all.length > MOUNT_DATA_MAX)
    throw new RuntError(
      `${about}: its options take ${all.length} bytes; the kernel takes ${MOUNT_DATA_MAX}, and ${FSCONFIG_MAX} for a single value`,
    )
  planRefuseProc(b, about, destination)
  c.fchdir(b, TARGET)
  c.mount(b, source || 'none', '.', type, flags, all)
  coverFolder(b, destination)
  c.fchdir(b, ROOT)
  c.openInRoot(b, ROOT, destination, k.O_PATH).keep(InitSlot.MOUNT)
  if (inherits) planInheritMode(b)
  planRecursiveAttributes(b, options)
  for (const flag of options.propagation) planPropagation(b, MOUNT, flag)
  c.close(b, MOUNT)
  c.close(b, TARGET)
}

/**
 * `remount`: changes what is mounted at the destination, and keeps what the options don't name, as mount(8) does. Alone it changes the
 * file system and the mount, with `bind` only the mount.
 */
function planRemount(b: Batch, { about, destination, options }: Reading): void {
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

function planRecursiveAttributes(b: Batch, options: MountOptions, mount = MOUNT): void {
  if (options.recursiveSet || options.recursiveClear)
    c.mountSetattr(b, mount, k.AT_RECURSIVE, { set: options.recursiveSet, clear: options.recursiveClear })
}

function planPropagation(b: Batch, mount: typeof MOUNT, flag: number): void {
  c.mountSetattr(b, mount, flag & k.MS_REC ? k.AT_RECURSIVE : 0, { propagation: flag & ~k.MS_REC })
}

/** Attaches MOUNT to TARGET; both are closed. */
function planAttach(b: Batch, about: string, destination: string, options: MountOptions): void {
  planRefuseProc(b, about, destination)
  c.attachMount(b, MOUNT, TARGET)
  coverFolder(b, destination)
  for (const flag of options.propagation) planPropagation(b, MOUNT, flag)
  c.close(b, MOUNT)
  c.close(b, TARGET)
}

/** Files of procfs that lxcfs and engines cover on purpose. */
const procTargets = new Set(
  'cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo net/dev sys/kernel/ns_last_pid sys/crypto/fips_enabled pressure/cpu pressure/io pressure/memory'
    .split(' ')
    .map((name) => `/proc/${name}`),
)

/** A mount over procfs could feign a process's state to the runtime; only a few files may be covered (CVE-2019-16884). */
function refuseProc(about: string, destination: string, proc: boolean): void {
  if (destination === '/proc') {
    if (proc) return
    throw new RuntError(`${about}: only a mount of type proc, or a bind of one, may cover /proc`)
  }
  if (destination.startsWith('/proc/') && !procTargets.has(destination))
    throw new RuntError(`${about}: a destination inside /proc is refused`)
}

/** The same rule for a destination that leads into /proc by a link of the image. */
function planRefuseProc(b: Batch, about: string, destination: string): void {
  if (destination === '/proc' || destination.startsWith('/proc/')) return
  const buffer = b.scratch(120)
  const fine = b.label()
  c.fstatfs(b, TARGET, buffer)
  b.branch(load(buffer, 64), 'NOT_EQUAL', k.PROC_SUPER_MAGIC, fine)
  b.about(`${about}: the destination leads into /proc by a symbolic link`)
  b.fail('EPERM')
  b.place(fine)
  b.about(about)
}

/** MOUNT is to be of procfs. */
function planDemandProc(b: Batch, about: string, source: string): void {
  const buffer = b.scratch(120)
  const fine = b.label()
  c.fstatfs(b, MOUNT, buffer)
  b.branch(load(buffer, 64), 'EQUAL', k.PROC_SUPER_MAGIC, fine)
  b.about(`${about}: only procfs may cover /proc, and source ${source} is none`)
  b.fail('EPERM')
  b.place(fine)
}

/** A mount of type `cgroup`: one file system on v2; a tmpfs with one folder a hierarchy on v1. */
function planCgroupMount(train: Train, { about, destination, options }: Reading, setting: MountSetting): void {
  const { cgroup } = setting
  const settings: MountOptions = { ...options, data: [], bind: null, idmap: null }
  if (cgroup.tmpfs) {
    // Read-only only when the folders are there.
    const tmpfs: MountOptions = { ...writable(settings), data: [['mode', '755']] }
    planFileSystem(
      train.next(about),
      { about, destination, options: tmpfs, bind: false },
      'tmpfs',
      'tmpfs',
      { ...setting, idmapped: none },
      0,
    )
  }
  if (!cgroup.tmpfs) {
    for (const part of cgroup.mounts) {
      const b = train.next(about)
      const bind = part.type === 'bind'
      const own: MountOptions = bind
        ? { ...settings, bind: 'bind' }
        : { ...settings, data: readMountOptions(part.options).data }
      const reading: Reading = { about, destination, options: own, bind }
      if (bind) planBind(b, reading, part.source, { ...setting, idmapped: none }, 0)
      else planFileSystem(b, reading, part.type, part.source, { ...setting, idmapped: none }, 0)
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
      const key = keyOfCgroupFolder(part.folder, set, clear)
      if (setting.slave || !planIfPrepared(b, key)) planCgroupFolder(b, part.folder, set, clear, setting.slave)
    } else {
      planNewMount(b, about, part.type, part.source, { ...settings, data: readMountOptions(part.options).data }, null)
      planAttachFolder(b, part.folder)
    }
  }
  b.about(about)
  for (const { name, target } of cgroup.links) c.symlinkat(b, target, TARGET, name)
  if (options.set & k.MOUNT_ATTR_RDONLY) c.mountSetattr(b, TARGET, 0, { set: k.MOUNT_ATTR_RDONLY })
  c.close(b, TARGET)
}

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
