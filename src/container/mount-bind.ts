/** Plans bind mounts. */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { basename, dirname } from '../base/paths.ts'
import type { Machine } from '../base/platform.ts'
import type { Mount } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { Batch, blank, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { planIfPrepared, prepare } from '../session/templates.ts'
import { planAttached, planMove, planRecursiveAttributes } from './mount-attach.ts'
import type { MountEntry, MountSetting } from './mount-entry.ts'
import { makeFile, makeFolder, tentatively } from './paths.ts'
import { planDemandProc, planRefuseProc, resolveFor } from './proc-guard.ts'
import { InitSlot } from './slots.ts'
import { bindSource, linkKey } from './sources.ts'

const MOUNT = slot(InitSlot.MOUNT)
const TARGET = slot(InitSlot.TARGET)

export function planBind(b: Batch, entry: MountEntry, path: string, setting: MountSetting, index: number): void {
  const { about, destination, options } = entry
  const source = sourceOf(entry, path, setting)
  const idmapped = setting.idmapped.get(index)
  b.about(`${about}: source ${source}`)
  if (idmapped !== undefined) b.set(InitSlot.MOUNT, idmapped)
  else {
    const recursive = options.bind === 'bind' ? 0 : k.AT_RECURSIVE
    const nofollow = options.sourceNofollow ? k.AT_SYMLINK_NOFOLLOW : 0
    const given = setting.reach.opened.get(options.sourceNofollow ? linkKey(source) : source)
    if (given === undefined)
      c.openTree(b, k.AT_FDCWD, source, k.OPEN_TREE_CLONE | recursive | nofollow).keep(InitSlot.MOUNT)
    else c.openTree(b, given, '', k.OPEN_TREE_CLONE | recursive | k.AT_EMPTY_PATH).keep(InitSlot.MOUNT)
  }
  if (destination === '/proc') planDemandProc(b, about, source)
  b.about(about)
  if (setting.slave) c.mountSetattr(b, MOUNT, k.AT_RECURSIVE, { propagation: k.MS_SLAVE })
  if (options.set || options.clear) c.mountSetattr(b, MOUNT, 0, { set: options.set, clear: options.clear })
  planRecursiveAttributes(b, options)
  const parts = destination.split('/').slice(1)
  const key = keyOfBinding(parts.length)
  const usual = !options.targetNofollow && parts[0] !== 'proc' && destination.length <= LONGEST
  if (!usual || !planIfPrepared(b, key, [about, source, ...parts]))
    planBinding(b, about, source, destination, options.targetNofollow)
  b.about(`${about}: source ${source}`)
  planAttached(b, destination, options)
}

/** Longest destination that templates are for, in characters. */
const LONGEST = 1000

/** Key of the template of a binding, by the number of components that the destination has. */
const keyOfBinding = (depth: number): string => `binding ${depth}`

/** Prepares bindings whose destinations have so many components, anywhere but in /proc. */
export function prepareBinding(machine: Machine, depth: number): void {
  const [about, source] = [blank(0), blank(1)]
  const parts = Array.from({ length: depth }, (_, index) => blank(2 + index))
  prepare(machine, keyOfBinding(depth), (b) => planBinding(b, about, source, `/${parts.join('/')}`, false))
}

/** Opens the target of MOUNT, making it if it is missing, and attaches the one to the other. */
function planBinding(b: Batch, about: string, source: string, destination: string, targetNofollow: boolean): void {
  // The target is to be what the source is: a folder, or else a file.
  const file = b.label()
  const attach = b.label()
  if (!targetNofollow) {
    b.about(`${about}: source ${source} is a folder`)
    const folder = b.label()
    const closed = b.label()
    const probe = c.openat(b, MOUNT, '.', k.O_PATH | k.O_DIRECTORY).on(['ENOTDIR', 'ELOOP', 'EACCES'], closed)
    c.close(b, probe)
    b.jump(folder)
    b.place(closed)
    // EACCES: a folder that the root of a user namespace may not enter.
    b.branch(probe, 'NOT_EQUAL', -Errno.EACCES!, file)
    b.place(folder)
    tentatively(b, () => makeFolder(b, destination, InitSlot.TARGET, resolveFor(destination)))
    b.jump(attach)
    b.place(file)
  }
  b.about(`${about}: source ${source} is no folder`)
  makeFile(b, destination, InitSlot.TARGET, targetNofollow)
  b.place(attach)
  planMove(b, `${about}: source ${source}`, destination)
}

function sourceOf({ about }: MountEntry, source: string, { bundle }: MountSetting): string {
  if (source === '') throw new RuntError(`${about}: a bind mount needs a source`)
  return bindSource(bundle, source)
}

const PATH_MAX = 4096

/** The option `copy-symlink`: a source that is a link is not mounted, the destination becomes the same link. */
export function copySymlink(
  init: Session,
  machine: Machine,
  entry: MountEntry,
  mount: Mount,
  setting: MountSetting,
  index: number,
): void {
  const { about, destination } = entry
  const source = sourceOf(entry, mount.source ?? '', setting)
  const looking = new Batch(machine).about(`${about}: source ${source}`)
  const buffer = looking.out(PATH_MAX)
  const plain = looking.label()
  const read = c.readlinkat(looking, k.AT_FDCWD, source, buffer).on(['EINVAL'], plain)
  looking.place(plain)
  const answer = init.recover(looking)
  const b = new Batch(machine).about(about)
  if (!answer.ok(read)) {
    planBind(b, entry, mount.source ?? '', setting, index)
    init.run(b)
    return
  }
  const target = decodeUtf8(answer.bytes(buffer, answer.value(read)!))
  makeFolder(b, dirname(destination), InitSlot.TARGET)
  planRefuseProc(b, about, destination)
  const done = b.label()
  const link = c.symlinkat(b, target, TARGET, basename(destination)).on(['EEXIST'], done)
  b.place(done)
  // What is there may be this very link; EINVAL: it is none.
  const there = b.out(PATH_MAX)
  const end = b.label()
  const again = c.readlinkat(b, TARGET, basename(destination), there).on(['EINVAL'], end)
  b.place(end)
  c.close(b, TARGET)
  const made = init.run(b)
  if (made.ok(link)) return
  const length = made.value(again)!
  if (length < 0 || decodeUtf8(made.bytes(there, length)) !== target)
    throw new RuntError(
      `${about}: copy-symlink: something else than a link to ${JSON.stringify(target)} is there already`,
    )
}
