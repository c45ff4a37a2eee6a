/** What an errno of a system call means where its own text misleads or says too little. Facts of the calls' man pages. */
const hints: Readonly<Record<string, string>> = {
  'fsopen ENODEV': 'this kernel has no such file system, or its module is not loaded',
  'fsopen ENOSYS': 'runt needs Linux 5.12 or later',
  'mount_setattr ENOSYS': 'runt needs Linux 5.12 or later',
  'openat2 ENOSYS': 'runt needs Linux 5.12 or later',
  'open_tree ENOSYS': 'runt needs Linux 5.12 or later',
  'openat2 ELOOP': 'too many symbolic links, or a link that may not be followed',
  'openat2 EXDEV': 'the path leads out of the container',
  // A write that was cut short: the plan fails by itself (files.ts).
  'fail ENOSPC': "the file system is full, or the limit of a file's size is reached (RLIMIT_FSIZE, ulimit -f)",
  'sendfile ENOSPC': 'the tmpfs is full; its size is an option of the mount',
  'prlimit64 EPERM': 'raising a hard limit takes CAP_SYS_RESOURCE',
  'clone ENOSPC': 'the limit of namespaces is reached (/proc/sys/user/max_*_namespaces)',
  'clone EAGAIN': 'a limit of processes is reached (RLIMIT_NPROC, pids.max, kernel.pid_max)',
  'clone EPERM': 'creating namespaces takes CAP_SYS_ADMIN',
  'clone ENOMEM': 'memory has run out, or the pid namespace has lost its init',
  'unshare EINVAL': 'this kernel may lack one of these namespaces; /proc/self/ns lists what it has',
  'unshare EPERM': 'creating namespaces takes CAP_SYS_ADMIN',
  'setns EINVAL': 'the file is not a namespace of this type',
  'setns EPERM': 'joining it takes CAP_SYS_ADMIN over it',
  'setgroups EPERM':
    'who maps no groups but its own gives up all others (user_namespaces(7), /proc/PID/setgroups): leave them out, or map ids that /etc/subgid gives to the user',
  'setresuid EINVAL': 'the user namespace does not map this id',
  'setresgid EINVAL': 'the user namespace does not map this id',
  'setgroups EINVAL': 'the user namespace does not map one of these ids',
  'pivot_root EINVAL': 'the root is the initial root file system (initramfs): --no-pivot helps',
  'mknodat EPERM':
    'making device nodes takes CAP_MKNOD in the initial user namespace, and no cgroup above whose device rules forbid it',
  'capset EPERM': 'a capability is asked for that runt itself does not have',
  'execveat EACCES': 'the file system that holds the executor forbids execution',
  'move_mount EINVAL':
    'a file goes on a file only and a folder on a folder; or the target, or a mount above it, does not take mounts from here',
  'fspick EINVAL': 'nothing is mounted there',
  'mount_setattr EINVAL': 'the file system, or this kernel, does not support it',
  'mount_setattr EPERM':
    'the mount, or its file system, belongs to another user namespace, which has locked it: rw, suid, dev, exec, atime cannot take away what it has',
  'open_tree EINVAL': 'the mount is unbindable, or of another mount namespace',
  'fsopen EPERM': 'mounting takes CAP_SYS_ADMIN, and in a user namespace only some file systems can be',
  'mkdirat EROFS': 'the folder is missing, and cannot be made',
  'set_mempolicy EINVAL':
    'nodes that are not there or not allowed, or a mode or flags that this kernel does not take together (set_mempolicy(2))',
  'set_mempolicy ENOSYS': 'this kernel has no memory policies (CONFIG_NUMA)',
  'sched_setaffinity EINVAL': 'none of the CPUs is there, or allowed by the cgroup (cpuset)',
  'sched_setattr EPERM': 'it takes CAP_SYS_NICE; on cgroup v1 real-time policies take cpu.rt_runtime_us too',
  'sethostname EPERM': 'it takes CAP_SYS_ADMIN over the uts namespace',
}

/** The same, whatever the call. */
const hintsOfErrnos: Readonly<Record<string, string>> = {
  EMFILE: 'the limit of open files is reached (RLIMIT_NOFILE, ulimit -n)',
  ENFILE: 'the host has no more open files to give (sysctl fs.file-max)',
  EFBIG: "the limit of a file's size is reached (RLIMIT_FSIZE, ulimit -f)",
}

/** The hint for a failed call, or undefined. Names of the call and of the errno. */
export function hintFor(call: string, errno: string): string | undefined {
  // It is clone(2) with one flag more.
  const name = call === 'clone3' ? 'clone' : call
  return hints[`${name} ${errno}`] ?? hintsOfErrnos[errno]
}
