/**
 * What weak.ts takes out: pieces of the source that are a defence, and what they become. A piece that is not found exactly as often as
 * expected is an error, so that the table follows the source; scripts/weakenings.test.ts looks without a guest.
 */

interface Piece {
  /** Below src. */
  file: string
  /** An expression, and what it becomes. */
  from: string
  to: string
  /** How often it is there; once. */
  times?: number
}

const NONE = 'undefined'

/** By name: what is taken out. */
export const weakenings = {
  seals: [{ file: 'container/spawn-stage.ts', from: 'k.F_SEAL_WRITE', to: '0' }],
  'paths in the root': [
    {
      file: 'session/calls.ts',
      from: 'openat2(b, root, path, flags, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS | resolve)',
      to: "openat2(b, root, '.' + path, flags, resolve)",
    },
  ],
  'mounts by descriptor': [
    {
      file: 'container/mount-attach.ts',
      from: 'c.attachMount(b, MOUNT, TARGET)',
      to: "(c.fchdir(b, slot(InitSlot.ROOT)), b.call('move_mount', MOUNT, '', k.AT_FDCWD, '.' + destination, k.MOVE_MOUNT_F_EMPTY_PATH | 0x10))",
    },
    {
      file: 'container/paths.ts',
      from: 'c.openInRoot(b, root, part, k.O_PATH | k.O_DIRECTORY, resolve)',
      to: 'c.openInRoot(b, root, part, k.O_PATH | k.O_DIRECTORY, resolve | k.RESOLVE_NO_SYMLINKS)',
    },
  ],
  'folders by descriptor': [
    {
      file: 'container/paths.ts',
      from: 'c.mkdirat(b, above, part, 0o755)',
      to: "c.mkdirat(b, root, '.' + prefix, 0o755)",
      times: 2,
    },
  ],
  'working folder': [
    {
      file: 'container/process.ts',
      from: 'makeFolder(b, wanted.cwd, InitSlot.TARGET)',
      to: 'c.openat(b, k.AT_FDCWD, wanted.cwd, k.O_PATH).keep(InitSlot.TARGET)',
    },
  ],
  'working folder of an exec': [
    {
      file: 'container/process.ts',
      from: 'makeFolder(b, wanted.cwd, InitSlot.TARGET)',
      to: 'c.openat(b, k.AT_FDCWD, wanted.cwd, k.O_PATH).keep(InitSlot.TARGET)',
    },
    {
      file: 'container/spawn-stage.ts',
      from: "b.call('close_range', 3 + preserved, 0xffff_ffff, k.CLOSE_RANGE_CLOEXEC)",
      to: NONE,
    },
    {
      file: 'container/exec.ts',
      from: 'c.openInRoot(b, root, cwd, k.O_PATH | k.O_DIRECTORY)',
      to: 'c.openat(b, k.AT_FDCWD, cwd, k.O_PATH | k.O_DIRECTORY)',
    },
  ],
  'cgroup namespace': [
    {
      file: 'container/create.ts',
      from: "c.unshare(train.next('new namespaces (cgroup)'), k.CLONE_NEWCGROUP)",
      to: NONE,
    },
  ],
  holes: [{ file: 'container/copy-up.ts', from: 'b.add(hole, b.negate(data))', to: '0x7fff_f000' }],
  'closed descriptors': [
    {
      file: 'session/calls.ts',
      from: "b.call('openat', dir, path, k.openFlags(flags | k.O_CLOEXEC, b.machine), mode)",
      to: "b.call('openat', dir, path, k.openFlags(flags, b.machine), mode)",
    },
    {
      file: 'container/process.ts',
      from: "b.call('close_range', 3 + preserve, 0xffff_ffff, k.CLOSE_RANGE_CLOEXEC)",
      to: NONE,
    },
  ],
  'old root': [
    { file: 'container/rootfs.ts', from: 'c.close(b, slot(InitSlot.OLD_ROOT))', to: NONE },
    // The second line of defence.
    {
      file: 'container/park.ts',
      from: "b.call('close_range', first, next - 1, 0).on(['EINVAL'], empty)",
      to: "b.call('close_range', first, next - 1, 4).on(['EINVAL'], empty)",
    },
  ],
  dumpable: ['namespaces', 'visibility', 'enter'].map((name) => ({
    file: `container/${name}.ts`,
    from: 'c.prctl(b, k.PR_SET_DUMPABLE, 0)',
    to: 'c.prctl(b, k.PR_SET_DUMPABLE, 1)',
  })),
  'procfs on real folders': [{ file: 'container/proc-guard.ts', from: 'k.RESOLVE_NO_SYMLINKS', to: '0' }],
  'procfs uncovered': [
    {
      file: 'container/mount-entry.ts',
      from: "refuseProc(about, destination, mount.type === 'proc' || bind || options.remount)",
      to: NONE,
    },
    { file: 'container/mount-bind.ts', from: 'planDemandProc(b, about, source)', to: NONE },
    ...['mounts', 'mount-attach', 'mount-bind', 'mount-file-system'].map((name) => ({
      file: `container/${name}.ts`,
      from: 'planRefuseProc(b, about, destination)',
      to: NONE,
    })),
  ],
  'real procfs': [
    {
      file: 'container/labels.ts',
      from: "b.branch(load(status, 64), 'NOT_EQUAL', k.PROC_SUPER_MAGIC, other)",
      to: NONE,
    },
    {
      file: 'container/labels.ts',
      from: "b.branch(load(status, 64, k.STX_INO), 'EQUAL', PROC_ROOT, ready)",
      to: 'b.jump(ready)',
    },
    { file: 'container/labels.ts', from: 'k.RESOLVE_NO_XDEV | k.RESOLVE_NO_MAGICLINKS', to: '0' },
  ],
  '/dev/null of the host': [
    {
      file: 'container/masked-paths.ts',
      from: 'slot(InitSlot.NULL)',
      to: "c.openInRoot(b, ROOT, '/dev/null', k.O_PATH)",
    },
    { file: 'container/devices.ts', from: 'planDemandDevice(b, name, mode & k.S_IFMT, major, minor, about)', to: NONE },
  ],
  'a device in joined mounts': [{ file: 'container/rootfs.ts', from: "joinsNamespace(config, 'mount')", to: 'false' }],
  'sysctls in procfs': [{ file: 'container/sysctls.ts', from: "joinsNamespace(config, 'mount')", to: 'false' }],
  'console itself': [
    { file: 'container/terminal.ts', from: 'k.O_PATH | k.O_NOFOLLOW', to: 'k.O_PATH' },
    {
      file: 'container/terminal.ts',
      from: 'k.O_RDONLY | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW',
      to: 'k.O_RDONLY | k.O_CREAT',
    },
  ],
  'mount attributes': [
    {
      file: 'container/mount-bind.ts',
      from: 'c.mountSetattr(b, MOUNT, 0, { set: options.set, clear: options.clear })',
      to: NONE,
    },
  ],
  'opening without waiting': [
    { file: 'container/process.ts', from: 'k.O_RDONLY | k.O_NONBLOCK | k.O_NOCTTY', to: 'k.O_RDONLY' },
    { file: 'container/process.ts', from: 'k.O_RDONLY | k.O_CLOEXEC | k.O_NONBLOCK | k.O_NOCTTY', to: 'k.O_RDONLY' },
  ],
  'copies without links': [
    {
      file: 'container/copy-up.ts',
      from: 'k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW',
      to: 'k.O_RDONLY | k.O_DIRECTORY',
    },
    { file: 'container/copy-up.ts', from: 'k.O_RDONLY | k.O_NOFOLLOW | k.O_NONBLOCK', to: 'k.O_RDONLY' },
  ],
  'owner of the state': [
    { file: 'container/state.ts', from: 'theirs !== ours && theirs !== 0', to: 'false' },
    { file: 'container/state.ts', from: 'k.O_RDONLY | k.O_NOFOLLOW', to: 'k.O_RDONLY' },
  ],
  'pid file itself': [
    {
      file: 'container/pid-file.ts',
      from: 'k.O_WRONLY | k.O_CREAT | k.O_TRUNC | k.O_NOFOLLOW',
      to: 'k.O_WRONLY | k.O_CREAT | k.O_TRUNC',
    },
  ],
  ids: [{ file: 'container/id.ts', from: '/[^A-Za-z0-9_+.-]/u.exec(id)', to: 'null' }],
  'start time': [
    { file: 'container/kill.ts', from: 'readStat(text.text).startTime !== saved.startTime', to: 'false' },
    { file: 'container/state.ts', from: 'now.startTime !== startTime', to: 'false' },
  ],
  keyring: [{ file: 'container/process.ts', from: '!newKeyring', to: 'true' }],
  session: [{ file: 'container/process.ts', from: 'c.setsid(b)', to: NONE }],
  'inheritable capabilities': [
    {
      file: 'container/process.ts',
      from: 'capabilityMask(capabilities.inheritable)',
      to: 'capabilityMask(capabilities.permitted)',
    },
  ],
} as const satisfies Record<string, readonly Piece[]>

export type Weakening = keyof typeof weakenings

const SWITCH = 'process.env.RUNT_WEAKENED'

/** The source with a switch at each of its pieces. */
export function weaken(file: string, text: string): string {
  for (const [name, pieces] of Object.entries(weakenings) as [Weakening, readonly Piece[]][])
    for (const { file: where, from, to, times = 1 } of pieces) {
      if (where !== file) continue
      const parts = text.split(from)
      if (parts.length - 1 !== times)
        throw new Error(
          `weakenings.ts, "${name}": src/${file} has ${JSON.stringify(from)} ${parts.length - 1} times, not ${times}`,
        )
      // A bracket at the beginning of a statement would belong to the one before.
      text = parts.reduce((before, after) => {
        const either = `${SWITCH} === ${JSON.stringify(name)} ? (${to}) : (${from})`
        return before + (/\n *$/.test(before) ? either : `(${either})`) + after
      })
    }
  return text
}
