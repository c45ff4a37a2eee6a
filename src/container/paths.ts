/** Folders and files made inside a container's root without leaving it. */

import { RuntError } from '../base/errors.ts'
import { basename, cleanPath, dirname } from '../base/paths.ts'
import * as k from '../linux/constants.ts'
import { type Arg, type Batch, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { InitSlot } from './slots.ts'

/** Bytes of a path, without the NUL at its end; path_resolution(7). */
const PATH_MAX = 4095

/** By batch: the folders of the container that are known to exist when the next operation runs. So they need not be planned again. */
const knownFolders = new WeakMap<Batch, Set<string>>()

function knownIn(b: Batch): Set<string> {
  let known = knownFolders.get(b)
  if (!known) {
    known = new Set()
    knownFolders.set(b, known)
  }
  return known
}

/** To be called when something is mounted on `path`: nothing is known any longer of what is below it. */
export function coverFolder(b: Batch, path: string): void {
  const known = knownIn(b)
  for (const other of known) if (other.startsWith(`${path}/`)) known.delete(other)
}

/** For operations that a jump may skip: what they make is not taken for granted later. */
export function tentatively(b: Batch, plan: () => void): void {
  const known = knownIn(b)
  knownFolders.set(b, new Set(known))
  plan()
  knownFolders.set(b, known)
}

/**
 * Plans to open the folder `path` below the root, making what is missing (mode 0755), and keeps its descriptor in a slot. `resolve`:
 * further RESOLVE_ flags. `made`: a slot that becomes 1 where the folder was missing.
 */
export function makeFolder(b: Batch, path: string, keep: number, resolve = 0, made?: number): void {
  const known = knownIn(b)
  const root = slot(InitSlot.ROOT)
  const clean = cleanPath(path)
  // Refused here: planning an endless path folder by folder would take for ever.
  if (clean.length > PATH_MAX)
    throw new RuntError(
      `the path ${JSON.stringify(`${clean.slice(0, 64)}…`)} has ${clean.length} characters; the kernel takes ${PATH_MAX} bytes`,
      'ENAMETOOLONG',
    )
  const open = (part: string): Step => c.openInRoot(b, root, part, k.O_PATH | k.O_DIRECTORY, resolve)
  if (clean === '/' || known.has(clean)) {
    open(clean).keep(keep)
    return
  }
  known.add(clean)
  const done = b.label()
  const walk = b.label()
  open(clean).on(['ENOENT'], walk).keep(keep)
  b.jump(done)
  b.place(walk)
  if (made !== undefined) b.set(made, 1)
  const parts = clean.split('/').slice(1)
  let prefix = ''
  let above: Arg = root
  let opened = false
  parts.forEach((part, index) => {
    const last = index === parts.length - 1
    const parent = prefix
    prefix = `${prefix}/${part}`
    if (!last && known.has(prefix)) return
    if (parent && !opened) {
      open(parent).keep(InitSlot.PARENT)
      above = slot(InitSlot.PARENT)
      opened = true
    }
    const next = b.label()
    if (last) {
      c.mkdirat(b, above, part, 0o755)
      if (opened) c.close(b, above)
      open(prefix).keep(keep)
      return
    }
    known.add(prefix)
    const make = b.label()
    const mine = InitSlot.CHILD_FOLDER
    open(prefix).on(['ENOENT'], make).keep(mine)
    b.jump(next)
    b.place(make)
    c.mkdirat(b, above, part, 0o755)
    open(prefix).keep(mine)
    b.place(next)
    if (opened) c.close(b, above)
    b.set(InitSlot.PARENT, slot(mine))
    above = slot(InitSlot.PARENT)
    opened = true
  })
  b.place(done)
}

/** As makeFolder, for a file: an empty one is made (mode 0644) where nothing is. `nofollow`: a link at the end stands for itself. */
export function makeFile(b: Batch, path: string, keep: number, nofollow = false): void {
  const done = b.label()
  const make = b.label()
  const flags = k.O_PATH | (nofollow ? k.O_NOFOLLOW : 0)
  c.openInRoot(b, slot(InitSlot.ROOT), path, flags).on(['ENOENT'], make).keep(keep)
  b.jump(done)
  b.place(make)
  tentatively(b, () => makeFolder(b, dirname(cleanPath(path)), keep))
  const made = c.openat(
    b,
    slot(keep),
    basename(cleanPath(path)),
    k.O_WRONLY | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW,
    0o644,
  )
  c.close(b, made)
  c.close(b, slot(keep))
  c.openInRoot(b, slot(InitSlot.ROOT), path, flags).keep(keep)
  b.place(done)
}
