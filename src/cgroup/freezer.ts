/**
 * Pausing a container: the freezer of cgroup v1 (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst), and cgroup.freeze of
 * cgroup2 (cgroup-v2.rst, "Core Interface Files"; Linux 5.2). Both hold all processes of the cgroup and of those below it.
 */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, O_RDONLY, O_WRONLY } from '../linux/constants.ts'
import { ANY, type Arg, Batch } from '../session/batch.ts'
import { close, openat, read, readFile, sleep, write, writeFile } from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { ancestors, type CgroupFolder, type CgroupPaths, folderOf, folderPath } from './layout.ts'

/** Milliseconds that a freezer may take to do what it has been told, and the pauses between looks at it. */
const PATIENCE = 10_000
const FIRST_PAUSE = 0.1
const LONGEST_PAUSE = 50
/** Looks after which a v1 cgroup is thawed for a moment, because some processes get to a point where they can freeze only then. */
const THAW_AFTER = 20

/** The file that says whether the cgroup itself (not one above it) has been told to freeze: `1` or `0`. Null if there is no freezer. */
export function freezerFile(paths: CgroupPaths): string | null {
  const folder = folderOf(paths, 'freezer')
  return folder ? `${folderPath(folder)}/${freezers[folder.version].own}` : null
}

/** Reads the content of `freezerFile`. */
export const saysFrozen = (text: string): boolean => text.startsWith('1')
/** The content of a frozen cgroup (`1` and a newline) as a little-endian word. */
export const FROZEN_WORD = 0x0a31

/** How the two versions are told to freeze, and how they say how far they are. */
interface Freezer {
  readonly control: string
  /** Says whether the cgroup itself has been told to freeze: `1` or `0`. */
  readonly own: string
  readonly frozen: string
  readonly thawed: string
  readonly report: string
  readonly isFrozen: RegExp
  readonly isThawed: RegExp
}

const freezers: Record<CgroupFolder['version'], Freezer> = {
  1: {
    control: 'freezer.state',
    own: 'freezer.self_freezing',
    frozen: 'FROZEN',
    thawed: 'THAWED',
    report: 'freezer.state',
    // FREEZING: some processes are not there yet.
    isFrozen: /^FROZEN/,
    isThawed: /^THAWED/,
  },
  2: {
    control: 'cgroup.freeze',
    own: 'cgroup.freeze',
    frozen: '1',
    thawed: '0',
    report: 'cgroup.events',
    isFrozen: /^frozen 1$/m,
    isThawed: /^frozen 0$/m,
  },
}

/** Returns when every process of the cgroup is frozen. If one does not freeze all are thawed again, and a RuntError says so. */
export function freeze(host: Session, machine: Machine, paths: CgroupPaths, patience = PATIENCE): void {
  const folder = freezerFolder(paths)
  const { isFrozen } = freezers[folder.version]
  const frozen = poll(patience, (pause, tries) => {
    const b = new Batch(machine)
    if (folder.version === 1 && tries % THAW_AFTER === THAW_AFTER - 1) {
      tell(b, folder, 'thawed')
      sleep(b, LONGEST_PAUSE / 5)
    }
    // v2 need be told only once. v1 misses processes that are forked or moved meanwhile, unless it is told again.
    if (tries === 0 || folder.version === 1) tell(b, folder, 'frozen')
    return isFrozen.test(look(host, b, folder, pause))
  })
  if (frozen) return
  thawAnyhow(host, machine, paths)
  throw new RuntError(
    `freezing the cgroup ${folderPath(folder)}: not frozen within ${patience / 1000} s; a process in it cannot be stopped (ps shows it in state D)`,
  )
}

/** Returns when the processes of the cgroup go on. Throws a RuntError if they don't: a cgroup above is frozen. */
export function thaw(host: Session, machine: Machine, paths: CgroupPaths, patience = PATIENCE): void {
  const folder = freezerFolder(paths)
  const { isThawed } = freezers[folder.version]
  const done = poll(patience, (pause, tries) => {
    const b = new Batch(machine)
    if (tries === 0) tell(b, folder, 'thawed')
    if (isThawed.test(look(host, b, folder, pause))) return true
    const above = frozenAbove(host, machine, folder)
    if (above !== null)
      throw new RuntError(`thawing the cgroup ${folderPath(folder)}: the cgroup above it, ${above}, is frozen`)
    return false
  })
  if (!done) throw new RuntError(`thawing the cgroup ${folderPath(folder)}: still frozen after ${patience / 1000} s`)
}

/** Tells the freezer to thaw, without waiting. It is no error if there is no freezer, or no cgroup any more. */
export function thawAnyhow(host: Session, machine: Machine, paths: CgroupPaths): void {
  const folder = folderOf(paths, 'freezer')
  if (!folder) return
  const { control, thawed } = freezers[folder.version]
  const b = new Batch(machine)
  const written = b.label()
  const end = b.label()
  const fd = openat(b, AT_FDCWD, `${folderPath(folder)}/${control}`, O_WRONLY).on(ANY, end)
  write(b, fd, thawed).on(ANY, written)
  b.place(written)
  close(b, fd)
  b.place(end)
  host.recover(b)
}

/** Plans to tell the freezer of an open v1 folder to thaw. It is no error if it has none. */
export function planThawing(b: Batch, folder: Arg): void {
  const { control, thawed } = freezers[1]
  const written = b.label()
  const end = b.label()
  const fd = openat(b, folder, control, O_WRONLY).on(ANY, end)
  write(b, fd, thawed).on(ANY, written)
  b.place(written)
  close(b, fd)
  b.place(end)
}

function freezerFolder(paths: CgroupPaths): CgroupFolder {
  const folder = folderOf(paths, 'freezer')
  if (!folder) throw new RuntError('no cgroup hierarchy with a freezer is mounted')
  return folder
}

/** Calls `step` until it is true, with longer and longer pauses (0 at first). False when the patience is over. */
function poll(patience: number, step: (pause: number, tries: number) => boolean): boolean {
  let pause = 0
  for (let waited = 0, tries = 0; waited <= patience; waited += pause, tries++) {
    if (step(pause, tries)) return true
    pause = pause === 0 ? FIRST_PAUSE : Math.min(2 * pause, LONGEST_PAUSE)
  }
  return false
}

function tell(b: Batch, folder: CgroupFolder, state: 'frozen' | 'thawed'): void {
  const freezer = freezers[folder.version]
  const path = `${folderPath(folder)}/${freezer.control}`
  b.about(`${freezer[state]} written to ${path}`)
  writeFile(b, AT_FDCWD, path, freezer[state])
}

/** What the freezer says of itself after the pause. */
function look(host: Session, b: Batch, folder: CgroupFolder, pause: number): string {
  const path = `${folderPath(folder)}/${freezers[folder.version].report}`
  b.about(path)
  if (pause > 0) sleep(b, pause)
  const { count, buffer } = readFile(b, AT_FDCWD, path, 256)
  const answer = host.recover(b)
  return decodeUtf8(answer.bytes(buffer, answer.value(count)))
}

/** A cgroup above that has been told to freeze, if there is one. */
function frozenAbove(host: Session, machine: Machine, { version, mountpoint, path }: CgroupFolder): string | null {
  const above = ancestors(path).map((parent) => mountpoint + parent)
  const b = new Batch(machine)
  const looks = above.map((parent) => {
    const next = b.label()
    const closed = b.label()
    const fd = openat(b, AT_FDCWD, `${parent}/${freezers[version].own}`, O_RDONLY).on(ANY, next)
    const buffer = b.out(8)
    const count = read(b, fd, buffer).on(ANY, closed)
    b.place(closed)
    close(b, fd)
    b.place(next)
    return { parent, count, buffer }
  })
  const answer = host.recover(b)
  const found = looks.find(
    ({ count, buffer }) => answer.ok(count) && saysFrozen(decodeUtf8(answer.bytes(buffer, answer.value(count)))),
  )
  return found?.parent ?? null
}
