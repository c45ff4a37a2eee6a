/**
 * Words of `mounts[].options` (config.md, "Linux mount options"; mount(8), "Filesystem-independent mount options") and what they mean
 * to the descriptor-based mount calls. Where words contradict each other the last one counts.
 */
import * as k from '../linux/constants.ts'

/** What the options of one mount come to. */
export interface MountOptions {
  /** 'bind' or 'rbind' when one of the words was given. */
  bind: 'bind' | 'rbind' | null
  /** Change the mount that is there instead of making one. */
  remount: boolean
  /** MOUNT_ATTR_ flags of this mount. */
  set: number
  clear: number
  /** The same for this mount and all below it (the words with r in front). */
  recursiveSet: number
  recursiveClear: number
  /** MS_SHARED and so on, each with MS_REC if recursive, in the order given. */
  propagation: number[]
  /** Flags that every file system has, as fsconfig(2) takes them. */
  superblock: string[]
  /** MS_ flags of file systems that only mount(2) takes. */
  mountFlags: number
  /** Parameters of the file system, as fsconfig(2) takes them: key, or key and value. */
  data: [string, string?][]
  /** A tmpfs begins with what the destination holds. */
  tmpcopyup: boolean
  /** crun: where the source is a symbolic link, the destination becomes the same link. */
  copySymlink: boolean
  /** crun: a source, or a destination, that is a symbolic link stands for itself. */
  sourceNofollow: boolean
  targetNofollow: boolean
  /** The ids of the mount are mapped: by the mount's mappings, those given here, or the container's. */
  idmap: Idmap | null
}

export interface Idmap {
  recursive: boolean
  /** What stands behind `idmap=`. */
  text: string | null
}

/** A table without the names that every object has: words come from the user. */
const table = <T>(entries: Record<string, T>): Record<string, T> => Object.assign(Object.create(null), entries)

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
})

/** The access times that a mount records: one of three. */
const accessTimes = table<number>({
  noatime: k.MOUNT_ATTR_NOATIME,
  relatime: k.MOUNT_ATTR_RELATIME,
  strictatime: k.MOUNT_ATTR_STRICTATIME,
})

/** Words that undo one of them; what is left is the kernel's default, relatime. */
const accessTimesUndone = table<number>({
  atime: k.MOUNT_ATTR_NOATIME,
  norelatime: k.MOUNT_ATTR_RELATIME,
  nostrictatime: k.MOUNT_ATTR_STRICTATIME,
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

/** Flags that every file system has: word → what it contradicts. fs/fs_context.c knows the same words. */
const superblockWords = table<string>({
  sync: 'async',
  async: 'sync',
  dirsync: '',
  lazytime: 'nolazytime',
  nolazytime: 'lazytime',
  mand: 'nomand',
  nomand: 'mand',
})

/** Flags of file systems without a word in fsconfig(2): word → [set, clear] for mount(2). */
const mountOnly = table<[number, number]>({
  iversion: [k.MS_I_VERSION, 0],
  noiversion: [0, k.MS_I_VERSION],
  silent: [k.MS_SILENT, 0],
  loud: [0, k.MS_SILENT],
})

/** Words that stand for something else than a flag. */
const special = table<(options: MountOptions) => void>({
  bind: (options) => {
    options.bind = 'bind'
  },
  rbind: (options) => {
    options.bind = 'rbind'
  },
  remount: (options) => {
    options.remount = true
  },
  defaults: () => {},
  tmpcopyup: (options) => {
    options.tmpcopyup = true
  },
  'copy-symlink': (options) => {
    options.copySymlink = true
  },
  'src-nofollow': (options) => {
    options.sourceNofollow = true
  },
  'dest-nofollow': (options) => {
    options.targetNofollow = true
  },
  idmap: (options) => {
    options.idmap = { recursive: false, text: null }
  },
  ridmap: (options) => {
    options.idmap = { recursive: true, text: null }
  },
})

/**
 * What others should have kept to themselves: words of mount(8), for /etc/fstab and its other readers; `copy` and `nocopy`, of podman's
 * volumes, which podman passes on.
 */
const forOthers = /^(auto|noauto|nofail|_netdev|comment=.*|[xX]-.*|copy|nocopy)?$/

/** `idmap=uids=0-1-10;gids=0-1-10`, of crun; other values belong to a file system. */
const idmapText = /^idmap=((?:uids|gids)=.*)$/

/** Value of `linux.rootfsPropagation`, or of a propagation word of a mount; undefined for any other word. */
export function propagationFlag(word: string): number | undefined {
  return propagations[word]
}

/** Every word that runt acts on by itself, for `features`. */
export function knownMountOptions(): string[] {
  const recursive = [attributes, accessTimes, accessTimesUndone].flatMap((words) => Object.keys(words))
  return [
    ...recursive,
    ...recursive.map((word) => `r${word}`),
    ...[propagations, superblockWords, mountOnly, special].flatMap((words) => Object.keys(words)),
  ].sort()
}

/** The flags [set, clear] after one more word; null if it is not one of an attribute. */
function withWord(word: string, set: number, clear: number): [number, number] | null {
  const attribute = attributes[word]
  if (attribute) return [(set & ~attribute[1]) | attribute[0], (clear & ~attribute[0]) | attribute[1]]
  const time = accessTimes[word]
  // mount_setattr(2): who sets one of the three clears the whole field.
  if (time !== undefined) return [(set & ~k.MOUNT_ATTR__ATIME) | time, clear | k.MOUNT_ATTR__ATIME]
  const undone = accessTimesUndone[word]
  if (undone === undefined) return null
  const chosen = clear & k.MOUNT_ATTR__ATIME ? set & k.MOUNT_ATTR__ATIME : null
  if (chosen !== null && chosen !== undone) return [set, clear]
  // Nothing but the default is left to be asked for, so `norelatime` asks for nothing.
  if (undone === k.MOUNT_ATTR_RELATIME) return [set, clear & ~k.MOUNT_ATTR__ATIME]
  return [set & ~k.MOUNT_ATTR__ATIME, clear | k.MOUNT_ATTR__ATIME]
}

/** What was read before: mounts have the same options over and over. */
const known = new Map<string, Readonly<MountOptions>>()

/** Reads the words. Those unknown here are parameters of the file system. */
export function readMountOptions(words: readonly string[]): Readonly<MountOptions> {
  const key = words.join('\0')
  let options = known.get(key)
  if (options === undefined) {
    options = readWords(words)
    known.set(key, options)
  }
  return options
}

function readWords(words: readonly string[]): MountOptions {
  const options: MountOptions = {
    bind: null,
    remount: false,
    set: 0,
    clear: 0,
    recursiveSet: 0,
    recursiveClear: 0,
    propagation: [],
    superblock: [],
    mountFlags: 0,
    data: [],
    tmpcopyup: false,
    copySymlink: false,
    sourceNofollow: false,
    targetNofollow: false,
    idmap: null,
  }
  for (const word of words) readWord(word, options)
  return options
}

function readWord(word: string, options: MountOptions): void {
  const flags = withWord(word, options.set, options.clear)
  if (flags) {
    options.set = flags[0]
    options.clear = flags[1]
    return
  }
  if (word in propagations) {
    options.propagation.push(propagations[word]!)
    return
  }
  const act = special[word]
  if (act) {
    act(options)
    return
  }
  if (word in superblockWords) {
    options.superblock = options.superblock.filter((other) => other !== word && other !== superblockWords[word])
    options.superblock.push(word)
    return
  }
  const only = mountOnly[word]
  if (only) {
    options.mountFlags = (options.mountFlags & ~only[1]) | only[0]
    return
  }
  const recursive = word.startsWith('r') ? withWord(word.slice(1), options.recursiveSet, options.recursiveClear) : null
  if (recursive) {
    options.recursiveSet = recursive[0]
    options.recursiveClear = recursive[1]
    return
  }
  if (forOthers.test(word)) return
  const idmap = idmapText.exec(word)
  if (idmap) {
    options.idmap = { recursive: false, text: idmap[1]! }
    return
  }
  const equals = word.indexOf('=')
  options.data.push(equals < 0 ? [word] : [word.slice(0, equals), word.slice(equals + 1)])
}

/** The options in the form of mount(2): MS_ flags, and what is left as text. */
export function forMount2(options: MountOptions): { flags: number; data: string } {
  const { set, superblock } = options
  const flags =
    (set & (k.MS_RDONLY | k.MS_NOSUID | k.MS_NODEV | k.MS_NOEXEC)) |
    (set & k.MOUNT_ATTR_NOSYMFOLLOW ? k.MS_NOSYMFOLLOW : 0) |
    (set & k.MOUNT_ATTR_NOATIME ? k.MS_NOATIME : 0) |
    (set & k.MOUNT_ATTR_NODIRATIME ? k.MS_NODIRATIME : 0) |
    (set & k.MOUNT_ATTR_STRICTATIME ? k.MS_STRICTATIME : 0) |
    (superblock.includes('sync') ? k.MS_SYNCHRONOUS : 0) |
    (superblock.includes('dirsync') ? k.MS_DIRSYNC : 0) |
    (superblock.includes('mand') ? k.MS_MANDLOCK : 0) |
    (superblock.includes('lazytime') ? k.MS_LAZYTIME : 0) |
    options.mountFlags
  return {
    flags,
    data: options.data.map(([key, value]) => (value === undefined ? key : `${key}=${value}`)).join(','),
  }
}
