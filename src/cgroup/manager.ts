/**
 * The control group of a container in cgroupfs: made, limited, joined, emptied and removed.
 *
 * What is planned into a Batch is for an executor in the host's mount namespace. What takes a Session sends batches of its
 * own; those verbs also work after a failure, for they clean up.
 */
import { decodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { DeviceRule, Resources } from '../config/types.ts'
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  SIGNALS,
} from '../linux/constants.ts'
import { describeErrno, Errno } from '../linux/errno.ts'
import { ANY, at, Batch, type Label, load, type OutPointer, type Step, slot } from '../session/batch.ts'
import { close, kill, mkdirat, openat, read, sleep, unlinkat, write, writeFile } from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { planPrepared } from '../session/templates.ts'
import { allowsAll, deviceProgram, planDeviceLines, planDevices, planReplaceDevices } from './devices.ts'
import { type CgroupFolder, type CgroupPaths, folderPath } from './layout.ts'
import { planWrites, type Write } from './table.ts'

export {
  type CgroupFolder,
  type CgroupMount,
  type CgroupMountPlan,
  type CgroupPaths,
  detectLayout,
  folderPath,
  type Hierarchy,
  type Layout,
  locate,
  mountPlan,
} from './layout.ts'

export interface Made {
  /**
   * The operations that refuse a cgroup in use (`fail`, EBUSY). After a CallError of one of them (`error.isOf`), the
   * cgroup is somebody else's: don't remove it.
   */
  refusals: Step[]
  /**
   * The operations that make the folders. When one of them fails with ENOENT (parents are missing) or EEXIST, `make`
   * is to be planned again with `thorough`, which costs more and minds both.
   */
  attempts: Step[]
  /** Sentences about fields that this host cannot honour. */
  warnings: string[]
}

/** Operations for what seldom happens. They go behind all others, so that the usual way has no jumps. */
type Aside = (() => void)[]

function placeAside(b: Batch, aside: Aside): void {
  if (aside.length > 0) {
    const end = b.label()
    b.jump(end)
    // Blocks may put further blocks aside.
    for (const block of aside) block()
    b.place(end)
  }
  b.about('')
}

/** `/a/b/c`: `/a`, `/a/b`. */
function ancestors(path: string): string[] {
  const found: string[] = []
  for (let slash = path.indexOf('/', 1); slash > 0; slash = path.indexOf('/', slash + 1))
    found.push(path.slice(0, slash))
  return found
}

/** The folder whose hierarchy has a controller (by its v1 name); the cgroup2 one for what no v1 hierarchy has. */
function folderOf(paths: CgroupPaths, controller: string): CgroupFolder | undefined {
  return (
    paths.folders.find(({ controllers }) => controllers.includes(controller)) ??
    paths.folders.find(({ version }) => version === 2)
  )
}

/** The writes that the resources need here. Throws a RuntError for what this host cannot have at all. */
function writesFor(paths: CgroupPaths, resources: Resources, warnings: string[]): Write[] {
  if (resources.unified && Object.keys(resources.unified).length > 0 && paths.mode !== 'v2')
    throw new RuntError('linux.resources.unified: the controllers of this host are not on cgroup v2')
  const writes = planWrites(resources, (controller) => folderOf(paths, controller)?.version ?? 1, warnings)
  return writes.filter(({ field, controller, optional }) => {
    if (folderOf(paths, controller)) return true
    if (!optional)
      throw new RuntError(`linux.resources.${field}: no cgroup hierarchy with the ${controller} controller is mounted`)
    return false
  })
}

/**
 * Makes the container's cgroup with its limits; it can be joined then. Parents that are missing are made too. A cgroup
 * that exists already is taken over if no process is in it and it is not frozen. Without `thorough` both are failures,
 * see `Made.attempts`.
 */
export function make(b: Batch, paths: CgroupPaths, resources: Resources = {}, thorough = false): Made {
  const made: Made = { refusals: [], attempts: [], warnings: [] }
  const aside: Aside = []
  const writes = writesFor(paths, resources, made.warnings)
  for (const folder of paths.folders) {
    const filled = b.label()
    const fill = folder.controllers.includes('cpuset') ? b.label() : null
    if (thorough) makeFolder(b, aside, folder, fill ?? filled, made.refusals)
    else {
      b.about('linux.cgroupsPath')
      made.attempts.push(mkdirat(b, AT_FDCWD, folderPath(folder), 0o755))
    }
    if (fill) inheritCpuset(b, aside, folder, fill)
    b.place(filled)
    if (folder.version === 2) enable(b, aside, folder, wantedControllers(paths, writes))
  }
  planLimits(b, aside, paths, writes)
  const planned = planDeviceRules(b, paths, resources.devices ?? [], thorough ? 'leftovers' : 'none')
  if (!planned && resources.devices?.length)
    made.warnings.push('linux.resources.devices: no devices hierarchy is mounted; the rules are not enforced')
  placeAside(b, aside)
  return made
}

/**
 * Limits only, for a container that is there already; devices excepted. Returns the warnings. Throws a RuntError for what
 * this host cannot have at all.
 */
export function setLimits(b: Batch, paths: CgroupPaths, resources: Resources): string[] {
  const warnings: string[] = []
  const aside: Aside = []
  planLimits(b, aside, paths, writesFor(paths, resources, warnings))
  placeAside(b, aside)
  return warnings
}

/**
 * The device rules of a container that is there already, instead of those it has; on cgroup v2 without a moment between
 * the two. Throws a RuntError where no hierarchy can have any.
 */
export function setDevices(b: Batch, paths: CgroupPaths, rules: readonly DeviceRule[]): void {
  if (!planDeviceRules(b, paths, rules, 'rules'))
    throw new RuntError('linux.resources.devices: no devices hierarchy is mounted')
}

/** False if there is no hierarchy for them. `attached`: what a v2 cgroup may have already. */
function planDeviceRules(
  b: Batch,
  paths: CgroupPaths,
  rules: readonly DeviceRule[],
  attached: 'none' | 'leftovers' | 'rules',
): boolean {
  const folder = folderOf(paths, 'devices')
  if (!folder) return false
  const path = folderPath(folder)
  // Without a program all is allowed. That also works where the kernel or a container around runt forbids BPF.
  const optional = attached !== 'rules' && allowsAll(rules)
  if (folder.version === 1) planDeviceLines(b, folder, rules)
  else if (attached !== 'none') planReplaceDevices(b, path, deviceProgram(rules), optional)
  else if (!optional) planDevices(b, path, deviceProgram(rules))
  return true
}

/** mkdir of the leaf, and only if that fails of its parents. Goes on at `other` when it was not simply made. */
function makeFolder(b: Batch, aside: Aside, folder: CgroupFolder, other: Label, refusals: Step[]): void {
  const leaf = folderPath(folder)
  const failed = b.label()
  b.about('linux.cgroupsPath')
  const made = mkdirat(b, AT_FDCWD, leaf, 0o755).on(['ENOENT', 'EEXIST'], failed)
  aside.push(() => {
    const exists = b.label()
    b.place(failed)
    b.about('linux.cgroupsPath')
    b.branch(made, 'EQUAL', -Errno.EEXIST!, exists)
    for (const parent of ancestors(folder.path)) {
      const next = b.label()
      mkdirat(b, AT_FDCWD, folder.mountpoint + parent, 0o755).on(['EEXIST'], next)
      b.place(next)
    }
    mkdirat(b, AT_FDCWD, leaf, 0o755)
    b.jump(other)

    b.place(exists)
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
  })
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
function inheritCpuset(b: Batch, aside: Aside, folder: CgroupFolder, fill: Label): void {
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
  aside.push(() => {
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
  const wanted = new Set(paths.mode === 'v2' ? USUAL_CONTROLLERS : [])
  for (const { controller } of writes)
    if (controller !== 'cgroup' && folderOf(paths, controller)?.version === 2) wanted.add(controller)
  return [...wanted]
}

/**
 * Hands controllers on from the mount point to the container's parent. What cannot be had is left out: the limit that needs it
 * finds its file missing.
 */
function enable(b: Batch, aside: Aside, { mountpoint, path }: CgroupFolder, controllers: readonly string[]): void {
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
    aside.push(() => {
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

function planLimits(b: Batch, aside: Aside, paths: CgroupPaths, writes: readonly Write[]): void {
  for (const item of writes) planLimit(b, aside, paths, item, writes)
}

function planLimit(b: Batch, aside: Aside, paths: CgroupPaths, item: Write, others: readonly Write[]): void {
  const folder = folderOf(paths, item.controller)!
  const done = b.label()
  const partner = folder.version === 1 ? others.find(({ field }) => field === item.partner) : undefined
  item.files.forEach(({ name, content }, index) => {
    const path = `${folderPath(folder)}/${name}`
    const about = `linux.resources.${item.field}: ${content} written to ${path}`
    const last = index === item.files.length - 1
    const absent = last && item.optional ? done : b.label()
    b.about(about)
    const fd = openat(b, AT_FDCWD, path, O_WRONLY).on(['ENOENT'], absent)
    const written = write(b, fd, content)
    close(b, fd)
    if (partner) {
      const refused = b.label()
      written.on(['EINVAL'], refused)
      aside.push(() => {
        b.place(refused)
        planLimit(b, aside, paths, partner, [])
        b.about(about)
        write(b, fd, content)
        close(b, fd)
        b.jump(done)
      })
    }
    if (!last) {
      b.jump(done)
      b.place(absent)
    } else if (!item.optional)
      aside.push(() => {
        b.place(absent)
        b.about(`${about}: the ${item.controller} controller has no such file there`)
        b.fail('ENOENT')
      })
  })
  b.place(done)
}

/** Moves a process into the container's cgroup; with `version`, only in the hierarchies of that version. */
export function join(b: Batch, paths: CgroupPaths, pid: number, version?: 1 | 2): void {
  for (const folder of paths.folders)
    if (version === undefined || folder.version === version) writePid(b, `${folderPath(folder)}/cgroup.procs`, pid)
  b.about('')
}

/**
 * Moves the executor that performs the batch; a child can join so before the brain knows its pid. It must still see the
 * host's mounts and, in a user namespace, be allowed to open the files.
 *
 * On v1 it moves as a thread, which is all it has: the kernel then need not stop the forks of all processes, for which it
 * would wait for an RCU grace period, that is for milliseconds (cgroup_procs_write_start, Linux 5.15). v2 has no such way
 * but CLONE_INTO_CGROUP.
 */
export function joinSelf(b: Batch, paths: CgroupPaths, version: 1 | 2, scratch: number): void {
  for (const folder of paths.folders) {
    if (folder.version !== version) continue
    const name = folder.controllers.join(',')
    b.about('joining the cgroup')
    openat(b, AT_FDCWD, folderPath(folder), O_PATH | O_DIRECTORY).keep(scratch)
    const key = joinKey(version, name, scratch)
    planPrepared(b, key, () => planJoining(b, version, name, scratch))
  }
  b.about('')
}

/** Key of the template of `planJoining`. */
export const joinKey = (version: 1 | 2, name: string, scratch: number): string => `join ${version} ${name} ${scratch}`

/** Joins the cgroup whose folder is open in slot `scratch`, and closes it. */
export function planJoining(b: Batch, version: 1 | 2, name: string, scratch: number): void {
  b.about(`joining the cgroup${name ? ` (${name})` : ''}`)
  writeFile(b, slot(scratch), version === 1 ? 'tasks' : 'cgroup.procs', '0')
  close(b, slot(scratch))
}

function writePid(b: Batch, path: string, pid: number): void {
  b.about('joining the cgroup')
  writeFile(b, AT_FDCWD, path, String(pid))
}

/** First and longest wait for a cgroup whose processes have just ended, in nanoseconds; the waits double. */
const FIRST_WAIT = 100_000
const LAST_WAIT = FIRST_WAIT * 2 ** 13

/**
 * rmdir of the container's folders, for when nobody is left to look at the results. Waits for processes that are about to
 * be gone, 1.7 s at most for all; ignores errors. Sub-cgroups are not removed and keep their parent.
 */
export function planRemove(b: Batch, paths: CgroupPaths): void {
  const time = b.data(new Struct(16).u64(8, FIRST_WAIT).bytes, '{the wait so far, doubled}')
  const nanoseconds = load(time, 64, 8)
  b.patience += (2 * LAST_WAIT) / 1_000_000
  for (const folder of paths.folders) {
    const path = folderPath(folder)
    const again = b.label()
    const failed = b.label()
    const slept = b.label()
    const next = b.label()
    b.about(`removing the cgroup ${path}`)
    b.place(again)
    const removed = unlinkat(b, AT_FDCWD, path, AT_REMOVEDIR).on(ANY, failed)
    b.jump(next)
    b.place(failed)
    b.branch(removed, 'NOT_EQUAL', -Errno.EBUSY!, next)
    b.branch(LAST_WAIT, 'LESS', nanoseconds, next)
    b.call('nanosleep', time, 0).on(ANY, slept)
    b.place(slept)
    b.store(64, at(time, 8), b.add(nanoseconds, nanoseconds))
    b.jump(again)
    b.place(next)
  }
  b.about('')
}

/** Milliseconds that `remove` waits for a busy cgroup, and `killAll` for processes to end. */
const REMOVE_PATIENCE = 5_000
const KILL_PATIENCE = 10_000
const LONGEST_WAIT = 100

/**
 * Removes the container's cgroup and the cgroups that the container made below it; never anything above or beside it.
 * Folders that are gone already are fine. Throws a RuntError when one is still in use after some seconds.
 */
export function remove(host: Session, machine: Machine, paths: CgroupPaths): void {
  let busy = removeFolders(host, machine, paths.folders.map(folderPath), 0)
  let wait = 0
  for (let waited = 0; busy.length > 0; waited += wait) {
    const below = busy.flatMap((path) => descendants(host, machine, path))
    const left = removeFolders(host, machine, [...below, ...busy], wait)
    busy = busy.filter((path) => left.includes(path))
    if (waited > REMOVE_PATIENCE && busy.length > 0) {
      const inside = busy.flatMap((path) => processesBelow(host, machine, path))
      throw new RuntError(
        `removing the cgroup ${busy[0]}: ${describeErrno(Errno.EBUSY!)}${inside.length > 0 ? `; still in it: ${[...new Set(inside)].join(', ')}` : ''}`,
        'EBUSY',
      )
    }
    wait = Math.min(Math.max(1, 2 * wait), LONGEST_WAIT)
  }
}

/** Folders of one batch, to keep messages small. */
const CHUNK = 200

/** rmdir of each; gives those that are busy. Throws a RuntError for any other failure. */
function removeFolders(host: Session, machine: Machine, folders: readonly string[], wait: number): string[] {
  const busy: string[] = []
  for (let start = 0; start < folders.length; start += CHUNK) {
    const b = new Batch(machine)
    if (wait > 0 && start === 0) sleep(b, wait)
    const steps = folders.slice(start, start + CHUNK).map((path) => {
      const next = b.label()
      b.about(`removing the cgroup ${path}`)
      const step = unlinkat(b, AT_FDCWD, path, AT_REMOVEDIR).on(['ENOENT', 'EBUSY', 'ENOTEMPTY'], next)
      b.place(next)
      return { path, step }
    })
    const answer = host.recover(b)
    for (const { path, step } of steps) {
      const value = answer.value(step)!
      if (value < 0 && value !== -Errno.ENOENT!) busy.push(path)
    }
  }
  return busy
}

/** Bytes of one getdents64(2): some 400 entries of cgroupfs. */
const ENTRIES = 0x4000
const DT_DIR = 4

/** Names of the sub-folders; none if the folder is gone. */
function subfolders(host: Session, machine: Machine, path: string): string[] {
  const names: string[] = []
  let position: bigint | null = 0n
  while (position !== null) {
    const b = new Batch(machine)
    const end = b.label()
    b.about(`listing the cgroup ${path}`)
    const fd = openat(b, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).on(['ENOENT', 'ENODEV'], end)
    if (position !== 0n) b.call('lseek', fd, position, 0)
    const reads = [b.out(ENTRIES), b.out(ENTRIES)].map((buffer) => ({
      buffer,
      step: b.call('getdents64', fd, buffer, ENTRIES).on(['ENOENT'], end),
    }))
    close(b, fd)
    b.place(end)
    const answer = host.recover(b)
    position = null
    for (const { buffer, step } of reads) {
      const count = answer.value(step) ?? 0
      if (count <= 0) return names
      // struct linux_dirent64: d_ino, d_off, d_reclen, d_type, d_name.
      const bytes = answer.bytes(buffer, count)
      const view = new DataView(bytes.buffer, bytes.byteOffset, count)
      for (let entry = 0; entry < count; entry += view.getUint16(entry + 16, true)) {
        position = view.getBigUint64(entry + 8, true)
        if (bytes[entry + 18] !== DT_DIR) continue
        const name = decodeUtf8(bytes.subarray(entry + 19, bytes.indexOf(0, entry + 19)))
        if (name !== '.' && name !== '..') names.push(name)
      }
    }
  }
  return names
}

/** All folders below a cgroup, deepest first. */
function descendants(host: Session, machine: Machine, path: string): string[] {
  const found: string[] = []
  const open = [path]
  for (let folder = open.pop(); folder !== undefined; folder = open.pop())
    for (const name of subfolders(host, machine, folder)) {
      found.push(`${folder}/${name}`)
      open.push(`${folder}/${name}`)
    }
  // A folder is always found before those in it.
  return found.reverse()
}

/** Bytes of pids read at once at first, and if that is not enough. */
const FEW_PIDS = 0x2000
const MANY_PIDS = 0x1_c000
/** The kernel hands out cgroup.procs by pages. */
const PAGE = 4096

/** The pids of one cgroup; some 16,000 at most. None if it is gone or, threaded, has no list. */
function pidsOf(host: Session, machine: Machine, path: string, size = FEW_PIDS): number[] {
  const b = new Batch(machine).about(`listing the processes of the cgroup ${path}`)
  const buffer: OutPointer = b.out(size)
  const start = b.out(8)
  const cursor = b.out(8)
  const loop = b.label()
  const done = b.label()
  const end = b.label()
  const fd = openat(b, AT_FDCWD, `${path}/cgroup.procs`, O_RDONLY).on(ANY, end)
  b.store(64, start, buffer)
  b.store(64, cursor, buffer)
  b.place(loop)
  const count = b.call('read', fd, load(cursor, 64), PAGE).on(ANY, done)
  b.branch(count, 'LESS', 1, done)
  b.store(64, cursor, b.add(load(cursor, 64), count))
  b.branch(load(cursor, 64), 'LESS', at(buffer, size - PAGE + 1), loop)
  b.place(done)
  close(b, fd)
  b.place(end)
  const answer = host.recover(b)
  if (!answer.ok(fd)) return []
  if (answer.value(count)! > 0 && size < MANY_PIDS) return pidsOf(host, machine, path, MANY_PIDS)
  const bytes = answer.bytes(buffer)
  const pids: number[] = []
  let pid = 0
  const length = Number(answer.long(cursor) - answer.long(start))
  for (let i = 0; i < length; i++) {
    const digit = bytes[i]! - 48
    if (digit >= 0) pid = pid * 10 + digit
    else {
      // 0 stands for a process outside of the runtime's pid namespace.
      if (pid > 0) pids.push(pid)
      pid = 0
    }
  }
  return pids
}

function processesBelow(host: Session, machine: Machine, path: string): number[] {
  return [path, ...descendants(host, machine, path)].flatMap((folder) => pidsOf(host, machine, folder))
}

/** The hierarchies in which a process is looked for, best first: those that a container can hardly do without. */
const LOOKED_AT = ['pids', 'devices', 'freezer', 'memory']

/** Pids of the container's processes in the runtime's pid namespace, those in sub-cgroups included. */
export function processes(host: Session, machine: Machine, paths: CgroupPaths): number[] {
  const folder =
    LOOKED_AT.map((name) => folderOf(paths, name)).find((found) => found?.version === 1) ??
    paths.folders.find(({ version }) => version === 2) ??
    paths.folders[0]
  return folder ? processesBelow(host, machine, folderPath(folder)) : []
}

/**
 * SIGKILL to every process of the cgroup until none is left; a frozen v1 cgroup is thawed, for it takes no signals.
 * Throws a RuntError when some are left after some seconds.
 */
export function killAll(host: Session, machine: Machine, paths: CgroupPaths): void {
  const b = new Batch(machine).about('ending the processes of the cgroup')
  for (const folder of paths.folders) {
    // cgroup.kill: Linux 5.14.
    const file = folder.version === 2 ? 'cgroup.kill' : folder.controllers.includes('freezer') ? 'freezer.state' : null
    if (file === null) continue
    const next = b.label()
    const fd = openat(b, AT_FDCWD, `${folderPath(folder)}/${file}`, O_WRONLY).on(ANY, next)
    const written = b.label()
    write(b, fd, folder.version === 2 ? '1' : 'THAWED').on(ANY, written)
    b.place(written)
    close(b, fd)
    b.place(next)
  }
  if (b.count > 0) host.recover(b)
  let wait = 0
  for (let waited = 0; ; waited += wait) {
    const pids = processes(host, machine, paths)
    if (pids.length === 0) return
    if (waited > KILL_PATIENCE)
      throw new RuntError(`processes of the cgroup do not end after SIGKILL: ${pids.slice(0, 20).join(', ')}`)
    wait = Math.min(Math.max(1, 2 * wait), LONGEST_WAIT)
    for (let start = 0; start < pids.length; start += CHUNK) {
      const batch = new Batch(machine).about('ending the processes of the cgroup')
      for (const pid of pids.slice(start, start + CHUNK)) {
        const next = batch.label()
        kill(batch, pid, SIGNALS.KILL!).on(ANY, next)
        batch.place(next)
      }
      if (start + CHUNK >= pids.length) sleep(batch, wait)
      host.recover(batch)
    }
  }
}
