/**
 * `linux.intelRdt` (config-linux.md, "IntelRdt"): shares of cache and memory bandwidth, through the file system resctrl (the kernel's
 * Documentation/filesystems/resctrl.rst). A class of service is a folder; who is in it stands in `tasks`, what it gets in `schemata`.
 */
import { RuntError } from '../base/errors.ts'
import { unescapeOctal } from '../cgroup/layout.ts'
import { show } from '../config/checks.ts'
import type { IntelRdt } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { CallError } from '../session/session.ts'
import { readText } from './files.ts'
import type { Runtime } from './runtime.ts'

const FIELD = 'linux.intelRdt'

/** What a container has in resctrl; kept in its state. Paths on the host. */
export interface RdtGroups {
  /** Folders that processes of the container belong to: the class, and the monitoring group if there is one. */
  joined: string[]
  /** Folders that were made for it and go with it, innermost first. */
  made: string[]
}

/** Where resctrl is mounted, from the text of mountinfo. Throws a RuntError where it is not. */
export function findResctrl(mountinfo: string): string {
  for (const line of mountinfo.split('\n')) {
    const separator = line.indexOf(' - ')
    if (separator >= 0 && line.startsWith('resctrl ', separator + 3))
      return unescapeOctal(line.slice(0, separator).split(' ')[4]!)
  }
  throw new RuntError(`${FIELD}: no file system of type resctrl is mounted (mount -t resctrl resctrl /sys/fs/resctrl)`)
}

/**
 * Puts the process `pid` into its class of service, and makes that if it is to be made. `groups` says at any time what there is to be
 * taken back. The host does it.
 */
export function applyRdt(
  runtime: Runtime,
  rdt: IntelRdt,
  root: string,
  id: string,
  pid: number,
  groups: RdtGroups,
): void {
  const folder = rdt.closID === '/' ? root : `${root}/${rdt.closID || id}`
  const lines = schemataOf(rdt)
  const made = prepareClass(runtime, rdt, root, folder, lines, groups)
  if (made || !rdt.closID) for (const line of lines) writeLine(runtime, root, folder, line)
  groups.joined.push(folder)
  if (rdt.enableMonitoring) {
    const monitor = `${folder}/mon_groups/${id}`
    if (!makeFolder(runtime, root, monitor))
      throw new RuntError(
        `${FIELD}.enableMonitoring: ${monitor} is there already, and not for this container`,
        'EEXIST',
      )
    groups.made.unshift(monitor)
    groups.joined.push(monitor)
  }
  joinRdt(runtime, groups, pid)
}

/** What is written to `schemata`, in this order and one by one: a later piece may change what an earlier one has set. */
function schemataOf({ l3CacheSchema, memBwSchema, schemata = [] }: IntelRdt): string[] {
  return [l3CacheSchema, memBwSchema, schemata.join('\n')].filter((line): line is string => !!line)
}

/** Makes or checks the folder of the class. Says whether it was made. */
function prepareClass(
  runtime: Runtime,
  { closID }: IntelRdt,
  root: string,
  folder: string,
  lines: readonly string[],
  groups: RdtGroups,
): boolean {
  if (folder !== root && (!closID || lines.length > 0) && makeFolder(runtime, root, folder)) {
    // A class with a name of its own may be shared, and stays.
    if (!closID) groups.made.push(folder)
    return true
  }
  if (!closID) return false
  const there = readText(runtime.host, runtime.platform.machine, `${folder}/schemata`)
  if (there === null)
    throw new RuntError(`${FIELD}.closID: ${folder} is missing; without a schema it has to be there already`, 'ENOENT')
  const other = differingLine(there, lines, granularity(runtime, root))
  if (other !== undefined)
    throw new RuntError(
      `${FIELD}: ${show(other)} is not what ${folder}/schemata says; a class that is there is not changed`,
    )
  return false
}

/** Says whether the folder was made: it may have been there. */
function makeFolder(runtime: Runtime, root: string, path: string): boolean {
  const b = new Batch(runtime.platform.machine).about(`${FIELD} (${path})`)
  const there = b.label()
  const made = c.mkdirat(b, k.AT_FDCWD, path, 0o755).on(['EEXIST'], there)
  b.place(there)
  return (perform(runtime, root, b).value(made) ?? -1) === 0
}

function writeLine(runtime: Runtime, root: string, folder: string, line: string): void {
  const b = new Batch(runtime.platform.machine).about(`${FIELD} (${folder}/schemata): ${show(line)}`)
  c.writeFile(b, k.AT_FDCWD, `${folder}/schemata`, `${line}\n`)
  perform(runtime, root, b)
}

/** Runs a batch on the host. The kernel says more of what it refuses in a file. */
function perform({ host, platform }: Runtime, root: string, b: Batch): ReturnType<typeof host.run> {
  try {
    return host.run(b)
  } catch (error) {
    if (!(error instanceof CallError)) throw error
    host.recover(new Batch(platform.machine))
    const status = readText(host, platform.machine, `${root}/info/last_cmd_status`)?.trim()
    throw status && status !== 'ok'
      ? new RuntError(`${error.message}: ${status.replaceAll('\n', ' ')}`, error.errno)
      : error
  }
}

/** Adds a process to the groups of its container. */
export function joinRdt({ host, platform }: Runtime, { joined }: RdtGroups, pid: number): void {
  const b = new Batch(platform.machine)
  for (const folder of joined) {
    b.about(`${FIELD} (${folder}/tasks)`)
    c.writeFile(b, k.AT_FDCWD, `${folder}/tasks`, String(pid))
  }
  host.run(b)
}

/** What `changeRdt` has changed; `restoreRdt` takes it back. */
export interface RdtChange {
  root: string
  folder: string
  /** The text of `schemata` before; null where the class was made. */
  before: string | null
}

/**
 * Gives the class of a container other schemata. A container without one gets a class with its name, for the processes `pids`, and
 * `groups` then says so. All is changed, or nothing.
 */
export function changeRdt(
  runtime: Runtime,
  schemata: Pick<IntelRdt, 'l3CacheSchema' | 'memBwSchema'>,
  id: string,
  pids: readonly number[],
  groups: RdtGroups,
): RdtChange {
  const { host, platform } = runtime
  const root = findResctrl(readText(host, platform.machine, '/proc/self/mountinfo') ?? '')
  // The class comes before the monitoring group.
  const folder = groups.joined[0] ?? `${root}/${id}`
  const before = groups.joined.length > 0 ? readText(host, platform.machine, `${folder}/schemata`) : null
  const change = { root, folder, before }
  try {
    if (groups.joined.length === 0) joinNew(runtime, root, folder, pids, groups)
    for (const line of schemataOf(schemata)) writeLine(runtime, root, folder, line)
  } catch (error) {
    restoreRdt(runtime, change, groups)
    throw error
  }
  return change
}

/** Processes may end meanwhile. */
function joinNew(runtime: Runtime, root: string, folder: string, pids: readonly number[], groups: RdtGroups): void {
  const { host, platform } = runtime
  if (makeFolder(runtime, root, folder)) groups.made.push(folder)
  groups.joined.push(folder)
  for (const pid of pids) {
    const b = new Batch(platform.machine).about(`${FIELD} (${folder}/tasks)`)
    const gone = b.label()
    const tasks = c.openat(b, k.AT_FDCWD, `${folder}/tasks`, k.O_WRONLY)
    c.write(b, tasks, String(pid)).on(['ESRCH'], gone)
    b.place(gone)
    c.close(b, tasks)
    host.run(b)
  }
}

/** As well as it can be done: the error that is on its way says more. */
export function restoreRdt(runtime: Runtime, { root, folder, before }: RdtChange, groups: RdtGroups): void {
  try {
    runtime.host.recover(new Batch(runtime.platform.machine))
    const lines = before?.split('\n') ?? []
    for (const line of lines) if (line.trim() !== '') writeLine(runtime, root, folder, line.trim())
    if (before !== null) return
    const b = new Batch(runtime.platform.machine)
    planRemoveRdt(b, groups)
    runtime.host.run(b)
  } catch (error) {
    if (!(error instanceof RuntError)) throw error
    runtime.host.recover(new Batch(runtime.platform.machine))
    runtime.warn(`taking back what was changed: ${error.message}`)
  }
}

/** Removes what was made for a container. */
export function planRemoveRdt(b: Batch, { made }: RdtGroups): void {
  for (const folder of made) {
    const gone = b.label()
    b.about(`${FIELD} (${folder})`)
    c.unlinkat(b, k.AT_FDCWD, folder, k.AT_REMOVEDIR).on(['ENOENT'], gone)
    b.place(gone)
  }
}

/** Percents of memory bandwidth come in steps, and the kernel rounds up to them; 1 where it does not say. */
function granularity({ host, platform }: Runtime, root: string): number {
  return Number(readText(host, platform.machine, `${root}/info/MB/bandwidth_gran`) ?? 1) || 1
}

/** `L3` and `0=ff;1=f` of `L3:0=ff;1=f`; undefined for what is no schema. */
function partsOf(line: string): { resource: string; values: Map<string, string> } | undefined {
  const [resource, list] = line.trim().split(':', 2)
  if (resource === undefined || list === undefined) return undefined
  const values = new Map<string, string>()
  for (const entry of list.split(';')) {
    const [domain, value] = entry.split('=', 2)
    if (domain !== undefined && value !== undefined) values.set(String(Number(domain)), value.trim().toLowerCase())
  }
  return { resource: resource.trim(), values }
}

/**
 * The first line that asks for something else than the text of a `schemata` file says. Bit masks are compared as numbers of base 16,
 * bandwidths as those that the kernel makes of them. Domains that are not asked for may have any value.
 */
export function differingLine(there: string, wanted: readonly string[], step: number): string | undefined {
  const present = new Map<string, Map<string, string>>()
  for (const line of there.split('\n')) {
    const parts = partsOf(line)
    if (parts) present.set(parts.resource, parts.values)
  }
  const normal = (resource: string, value: string | undefined): string | undefined => {
    if (value === undefined) return undefined
    if (resource !== 'MB') return value.replace(/^0x/, '').replace(/^0+(?=.)/, '')
    return String(Math.ceil(Number(value) / step) * step)
  }
  return wanted
    .flatMap((lines) => lines.split('\n'))
    .find((line) => {
      const parts = partsOf(line)
      if (!parts) return true
      const { resource, values } = parts
      return [...values].some(
        ([domain, value]) => normal(resource, value) !== normal(resource, present.get(resource)?.get(domain)),
      )
    })
}
