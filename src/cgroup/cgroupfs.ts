/** The driver that makes the folders of a cgroup itself, in cgroupfs. */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { DeviceRule, Resources } from '../config/types.ts'
import { AT_FDCWD, AT_REMOVEDIR, O_RDONLY, O_RDWR, O_WRONLY } from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { mapsAllIds } from '../linux/id-map.ts'
import { ANY, Batch, type Label, load, type Step } from '../session/batch.ts'
import { close, mkdirat, openat, read, unlinkat, write } from '../session/calls.ts'
import { type Answer, CallError, type Session } from '../session/session.ts'
import { Train } from '../session/train.ts'
import { type ColdPaths, placeColdPaths } from './cold-paths.ts'
import { allowsAll } from './devices.ts'
import { CgroupInUse, type Driver, type Making } from './driver.ts'
import { ancestors, type CgroupFolder, type CgroupPaths, folderOf, folderPath } from './layout.ts'
import { planDeviceRules, planLimits, writesFor } from './limits.ts'
import { remove } from './remove.ts'
import type { Write } from './table.ts'
import { updateLimits } from './update.ts'

export const cgroupfs: Driver = {
  begin(train, cgroup, resources) {
    const ignored: string[] = []
    return { cgroup, resources, ignored, attempts: planCgroup(train, cgroup, resources, null, ignored) }
  },

  finish(host, making, control) {
    try {
      waitOrMake(host, making, control)
    } catch (error) {
      if (!isForbidden(error) || !isUnprivileged(host, control.machine)) throw error
      return withoutCgroup(host, making, error)
    }
    return making.cgroup
  },

  update: updateLimits,
  remove,
}

function waitOrMake(host: Session, making: Making, control: Batch): void {
  try {
    host.wait(control)
  } catch (error) {
    if (!(error instanceof CallError) || !making.attempts.some((step) => error.isOf(step))) throw error
    if (error.errno !== 'ENOENT' && error.errno !== 'EEXIST') throw error
    makeThoroughly(host, making, error.answer)
  }
}

/** The folder could not be made for want of a right. */
const isForbidden = (error: unknown): error is CallError =>
  error instanceof CallError &&
  error.step.name === 'mkdirat' &&
  (error.errno === 'EACCES' || error.errno === 'EPERM' || error.errno === 'EROFS')

/** Whether the caller is another user than the host's root, in a user namespace or not. */
function isUnprivileged(host: Session, machine: Machine): boolean {
  const b = new Batch(machine)
  const end = b.label()
  const uid = b.call('geteuid')
  const fd = openat(b, AT_FDCWD, '/proc/self/uid_map', O_RDONLY).on(ANY, end)
  const buffer = b.out(128)
  const count = read(b, fd, buffer)
  close(b, fd)
  b.place(end)
  const answer = host.recover(b)
  if (answer.value(uid) !== 0) return true
  const map = answer.ok(count) ? decodeUtf8(answer.bytes(buffer, answer.value(count))) : ''
  return map !== '' && !mapsAllIds(map)
}

/** An unprivileged user to whom no cgroup was delegated: a container without limits can do without one. */
function withoutCgroup(host: Session, making: Making, error: CallError): CgroupPaths {
  const { cgroup, resources, attempts } = making
  const ours = cgroup.folders.filter((_, index) => {
    const step = attempts[index]!
    return step.batch === error.step.batch && error.answer.value(step) === 0
  })
  removeAgain(host, error.step.batch.machine, ours.map(folderPath))
  const asked = writesFor(cgroup, resources, []).find(({ optional }) => !optional)
  if (asked)
    throw new RuntError(
      `linux.resources.${asked.field}: it needs a cgroup with the ${asked.controller} controller, which this user may not make: ${error.detail}; let systemd make it (--systemd-cgroup, with the controller delegated to user@.service), or leave the limit out`,
      error.errno,
    )
  making.ignored.push(`no cgroup is made, which this user may not, and no limit needs: ${error.detail}`)
  return { ...cgroup, folders: [] }
}

/** Second attempt, after the simple one has failed because parents are missing or the cgroup exists. `answer`: to the first attempt. */
function makeThoroughly(host: Session, { cgroup, resources, attempts }: Making, answer: Answer): void {
  const { machine } = attempts[0]!.batch
  const ours = cgroup.folders.filter((_, index) => answer.value(attempts[index]!) === 0).map(folderPath)
  host.recover(new Batch(machine))
  const train = new Train(host, machine)
  const refusals: Step[] = []
  planCgroup(train, cgroup, resources, refusals, [])
  try {
    host.wait(train.depart())
  } catch (error) {
    if (!(error instanceof CallError) || !refusals.some((step) => error.isOf(step))) throw error
    removeAgain(host, machine, ours)
    throw new CgroupInUse(error.message, error.errno)
  }
}

/** Removes the folders that the first attempt has made, in hierarchies where the cgroup did not exist yet. */
function removeAgain(host: Session, machine: Machine, folders: readonly string[]): void {
  const b = new Batch(machine)
  for (const path of folders) {
    const next = b.label()
    unlinkat(b, AT_FDCWD, path, AT_REMOVEDIR).on(ANY, next)
    b.place(next)
  }
  host.recover(b)
}

/**
 * Plans to make the container's cgroup with its limits, so that it can be joined. Returns the mkdir steps. If `refusals` is null, the plan
 * fails at one of these if the parents are missing (ENOENT) or the folder exists (EEXIST). With an array there, which costs more, parents
 * are made, and a cgroup that exists is taken over if it has no process and is not frozen; the operations that refuse it are added to the
 * array.
 */
function planCgroup(
  train: Train,
  paths: CgroupPaths,
  resources: Resources,
  refusals: Step[] | null,
  ignored: string[],
): Step[] {
  const attempts: Step[] = []
  const writes = writesFor(paths, resources, ignored)
  const b = train.next('cgroup')
  const cold: ColdPaths = []
  for (const folder of paths.folders) {
    const filled = b.label()
    const fill = folder.controllers.includes('cpuset') ? b.label() : null
    if (refusals) makeFolder(b, cold, folder, fill ?? filled, () => planRefusal(b, folder, fill ?? filled, refusals))
    else {
      b.about('linux.cgroupsPath')
      attempts.push(mkdirat(b, AT_FDCWD, folderPath(folder), 0o755))
    }
    if (fill) inheritCpuset(b, cold, folder, fill)
    b.place(filled)
    if (folder.version === 2) enable(b, cold, folder, wantedControllers(paths, writes))
  }
  placeColdPaths(b, cold)
  planLimits(train, paths, writes)
  const { devices = [] } = resources
  if (
    !planDeviceRules(train, paths, devices, refusals ? 'leftovers' : 'none') &&
    devices.length > 0 &&
    !allowsAll(devices)
  )
    throw new RuntError('linux.resources.devices: no devices hierarchy is mounted, so the rules cannot be enforced')
  return attempts
}

/**
 * Plans to complete a cgroup that somebody else (systemd) has made: missing folders, limits and, unless null, device rules. Only
 * controllers that a limit needs are enabled.
 */
export function planAdoption(
  train: Train,
  paths: CgroupPaths,
  resources: Resources,
  rules: readonly DeviceRule[] | null,
): void {
  const writes = writesFor(paths, resources, [])
  const b = train.next('cgroup')
  const cold: ColdPaths = []
  for (const folder of paths.folders) {
    const filled = b.label()
    const fill = folder.controllers.includes('cpuset') ? b.label() : null
    makeFolder(b, cold, folder, fill ?? filled, () => b.jump(fill ?? filled))
    if (fill) inheritCpuset(b, cold, folder, fill)
    b.place(filled)
    if (folder.version === 2) enable(b, cold, folder, neededControllers(paths, writes))
  }
  placeColdPaths(b, cold)
  planLimits(train, paths, writes)
  if (rules) planDeviceRules(train, paths, rules, 'none')
}

/**
 * Plans mkdir of the leaf, and of its parents only if that fails. If the leaf was not made at once it goes on at `other`; `exists` plans
 * what is done about a leaf that exists.
 */
function makeFolder(b: Batch, cold: ColdPaths, folder: CgroupFolder, other: Label, exists: () => void): void {
  const leaf = folderPath(folder)
  const failed = b.label()
  b.about('linux.cgroupsPath')
  const made = mkdirat(b, AT_FDCWD, leaf, 0o755).on(['ENOENT', 'EEXIST'], failed)
  cold.push(() => {
    const there = b.label()
    b.place(failed)
    b.about('linux.cgroupsPath')
    b.branch(made, 'EQUAL', -Errno.EEXIST!, there)
    for (const parent of ancestors(folder.path)) {
      const next = b.label()
      mkdirat(b, AT_FDCWD, folder.mountpoint + parent, 0o755).on(['EEXIST'], next)
      b.place(next)
    }
    mkdirat(b, AT_FDCWD, leaf, 0o755)
    b.jump(other)
    b.place(there)
    exists()
  })
}

/** Plans to refuse a cgroup that has processes in it or is frozen; otherwise goes on at `other`. */
function planRefusal(b: Batch, folder: CgroupFolder, other: Label, refusals: Step[]): void {
  const leaf = folderPath(folder)
  const buffer = b.out(8)
  const empty = b.label()
  const procs = openat(b, AT_FDCWD, `${leaf}/cgroup.procs`, O_RDONLY)
  const count = read(b, procs, buffer)
  close(b, procs)
  b.branch(count, 'EQUAL', 0, empty)
  b.about(`linux.cgroupsPath: the cgroup ${leaf} has processes in it`)
  refusals.push(b.fail('EBUSY'))
  b.place(empty)
  if (folder.version === 2 || folder.controllers.includes('freezer')) {
    const [name, length, word, test] =
      folder.version === 2
        ? (['cgroup.freeze', 1, asciiWord('1'), 'NOT_EQUAL'] as const)
        : (['freezer.state', 4, asciiWord('THAW'), 'EQUAL'] as const)
    b.about('linux.cgroupsPath')
    b.store(64, buffer, 0)
    const state = openat(b, AT_FDCWD, `${leaf}/${name}`, O_RDONLY).on(['ENOENT'], other)
    b.call('read', state, buffer, length)
    close(b, state)
    b.branch(load(buffer, 32), test, word, other)
    b.about(`linux.cgroupsPath: the cgroup ${leaf} is frozen`)
    refusals.push(b.fail('EBUSY'))
  } else b.jump(other)
}

/** Up to four characters as the little-endian word that reading them gives. */
function asciiWord(text: string): number {
  return [...text].reduce((word, character, index) => word | (character.charCodeAt(0) << (8 * index)), 0)
}

/** A list of CPUs or nodes is at most a page long. */
const CPUSET_LIST = 4096
const CPUSET_FILES = ['cpuset.cpus', 'cpuset.mems']

/**
 * A new v1 cpuset has neither CPUs nor memory nodes and takes no process (cpuset(7)): it gets those of its parent. Operations
 * at `fill` do the same for every level that has none.
 */
function inheritCpuset(b: Batch, cold: ColdPaths, folder: CgroupFolder, fill: Label): void {
  const { mountpoint, path } = folder
  const levels = ['', ...ancestors(path), path].map((level) => mountpoint + level)
  const buffer = b.out(CPUSET_LIST)
  const done = b.label()
  b.about('linux.cgroupsPath')
  for (const file of CPUSET_FILES) {
    const parent = openat(b, AT_FDCWD, `${levels.at(-2)}/${file}`, O_RDONLY)
    const count = read(b, parent, buffer)
    close(b, parent)
    // An empty list is a line feed.
    b.branch(count, 'LESS', 2, fill)
    const own = openat(b, AT_FDCWD, `${levels.at(-1)}/${file}`, O_WRONLY)
    b.call('write', own, buffer, count)
    close(b, own)
  }
  b.place(done)
  cold.push(() => {
    b.place(fill)
    b.about('linux.cgroupsPath')
    for (let i = 1; i < levels.length; i++)
      for (const file of CPUSET_FILES) {
        const next = b.label()
        const own = openat(b, AT_FDCWD, `${levels[i]}/${file}`, O_RDWR)
        b.branch(1, 'LESS', read(b, own, buffer), next)
        const parent = openat(b, AT_FDCWD, `${levels[i - 1]}/${file}`, O_RDONLY)
        const count = read(b, parent, buffer)
        close(b, parent)
        b.call('pwrite64', own, buffer, count, 0)
        b.place(next)
        close(b, own)
      }
    b.jump(done)
  })
}

/** The controllers that a v2 container has without asking. */
const USUAL_CONTROLLERS = ['cpuset', 'cpu', 'io', 'memory', 'pids']

/** Controllers to enable above the container's cgroup2. On a hybrid host only those that a limit needs. */
function wantedControllers(paths: CgroupPaths, writes: readonly Write[]): string[] {
  const usual = paths.mode === 'v2' ? USUAL_CONTROLLERS : []
  return [...new Set([...usual, ...neededControllers(paths, writes)])]
}

/** The controllers of the limits that are set on cgroup2. */
const neededControllers = (paths: CgroupPaths, writes: readonly Write[]): string[] => [
  ...new Set(
    writes
      .map(({ controller }) => controller)
      .filter((controller) => controller !== 'cgroup' && folderOf(paths, controller)?.version === 2),
  ),
]

/**
 * Plans to enable controllers in every cgroup from the mount point to the container's parent. One that cannot be enabled is left out: then
 * the limit that needs it finds its file missing, and that is the error.
 */
function enable(b: Batch, cold: ColdPaths, { mountpoint, path }: CgroupFolder, controllers: readonly string[]): void {
  if (controllers.length === 0) return
  for (const level of ['', ...ancestors(path)]) {
    const next = b.label()
    const singly = b.label()
    const written = b.label()
    const fd = openat(b, AT_FDCWD, `${mountpoint}${level}/cgroup.subtree_control`, O_WRONLY).on(ANY, next)
    write(b, fd, controllers.map((name) => `+${name}`).join(' ')).on(ANY, singly)
    b.place(written)
    close(b, fd)
    b.place(next)
    cold.push(() => {
      b.place(singly)
      for (const name of controllers) {
        const tried = b.label()
        write(b, fd, `+${name}`).on(ANY, tried)
        b.place(tried)
      }
      b.jump(written)
    })
  }
}
