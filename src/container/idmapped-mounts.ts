/**
 * Mounts with mapped ids (config.md, "POSIX-platform Mounts"; mount_setattr(2), MOUNT_ATTR_IDMAP). Mapping ids takes CAP_SYS_ADMIN over the
 * file system, which the init of a container with a user namespace does not have. So the stage makes these mounts, detached, while it is
 * still in the caller's namespaces, and the init, which inherits the descriptors, attaches them.
 */
import { RuntError } from '../base/errors.ts'
import type { Config, IdMapping, Mount } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type Arg, Batch, type Step } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Caller, type Held, holdUserNamespace, planRelease } from './id-maps.ts'
import { type MountOptions, readMountOptions } from './mount-options.ts'
import type { Runtime } from './runtime.ts'

/** Where the mapping of a mount comes from: its ranges, or a user namespace that is there. */
export type Source = { uid: readonly IdMapping[]; gid: readonly IdMapping[] } | { path: string }

/** Whether a mount asks for mapped ids, by a quick look. */
export const asksForIdmap = ({ options, uidMappings }: Mount): boolean =>
  (uidMappings !== undefined && uidMappings.length > 0) ||
  (options?.some((word) => word.startsWith('idmap') || word.startsWith('ridmap')) ?? false)

/**
 * Prepares the mounts with mapped ids, in the stage. Returns a descriptor by index of the mount: of a bind mount the detached mount itself,
 * for a new file system the user namespace that maps its ids.
 */
export function prepareIdmapped(runtime: Runtime, config: Config, bundle: string, caller: Caller): Map<number, number> {
  const made = new Map<number, number>()
  const mounts = config.mounts ?? []
  if (!mounts.some(asksForIdmap)) return made
  const held = new Map<string, Held>()
  try {
    const b = new Batch(runtime.platform.machine)
    const steps = new Map<number, Step>()
    mounts.forEach((mount, index) => {
      const options = readMountOptions(mount.options ?? [])
      const about = `mounts[${index}] (${mount.destination})`
      const source = idmapOf(about, mount, options, config)
      if (source === null) return
      steps.set(index, planOne(b, about, mount, options, config, bundle, pathOf(runtime, index, source, held, caller)))
    })
    const answer = runtime.stage.run(b)
    for (const [index, step] of steps) made.set(index, answer.value(step)!)
    return made
  } finally {
    const b = new Batch(runtime.platform.machine)
    for (const one of held.values()) planRelease(b, one)
    runtime.host.recover(b)
  }
}

/** Path of a user namespace with this mapping; equal mappings share one. */
function pathOf(runtime: Runtime, index: number, source: Source, held: Map<string, Held>, caller: Caller): string {
  if ('path' in source) return source.path
  if (caller.uid !== 0)
    throw new RuntError(`mounts[${index}]: id-mapped mounts take the rights of root over their file system`)
  const key = JSON.stringify(source)
  let one = held.get(key)
  if (!one) {
    one = holdUserNamespace(runtime, { field: `mounts[${index}]`, ...source }, caller)
    held.set(key, one)
  }
  return one.path
}

function planOne(
  b: Batch,
  about: string,
  mount: Mount,
  options: MountOptions,
  config: Config,
  bundle: string,
  path: string,
): Step {
  b.about(`${about}: user namespace of the id mapping (${path})`)
  const userns = c.openat(b, k.AT_FDCWD, path, k.O_RDONLY)
  if (mount.type !== 'bind' && options.bind === null) return userns
  if (!mount.source) throw new RuntError(`${about}: a bind mount needs a source`)
  const source = mount.source.startsWith('/') ? mount.source : `${bundle}/${mount.source}`
  const recursive = options.bind === 'bind' ? 0 : k.AT_RECURSIVE
  const nofollow = options.sourceNofollow ? k.AT_SYMLINK_NOFOLLOW : 0
  b.about(`${about}: source ${source}`)
  const tree = c.openTree(b, k.AT_FDCWD, source, k.OPEN_TREE_CLONE | recursive | nofollow)
  planIdmap(b, tree, userns, about, `source ${source}`, options.idmap?.recursive ?? false)
  // A slave: what the container mounts below it must not propagate to the host.
  if (!/^r?shared$/.test(config.linux?.rootfsPropagation ?? ''))
    c.mountSetattr(b, tree, k.AT_RECURSIVE, { propagation: k.MS_SLAVE })
  c.close(b, userns)
  return tree
}

/** Maps the ids of a detached mount, or of its whole tree. */
export function planIdmap(b: Batch, mount: Arg, userns: Arg, about: string, what: string, recursive: boolean): void {
  b.about(`${about}: id mapping of ${what}`)
  c.mountSetattr(b, mount, recursive ? k.AT_RECURSIVE : 0, { set: k.MOUNT_ATTR_IDMAP, userns })
  b.about(about)
}

/** The mapping that an entry asks for; null if none. */
export function idmapOf(about: string, mount: Mount, options: MountOptions, config: Config): Source | null {
  const { uidMappings, gidMappings } = mount
  const field = about.slice(0, about.indexOf(' '))
  if (uidMappings?.length && gidMappings?.length) return { uid: uidMappings, gid: gidMappings }
  if (uidMappings?.length || gidMappings?.length)
    throw new RuntError(`${field}: uidMappings and gidMappings are needed both`)
  const other = options.bind === null ? undefined : options.data.find(([key]) => key === 'idmap' || key === 'ridmap')
  if (other !== undefined)
    // `--mount idmap=true` of podman comes along as it is. Passed over, the ids would be those of the host.
    throw new RuntError(
      `${field}.options: "${other.join('=')}": what goes with a bind mount is "idmap", "ridmap", or "idmap=" with ranges (uids=0-1000-10;gids=0-1000-10)`,
    )
  if (options.idmap === null) return null
  if (options.idmap.text !== null) return parseIdmap(field, options.idmap.text, config)
  const joined = config.linux?.namespaces?.find(({ type }) => type === 'user')
  if (joined?.path) return { path: joined.path }
  const { uidMappings: uid, gidMappings: gid } = config.linux ?? {}
  if (!joined || !uid?.length || !gid?.length)
    throw new RuntError(`${field}.options: "idmap" needs uidMappings and gidMappings, or a user namespace`)
  return { uid, gid }
}

/**
 * The ranges of crun's option `idmap=uids=0-1-10#10-11-10;gids=@0-100-10`: id in the file system, id on the host, length. After a `@` the
 * second is one of the container's user namespace.
 */
function parseIdmap(field: string, text: string, config: Config): Source {
  const lists: Record<string, IdMapping[]> = { uids: [], gids: [] }
  const about = `${field}.options: "idmap=${text}"`
  for (const part of text.split(';')) {
    const [, kind, ranges] = /^(uids|gids)=(.*)$/.exec(part) ?? []
    if (kind === undefined) throw new RuntError(`${about}: ${JSON.stringify(part)} is not uids=… or gids=…`)
    for (const range of ranges!.split('#')) {
      const [, relative, inner, outer, size] = /^(@?)(\d{1,10})-(\d{1,10})-(\d{1,10})$/.exec(range) ?? []
      if (relative === undefined)
        throw new RuntError(`${about}: ${JSON.stringify(range)} is not ID-ID-LENGTH or @ID-ID-LENGTH`)
      const mapping = { containerID: Number(inner), hostID: Number(outer), size: Number(size) }
      if (relative) mapping.hostID = hostId(about, kind, mapping, config)
      lists[kind]!.push(mapping)
    }
  }
  if (!lists.uids!.length || !lists.gids!.length) throw new RuntError(`${about}: uids and gids are needed both`)
  return { uid: lists.uids!, gid: lists.gids! }
}

/** The id on the host of one in the container's user namespace, if all of the range is mapped in one piece. */
function hostId(about: string, kind: string, { hostID: id, size }: IdMapping, config: Config): number {
  const mappings = (kind === 'uids' ? config.linux?.uidMappings : config.linux?.gidMappings) ?? []
  const within = mappings.find((one) => id >= one.containerID && id + size <= one.containerID + one.size)
  if (!within)
    throw new RuntError(
      `${about}: the ids ${id} to ${id + size - 1} of the container lie in no single range of linux.${kind.slice(0, -1)}Mappings`,
    )
  return within.hostID + (id - within.containerID)
}
