/** Where control groups lie on this host, and where a container's own one belongs. */
import { RuntError } from '../base/errors.ts'
import { cleanPath } from '../base/paths.ts'
import type { Address } from '../dbus/address.ts'

/** One mounted hierarchy. */
export interface Hierarchy {
  version: 1 | 2
  /** v1: the controllers mounted together, a named one as `name=systemd`. Empty for cgroup2. */
  controllers: string[]
  mountpoint: string
  /** The runtime's own cgroup as a path below the mount point; `/` is the mount point itself. */
  own: string
}

export interface Layout {
  /** hybrid: v1 controllers and a cgroup2 mount besides. */
  mode: 'v1' | 'hybrid' | 'v2' | 'none'
  hierarchies: Hierarchy[]
}

/** The container's folder in one hierarchy. */
export interface CgroupFolder {
  version: 1 | 2
  controllers: string[]
  mountpoint: string
  /** Below the mount point, starting with a slash; never just `/`. */
  path: string
}

/** What the state keeps (plain JSON). */
export interface CgroupPaths {
  mode: Layout['mode']
  folders: CgroupFolder[]
  /** The unit that it is, where systemd manages it. */
  systemd?: SystemdUnit
}

export interface SystemdUnit {
  /** `runt-ID.scope`, or the name of a slice. */
  unit: string
  /** The slice that it is in. */
  slice: string
  description: string
  /** It is a unit of the user's own systemd. */
  user: boolean
  /** Where that systemd is reached, best first. */
  buses: Address[]
  /** Properties that the config's annotations ask for, as text (GVariant). */
  properties: Record<string, string>
}

/** A mount that the container's `cgroup` mount consists of. */
export interface CgroupMount {
  /** Relative to the destination; '' is the destination itself. */
  folder: string
  /** `bind`: of the folder `source`. `cgroup` and `cgroup2`: a new mount, made inside the container's cgroup namespace. */
  type: 'bind' | 'cgroup' | 'cgroup2'
  /** An absolute path on the host for `bind`; the source that mountinfo shows otherwise. */
  source: string
  /** For `cgroup`: parameters of the file system, such as `cpu`, `cpuacct`, or `name=systemd`. */
  options: string[]
}

export interface CgroupMountPlan {
  /** v1: a tmpfs goes on the destination first; `mounts` name sub-folders to be made on it. */
  tmpfs: boolean
  mounts: CgroupMount[]
  /** v1, on the tmpfs: name of a link and its target, as `cpu` → `cpu,cpuacct`. */
  links: { name: string; target: string }[]
  /** What a mount of the type `cgroup2` shows; by the type `cgroup` it is the whole plan. */
  unified: CgroupMount
}

/** The usual place, preferred when a hierarchy is mounted more than once. */
const USUAL = '/sys/fs/cgroup'

/** Absolute path of a container's folder. */
export const folderPath = (folder: CgroupFolder): string => folder.mountpoint + folder.path

/** Controllers that cgroup2 has no files for, not even others. */
const ONLY_V1 = new Set(['net_cls', 'net_prio'])

/** The folder whose hierarchy has a controller (by its v1 name); the cgroup2 one for what no v1 hierarchy has. */
export function folderOf(paths: CgroupPaths, controller: string): CgroupFolder | undefined {
  let unified: CgroupFolder | undefined
  for (const folder of paths.folders) {
    if (folder.controllers.includes(controller)) return folder
    if (folder.version === 2) unified ??= folder
  }
  return ONLY_V1.has(controller) ? undefined : unified
}

/** The folders above a path: for `/a/b/c` those of `/a` and `/a/b`. */
export function ancestors(path: string): string[] {
  const found: string[] = []
  for (let slash = path.indexOf('/', 1); slash > 0; slash = path.indexOf('/', slash + 1))
    found.push(path.slice(0, slash))
  return found
}

/**
 * Reads /proc/self/mountinfo (proc_pid_mountinfo(5)) and /proc/self/cgroup (cgroups(7)). A mount may show a part of its hierarchy only
 * (in a container without a cgroup namespace); its root is taken into account. A cgroup2 on /sys/fs/cgroup, or one without
 * any v1 controller beside it, makes the host a v2 host; hierarchies without a controller are then left out.
 */
export function detectLayout(mountinfo: string, selfCgroup: string): Layout {
  // By controller; that of cgroup2 by ''. No controller is in two hierarchies.
  const own = new Map<string, { controllers: string[]; path: string }>()
  for (const line of selfCgroup.split('\n')) {
    const start = line.indexOf(':') + 1
    const end = line.indexOf(':/', start)
    if (end < 0) continue
    const names = line.slice(start, end).split(',')
    const group = { controllers: names[0] === '' ? [] : names, path: line.slice(end + 1) }
    for (const name of names) own.set(name, group)
  }
  // By the mount's id. Hosts have hundreds of mounts, most of which are passed over.
  const found = new Map<string, Hierarchy & { target: string }>()
  for (const line of mountinfo.split('\n')) {
    const first = line.indexOf(' ')
    const second = line.indexOf(' ', first + 1)
    const parent = found.get(line.slice(first + 1, second))
    const separator = line.lastIndexOf(' - cgroup')
    if (!parent && separator < 0) continue
    const fields = line.slice(second + 1).split(' ', 3)
    const target = fields[2]!
    // A mount right on top of another one hides it.
    if (parent?.target === target) found.delete(line.slice(first + 1, second))
    const described = separator < 0 ? [] : line.slice(separator + 3).split(' ')
    const type = described[0]
    if (type !== 'cgroup' && type !== 'cgroup2') continue
    const word = type === 'cgroup2' ? '' : described[2]?.split(',').find((name) => own.has(name))
    const group = word === undefined ? undefined : own.get(word)
    if (!group) continue
    found.set(line.slice(0, first), {
      version: type === 'cgroup' ? 1 : 2,
      controllers: group.controllers,
      mountpoint: unescapeOctal(target),
      own: below(group.path, unescapeOctal(fields[1]!)),
      target,
    })
  }
  const chosen = new Map<string, Hierarchy>()
  for (const { version, controllers, mountpoint, own } of found.values()) {
    const key = controllers.join()
    const other = chosen.get(key)
    if (!other || (isUsual(mountpoint) && !isUsual(other.mountpoint)))
      chosen.set(key, { version, controllers, mountpoint, own })
  }
  const hierarchies = [...chosen.values()]
  const unified = chosen.get('')
  const v1 = hierarchies.some(({ controllers }) => controllers.some((name) => !name.startsWith('name=')))
  if (unified && (!v1 || unified.mountpoint === USUAL)) return { mode: 'v2', hierarchies: [unified] }
  return { mode: hierarchies.length === 0 ? 'none' : unified ? 'hybrid' : 'v1', hierarchies }
}

const isUsual = (mountpoint: string): boolean => mountpoint === USUAL || mountpoint.startsWith(`${USUAL}/`)

/** mountinfo writes blanks and backslashes in octal. */
export function unescapeOctal(text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/** A path of /proc/self/cgroup below the root of a mount; `/` for one that the mount does not show. */
function below(path: string, root: string): string {
  const rest = root === '/' ? path : path === root ? '/' : path.startsWith(`${root}/`) ? path.slice(root.length) : '/'
  return rest.startsWith('/..') ? '/' : rest
}

/**
 * The container's folder in each hierarchy (config-linux.md, "Cgroups Path"). An absolute cgroupsPath lies below the
 * mount point. A relative one, or the id where there is none, lies below the runtime's own cgroup; on v2 beside it,
 * because a cgroup with processes cannot hand controllers on. Throws a RuntError for the root itself.
 */
export function locate(layout: Layout, cgroupsPath: string | undefined, id: string): CgroupPaths {
  const absolute = cgroupsPath?.startsWith('/') ?? false
  const wanted = cleanPath(cgroupsPath || id)
  if (wanted === '/')
    throw new RuntError(`linux.cgroupsPath: ${JSON.stringify(cgroupsPath)} is the root, not a cgroup of its own`)
  const folders = layout.hierarchies.map(({ version, controllers, mountpoint, own }): CgroupFolder => {
    const base = absolute ? '/' : layout.mode === 'v2' ? cleanPath(`${own}/..`) : own
    return { version, controllers, mountpoint, path: base === '/' ? wanted : base + wanted }
  })
  return { mode: layout.mode, folders }
}

/**
 * What the container's `cgroup` mount consists of. With a cgroup namespace of its own (`namespaced`) the file systems are mounted
 * anew and show the container's cgroup as their root; without one its folders are bound. On a hybrid host the type `cgroup` shows
 * the v1 hierarchies.
 */
export function mountPlan(paths: CgroupPaths, namespaced: boolean): CgroupMountPlan {
  const second = paths.folders.find(({ version }) => version === 2)
  const unified: CgroupMount =
    namespaced || (!second && paths.mode !== 'v2')
      ? { folder: '', type: 'cgroup2', source: 'cgroup2', options: [] }
      : { folder: '', type: 'bind', source: second ? folderPath(second) : USUAL, options: [] }
  if (paths.mode === 'v2') return { tmpfs: false, mounts: [unified], links: [], unified }
  const plan: CgroupMountPlan = { tmpfs: true, mounts: [], links: [], unified }
  for (const folder of paths.folders) {
    if (folder.version === 2) continue
    const { controllers, mountpoint } = folder
    const name = mountpoint.slice(mountpoint.lastIndexOf('/') + 1)
    plan.mounts.push(
      namespaced
        ? { folder: name, type: 'cgroup', source: 'cgroup', options: controllers }
        : { folder: name, type: 'bind', source: folderPath(folder), options: [] },
    )
    for (const controller of controllers)
      if (controller !== name && !controller.startsWith('name=')) plan.links.push({ name: controller, target: name })
  }
  return plan
}
