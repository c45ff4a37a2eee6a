/**
 * Typed builders for the system calls that runt uses: one function a call, arguments in the order of its man page,
 * structures packed here. Each returns the Step, whose result later operations may use as an argument.
 */
import { encodeUtf8, Struct } from '../base/bytes.ts'
import * as k from '../linux/constants.ts'
import {
  ANY,
  type Arg,
  at,
  type Batch,
  type DataPointer,
  type Label,
  load,
  type OutPointer,
  type Step,
  slot,
} from './batch.ts'

/** A descriptor: a number, the result of an earlier step, or a slot. */
export type Fd = Arg

/** openat(2). `flags` may hold the portable O_DIRECTORY and O_NOFOLLOW of constants.ts. */
export function openat(b: Batch, dir: Fd, path: Exclude<Arg, number>, flags: number, mode = 0): Step {
  return b.call('openat', dir, path, k.openFlags(flags | k.O_CLOEXEC, b.machine), mode)
}

/** openat2(2), Linux 5.6. `resolve` are RESOLVE_ flags. */
export function openat2(b: Batch, dir: Fd, path: string, flags: number, resolve: number, mode = 0): Step {
  return b.call('openat2', dir, path, openHow(b, k.openFlags(flags | k.O_CLOEXEC, b.machine), mode, resolve), 24)
}

/** struct open_how. A container's plan has hundreds of opens and a handful of these: equal ones share their bytes. */
function openHow(b: Batch, flags: number, mode: number, resolve: number): DataPointer {
  for (const how of b.hows) if (how.flags === flags && how.resolve === resolve && how.mode === mode) return how.pointer
  const struct = new Struct(24).u64(0, flags).u64(8, mode).u64(16, resolve)
  const pointer = b.data(struct.bytes, () => `{flags=0x${flags.toString(16)}, resolve=0x${resolve.toString(16)}}`)
  b.hows.push({ flags, mode, resolve, pointer })
  return pointer
}

/** Opens a path that cannot leave the folder `root`, whatever links the image holds. `resolve`: further RESOLVE_ flags. */
export function openInRoot(b: Batch, root: Fd, path: string, flags: number, resolve = 0): Step {
  return openat2(b, root, path, flags, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS | resolve)
}

export const close = (b: Batch, fd: Fd): Step => b.call('close', fd)
export const read = (b: Batch, fd: Fd, buffer: OutPointer): Step => b.call('read', fd, buffer, buffer.length)

/** write(2) of text or bytes. A short write is not an error here; kernel files take small writes whole. */
export function write(b: Batch, fd: Fd, content: string | Uint8Array): Step {
  const pointer = typeof content === 'string' ? b.string(content) : b.data(content, () => `<${content.length} bytes>`)
  return b.call('write', fd, pointer, typeof content === 'string' ? pointer.length - 1 : content.length)
}

/** Opens, writes and closes a file of the kernel's (cgroupfs, procfs) or a small plain one. */
export function writeFile(
  b: Batch,
  dir: Fd,
  path: string,
  content: string,
  flags: number = k.O_WRONLY,
  mode = 0,
): Step {
  const fd = openat(b, dir, path, flags, mode)
  const written = write(b, fd, content)
  close(b, fd)
  return written
}

/** Opens, reads the first `length` bytes, and closes. Gives the read step (its result is the count) and the buffer. */
export function readFile(b: Batch, dir: Fd, path: string, length: number): { count: Step; buffer: OutPointer } {
  const fd = openat(b, dir, path, k.O_RDONLY)
  const buffer = b.out(length)
  const count = read(b, fd, buffer)
  close(b, fd)
  return { count, buffer }
}

/** fcntl(2) with an integer argument. */
export const fcntl = (b: Batch, fd: Fd, command: number, value: Arg = 0): Step => b.call('fcntl', fd, command, value)
/** statx(2) into a buffer of 256 bytes. STX_MODE and so on say where its fields lie. */
export const statx = (b: Batch, dir: Fd, path: string, flags: number, buffer: OutPointer): Step =>
  b.call('statx', dir, path, flags, k.STATX_BASIC_STATS, buffer)
export const readlinkat = (b: Batch, dir: Fd, path: string, buffer: OutPointer): Step =>
  b.call('readlinkat', dir, path, buffer, buffer.length)
/** fstatfs(2) into a buffer of 120 bytes; f_type is its first word. */
export const fstatfs = (b: Batch, fd: Fd, buffer: OutPointer | DataPointer): Step => b.call('fstatfs', fd, buffer)
export const mkdirat = (b: Batch, dir: Fd, path: string, mode: number): Step => b.call('mkdirat', dir, path, mode)
/** mknodat(2). `device` as `makedev` gives it. */
export const mknodat = (b: Batch, dir: Fd, path: string, mode: number, device: number): Step =>
  b.call('mknodat', dir, path, mode, device)
export const symlinkat = (b: Batch, target: string, dir: Fd, path: string): Step =>
  b.call('symlinkat', target, dir, path)
export const unlinkat = (b: Batch, dir: Fd, path: string, flags = 0): Step => b.call('unlinkat', dir, path, flags)
export const renameat = (b: Batch, oldDir: Fd, oldPath: string, newDir: Fd, newPath: string): Step =>
  b.call('renameat', oldDir, oldPath, newDir, newPath)
export const fchmodat = (b: Batch, dir: Fd, path: string, mode: number): Step => b.call('fchmodat', dir, path, mode)
export const fchownat = (b: Batch, dir: Fd, path: string, uid: number, gid: number, flags = 0): Step =>
  b.call('fchownat', dir, path, uid, gid, flags)
export const faccessat = (b: Batch, dir: Fd, path: string | Step, mode: number): Step =>
  b.call('faccessat', dir, path, mode)
export const umask = (b: Batch, mask: number): Step => b.call('umask', mask)
export const chdir = (b: Batch, path: string): Step => b.call('chdir', path)
export const fchdir = (b: Batch, fd: Fd): Step => b.call('fchdir', fd)
export const chroot = (b: Batch, path: string): Step => b.call('chroot', path)

/** Device number of mknod(2): glibc's makedev for numbers that fit 32 bits in the kernel's encoding. */
export function makedev(major: number, minor: number): number {
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)
}

// Mounts (mount_namespaces(7); fsopen and friends: Linux 5.2, mount_setattr: 5.12).

/** mount(2), for what the descriptor calls cannot do (propagation, remount). */
export const mount = (
  b: Batch,
  source: string,
  target: string,
  type: string | 0,
  flags: number,
  data: string | 0 = 0,
): Step => b.call('mount', source, target, type, flags, data)
export const umount2 = (b: Batch, target: string, flags: number): Step => b.call('umount2', target, flags)
export const pivotRoot = (b: Batch, newRoot: string, putOld: string): Step => b.call('pivot_root', newRoot, putOld)
export const openTree = (b: Batch, dir: Fd, path: string, flags: number): Step =>
  b.call('open_tree', dir, path, flags | k.OPEN_TREE_CLOEXEC)
/** Attaches the mount `fd` on top of the folder or file that the descriptor `target` is open on. */
export const attachMount = (b: Batch, fd: Fd, target: Fd): Step =>
  b.call('move_mount', fd, '', target, '', k.MOVE_MOUNT_F_EMPTY_PATH | k.MOVE_MOUNT_T_EMPTY_PATH)
export const fsopen = (b: Batch, type: string): Step => b.call('fsopen', type, k.FSOPEN_CLOEXEC)
export const fsconfigString = (b: Batch, fs: Fd, key: string, value: string): Step =>
  b.call('fsconfig', fs, k.FSCONFIG_SET_STRING, key, value, 0)
export const fsconfigFlag = (b: Batch, fs: Fd, key: string): Step =>
  b.call('fsconfig', fs, k.FSCONFIG_SET_FLAG, key, 0, 0)
export const fsconfigCreate = (b: Batch, fs: Fd): Step => b.call('fsconfig', fs, k.FSCONFIG_CMD_CREATE, 0, 0, 0)
export const fsconfigReconfigure = (b: Batch, fs: Fd): Step =>
  b.call('fsconfig', fs, k.FSCONFIG_CMD_RECONFIGURE, 0, 0, 0)
/** fspick(2) of the mount that the descriptor is open on. */
export const fspick = (b: Batch, mount: Fd): Step => b.call('fspick', mount, '', k.FSPICK_CLOEXEC | k.FSPICK_EMPTY_PATH)
export const fsmount = (b: Batch, fs: Fd, attributes: number): Step =>
  b.call('fsmount', fs, k.FSMOUNT_CLOEXEC, attributes)

/** struct mount_attr. */
export interface MountAttr {
  set?: number
  clear?: number
  /** An MS_ propagation flag. */
  propagation?: number
  /** With MOUNT_ATTR_IDMAP: descriptor of the user namespace that maps the ids. */
  userns?: Fd
}

/** mount_setattr(2) on a descriptor. `flags`: AT_RECURSIVE or 0. */
export function mountSetattr(b: Batch, fd: Fd, flags: number, attr: MountAttr): Step {
  const struct = new Struct(32)
    .u64(0, attr.set ?? 0)
    .u64(8, attr.clear ?? 0)
    .u64(16, attr.propagation ?? 0)
  const shown = (): string =>
    `{set=0x${(attr.set ?? 0).toString(16)}, clear=0x${(attr.clear ?? 0).toString(16)}, propagation=0x${(attr.propagation ?? 0).toString(16)}}`
  const pointer = b.data(struct.bytes, shown)
  if (attr.userns !== undefined) b.store(64, at(pointer, 24), attr.userns)
  return b.call('mount_setattr', fd, '', flags | k.AT_EMPTY_PATH, pointer, 32)
}

// Processes.

/** clone3(2), Linux 5.3, with CLONE_INTO_CGROUP: fork into new namespaces and a cgroup2 folder. The child goes on at `child`. */
export function clone3(b: Batch, flags: bigint, cgroup: Fd, child: Label): Step {
  const args = b.data(new Struct(88).u64(0, flags).bytes, () => `{flags=0x${flags.toString(16)}, cgroup=…}`)
  b.store(64, at(args, 80), cgroup)
  return b.fork('clone3', [args, 88], child)
}

/** clone(2) as fork; `flags` with the exit signal in the low byte. */
export const clone = (b: Batch, flags: number, child: Label): Step => b.fork('clone', [flags, 0, 0, 0, 0], child)
export const unshare = (b: Batch, flags: number): Step => b.call('unshare', flags)
export const setns = (b: Batch, fd: Fd, type: number): Step => b.call('setns', fd, type)
export const exitGroup = (b: Batch, status: Arg): Step => b.call('exit_group', status)
export const prctl = (b: Batch, option: number, a: Arg = 0, c: Arg = 0, d: Arg = 0, e: Arg = 0): Step =>
  b.call('prctl', option, a, c, d, e)
export const setsid = (b: Batch): Step => b.call('setsid')
export const kill = (b: Batch, pid: Arg, signal: Arg): Step => b.call('kill', pid, signal)
export const pidfdOpen = (b: Batch, pid: Arg): Step => b.call('pidfd_open', pid, 0)
export const pidfdSendSignal = (b: Batch, pidfd: Fd, signal: Arg): Step =>
  b.call('pidfd_send_signal', pidfd, signal, 0, 0)

/** waitid(2). `info` has 128 bytes, for a siginfo_t: SI_CODE, SI_PID, SI_STATUS say where its fields lie. */
export const waitid = (b: Batch, idType: number, id: Arg, info: OutPointer | 0, options: number): Step =>
  b.call('waitid', idType, id, info, options, 0)

/** struct timespec. */
export function timespec(b: Batch, milliseconds: number): DataPointer {
  const time = new Struct(16).u64(0, Math.floor(milliseconds / 1000)).u64(8, (milliseconds % 1000) * 1_000_000)
  return b.data(time.bytes, () => `{${milliseconds} ms}`)
}

/** nanosleep(2). */
export function sleep(b: Batch, milliseconds: number): Step {
  b.patience += milliseconds
  return b.call('nanosleep', timespec(b, milliseconds), 0)
}

/** prlimit(2): sets a limit of the calling process (`pid` 0) or another one. Values up to 2^64-1 (RLIM_INFINITY). */
export function setRlimit(
  b: Batch,
  resource: number,
  soft: number | bigint,
  hard: number | bigint,
  pid: Arg = 0,
): Step {
  const limit = new Struct(16).u64(0, soft).u64(8, hard)
  return b.call(
    'prlimit64',
    pid,
    resource,
    b.data(limit.bytes, () => `{rlim_cur=${soft}, rlim_max=${hard}}`),
    0,
  )
}

/** capset(2), version 3, of the calling process. The sets are masks of up to 53 bits. */
export function capset(b: Batch, effective: number, permitted: number, inheritable: number): Step {
  const data = new Uint32Array([
    effective,
    permitted,
    inheritable,
    effective / 2 ** 32,
    permitted / 2 ** 32,
    inheritable / 2 ** 32,
  ])
  const shown = (): string =>
    `{effective=0x${effective.toString(16)}, permitted=0x${permitted.toString(16)}, inheritable=0x${inheritable.toString(16)}}`
  return b.call('capset', capabilityHeader(b), b.data(new Uint8Array(data.buffer), shown))
}

/** Header of capget(2) and capset(2): version 3, the calling process. */
function capabilityHeader(b: Batch): DataPointer {
  return b.data(new Struct(8).u32(0, 0x2008_0522).bytes, () => '{_LINUX_CAPABILITY_VERSION_3}')
}

/** setgroups(2). */
export function setgroups(b: Batch, groups: readonly number[]): Step {
  const list = new Struct(4 * groups.length)
  groups.forEach((group, index) => {
    list.u32(4 * index, group)
  })
  return b.call('setgroups', groups.length, groups.length ? b.data(list.bytes, () => `{${groups.join(', ')}}`) : 0)
}

export const setresuid = (b: Batch, uid: number): Step => b.call('setresuid', uid, uid, uid)
export const setresgid = (b: Batch, gid: number): Step => b.call('setresgid', gid, gid, gid)

/** rt_sigprocmask(2). `mask`: bit n-1 is signal n. */
export function sigprocmask(b: Batch, how: number, mask: bigint): Step {
  const set = new Struct(8).u64(0, mask)
  return b.call(
    'rt_sigprocmask',
    how,
    b.data(set.bytes, () => `{0x${mask.toString(16)}}`),
    0,
    8,
  )
}

/** rt_sigaction(2): the signal has its usual effect again. */
export const defaultAction = (b: Batch, signal: Arg): Step =>
  // The kernel's struct sigaction has 32 bytes on both machines; SIG_DFL is 0.
  b.call(
    'rt_sigaction',
    signal,
    b.data(new Uint8Array(32), () => '{SIG_DFL}'),
    0,
    8,
  )

/** The last of the kernel's signals. */
const SIGRTMAX = 64

/** In a child: what its caller ignores has the usual effect again, for execve(2) would keep it. `turn`: a slot for the loop. */
export function defaultActions(b: Batch, turn: number): void {
  const next = b.label()
  const again = b.label()
  b.set(turn, 0)
  b.place(again)
  const signal = b.add(slot(turn), 1).keep(turn)
  // SIGKILL and SIGSTOP give EINVAL.
  defaultAction(b, signal).on(ANY, next)
  b.place(next)
  b.branch(slot(turn), 'LESS', SIGRTMAX, again)
}

/** sockaddr_un of a path of at most 107 bytes. */
export function unixAddress(b: Batch, path: string): { pointer: DataPointer; length: number } {
  const bytes = encodeUtf8(path)
  const address = new Struct(3 + bytes.length).u16(0, k.AF_UNIX)
  address.bytes.set(bytes, 2)
  return { pointer: b.data(address.bytes, path), length: address.bytes.length }
}

export const socket = (b: Batch, domain: number, type: number): Step =>
  b.call('socket', domain, type | k.SOCK_CLOEXEC, 0)

/** socketpair(2) of the type SOCK_SEQPACKET. The two ends are kept in slots. */
export function socketPair(b: Batch, one: number, other: number): void {
  const pair = b.scratch(8)
  b.call('socketpair', k.AF_UNIX, k.SOCK_SEQPACKET | k.SOCK_CLOEXEC, 0, pair)
  b.set(one, load(pair, 32))
  b.set(other, load(pair, 32, 4))
}
/** memfd_create(2). */
export const memfdCreate = (b: Batch, name: string, flags: number): Step => b.call('memfd_create', name, flags)
