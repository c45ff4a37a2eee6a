/** Paths: lexical ones of the host, and folders and files made inside a container's root without leaving it. */

import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { InitSlot } from './slots.ts'

/** Lexically cleans an absolute path: no empty, `.` or `..` components. */
export function cleanPath(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}

/** `path` as seen from the folder `base`, cleaned. */
export function absolutePath(base: string, path: string): string {
  return cleanPath(path.startsWith('/') ? path : `${base}/${path}`)
}

export function dirname(path: string): string {
  const at = path.lastIndexOf('/')
  return at <= 0 ? '/' : path.slice(0, at)
}

export function basename(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Plans to open the folder `path` below the root, making what is missing (mode 0755), and keeps its descriptor in a slot. */
export function makeFolder(b: Batch, path: string, keep: number): void {
  const root = slot(InitSlot.ROOT)
  const done = b.label()
  const walk = b.label()
  c.openInRoot(b, root, path, k.O_PATH | k.O_DIRECTORY)
    .on(['ENOENT'], walk)
    .keep(keep)
  b.jump(done)
  b.place(walk)
  const parts = cleanPath(path).split('/').slice(1)
  parts.forEach((part, index) => {
    // Two slots in turn: the folder above is closed once the one below is open.
    const mine = index % 2 === 0 ? InitSlot.PARENT : keep
    const above = index === 0 ? root : slot(index % 2 === 0 ? keep : InitSlot.PARENT)
    const prefix = `/${parts.slice(0, index + 1).join('/')}`
    const make = b.label()
    const next = b.label()
    c.openInRoot(b, root, prefix, k.O_PATH | k.O_DIRECTORY)
      .on(['ENOENT'], make)
      .keep(mine)
    b.jump(next)
    b.place(make)
    c.mkdirat(b, above, part, 0o755)
    c.openInRoot(b, root, prefix, k.O_PATH | k.O_DIRECTORY).keep(mine)
    b.place(next)
    if (index > 0) c.close(b, above)
  })
  if (parts.length % 2 === 1) b.set(keep, slot(InitSlot.PARENT))
  b.place(done)
}

/** As makeFolder, for a file: an empty one is made (mode 0644) where nothing is. */
export function makeFile(b: Batch, path: string, keep: number): void {
  const done = b.label()
  const make = b.label()
  c.openInRoot(b, slot(InitSlot.ROOT), path, k.O_PATH).on(['ENOENT'], make).keep(keep)
  b.jump(done)
  b.place(make)
  makeFolder(b, dirname(cleanPath(path)), keep)
  const made = c.openat(
    b,
    slot(keep),
    basename(cleanPath(path)),
    k.O_WRONLY | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW,
    0o644,
  )
  c.close(b, made)
  c.close(b, slot(keep))
  c.openInRoot(b, slot(InitSlot.ROOT), path, k.O_PATH).keep(keep)
  b.place(done)
}
