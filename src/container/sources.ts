/**
 * Files of the host that are opened for the init of a container with a user namespace. The init has the ids of the container, so it cannot
 * enter folders of the host that are closed to others, nor join cgroups. The stage has the rights of the caller: it enters the init's
 * mount namespace (bind mounts there need sources of that namespace), opens the files, and sends the descriptors to the init. Because the
 * init does the binding, flags of the host's mounts stay locked as for any less privileged namespace: mount_namespaces(7).
 */
import { Struct } from '../base/bytes.ts'
import { cleanPath } from '../base/paths.ts'
import type { CgroupPaths } from '../cgroup/manager.ts'
import { folderPath } from '../cgroup/manager.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { at, type Batch, type DataPointer, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Train } from '../session/train.ts'
import { defaultDevices, deviceTypes } from './devices.ts'
import { asksForIdmap } from './idmapped-mounts.ts'
import { readMountOptions } from './mount-options.ts'
import { InitSlot } from './slots.ts'

/** A file or folder to be opened. */
export interface Source {
  about: string
  path: string
  flags: number
  /** The name under which the init finds the descriptor (`Reach.opened`); the path if absent. */
  key?: string
  /** If present, the file has to be this device. */
  device?: Device | undefined
}

export interface Device {
  /** `c`, `u` or `b`. */
  type: string
  major: number
  minor: number
}

/** What the init can do by itself, and what has been opened for it. */
export interface Reach {
  /** It is in a user namespace: it can make no device nodes, nor mount file systems that show namespaces of the host. */
  readonly unprivileged: boolean
  /** Descriptors of what has been opened for it, by key, see Source. */
  readonly opened: ReadonlyMap<string, number>
}

/** The init of a container without a user namespace. */
export const ALL: Reach = { unprivileged: false, opened: new Map() }

/** Descriptors of one message; unix(7) allows 253. */
const CHUNK = 100
/** Descriptors below this number are left to whatever else an executor has open. */
const OTHERS = 64

/** The file of a cgroup's folder that a process writes to to move itself; see joinSelf. */
const joinFile = (folder: CgroupPaths['folders'][number]): string =>
  `${folderPath(folder)}/${folder.version === 1 ? 'tasks' : 'cgroup.procs'}`

/** Key of a path that is opened without following a link at its end. */
export const linkKey = (path: string): string => `link ${path}`

/** A source of a bind mount. Relative ones start from the bundle; what `..` in them means is the kernel's to say: there may be links. */
export const bindSource = (bundle: string, source: string): string =>
  source.startsWith('/') ? source : `${bundle}/${source}`

/** All that the init is to be given, each path once. */
export function sourcesOf(config: Config, root: string, bundle: string, cgroup: CgroupPaths | null): Source[] {
  const sources: Source[] = [{ about: `root.path (${root})`, path: root, flags: k.O_PATH | k.O_DIRECTORY }]
  for (const [index, mount] of (config.mounts ?? []).entries()) {
    const { type, source, destination } = mount
    const options = readMountOptions(mount.options ?? [])
    if ((type !== 'bind' && options.bind === null) || !source || options.remount) continue
    // Not opened here: copy-symlink looks at the link itself, and mounts with mapped ids are made by the stage.
    if (options.copySymlink || asksForIdmap(mount)) continue
    const path = bindSource(bundle, source)
    const about = `mounts[${index}] (${destination}): source ${path}`
    if (options.sourceNofollow) sources.push({ about, path, flags: k.O_PATH | k.O_NOFOLLOW, key: linkKey(path) })
    else sources.push({ about, path, flags: k.O_PATH })
  }
  for (const [index, { type, path, major = 0, minor = 0 }] of (config.linux?.devices ?? []).entries())
    if (type !== 'p') sources.push(deviceSource(`linux.devices[${index}] (${path})`, path, { type, major, minor }))
  for (const [name, major, minor] of defaultDevices)
    sources.push(deviceSource(`default devices (/dev/${name})`, `/dev/${name}`, { type: 'c', major, minor }))
  for (const folder of cgroup?.folders ?? [])
    sources.push({ about: 'joining the cgroup', path: joinFile(folder), flags: k.O_WRONLY })
  const found = new Map<string, Source>()
  for (const source of sources) {
    const key = source.key ?? source.path
    const known = found.get(key)
    found.set(key, known ? { ...known, device: known.device ?? source.device } : source)
  }
  return [...found.values()]
}

export const deviceSource = (about: string, path: string, device: Device): Source => ({
  about,
  path: cleanPath(path),
  flags: k.O_PATH,
  device,
})

/** Plans the pair of sockets between stage and init; in the stage, before the fork. */
export function planPair(b: Batch): void {
  c.socketPair(b, InitSlot.SENDER, InitSlot.RECEIVER)
}

/** Plans to open a source, and to make sure that it is what it should be. Gives the descriptor. */
export function planOpening(b: Batch, { about, path, flags, device }: Source): c.Fd {
  b.about(about)
  const fd = c.openat(b, k.AT_FDCWD, path, flags)
  if (device) planDeviceCheck(b, fd, about, path, device)
  return fd
}

/** Refuses a node of another type or number, which would give the container a device that the config does not mean. */
function planDeviceCheck(b: Batch, fd: c.Fd, about: string, path: string, { type, major, minor }: Device): void {
  const status = b.scratch(256)
  const other = b.label()
  const fine = b.label()
  const format = deviceTypes[type]!
  b.call('statx', fd, '', k.AT_EMPTY_PATH, k.STATX_BASIC_STATS, status)
  // The mode has 16 bits, and zeros behind them.
  b.branch(load(status, 32, k.STX_MODE), 'LESS', format, other)
  b.branch(format | 0o7777, 'LESS', load(status, 32, k.STX_MODE), other)
  b.branch(load(status, 32, k.STX_RDEV_MAJOR), 'NOT_EQUAL', major, other)
  b.branch(load(status, 32, k.STX_RDEV_MINOR), 'EQUAL', minor, fine)
  b.place(other)
  b.about(
    `${about}: a user namespace takes the node of the host, and there ${path} is not the device "${type}" ${major}:${minor}`,
  )
  b.fail('ENODEV')
  b.place(fine)
}

/** Plans, in the stage, to enter the init's mount namespace, to open the sources there and to send them. It is the stage's last work. */
export function planSending(train: Train, sources: readonly Source[]): void {
  const first = train.next('mount namespace of the init')
  const pidfd = c.pidfdOpen(first, slot(InitSlot.CHILD))
  c.setns(first, pidfd, k.CLONE_NEWNS)
  for (let start = 0; start < sources.length; start += CHUNK) {
    const b = train.next('descriptors for the init')
    const chunk = sources.slice(start, start + CHUNK)
    const { header, control } = message(b, chunk.length)
    chunk.forEach((source, index) => {
      b.store(32, at(control, 16 + 4 * index), planOpening(b, source))
    })
    b.about('descriptors for the init')
    b.call('sendmsg', slot(InitSlot.SENDER), header, k.MSG_NOSIGNAL)
  }
}

/** Plans, in the init, to wait for what the stage sends, and to take it. `preserved`: number of the caller's descriptors from 3 on. */
export function planTaking(b: Batch, sources: readonly Source[], preserved: number): Map<string, number> {
  const opened = new Map<string, number>()
  // They are moved beyond all numbers that are in use while they arrive.
  const first = OTHERS + preserved + sources.length
  b.about('descriptors from the stage')
  for (let start = 0; start < sources.length; start += CHUNK) {
    const chunk = sources.slice(start, start + CHUNK)
    const { header, control } = message(b, chunk.length)
    const whole = b.label()
    b.store(64, control, 0)
    const lost = b.label()
    b.branch(b.call('recvmsg', slot(InitSlot.RECEIVER), header, k.MSG_CMSG_CLOEXEC), 'EQUAL', 0, lost)
    b.branch(load(control, 64), 'EQUAL', 16 + 4 * chunk.length, whole)
    b.fail('EMFILE')
    b.place(lost)
    b.fail('ECONNRESET')
    b.place(whole)
    chunk.forEach(({ path, key = path }, index) => {
      const fd = load(control, 32, 16 + 4 * index)
      opened.set(key, first + start + index)
      b.call('dup3', fd, first + start + index, k.O_CLOEXEC)
      c.close(b, fd)
    })
  }
  c.close(b, slot(InitSlot.RECEIVER))
  return opened
}

/** Plans how the init joins its cgroup by files that were opened for it, unless it was born there. */
export function planJoiningOpened(b: Batch, cgroup: CgroupPaths, { opened }: Reach): void {
  const joined = b.label()
  for (const folder of cgroup.folders.toSorted((one, other) => one.version - other.version)) {
    b.about('joining the cgroup')
    if (folder.version === 2) b.branch(slot(InitSlot.JOINED), 'EQUAL', 1, joined)
    c.write(b, opened.get(joinFile(folder))!, '0')
  }
  b.place(joined)
}

/** Plans, in the init, to close what has been opened for it. */
export function planForgetting(b: Batch, { opened }: Reach): void {
  if (opened.size === 0) return
  const numbers = [...opened.values()]
  b.about('descriptors from the stage')
  b.call('close_range', numbers[0]!, numbers.at(-1)!, 0)
}

/** struct msghdr with room for `count` descriptors, from offset 16 of `control` on; sendmsg(2), cmsg(3). */
function message(b: Batch, count: number): { header: DataPointer; control: DataPointer } {
  const length = 16 + 4 * count
  const iovec = b.structure(new Struct(16).u64(8, 1).bytes, { 0: b.data(new Uint8Array(8)) })
  const control = b.data(new Struct((length + 7) & ~7).u64(0, length).u32(8, k.SOL_SOCKET).u32(12, k.SCM_RIGHTS).bytes)
  const struct = new Struct(56).u64(24, 1).u64(40, length)
  const header = b.structure(struct.bytes, { 16: iovec, 32: control }, '{…, msg_control=SCM_RIGHTS}')
  return { header, control }
}
