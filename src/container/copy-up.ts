/**
 * Mounts with the option `tmpcopyup`: a tmpfs that begins with a copy of what its destination held. Podman asks for it (`--tmpfs`,
 * `--read-only`). What is there is known only when the plan has come that far, so the plan stops there (stop.ts), the tree is copied, and
 * the rest is planned.
 */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, type Arg, Batch, type OutPointer, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer, Session } from '../session/session.ts'
import { namesIn } from './files.ts'
import type { MountOptions } from './mount-options.ts'
import { InitSlot } from './slots.ts'

const ABOUT = ': the copy for tmpcopyup'

/** Entries looked at, and made, by one batch. */
const CHUNK = 16
/** Bytes of attribute names that a look at an entry has room for; a longer list is asked for again. */
const LIST = 1024
/** XATTR_SIZE_MAX and XATTR_LIST_MAX, xattr(7). */
const XATTR_MAX = 0x1_0000
/** Bytes that even a slow machine copies in a millisecond: how long to wait for an answer depends on it. */
const SLOWEST = 10_000
/** The longest target of a link. */
const PATH_MAX = 4096
/** PATH_MAX, with some room. */
const LONGEST_PATH = 4000
/** Folders within each other: each takes two descriptors, of which 1024 is a usual limit, and a call of the brain's. */
const DEEPEST = 400

interface Entry {
  name: string
  mode: number
  uid: number
  gid: number
  size: number
  device: number
  /** Two timespecs, as utimensat(2) takes them. */
  times: Uint8Array
  /** What tells the file from all others, where it has several names. */
  identity: string | null
  /** Names of its extended attributes. */
  attributes: string[]
}

/** One copy. */
interface Copy {
  init: Session
  machine: Machine
  about: string
  /** Paths below the copy's root of files that have several names. */
  linked: Map<string, string>
}

/**
 * Copies the tree below TARGET into the file system MOUNT, which is not attached yet: folders, files, links, nodes; with owners, modes,
 * times, extended attributes (those that a tmpfs takes) and hard links. The root takes owner and mode of TARGET where the options
 * say nothing of them. A TARGET that the image lacked (slot MADE) gives nothing. Names are looked up one by one and never through a link.
 */
export function copyUp(init: Session, machine: Machine, about: string, options: MountOptions): void {
  const copy: Copy = { init, machine, about: about + ABOUT, linked: new Map() }
  const root = { source: slot(InitSlot.TARGET), copy: slot(InitSlot.MOUNT) }
  const set = (name: string) => options.data.some(([key]) => key === name)

  const opening = new Batch(machine).about(copy.about)
  const empty = opening.label()
  opening.branch(slot(InitSlot.MADE), 'NOT_EQUAL', 0, empty)
  const [source, target] = [root.source, root.copy].map((fd) => c.openat(opening, fd, '.', k.O_RDONLY | k.O_DIRECTORY))
  opening.place(empty)
  const opened = init.run(opening)
  if (!opened.ok(source!)) return
  const [from, to] = [opened.value(source!)!, opened.value(target!)!]
  const entry = look(copy, from, ['.'])[0]!
  const top = new Batch(machine).about(copy.about)
  c.fchownat(top, to, '.', set('uid') ? -1 : entry.uid, set('gid') ? -1 : entry.gid)
  if (!set('mode')) c.fchmodat(top, to, '.', entry.mode & 0o7777)
  init.run(top)
  copyFolder(copy, from, to, '', entry, 0)
}

/** `path`: of the folder, below the root. The descriptors are closed at the end. */
function copyFolder(copy: Copy, source: number, target: number, path: string, folder: Entry, depth: number): void {
  const { init, machine, about } = copy
  if (depth > DEEPEST) throw new RuntError(`${about}: more than ${DEEPEST} folders within each other`, 'ENAMETOOLONG')
  const names = namesIn(init, machine, about, source)
  for (let at = 0; at < names.length; at += CHUNK) {
    const entries = look(copy, source, names.slice(at, at + CHUNK))
    const b = new Batch(machine)
    for (const entry of entries) {
      b.about(`${about} (${path}${entry.name})`)
      planEntry(b, copy, entry, source, target, path + entry.name)
    }
    init.run(b)
    for (const entry of entries) {
      if ((entry.mode & k.S_IFMT) !== k.S_IFDIR) {
        copyAttributes(copy, source, target, entry, entry.name)
        continue
      }
      const open = new Batch(machine).about(`${about} (${path}${entry.name})`)
      const flags = k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW
      const [inner, made] = [c.openat(open, source, entry.name, flags), c.openat(open, target, entry.name, flags)]
      const answer = init.run(open)
      copyFolder(copy, answer.value(inner)!, answer.value(made)!, `${path}${entry.name}/`, entry, depth + 1)
    }
  }
  // Last: a default ACL would be inherited by what is made in the folder, and making that changes the folder's times.
  copyAttributes(copy, source, target, folder, '.')
  const b = new Batch(machine).about(about)
  b.call('utimensat', target, 0, b.data(folder.times, 'times'), 0)
  c.close(b, source)
  c.close(b, target)
  init.run(b)
}

/** What the names stand for; what is gone meanwhile is left out. */
function look(copy: Copy, folder: number, names: readonly string[]): Entry[] {
  const b = new Batch(copy.machine).about(copy.about)
  c.fchdir(b, folder)
  const looks = names.map((name) => {
    b.about(`${copy.about} (${name})`)
    const [stat, list] = [b.out(256), b.out(LIST)]
    const [gone, none] = [b.label(), b.label()]
    const step = c.statx(b, folder, name, k.AT_SYMLINK_NOFOLLOW, stat).on(['ENOENT'], gone)
    const attributes = b.call('llistxattr', name, list, LIST).on(ANY, none)
    b.place(none)
    b.place(gone)
    return { name, stat, step, list, attributes }
  })
  const answer = copy.init.run(b)
  return looks
    .filter(({ step }) => answer.ok(step))
    .map(({ name, stat, list, attributes }) => {
      const length = answer.value(attributes)!
      const entry = entryOf(name, answer, stat)
      if (length > 0) entry.attributes = attributesIn(answer.bytes(list, length))
      else if (length === -Errno.ERANGE!) entry.attributes = longList(copy, folder, name)
      return entry
    })
}

/** A list of names, each ended by a NUL. The label is the mount's business. */
const attributesIn = (list: Uint8Array): string[] =>
  decodeUtf8(list)
    .split('\0')
    .filter((name) => name !== '' && name !== 'security.selinux')

function longList(copy: Copy, folder: number, name: string): string[] {
  const b = new Batch(copy.machine).about(`${copy.about} (${name})`)
  const list = b.out(XATTR_MAX)
  c.fchdir(b, folder)
  const length = b.call('llistxattr', name, list, XATTR_MAX)
  const answer = copy.init.run(b)
  return attributesIn(answer.bytes(list, answer.value(length)!))
}

/** struct statx. */
function entryOf(name: string, answer: Answer, stat: OutPointer): Entry {
  const bytes = answer.bytes(stat)
  const times = new Uint8Array(32)
  times.set(bytes.subarray(64, 80))
  times.set(bytes.subarray(112, 128), 16)
  const folder = (answer.half(stat, k.STX_MODE) & k.S_IFMT) === k.S_IFDIR
  return {
    name,
    mode: answer.half(stat, k.STX_MODE),
    uid: answer.word(stat, k.STX_UID),
    gid: answer.word(stat, k.STX_GID),
    size: (answer.word(stat, 40) >>> 0) + 2 ** 32 * answer.word(stat, 44),
    device: c.makedev(answer.word(stat, k.STX_RDEV_MAJOR), answer.word(stat, k.STX_RDEV_MINOR)),
    times,
    identity:
      folder || answer.word(stat, k.STX_NLINK) < 2
        ? null
        : `${answer.long(stat, k.STX_INO)} ${answer.word(stat, k.STX_DEV_MAJOR)} ${answer.word(stat, k.STX_DEV_MINOR)}`,
    attributes: [],
  }
}

/** `path`: of the entry, below the root. */
function planEntry(b: Batch, copy: Copy, entry: Entry, source: number, target: number, path: string): void {
  const { name, mode, uid, gid, size, device, identity } = entry
  const first = identity === null ? undefined : copy.linked.get(identity)
  if (first !== undefined) {
    b.call('linkat', slot(InitSlot.MOUNT), first, target, name, 0)
    // The first name was copied with everything that belongs to the file.
    entry.attributes = []
    return
  }
  if (identity !== null && path.length <= LONGEST_PATH) copy.linked.set(identity, path)
  switch (mode & k.S_IFMT) {
    case k.S_IFDIR:
      c.mkdirat(b, target, name, 0o700)
      break
    case k.S_IFREG:
      planFile(b, name, size, source, target)
      break
    case k.S_IFLNK: {
      // The last byte stays zero: readlinkat(2) ends its text with none.
      const text = b.data(new Uint8Array(Math.min(size, PATH_MAX) + 1), () => `the link ${name}`)
      b.call('readlinkat', source, name, text, Math.min(size, PATH_MAX))
      b.call('symlinkat', text, target, name)
      break
    }
    default:
      c.mknodat(b, target, name, mode, device)
  }
  c.fchownat(b, target, name, uid, gid, k.AT_SYMLINK_NOFOLLOW)
  if ((mode & k.S_IFMT) !== k.S_IFLNK) c.fchmodat(b, target, name, mode & 0o7777)
  b.call('utimensat', target, name, b.data(entry.times, 'times'), k.AT_SYMLINK_NOFOLLOW)
}

/**
 * Extended attributes, one batch an entry that has some. What a tmpfs does not take (user.* before Linux 6.6) is left out, as cp(1) does.
 */
function copyAttributes(copy: Copy, source: Arg, target: Arg, { name, attributes }: Entry, as: string): void {
  if (attributes.length === 0) return
  const b = new Batch(copy.machine).about(`${copy.about} (${name}): extended attributes`)
  const value = b.out(XATTR_MAX)
  for (const attribute of attributes) {
    const next = b.label()
    c.fchdir(b, source)
    const length = b.call('lgetxattr', as, attribute, value, XATTR_MAX).on(['ENODATA', 'EOPNOTSUPP'], next)
    c.fchdir(b, target)
    b.call('lsetxattr', as, attribute, value, length, 0).on(['EOPNOTSUPP', 'EPERM'], next)
    b.place(next)
  }
  copy.init.run(b)
}

function planFile(b: Batch, name: string, size: number, source: number, target: number): void {
  b.patience += Math.ceil(size / SLOWEST)
  const from = c.openat(b, source, name, k.O_RDONLY | k.O_NOFOLLOW | k.O_NONBLOCK)
  const to = c.openat(b, target, name, k.O_WRONLY | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW, 0o600)
  // Holes stay holes: a file that is large in name only would fill the tmpfs, that is memory.
  const again = b.label()
  const done = b.label()
  b.set(InitSlot.COPIED, 0)
  b.place(again)
  const data = b.call('lseek', from, slot(InitSlot.COPIED), k.SEEK_DATA).on(['ENXIO'], done)
  const hole = b.call('lseek', from, data, k.SEEK_HOLE)
  for (const file of [from, to]) b.call('lseek', file, data, k.SEEK_SET)
  const moved = b.call('sendfile', to, from, 0, b.add(hole, b.negate(data)))
  b.add(data, moved).keep(InitSlot.COPIED)
  b.branch(moved, 'NOT_EQUAL', 0, again)
  b.place(done)
  b.call('ftruncate', to, b.call('lseek', from, 0, k.SEEK_END))
  c.close(b, from)
  c.close(b, to)
}
