/**
 * Mounts with the option `tmpcopyup`: a tmpfs that begins with what its destination held. Podman asks for it (`--tmpfs`,
 * `--read-only`). What is there is only known when the plan has come that far, so the plan stops there, this copies, and the
 * plan goes on with the next mount.
 */
import { decodeUtf8 } from '../base/bytes.ts'
import type { Machine } from '../base/platform.ts'
import * as k from '../linux/constants.ts'
import { Batch, type OutPointer, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer, Session } from '../session/session.ts'
import type { MountOptions } from './mount-options.ts'
import { InitSlot } from './slots.ts'

const ABOUT = ': the copy for tmpcopyup'

/** Entries looked at, and made, by one batch. */
const CHUNK = 16
/** sendfile(2) moves at most this many bytes at once. */
const SENDFILE_MAX = 0x7fff_f000
/** Bytes of a millisecond's copying that we wait for, with slow machines in mind. */
const SLOWEST = 10_000

interface Entry {
  name: string
  mode: number
  uid: number
  gid: number
  size: number
  device: number
}

/**
 * Copies the tree below TARGET into the file system MOUNT, which is not attached yet: folders, files, links, nodes; with
 * owners and modes, without times, extended attributes and hard links. The root takes owner and mode of TARGET where the options
 * say nothing of them. Names are looked up one by one and never through a link.
 */
export function copyUp(init: Session, machine: Machine, about: string, options: MountOptions): void {
  const here = about + ABOUT
  const root = { source: slot(InitSlot.TARGET), copy: slot(InitSlot.MOUNT) }
  const set = (name: string) => options.data.some(([key]) => key === name)

  const b = new Batch(machine).about(here)
  const stat = b.out(256)
  c.statx(b, root.source, '.', k.AT_SYMLINK_NOFOLLOW, stat)
  const { uid, gid, mode } = entryOf('.', init.run(b), stat)
  const top = new Batch(machine).about(here)
  c.fchownat(top, root.copy, '.', set('uid') ? -1 : uid, set('gid') ? -1 : gid)
  if (!set('mode')) c.fchmodat(top, root.copy, '.', mode & 0o7777)
  const source = c.openat(top, root.source, '.', k.O_RDONLY | k.O_DIRECTORY)
  const copy = c.openat(top, root.copy, '.', k.O_RDONLY | k.O_DIRECTORY)
  const answer = init.run(top)
  copyFolder(init, machine, here, answer.value(source)!, answer.value(copy)!)
}

/** The descriptors are closed at the end. */
function copyFolder(init: Session, machine: Machine, about: string, source: number, copy: number): void {
  const names = namesIn(init, machine, about, source)
  for (let at = 0; at < names.length; at += CHUNK) {
    const entries = look(init, machine, about, source, names.slice(at, at + CHUNK))
    const b = new Batch(machine)
    for (const entry of entries) {
      b.about(`${about} (${entry.name})`)
      planEntry(b, entry, source, copy)
    }
    init.run(b)
    for (const { name, mode } of entries) {
      if ((mode & k.S_IFMT) !== k.S_IFDIR) continue
      const open = new Batch(machine).about(`${about} (${name})`)
      const flags = k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW
      const [inner, target] = [c.openat(open, source, name, flags), c.openat(open, copy, name, flags)]
      const answer = init.run(open)
      copyFolder(init, machine, about, answer.value(inner)!, answer.value(target)!)
    }
  }
  const b = new Batch(machine).about(about)
  c.close(b, source)
  c.close(b, copy)
  init.run(b)
}

/** Names in an open folder, by getdents64(2). */
function namesIn(init: Session, machine: Machine, about: string, folder: number): string[] {
  const names: string[] = []
  for (;;) {
    const b = new Batch(machine).about(about)
    const buffer = b.out(0x8000)
    const count = b.call('getdents64', folder, buffer, buffer.length)
    const answer = init.run(b)
    const length = answer.value(count)!
    if (length === 0) return names
    // struct linux_dirent64: d_reclen is the u16 at 16, the name starts at 19 and ends with a NUL.
    const bytes = answer.bytes(buffer, length)
    for (let at = 0; at < length; at += bytes[at + 16]! | (bytes[at + 17]! << 8)) {
      const name = decodeUtf8(bytes.subarray(at + 19, bytes.indexOf(0, at + 19)))
      if (name !== '.' && name !== '..') names.push(name)
    }
  }
}

/** What the names stand for; what is gone meanwhile is left out. */
function look(init: Session, machine: Machine, about: string, folder: number, names: readonly string[]): Entry[] {
  const b = new Batch(machine)
  const looks = names.map((name) => {
    const stat = b.about(`${about} (${name})`).out(256)
    const gone = b.label()
    const step = c.statx(b, folder, name, k.AT_SYMLINK_NOFOLLOW, stat).on(['ENOENT'], gone)
    b.place(gone)
    return { name, stat, step }
  })
  const answer = init.run(b)
  return looks.filter(({ step }) => answer.ok(step)).map(({ name, stat }) => entryOf(name, answer, stat))
}

/** struct statx. */
function entryOf(name: string, answer: Answer, stat: OutPointer): Entry {
  return {
    name,
    mode: answer.half(stat, 28),
    uid: answer.word(stat, 20),
    gid: answer.word(stat, 24),
    size: (answer.word(stat, 40) >>> 0) + 2 ** 32 * answer.word(stat, 44),
    device: c.makedev(answer.word(stat, 128), answer.word(stat, 132)),
  }
}

function planEntry(b: Batch, { name, mode, uid, gid, size, device }: Entry, source: number, copy: number): void {
  switch (mode & k.S_IFMT) {
    case k.S_IFDIR:
      c.mkdirat(b, copy, name, 0o700)
      break
    case k.S_IFREG:
      planFile(b, name, size, source, copy)
      break
    case k.S_IFLNK: {
      // The last byte stays zero: readlinkat(2) ends its text with none.
      const target = b.data(new Uint8Array(size + 1), () => `the link ${name}`)
      b.call('readlinkat', source, name, target, size)
      b.call('symlinkat', target, copy, name)
      break
    }
    default:
      c.mknodat(b, copy, name, mode, device)
  }
  c.fchownat(b, copy, name, uid, gid, k.AT_SYMLINK_NOFOLLOW)
  if ((mode & k.S_IFMT) !== k.S_IFLNK) c.fchmodat(b, copy, name, mode & 0o7777)
}

function planFile(b: Batch, name: string, size: number, source: number, copy: number): void {
  b.patience += Math.ceil(size / SLOWEST)
  const from = c.openat(b, source, name, k.O_RDONLY | k.O_NOFOLLOW)
  const to = c.openat(b, copy, name, k.O_WRONLY | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW, 0o600)
  const again = b.label()
  b.place(again)
  const moved = b.call('sendfile', to, from, 0, SENDFILE_MAX)
  b.branch(moved, 'NOT_EQUAL', 0, again)
  c.close(b, from)
  c.close(b, to)
}
