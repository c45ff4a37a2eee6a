/** Where the caller stands: working folder, user, and the folder of the state that follows from them. */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine, Platform } from '../base/platform.ts'
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_RDONLY, S_IFDIR, S_IFMT, STX_MODE, STX_UID } from '../linux/constants.ts'
import { mapsAllIds } from '../linux/id-map.ts'
import { ANY, Batch, type OutPointer, type Step } from '../session/batch.ts'
import { close, mkdirat, openat, read, statx } from '../session/calls.ts'
import type { Session } from '../session/session.ts'

const PATH_MAX = 4096

export interface Place {
  /** Empty where it has been removed. */
  cwd: string
  /** Effective ids. */
  uid: number
  gid: number
  /** In a user namespace that maps less than all ids, as a rootless engine makes. */
  mapped: boolean
}

/** Asks the host executor. */
export function findPlace(host: Session, machine: Machine): Place {
  const batch = new Batch(machine).about('the working folder')
  const path = batch.out(PATH_MAX)
  const gone = batch.label()
  const length = batch.call('getcwd', path, path.length).on(ANY, gone)
  batch.place(gone)
  const uid = batch.call('geteuid')
  const gid = batch.call('getegid')
  // No /proc, or a kernel without user namespaces: not mapped.
  const end = batch.label()
  const noMap = batch.label()
  const map = batch.out(80)
  const fd = openat(batch, AT_FDCWD, '/proc/self/uid_map', O_RDONLY).on(ANY, end)
  const count = read(batch, fd, map).on(ANY, noMap)
  batch.place(noMap)
  close(batch, fd)
  batch.place(end)
  const answer = host.run(batch)
  const uidMap = answer.ok(count) ? decodeUtf8(answer.bytes(map, answer.value(count))) : ''
  return {
    cwd: decodeUtf8(answer.bytes(path, Math.max(0, answer.value(length)! - 1))),
    uid: answer.value(uid)!,
    gid: answer.value(gid)!,
    mapped: uidMap !== '' && !mapsAllIds(uidMap),
  }
}

/** A path that does not depend on the working folder. Not cleaned: where `..` behind a link leads is for the kernel to say. */
export function absolute(path: string, cwd: string): string {
  if (path.startsWith('/')) return path
  return cwd === '/' ? `/${path}` : `${cwd}/${path}`
}

/**
 * A folder of the user's own for what lasts until the next start of the host: the one that logind makes (pam_systemd(8)), else one in
 * /tmp. Everybody can make that one first, so it has to be a folder that belongs to the user alone.
 */
export function findOwnFolder(host: Session, machine: Machine, uid: number): string {
  const usual = `/run/user/${uid}`
  const temporary = `/tmp/runt-${uid}`
  const b = new Batch(machine).about('folder for the state of containers')
  const look = (path: string): { step: Step; status: OutPointer } => {
    const next = b.label()
    const status = b.out(256)
    const step = statx(b, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, status).on(ANY, next)
    b.place(next)
    return { step, status }
  }
  const end = b.label()
  const first = look(usual)
  b.branch(first.step, 'EQUAL', 0, end)
  const made = b.label()
  mkdirat(b, AT_FDCWD, temporary, 0o700).on(ANY, made)
  b.place(made)
  const second = look(temporary)
  b.place(end)
  const answer = host.run(b)
  const isOwn = ({ step, status }: typeof first): boolean =>
    answer.ok(step) &&
    answer.word(status, STX_UID) === uid &&
    (answer.half(status, STX_MODE) & (S_IFMT | 0o077)) === S_IFDIR
  if (isOwn(first)) return usual
  if (isOwn(second)) return temporary
  throw new RuntError(
    `no folder for the state of containers: XDG_RUNTIME_DIR is not set, and neither ${usual} nor ${temporary} is a folder of yours alone (mode 0700); give one with --root`,
  )
}

/**
 * The default of --root: /run/runt for root, else `$XDG_RUNTIME_DIR/runt`. In a user namespace root may be an
 * ordinary user: then the latter counts if it is set and `USER` is not root (as runc decides). `ownFolder` stands in for a
 * variable that is not set.
 */
export function defaultRoot(place: Place, getenv: Platform['getenv'], ownFolder: (uid: number) => string): string {
  const folder = getenv('XDG_RUNTIME_DIR')
  if (place.uid === 0 && !(place.mapped && folder && getenv('USER') !== 'root')) return '/run/runt'
  if (!folder) return `${ownFolder(place.uid)}/runt`
  if (!folder.startsWith('/')) throw new RuntError(`XDG_RUNTIME_DIR is not an absolute path: ${JSON.stringify(folder)}`)
  return `${folder.replace(/\/+$/, '')}/runt`
}
