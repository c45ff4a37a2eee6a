/** What the tests look up on the host: mounts, control groups, processes. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, rmdirSync, unlinkSync } from 'node:fs'
import { basename, join } from 'node:path'

/** Sleeps without giving up the thread. */
export function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** How many times longer than usual everything may take: in slow guests, RUNT_SPEC_PATIENCE is above 1. */
export const patience = Number(process.env.RUNT_SPEC_PATIENCE || 1)

let share = 1

/** From now on `waitFor` waits for this part of its time: where the condition is known to stay false. */
export function waitForPart(part: number): void {
  share = part
}

/** Waits until `condition` is true; false after `ms`, times `patience`. */
export function waitFor(condition: () => boolean, ms = 5000): boolean {
  const end = Date.now() + ms * patience * share
  while (!condition()) {
    if (Date.now() > end) return false
    sleep(10)
  }
  return true
}

/** One line of mountinfo; see proc_pid_mountinfo(5). */
export interface MountLine {
  id: number
  parent: number
  root: string
  target: string
  options: string[]
  /** Optional fields: `shared:1`, `master:2`, ... */
  tags: string[]
  type: string
  source: string
  superOptions: string[]
}

export function parseMountinfo(text: string): MountLine[] {
  const decode = (word: string) =>
    word.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
  return text
    .split('\n')
    .filter((line) => line.includes(' - '))
    .map((line) => {
      const [left, right] = line.split(' - ') as [string, string]
      const words = left.split(' ')
      const [type, source, superOptions] = right.split(' ') as [string, string, string]
      return {
        id: Number(words[0]),
        parent: Number(words[1]),
        root: decode(words[3]!),
        target: decode(words[4]!),
        options: words[5]!.split(','),
        tags: words.slice(6),
        type,
        source: decode(source),
        superOptions: (superOptions ?? '').split(','),
      }
    })
}

export function mounts(pid: number | 'self' = 'self'): MountLine[] {
  return parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))
}

/** Mount points at or below a directory, deepest last. */
export function mountsBelow(directory: string): string[] {
  return mounts()
    .map((mount) => mount.target)
    .filter((target) => target === directory || target.startsWith(`${directory}/`))
}

/** Where each control group hierarchy is mounted. `controllers` is empty for cgroup2 and for named hierarchies. */
export interface Hierarchy {
  version: 1 | 2
  mount: string
  controllers: string[]
}

const NOT_CONTROLLERS = new Set([
  'rw',
  'ro',
  'xattr',
  'noprefix',
  'clone_children',
  'nsdelegate',
  'memory_recursiveprot',
])

export function hierarchies(): Hierarchy[] {
  return mounts()
    .filter(
      (mount) => (mount.type === 'cgroup' || mount.type === 'cgroup2') && mount.target.startsWith('/sys/fs/cgroup'),
    )
    .map((mount) => ({
      version: mount.type === 'cgroup2' ? 2 : 1,
      mount: mount.target,
      controllers:
        mount.type === 'cgroup2'
          ? []
          : mount.superOptions.filter((option) => !NOT_CONTROLLERS.has(option) && !option.includes('=')),
    }))
}

/** True where cgroup2 is mounted as the only hierarchy. */
export const unified: boolean = hierarchies().every((hierarchy) => hierarchy.version === 2)

/** Whether this is a cgroup2 whose kernel has no controller for a control file (user-mode Linux has no cpuset, say). */
export function lacksController(file: string): boolean {
  if (!unified) return false
  const controllers = readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').trim().split(' ')
  return !controllers.includes(file.split('.')[0]!)
}

/**
 * The control group that a cgroupsPath names, from the root of the hierarchy: itself, or for `slice:prefix:name` that of the scope, or of
 * the slice of that name, which the system's systemd makes (systemd.slice(5)).
 */
export function groupOf(cgroupsPath: string): string {
  const parts = cgroupsPath.split(':')
  if (cgroupsPath.startsWith('/') || parts.length !== 3) return cgroupsPath
  const [slice, prefix, name] = parts as [string, string, string]
  const slicePath = (unit: string): string => {
    const words = unit.slice(0, -'.slice'.length).split('-')
    return words.map((_, index) => `/${words.slice(0, index + 1).join('-')}.slice`).join('')
  }
  return name.endsWith('.slice') ? slicePath(name) : `${slicePath(slice)}/${prefix}-${name}.scope`
}

/** The directory of a cgroupsPath in the hierarchy of a v1 controller, or in the unified one. Null if there is none. */
export function cgroupDirectory(controller: string, cgroupsPath: string): string | null {
  const hierarchy = hierarchies().find((one) => (unified ? one.version === 2 : one.controllers.includes(controller)))
  return hierarchy ? join(hierarchy.mount, groupOf(cgroupsPath)) : null
}

/** Every existing directory of a cgroupsPath, in all hierarchies. */
export function cgroupDirectories(cgroupsPath: string): string[] {
  return hierarchies()
    .map((hierarchy) => join(hierarchy.mount, groupOf(cgroupsPath)))
    .filter((directory) => existsSync(directory))
}

/** Units of systemd whose names begin so, failed ones too. */
export function unitsNamed(prefix: string): string[] {
  const words = ['list-units', '--all', '--plain', '--no-legend', `${prefix}*`]
  const { stdout } = spawnSync('systemctl', words, { encoding: 'utf8' })
  return stdout
    .split('\n')
    .map((line) => line.split(' ')[0]!)
    .filter((name) => name !== '')
}

export interface Process {
  pid: number
  command: string
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** All processes but the kernel's own, which are most of them: children of kthreadd, pid 2 in the first pid namespace. */
export function pids(): number[] {
  const kernels = read('/proc/2/comm') === 'kthreadd\n' ? read('/proc/2/task/2/children').trim().split(' ') : []
  const known = new Set(kernels)
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && !known.has(name))
    .map(Number)
}

/** True if the process exists and is no zombie. */
export function isAlive(pid: number): boolean {
  const status = read(`/proc/${pid}/stat`)
  return status !== '' && !/^\d+ \(.*\) [ZX]/s.test(status)
}

/**
 * Living processes that belong to a test run: those in its control groups, those that inherited its marker
 * in their environment, those whose root directory or executable lies below `directory`.
 */
export function processesOf(marker: string, cgroup: string, directory: string): Process[] {
  const found: Process[] = []
  for (const pid of pids()) {
    if (pid === process.pid || pid === process.ppid) continue
    let root = ''
    try {
      root = readlinkSync(`/proc/${pid}/root`)
    } catch {}
    const ours =
      root.startsWith(`${directory}/`) ||
      read(`/proc/${pid}/cgroup`).includes(`${cgroup}/`) ||
      read(`/proc/${pid}/environ`).split('\0').includes(marker)
    if (ours && isAlive(pid)) {
      found.push({ pid, command: read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() })
    }
  }
  return found
}

/** Removes a control group and those below it, in all hierarchies. */
export function removeCgroups(path: string): void {
  const remove = (directory: string): void => {
    if (!existsSync(directory)) return
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (entry.isDirectory()) remove(join(directory, entry.name))
    }
    try {
      rmdirSync(directory)
    } catch {}
  }
  for (const directory of cgroupDirectories(path)) remove(directory)
}

/** Unmounts everything below a directory, then removes it. Never leaves the file system it starts on. */
export function removeTree(directory: string): void {
  const targets = mountsBelow(directory)
  for (const target of targets.reverse()) spawnSync('umount', ['-l', target])
  if (targets.length > 0 && mountsBelow(directory).length > 0) return
  try {
    removeFolder(directory, lstatSync(directory).dev)
  } catch {
    // What is too deep for a path, has a strange name, or is gone: rm knows. It is not asked at once, for a process takes longer than all else.
    execFileSync('rm', ['-rf', '--one-file-system', directory])
  }
}

function removeFolder(directory: string, device: number): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (!entry.isDirectory()) unlinkSync(path)
    else if (lstatSync(path).dev === device) removeFolder(path, device)
  }
  rmdirSync(directory)
}

/** Ends what a test file left behind: processes, control groups, mounts, files. */
export function sweep(marker: string, cgroup: string, directory: string): void {
  for (const file of cgroupDirectories(cgroup).flatMap((d) => [
    join(d, 'freezer.state'),
    ...children(d, 'freezer.state'),
  ])) {
    if (existsSync(file)) spawnSync('sh', ['-c', 'echo THAWED > "$0"', file])
  }
  for (const { pid } of processesOf(marker, cgroup, directory)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {}
  }
  waitFor(() => processesOf(marker, cgroup, directory).length === 0, 2000)
  // With a slice its scopes go.
  if (cgroup.endsWith('.slice')) spawnSync('systemctl', ['stop', basename(cgroup)])
  removeCgroups(cgroup)
  removeTree(directory)
}

function children(directory: string, file: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(directory, entry.name, file))
}
