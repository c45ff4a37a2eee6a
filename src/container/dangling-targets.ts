/**
 * Mount destinations that are dangling symbolic links of the image: /etc/resolv.conf -> /run/resolvconf/resolv.conf, say, where the image
 * has no /run. The file or folder that the link names is made inside the container's root, then mounted on.
 */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { dirname } from '../base/paths.ts'
import type { Machine } from '../base/platform.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { CallError, type Session } from '../session/session.ts'
import { InitSlot } from './slots.ts'

/** Links followed on one path; path_resolution(7). */
const LINKS_MAX = 40
const PATH_MAX = 4096

/** If a mount failed because its destination is a dangling link: which mount it was, and what was to be made. */
export function danglingTarget(error: unknown): { index: number; kind: 'folder' | 'file' } | null {
  if (!(error instanceof CallError) || error.errno !== 'EEXIST') return null
  const { about, name } = error.step
  const index = /^mounts\[(\d+)\]/.exec(about)?.[1]
  if (index === undefined || (name !== 'mkdirat' && name !== 'openat')) return null
  return { index: Number(index), kind: name === 'mkdirat' ? 'folder' : 'file' }
}

/**
 * Follows `path` inside the container's root, link by link, and makes the folders that are missing; if none is, the last part itself.
 * Recovers the init's failed session. Returns false when there was nothing to make.
 */
export function makeTarget(
  init: Session,
  machine: Machine,
  path: string,
  index: number,
  kind: 'folder' | 'file',
): boolean {
  const rest = path.split('/')
  let done = '/'
  let made = false
  for (let links = 0; rest.length > 0; ) {
    const name = rest.shift()!
    if (name === '' || name === '.') continue
    if (name === '..') {
      done = dirname(done)
      continue
    }
    const b = new Batch(machine).about(`mounts[${index}] (${path})`)
    const end = b.label()
    const target = b.out(PATH_MAX)
    const parent = c.openInRoot(b, slot(InitSlot.ROOT), done, k.O_PATH | k.O_DIRECTORY).keep(InitSlot.PARENT)
    // EINVAL: it is there, and no link.
    const read = c.readlinkat(b, parent, name, target).on(['EINVAL', 'ENOENT'], end)
    b.place(end)
    const answer = init.recover(b)
    const length = answer.value(read)!
    const last = rest.every((part) => part === '' || part === '.')
    if (length >= 0) {
      if (++links > LINKS_MAX) throw new RuntError(`mounts[${index}] (${path}): too many symbolic links`, 'ELOOP')
      const text = decodeUtf8(answer.bytes(target, length))
      if (text.startsWith('/')) done = '/'
      rest.unshift(...text.split('/'))
    } else {
      if (answer.value(read) === -Errno.ENOENT!) {
        if (last && made) return true
        makeOne(init, machine, `mounts[${index}] (${path})`, name, last ? kind : 'folder')
        made = true
      }
      done = done === '/' ? `/${name}` : `${done}/${name}`
    }
    const closing = new Batch(machine)
    c.close(closing, slot(InitSlot.PARENT))
    init.run(closing)
  }
  return made
}

/** In the folder PARENT. */
function makeOne(init: Session, machine: Machine, about: string, name: string, kind: 'folder' | 'file'): void {
  const b = new Batch(machine).about(about)
  const parent = slot(InitSlot.PARENT)
  if (kind === 'folder') c.mkdirat(b, parent, name, 0o755)
  else c.close(b, c.openat(b, parent, name, k.O_WRONLY | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW, 0o644))
  init.run(b)
}
