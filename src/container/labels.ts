/**
 * What confines the program besides its own rights: an AppArmor profile (config.md, `apparmorProfile`), an SELinux context
 * (`selinuxLabel`). Both are in force from execve(2) on; proc_pid_attr(5).
 */
import type { Process } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, type Batch, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { InitSlot } from './slots.ts'

/** Inode number of the root folder of any procfs (PROC_ROOT_INO). */
const PROC_ROOT = 1

const PROC = slot(InitSlot.PROC)

/**
 * Opens a real procfs in slot PROC, whatever the image has put at /proc: a plain file there would take what is written, and the program
 * would run without its label (CVE-2019-16884). It is /proc, if that is the root of a procfs, or else a new procfs that is mounted nowhere.
 */
export function planProcfs(b: Batch): void {
  const status = b.scratch(256)
  const detached = b.label()
  const other = b.label()
  const ready = b.label()
  c.openat(b, k.AT_FDCWD, '/proc', k.O_PATH | k.O_DIRECTORY | k.O_NOFOLLOW)
    .on(ANY, detached)
    .keep(InitSlot.PROC)
  c.fstatfs(b, PROC, status)
  b.branch(load(status, 64), 'NOT_EQUAL', k.PROC_SUPER_MAGIC, other)
  b.call('statx', PROC, '', k.AT_EMPTY_PATH, k.STATX_BASIC_STATS, status)
  b.branch(load(status, 64, k.STX_INO), 'EQUAL', PROC_ROOT, ready)
  b.place(other)
  c.close(b, PROC)
  b.place(detached)
  c.fsopen(b, 'proc').keep(InitSlot.FS)
  c.fsconfigCreate(b, slot(InitSlot.FS))
  c.fsmount(b, slot(InitSlot.FS), k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC).keep(InitSlot.PROC)
  c.close(b, slot(InitSlot.FS))
  b.place(ready)
}

/** What to say where an attribute cannot be written: there is no such file; or by errno of write(2). */
interface Meanings {
  missing: string
  errnos: Readonly<Record<string, string>>
}

/** Writes an attribute of this process's own. Nothing is followed that leads out of the procfs, mounts on its files included. */
function planAttribute(b: Batch, field: string, name: string, value: string, { missing, errnos }: Meanings): void {
  const absent = b.label()
  const refused = b.label()
  const end = b.label()
  b.about(field)
  planProcfs(b)
  const path = `thread-self/attr/${name}`
  const file = c.openat2(b, PROC, path, k.O_WRONLY, k.RESOLVE_NO_XDEV | k.RESOLVE_NO_MAGICLINKS).on(['ENOENT'], absent)
  const pointer = b.string(value)
  const written = b.call('write', file, pointer, pointer.length - 1).on(Object.keys(errnos), refused)
  c.close(b, file)
  c.close(b, PROC)
  b.jump(end)
  b.place(absent)
  b.about(`${field}: ${missing}`).fail('ENOENT')
  b.place(refused)
  for (const [errno, meaning] of Object.entries(errnos)) {
    const next = b.label()
    b.branch(written, 'NOT_EQUAL', -Errno[errno]!, next)
    b.about(`${field}: ${meaning}`).fail(errno)
    b.place(next)
  }
  b.place(end)
}

const NO_APPARMOR = 'AppArmor is not enabled on this host'
const apparmor: Meanings = {
  missing: NO_APPARMOR,
  errnos: { ENOENT: 'no profile of this name is loaded (apparmor_parser loads them)', EINVAL: NO_APPARMOR },
}
const selinux: Meanings = {
  missing: 'SELinux is not enabled on this host',
  errnos: { EINVAL: 'SELinux is not enabled on this host, or its policy has no such context' },
}

/** Profile and context of the program, while the process may still change its own. Hooks of the image have them too. */
export function planLabels(b: Batch, { apparmorProfile, selinuxLabel }: Process): void {
  if (apparmorProfile)
    planAttribute(
      b,
      `process.apparmorProfile (${apparmorProfile})`,
      'apparmor/exec',
      `exec ${apparmorProfile}`,
      apparmor,
    )
  if (selinuxLabel) planAttribute(b, `process.selinuxLabel (${selinuxLabel})`, 'exec', selinuxLabel, selinux)
}

/** The SELinux context of keyrings that are made from here on; null: the usual one. */
export function planKeyLabel(b: Batch, label: string | null): void {
  planAttribute(b, `process.selinuxLabel (${label ?? ''})`, 'keycreate', label ?? '', selinux)
}
