/** Words of `mounts[].options` (config.md, "Linux mount options") and what they mean to the descriptor-based mount calls. */
import * as k from '../linux/constants.ts'

/** What the options of one mount come to. */
export interface MountOptions {
  /** 'bind' or 'rbind' when one of the words was given. */
  bind: 'bind' | 'rbind' | null
  /** MOUNT_ATTR_ flags of this mount. */
  set: number
  clear: number
  /** The same for this mount and all below it (the words with r in front). */
  recursiveSet: number
  recursiveClear: number
  /** MS_SHARED and so on, each with MS_REC if recursive, in the order given. */
  propagation: number[]
  /** Parameters of the file system, as fsconfig(2) takes them: key, or key and value. */
  data: [string, string?][]
  tmpcopyup: boolean
  remount: boolean
  idmap: 'idmap' | 'ridmap' | null
}

/** A table without the names that every object has: words come from the user. */
const table = <T>(entries: Record<string, T>): Record<string, T> => Object.assign(Object.create(null), entries)

const atime = (flag: number): [number, number] => [flag, k.MOUNT_ATTR__ATIME]

/** Attributes of a mount: word → [set, clear]. With an r in front they hold for the whole tree. */
const attributes = table<[number, number]>({
  ro: [k.MOUNT_ATTR_RDONLY, 0],
  rw: [0, k.MOUNT_ATTR_RDONLY],
  nosuid: [k.MOUNT_ATTR_NOSUID, 0],
  suid: [0, k.MOUNT_ATTR_NOSUID],
  nodev: [k.MOUNT_ATTR_NODEV, 0],
  dev: [0, k.MOUNT_ATTR_NODEV],
  noexec: [k.MOUNT_ATTR_NOEXEC, 0],
  exec: [0, k.MOUNT_ATTR_NOEXEC],
  nodiratime: [k.MOUNT_ATTR_NODIRATIME, 0],
  diratime: [0, k.MOUNT_ATTR_NODIRATIME],
  nosymfollow: [k.MOUNT_ATTR_NOSYMFOLLOW, 0],
  symfollow: [0, k.MOUNT_ATTR_NOSYMFOLLOW],
  noatime: atime(k.MOUNT_ATTR_NOATIME),
  relatime: atime(k.MOUNT_ATTR_RELATIME),
  strictatime: atime(k.MOUNT_ATTR_STRICTATIME),
  atime: atime(k.MOUNT_ATTR_RELATIME),
  norelatime: atime(k.MOUNT_ATTR_STRICTATIME),
  nostrictatime: atime(k.MOUNT_ATTR_RELATIME),
})

const propagations = table<number>({
  shared: k.MS_SHARED,
  rshared: k.MS_SHARED | k.MS_REC,
  slave: k.MS_SLAVE,
  rslave: k.MS_SLAVE | k.MS_REC,
  private: k.MS_PRIVATE,
  rprivate: k.MS_PRIVATE | k.MS_REC,
  unbindable: k.MS_UNBINDABLE,
  runbindable: k.MS_UNBINDABLE | k.MS_REC,
})

/** Parameters that the kernel takes for every file system. */
const superblockWords = table<string>({
  sync: 'sync',
  async: 'async',
  dirsync: 'dirsync',
  lazytime: 'lazytime',
  nolazytime: 'nolazytime',
  mand: 'mand',
  nomand: 'nomand',
  iversion: 'iversion',
  noiversion: 'noiversion',
})

/** Words that ask for what is so anyway. */
const empty = new Set(['defaults', 'silent', 'loud', '', 'norecursive'])

/** Value of `linux.rootfsPropagation`, or of a propagation word of a mount; undefined for any other word. */
export function propagationFlag(word: string): number | undefined {
  return propagations[word]
}

/** Every word that runt acts on by itself, for `features`. */
export function knownMountOptions(): string[] {
  return [
    ...Object.keys(attributes),
    ...Object.keys(attributes).map((word) => `r${word}`),
    ...Object.keys(propagations),
    ...Object.keys(superblockWords),
    'bind',
    'rbind',
    'defaults',
    'tmpcopyup',
  ].sort()
}

/** Reads the words. Those unknown here are parameters of the file system. */
export function readMountOptions(words: readonly string[]): MountOptions {
  const options: MountOptions = {
    bind: null,
    set: 0,
    clear: 0,
    recursiveSet: 0,
    recursiveClear: 0,
    propagation: [],
    data: [],
    tmpcopyup: false,
    remount: false,
    idmap: null,
  }
  for (const word of words) {
    const attribute = attributes[word]
    if (attribute) {
      options.clear = (options.clear | attribute[1]) & ~(attribute[0] & ~k.MOUNT_ATTR__ATIME)
      options.set = (options.set & ~attribute[1]) | attribute[0]
    } else if (word in propagations) options.propagation.push(propagations[word]!)
    else if (word === 'bind' || word === 'rbind') options.bind = word
    else if (word === 'tmpcopyup') options.tmpcopyup = true
    else if (word === 'remount') options.remount = true
    else if (word === 'idmap' || word === 'ridmap') options.idmap = word
    else if (word in superblockWords) options.data.push([superblockWords[word]!])
    else if (empty.has(word)) continue
    else {
      const recursive = word.startsWith('r') ? attributes[word.slice(1)] : undefined
      if (recursive) {
        options.recursiveClear = (options.recursiveClear | recursive[1]) & ~(recursive[0] & ~k.MOUNT_ATTR__ATIME)
        options.recursiveSet = (options.recursiveSet & ~recursive[1]) | recursive[0]
        continue
      }
      const equals = word.indexOf('=')
      options.data.push(equals < 0 ? [word] : [word.slice(0, equals), word.slice(equals + 1)])
    }
  }
  return options
}
