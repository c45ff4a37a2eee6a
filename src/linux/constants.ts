/** Flags and constants of the kernel's user interface (include/uapi), under the kernel's names. */
import type { Machine } from '../base/platform.ts'

// fcntl.h. Values of O_DIRECTORY, O_NOFOLLOW and O_DIRECT differ on arm64; see openFlags.
export const AT_FDCWD = -100
export const AT_SYMLINK_NOFOLLOW = 0x100
export const AT_REMOVEDIR = 0x200
export const AT_EACCESS = 0x200
export const AT_EMPTY_PATH = 0x1000
export const AT_RECURSIVE = 0x8000
export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_RDWR = 2
export const O_CREAT = 0o100
export const O_EXCL = 0o200
export const O_NOCTTY = 0o400
export const O_TRUNC = 0o1000
export const O_APPEND = 0o2000
export const O_NONBLOCK = 0o4000
export const O_CLOEXEC = 0o2000000
export const O_PATH = 0o10000000
/** Marks that `openFlags` turns into the machine's own values; above all real flags. */
export const O_DIRECTORY = 0x1000_0000
export const O_NOFOLLOW = 0x2000_0000

/** The machine's own bits for portable open(2) flags. */
export function openFlags(flags: number, machine: Machine): number {
  if (flags < O_DIRECTORY) return flags
  const directory = machine === 'x86_64' ? 0o200000 : 0o40000
  const nofollow = machine === 'x86_64' ? 0o400000 : 0o100000
  return (flags & 0x0fff_ffff) | (flags & O_DIRECTORY ? directory : 0) | (flags & O_NOFOLLOW ? nofollow : 0)
}

export const F_DUPFD_CLOEXEC = 1030
export const F_GETFD = 1
export const F_SETFD = 2
export const F_SETFL = 4
export const FD_CLOEXEC = 1
export const F_ADD_SEALS = 1033
export const F_SEAL_SEAL = 1
export const F_SEAL_SHRINK = 2
export const F_SEAL_GROW = 4
export const F_SEAL_WRITE = 8

export const SEEK_SET = 0
export const SEEK_END = 2
export const SEEK_DATA = 3
export const SEEK_HOLE = 4

export const S_IFMT = 0o170000
export const S_IFDIR = 0o040000
export const S_IFCHR = 0o020000
export const S_IFBLK = 0o060000
export const S_IFREG = 0o100000
export const S_IFIFO = 0o010000
export const S_IFLNK = 0o120000

export const W_OK = 2
export const X_OK = 1

// openat2.h
export const RESOLVE_NO_XDEV = 1
export const RESOLVE_NO_MAGICLINKS = 2
export const RESOLVE_NO_SYMLINKS = 4
export const RESOLVE_IN_ROOT = 16

// memfd.h
export const MFD_CLOEXEC = 1
export const MFD_ALLOW_SEALING = 2
export const MFD_EXEC = 0x10

// sched.h
export const CLONE_NEWTIME = 0x80
export const CLONE_VM = 0x100
export const CLONE_FS = 0x200
export const CLONE_FILES = 0x400
export const CLONE_SIGHAND = 0x800
export const CLONE_PIDFD = 0x1000
export const CLONE_VFORK = 0x4000
export const CLONE_PARENT = 0x8000
export const CLONE_THREAD = 0x1_0000
export const CLONE_NEWNS = 0x2_0000
export const CLONE_NEWCGROUP = 0x200_0000
export const CLONE_NEWUTS = 0x400_0000
export const CLONE_NEWIPC = 0x800_0000
export const CLONE_NEWUSER = 0x1000_0000
export const CLONE_NEWPID = 0x2000_0000
export const CLONE_NEWNET = 0x4000_0000
export const CLONE_INTO_CGROUP = 0x2_0000_0000n

// mount.h
export const MS_RDONLY = 1
export const MS_NOSUID = 2
export const MS_NODEV = 4
export const MS_NOEXEC = 8
export const MS_SYNCHRONOUS = 16
export const MS_MANDLOCK = 64
export const MS_DIRSYNC = 128
export const MS_NOSYMFOLLOW = 256
export const MS_NOATIME = 0x400
export const MS_NODIRATIME = 0x800
export const MS_REC = 0x4000
export const MS_SILENT = 0x8000
export const MS_UNBINDABLE = 0x2_0000
export const MS_PRIVATE = 0x4_0000
export const MS_SLAVE = 0x8_0000
export const MS_SHARED = 0x10_0000
export const MS_I_VERSION = 0x80_0000
export const MS_STRICTATIME = 0x100_0000
export const MS_LAZYTIME = 0x200_0000
export const MNT_DETACH = 2
export const OPEN_TREE_CLONE = 1
export const OPEN_TREE_CLOEXEC = O_CLOEXEC
export const MOVE_MOUNT_F_EMPTY_PATH = 4
export const MOVE_MOUNT_T_EMPTY_PATH = 0x40
export const FSOPEN_CLOEXEC = 1
export const FSPICK_CLOEXEC = 1
export const FSPICK_EMPTY_PATH = 8
export const FSMOUNT_CLOEXEC = 1
export const FSCONFIG_SET_FLAG = 0
export const FSCONFIG_SET_STRING = 1
export const FSCONFIG_CMD_CREATE = 6
export const FSCONFIG_CMD_RECONFIGURE = 7
export const MOUNT_ATTR_RDONLY = 1
export const MOUNT_ATTR_NOSUID = 2
export const MOUNT_ATTR_NODEV = 4
export const MOUNT_ATTR_NOEXEC = 8
/** Mask of the three access-time settings. */
export const MOUNT_ATTR__ATIME = 0x70
export const MOUNT_ATTR_RELATIME = 0
export const MOUNT_ATTR_NOATIME = 0x10
export const MOUNT_ATTR_STRICTATIME = 0x20
export const MOUNT_ATTR_NODIRATIME = 0x80
export const MOUNT_ATTR_IDMAP = 0x10_0000
export const MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000

// magic.h
export const PROC_SUPER_MAGIC = 0x9fa0
export const CGROUP2_SUPER_MAGIC = 0x6367_7270

// mman.h
export const PROT_READ = 1
export const PROT_WRITE = 2
export const MAP_PRIVATE = 2
export const MAP_FIXED_NOREPLACE = 0x10_0000

// prctl.h
export const PR_SET_PDEATHSIG = 1
export const PR_SET_DUMPABLE = 4
export const PR_SET_KEEPCAPS = 8
export const PR_SET_NAME = 15
export const PR_CAPBSET_DROP = 24
export const PR_SET_NO_NEW_PRIVS = 38
export const PR_CAP_AMBIENT = 47
export const PR_CAP_AMBIENT_RAISE = 2
export const PR_CAP_AMBIENT_CLEAR_ALL = 4

// wait.h
export const P_ALL = 0
export const P_PID = 1
export const P_PIDFD = 3
export const WNOHANG = 1
export const WEXITED = 4
/** Look only: the process can be waited for again. */
export const WNOWAIT = 0x100_0000
export const CLD_EXITED = 1
// Where the fields of siginfo_t lie, as waitid(2) fills it in; 32 bits each.
export const SI_CODE = 8
export const SI_PID = 16
export const SI_STATUS = 24

// sys/file.h
export const LOCK_EX = 2
export const LOCK_NB = 4
export const LOCK_UN = 8

// signal.h
export const SIGKILL = 9
export const SIGPIPE = 13
export const SIGCHLD = 17
export const SIGXFSZ = 25
export const SIGWINCH = 28
export const SIG_BLOCK = 0
export const SIG_SETMASK = 2

// socket.h
export const AF_UNIX = 1
export const AF_INET = 2
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const SOCK_SEQPACKET = 5
export const SOCK_CLOEXEC = O_CLOEXEC
export const SOCK_NONBLOCK = O_NONBLOCK
export const SOL_SOCKET = 1
export const SO_SNDTIMEO = 21
export const MSG_DONTWAIT = 0x40
export const MSG_NOSIGNAL = 0x4000
export const SIOCSIFFLAGS = 0x8914
export const IFF_UP = 1

export const SCM_RIGHTS = 1
export const MSG_PEEK = 2
export const MSG_CMSG_CLOEXEC = 0x4000_0000

// ioctls.h, termbits.h; the same on x86-64 and arm64
export const TCGETS = 0x5401
export const TCSETS = 0x5402
export const TIOCSCTTY = 0x540e
export const TIOCGPGRP = 0x540f
export const TIOCGWINSZ = 0x5413
export const TIOCSWINSZ = 0x5414
export const TIOCGPTN = 0x8004_5430
export const TIOCSPTLCK = 0x4004_5431
export const TIOCGPTPEER = 0x5441
export const IGNBRK = 1
export const BRKINT = 2
export const PARMRK = 8
export const ISTRIP = 0x20
export const INLCR = 0x40
export const IGNCR = 0x80
export const ICRNL = 0x100
export const IXON = 0x400
export const OPOST = 1
export const CSIZE = 0x30
export const CS8 = 0x30
export const PARENB = 0x100
export const ISIG = 1
export const ICANON = 2
export const ECHO = 8
export const ECHONL = 0x40
export const IEXTEN = 0x8000
export const VTIME = 5
export const VMIN = 6

// poll.h
export const POLLIN = 1
export const POLLOUT = 4

// time.h, timerfd.h, eventfd.h, inotify.h; the flags of all three are those of open(2), the same on x86-64 and arm64
export const CLOCK_REALTIME = 0
export const CLOCK_MONOTONIC = 1
export const TFD_NONBLOCK = O_NONBLOCK
export const TFD_CLOEXEC = O_CLOEXEC
export const EFD_NONBLOCK = O_NONBLOCK
export const EFD_CLOEXEC = O_CLOEXEC
export const IN_NONBLOCK = O_NONBLOCK
export const IN_CLOEXEC = O_CLOEXEC
export const IN_MODIFY = 2

// keyctl.h
export const KEYCTL_JOIN_SESSION_KEYRING = 1
export const KEYCTL_SETPERM = 5

// personality.h
export const PERSONALITIES: Readonly<Record<string, number>> = { LINUX: 0, LINUX32: 8 }

// ioprio.h
export const IOPRIO_WHO_PROCESS = 1
export const IOPRIO_CLASS_SHIFT = 13
export const IOPRIO_CLASSES: Readonly<Record<string, number>> = {
  IOPRIO_CLASS_RT: 1,
  IOPRIO_CLASS_BE: 2,
  IOPRIO_CLASS_IDLE: 3,
}

// sched.h, sched_setattr(2)
export const SCHED_POLICIES: Readonly<Record<string, number>> = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_ISO: 4,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
}
export const SCHED_FLAGS: Readonly<Record<string, number>> = {
  SCHED_FLAG_RESET_ON_FORK: 1,
  SCHED_FLAG_RECLAIM: 2,
  SCHED_FLAG_DL_OVERRUN: 4,
  SCHED_FLAG_KEEP_POLICY: 8,
  SCHED_FLAG_KEEP_PARAMS: 0x10,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
}

/** MKDEV in the kernel: 12 bits of major, 20 of minor number. */
export const MAJOR_MAX = 0xfff
export const MINOR_MAX = 0xf_ffff

/** The kernel's largest CONFIG_NR_CPUS, and its largest number of NUMA nodes (NODES_SHIFT is 10 at most). */
export const CPUS_MAX = 8192
export const NODES_MAX = 1024

// mempolicy.h, set_mempolicy(2)
export const MEMORY_POLICIES: Readonly<Record<string, number>> = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
}
export const MEMORY_POLICY_FLAGS: Readonly<Record<string, number>> = {
  MPOL_F_NUMA_BALANCING: 0x2000,
  MPOL_F_RELATIVE_NODES: 0x4000,
  MPOL_F_STATIC_NODES: 0x8000,
}

// close_range.h
export const CLOSE_RANGE_CLOEXEC = 4

// stat.h
export const STATX_UID = 0x8
export const STATX_BASIC_STATS = 0x7ff
/** Linux 5.8. */
export const STATX_MNT_ID = 0x1000
// Where the fields of struct statx lie: statx(2). stx_mode has 16 bits, stx_ino 64, the others 32.
export const STX_NLINK = 16
export const STX_UID = 20
export const STX_GID = 24
export const STX_MODE = 28
export const STX_INO = 32
export const STX_RDEV_MAJOR = 128
export const STX_RDEV_MINOR = 132
export const STX_DEV_MAJOR = 136
export const STX_DEV_MINOR = 140

/** Numbers of the resource limits; the same on x86-64 and arm64 (resource.h). */
export const RLIMITS: Readonly<Record<string, number>> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
}

/** Capabilities in the order of their numbers (capability.h). */
export const CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
]

/** Signals by number, for x86-64 and arm64 (signal(7)). */
const SIGNAL_NAMES =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'

/** Numbers of signals by name without SIG, with the usual aliases. */
export const SIGNALS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(SIGNAL_NAMES.split(' ').map((name, index) => [name, index + 1])),
  CLD: 17,
  IOT: 6,
  POLL: 29,
  RTMIN: 34,
  RTMAX: 64,
}

/** `9 (SIGKILL)`; the number alone for real-time signals. */
export function signalName(number: number): string {
  const name = SIGNAL_NAMES.split(' ')[number - 1]
  return name === undefined ? String(number) : `${number} (SIG${name})`
}

/** Number of a signal given as a number or a name with or without SIG, in any case (`RTMIN+3` too); null if there is none. */
export function signalNumber(text: string): number | null {
  if (/^\d+$/.test(text)) {
    const number = Number(text)
    return number >= 0 && number <= 64 ? number : null
  }
  const name = text.toUpperCase().replace(/^SIG/, '')
  const known = SIGNALS[name]
  if (known !== undefined) return known
  const realTime = /^RT(MIN\+|MAX-)(\d{1,2})$/.exec(name)
  if (!realTime) return null
  const number = realTime[1] === 'MIN+' ? 34 + Number(realTime[2]) : 64 - Number(realTime[2])
  return number >= 34 && number <= 64 ? number : null
}

// bpf.h
export const BPF_PROG_LOAD = 5
export const BPF_PROG_ATTACH = 8
export const BPF_PROG_DETACH = 9
export const BPF_PROG_GET_FD_BY_ID = 13
export const BPF_PROG_QUERY = 16
export const BPF_PROG_TYPE_CGROUP_DEVICE = 15
/** The attach type. */
export const BPF_CGROUP_DEVICE = 6
export const BPF_F_ALLOW_MULTI = 2
export const BPF_F_REPLACE = 4
export const BPF_DEVCG_ACC_MKNOD = 1
export const BPF_DEVCG_ACC_READ = 2
export const BPF_DEVCG_ACC_WRITE = 4
export const BPF_DEVCG_DEV_BLOCK = 1
export const BPF_DEVCG_DEV_CHAR = 2
