/** Plans device nodes and the links of /dev (config-linux.md, "Devices"). Runs in the init. */
import { RuntError } from '../base/errors.ts'
import { basename, cleanPath, dirname } from '../base/paths.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type Batch, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { planPrepared } from '../session/templates.ts'
import type { Train } from '../session/train.ts'
import { makeFile, makeFolder } from './paths.ts'
import { InitSlot } from './slots.ts'
import { type Device, deviceSource, planOpening, type Reach } from './sources.ts'

const TARGET = slot(InitSlot.TARGET)

/** config-linux.md, "Default Devices": name, major, minor. */
export const defaultDevices: [string, number, number][] = [
  ['null', 1, 3],
  ['zero', 1, 5],
  ['full', 1, 7],
  ['random', 1, 8],
  ['urandom', 1, 9],
  ['tty', 5, 0],
]

export const deviceTypes: Record<string, number> = { c: k.S_IFCHR, u: k.S_IFCHR, b: k.S_IFBLK, p: k.S_IFIFO }

/** runtime-linux.md, "Dev symbolic links", and `/dev/ptmx` of config-linux.md. */
const defaultLinks: [string, string][] = [
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
  ['ptmx', 'pts/ptmx'],
]

/** Device nodes and links. Nothing is made in a /dev that is a bind mount: it is the host's. */
export function planDevices(train: Train, config: Config, reach: Reach): void {
  const mounted = config.mounts?.findLast(({ destination }) => cleanPath(destination) === '/dev')
  if (mounted && (mounted.type === 'bind' || mounted.options?.some((word) => word === 'bind' || word === 'rbind')))
    return
  const devices = config.linux?.devices ?? []
  devices.forEach((device, index) => {
    const path = cleanPath(device.path)
    const about = `linux.devices[${index}] (${path})`
    const name = basename(path)
    if (name === '') throw new RuntError(`${about}: the root itself cannot be a device`)
    // As with the peers: a link to the devpts of the container, whatever the config says.
    if (path === '/dev/ptmx') return
    const b = train.next(about)
    if (reach.unprivileged && device.type !== 'p') {
      const { type, major = 0, minor = 0 } = device
      planBoundDevice(b, about, path, { type, major, minor }, reach)
      return
    }
    makeFolder(b, dirname(path), InitSlot.TARGET)
    const mode = deviceTypes[device.type]! | ((device.fileMode ?? 0o666) & 0o7777)
    const [major, minor] = device.type === 'p' ? [0, 0] : [device.major ?? 0, device.minor ?? 0]
    planDevice(b, name, mode, major, minor, device.uid ?? 0, device.gid ?? 0, about)
    c.close(b, TARGET)
  })
  // Last, so that a device of the config's own takes the place of a default one.
  const b = train.next(DEFAULT_DEVICES)
  const own = new Set(devices.map(({ path }) => cleanPath(path)))
  if (reach.unprivileged) planBoundDevices(b, own, reach)
  else if (mounted) planPrepared(b, DEFAULT_DEVICES, planDefaultDevices)
  else planDevicesOfImage(b, own)
}

/** The default devices where no node can be made. */
function planBoundDevices(b: Batch, own: ReadonlySet<string>, reach: Reach): void {
  for (const [name, major, minor] of defaultDevices) {
    const path = `/dev/${name}`
    if (!own.has(path)) planBoundDevice(b, `${DEFAULT_DEVICES} (${path})`, path, { type: 'c', major, minor }, reach)
  }
  b.about(`${DEFAULT_DEVICES} (/dev/ptmx)`)
  makeFolder(b, '/dev', InitSlot.TARGET)
  planOwnPtmx(b)
  planLinks(b)
  c.close(b, TARGET)
}

/** The node of the host, where none can be made (mknod(2) in a user namespace). */
function planBoundDevice(b: Batch, about: string, path: string, device: Device, { opened }: Reach): void {
  const given = opened.get(path)
  const node = given ?? planOpening(b, deviceSource(about, path, device))
  b.about(about)
  makeFile(b, path, InitSlot.TARGET)
  const mount = c.openTree(b, node, '', k.OPEN_TREE_CLONE | k.AT_EMPTY_PATH)
  c.attachMount(b, mount, TARGET)
  c.close(b, mount)
  c.close(b, TARGET)
  if (given === undefined) c.close(b, node)
}

/** A node in the folder TARGET. Something of that name that is there already is let be; with `about` it has to be this device. */
function planDevice(
  b: Batch,
  name: string,
  mode: number,
  major: number,
  minor: number,
  uid: number,
  gid: number,
  about: string | null,
): void {
  const exists = b.label()
  const done = b.label()
  c.mknodat(b, TARGET, name, mode, c.makedev(major, minor)).on(['EEXIST'], exists)
  if (uid || gid) c.fchownat(b, TARGET, name, uid, gid, k.AT_SYMLINK_NOFOLLOW)
  if (about !== null) {
    b.jump(done)
    b.place(exists)
    planDemandDevice(b, name, mode & k.S_IFMT, major, minor, about)
    b.place(done)
  } else b.place(exists)
}

/** Fails where the file of this name in TARGET is another than this device. */
function planDemandDevice(b: Batch, name: string, type: number, major: number, minor: number, about: string): void {
  const stat = b.scratch(256)
  const other = b.label()
  const same = b.label()
  const kind = b.label()
  b.call('statx', TARGET, name, k.AT_SYMLINK_NOFOLLOW, k.STATX_BASIC_STATS, stat)
  // The type is above the twelve bits of the mode.
  b.branch(load(stat, 32, k.STX_MODE), 'LESS', type, other)
  b.branch(load(stat, 32, k.STX_MODE), 'LESS', type + 0o10000, kind)
  b.jump(other)
  b.place(kind)
  b.branch(load(stat, 32, k.STX_RDEV_MAJOR), 'NOT_EQUAL', major, other)
  b.branch(load(stat, 32, k.STX_RDEV_MINOR), 'EQUAL', minor, same)
  b.place(other)
  b.about(`${about}: something else than this device is there already`)
  b.fail('EEXIST')
  b.place(same)
  b.about(about)
}

export const DEFAULT_DEVICES = 'default devices'

/** The nodes and links that every container has, in a /dev that has just been mounted. */
export function planDefaultDevices(b: Batch): void {
  b.about(DEFAULT_DEVICES)
  makeFolder(b, '/dev', InitSlot.TARGET)
  for (const [name, major, minor] of defaultDevices) planDevice(b, name, k.S_IFCHR | 0o666, major, minor, 0, 0, null)
  planLinks(b)
  c.close(b, TARGET)
}

/** The same in the /dev of the image, which may hold anything. `own`: paths of the config's devices. */
function planDevicesOfImage(b: Batch, own: ReadonlySet<string>): void {
  makeFolder(b, '/dev', InitSlot.TARGET)
  for (const [name, major, minor] of defaultDevices) {
    const about = `${DEFAULT_DEVICES} (/dev/${name})`
    b.about(about)
    if (!own.has(`/dev/${name}`)) planDevice(b, name, k.S_IFCHR | 0o666, major, minor, 0, 0, about)
  }
  b.about(`${DEFAULT_DEVICES} (/dev/ptmx)`)
  planOwnPtmx(b)
  planLinks(b)
  c.close(b, TARGET)
}

/** Takes a node of the image's away; the link to the container's own devpts comes in its place. */
function planOwnPtmx(b: Batch): void {
  const missing = b.label()
  c.unlinkat(b, TARGET, 'ptmx').on(['ENOENT'], missing)
  b.place(missing)
}

/** Links of /dev; what is there already is let be. */
function planLinks(b: Batch): void {
  for (const [name, target] of defaultLinks) {
    const exists = b.label()
    c.symlinkat(b, target, TARGET, name).on(['EEXIST'], exists)
    b.place(exists)
  }
  const none = b.label()
  // CONFIG_PROC_KCORE; the same in every procfs.
  c.faccessat(b, k.AT_FDCWD, '/proc/kcore', 0).on(['ENOENT'], none)
  c.symlinkat(b, '/proc/kcore', TARGET, 'core').on(['EEXIST'], none)
  b.place(none)
}
