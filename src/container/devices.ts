/** Plans device nodes and the links of /dev (config-linux.md, "Devices"). Runs in the init. */
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { planPrepared } from '../session/templates.ts'
import type { Train } from '../session/train.ts'
import { readMountOptions } from './mount-options.ts'
import { basename, cleanPath, dirname, makeFolder } from './paths.ts'
import { InitSlot } from './slots.ts'

const TARGET = slot(InitSlot.TARGET)

/** config-linux.md, "Default Devices": name, major, minor. */
const defaultDevices: [string, number, number][] = [
  ['null', 1, 3],
  ['zero', 1, 5],
  ['full', 1, 7],
  ['random', 1, 8],
  ['urandom', 1, 9],
  ['tty', 5, 0],
]

const deviceTypes: Record<string, number> = { c: k.S_IFCHR, u: k.S_IFCHR, b: k.S_IFBLK, p: k.S_IFIFO }

/** runtime-linux.md, "Dev symbolic links", and `/dev/ptmx` of config-linux.md. */
const defaultLinks: [string, string][] = [
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
  ['ptmx', 'pts/ptmx'],
]

/** Device nodes and links. Nothing is made in a /dev that is a bind mount: it is the host's. */
export function planDevices(train: Train, config: Config): void {
  const bound = config.mounts?.some(
    (mount) =>
      cleanPath(mount.destination) === '/dev' && (mount.type === 'bind' || readMountOptions(mount.options ?? []).bind),
  )
  if (bound) return
  for (const device of config.linux?.devices ?? []) {
    const path = cleanPath(device.path)
    const b = train.next(`linux.devices (${path})`)
    makeFolder(b, dirname(path), InitSlot.TARGET)
    const mode = deviceTypes[device.type]! | ((device.fileMode ?? 0o666) & 0o7777)
    planDevice(b, basename(path), mode, device.major ?? 0, device.minor ?? 0, device.uid ?? 0, device.gid ?? 0)
    c.close(b, TARGET)
  }
  // Last, so that a device of the config's own takes the place of a default one.
  planPrepared(train.next(DEFAULT_DEVICES), DEFAULT_DEVICES, planDefaultDevices)
}

/** A node in the folder TARGET, unless something of that name is there. */
function planDevice(
  b: Batch,
  name: string,
  mode: number,
  major: number,
  minor: number,
  uid: number,
  gid: number,
): void {
  const exists = b.label()
  c.mknodat(b, TARGET, name, mode, c.makedev(major, minor)).on(['EEXIST'], exists)
  if (uid || gid) c.fchownat(b, TARGET, name, uid, gid, k.AT_SYMLINK_NOFOLLOW)
  b.place(exists)
}

export const DEFAULT_DEVICES = 'default devices'

/** The nodes and links that every container has. */
export function planDefaultDevices(b: Batch): void {
  b.about(DEFAULT_DEVICES)
  makeFolder(b, '/dev', InitSlot.TARGET)
  for (const [name, major, minor] of defaultDevices) planDevice(b, name, k.S_IFCHR | 0o666, major, minor, 0, 0)
  for (const [name, target] of defaultLinks) {
    const exists = b.label()
    c.symlinkat(b, target, TARGET, name).on(['EEXIST'], exists)
    b.place(exists)
  }
  c.close(b, TARGET)
}
