/** Plans mounts of new file systems: by fsopen(2) and its kin, or by mount(2) where those cannot say it. */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { Mount } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Batch, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { copyUp } from './copy-up.ts'
import { planIdmap } from './idmapped-mounts.ts'
import { planAttach, planPropagation, planRecursiveAttributes } from './mount-attach.ts'
import type { MountEntry, MountLabel, MountSetting } from './mount-entry.ts'
import { forMount2, type MountOptions } from './mount-options.ts'
import { coverFolder, makeFolder } from './paths.ts'
import { planRefuseProc, resolveFor } from './proc-guard.ts'
import { InitSlot } from './slots.ts'

const ROOT = slot(InitSlot.ROOT)
const MOUNT = slot(InitSlot.MOUNT)
const TARGET = slot(InitSlot.TARGET)
const FS = slot(InitSlot.FS)

export function planFileSystem(
  b: Batch,
  { about, destination, options }: MountEntry,
  type: string,
  source: string,
  setting: MountSetting | null,
  index: number,
): void {
  const label = setting?.label ?? null
  const userns = setting?.idmapped.get(index)
  // A tmpfs takes the mode of the folder that it covers, unless the options have one.
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
export const hostFolders: Readonly<Record<string, string>> = Object.assign(Object.create(null), {
  sysfs: '/sys',
  mqueue: '/dev/mqueue',
})

/**
 * Plans the mount of a file system that only the owner of a namespace can mount anew. If that is refused (sysfs, if the network namespace
 * is the host's), the host's own is bound, with everything that is mounted below it.
 */
export function planMountOrBind(
  b: Batch,
  { about, destination, options }: MountEntry,
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

/** Plans to give the root of MOUNT, which is still writable, the mode of TARGET, unless that has just been made. */
function planInheritMode(b: Batch): void {
  const stat = b.scratch(256)
  const made = b.label()
  b.branch(slot(InitSlot.MADE), 'NOT_EQUAL', 0, made)
  b.call('statx', TARGET, '', k.AT_EMPTY_PATH, k.STATX_BASIC_STATS, stat)
  // The mode has 16 bits, with zeros behind them. The kernel ignores the file type in it.
  b.call('fchmodat', MOUNT, '.', load(stat, 32, k.STX_MODE))
  b.place(made)
}

/** File systems of the kernel's own. Read-only concerns their mounts alone, for the superblock may be shared with others. */
const kernels = new Set(['tmpfs', 'ramfs', 'proc', 'sysfs', 'devpts', 'mqueue', 'cgroup', 'cgroup2', 'bpf', 'debugfs'])

/** File systems that take no SELinux context from mount options. */
const unlabelled = new Set(['proc', 'sysfs', 'cgroup', 'cgroup2'])

/** A new mount of a file system, not yet attached. */
export function planNewMount(
  b: Batch,
  about: string,
  type: string,
  source: string,
  options: MountOptions,
  label: MountLabel | null,
): void {
  c.fsopen(b, type).keep(InitSlot.FS)
  if (source) c.fsconfigString(b, FS, 'source', source)
  planParameters(b, options)
  // The file system itself is to be read-only too: its device may be so, and a journal must not be replayed.
  if (options.set & k.MOUNT_ATTR_RDONLY && !kernels.has(type)) c.fsconfigFlag(b, FS, 'ro')
  const labels = label !== null && takesLabel(type, options, label)
  const aboutLabel = `${about}: linux.mountLabel (${label?.text})`
  if (labels && type !== 'mqueue') {
    b.about(aboutLabel)
    c.fsconfigString(b, FS, label.type, label.text)
    b.about(about)
  }
  c.fsconfigCreate(b, FS)
  c.fsmount(b, FS, options.set).keep(InitSlot.MOUNT)
  if (labels && type === 'mqueue') {
    const folder = c.openat(b, MOUNT, '.', k.O_RDONLY | k.O_DIRECTORY)
    const text = b.string(label.text)
    b.about(aboutLabel)
    b.call('fsetxattr', folder, 'security.selinux', text, text.length - 1, 0)
    b.about(about)
    c.close(b, folder)
  }
  c.close(b, FS)
}

/** Whether the label is to be set: the mount's own options come first. */
function takesLabel(type: string, { data }: MountOptions, label: MountLabel): boolean {
  return !unlabelled.has(type) && !data.some(([key]) => key === 'context' || key === label.type)
}

export function planParameters(b: Batch, options: MountOptions): void {
  for (const word of options.superblock) c.fsconfigFlag(b, FS, word)
  for (const [key, value] of options.data) {
    if (value === undefined) c.fsconfigFlag(b, FS, key)
    else c.fsconfigString(b, FS, key, value)
  }
}

/** fsconfig(2) takes string values of at most 255 bytes. */
const FSCONFIG_MAX = 255
/** mount(2) takes a page of options, with the NUL at its end, and cuts off what is longer. */
const MOUNT_DATA_MAX = 4095

/** Whether fsconfig(2) cannot express the options: values that are too long, and flags that it has no word for. */
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
  label: MountLabel | null,
  inherits: boolean,
): void {
  const { flags, data } = forMount2(options)
  const labels = label !== null && type !== 'mqueue' && takesLabel(type, options, label)
  const context = labels ? `${label.type}="${label.text}"` : ''
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

/** `tmpcopyup`: TARGET is open, and MADE says whether the image lacked it. */
export function mountWithCopy(
  init: Session,
  machine: Machine,
  { about, destination, options }: MountEntry,
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
