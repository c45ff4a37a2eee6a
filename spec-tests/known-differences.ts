/**
 * Where a runtime is known to differ from what a test expects, and why: runtime, heading, test, reason. The
 * test still runs; its failure counts as known. The list is about released versions (runc 1.1.5, crun 1.8.1).
 * runt has no entry: what it does differently is a bug.
 */

/** Begins the reason of a test that passed only when it was run again. */
export const SECOND_ATTEMPT = 'second attempt: '

/** One reason for several tests. */
const same = (reason: string, ...tests: string[]): Record<string, string> =>
  Object.fromEntries(tests.map((name) => [name, reason]))

export const differences: Record<string, Record<string, Record<string, string>>> = {
  runc: {
    'config-linux/shared-mounts': {
      ...same(
        'leaves all that it has mounted on the host, for ever',
        'when it has ended nothing of it is mounted any more',
        'delete unmounts what it has mounted, and no more',
        'delete --force unmounts what it has mounted, and no more',
        'a set-up that fails leaves nothing mounted',
        'a program that is not there leaves nothing mounted',
        'a root file system that is a mount of its own stays one',
        'what lies on the root file system by the time of delete, and is not its own, stays',
      ),
      'a read-only root is read-only': 'ignores it without a mount namespace',
      'exec runs a program in the root of the container': "it runs in the host's",
      'the propagation of the mounts of the host stays as it is': 'makes all of them slaves',
      '--no-pivot takes no procfs and no sysfs from the host': 'does',
      'masked and read-only paths are so for the container, and only there': 'refuses them',
      'a path that leads to the mount namespace of the caller is as good as none': "takes the host's root away",
    },
    'config/mounts-tmpcopyup': {
      ...same('they are not kept', 'times of files, folders and links are kept', 'extended attributes are kept'),
      'files with several names are one file in the copy': 'each name becomes a file',
      'special bits, owners, FIFOs and devices are kept': 'fails with devices',
    },
    'config-linux/devices': {
      'a device of the configuration takes the place of the default one': 'the device group does not allow it then',
    },
    'config-linux/propagation': {
      ...same(
        "the root follows the host's; from 1.2 on it is private",
        "rootfsPropagation undefined, the host being shared: that is the root's",
        "rootfsPropagation undefined, the host being shared, --no-pivot: that is the root's",
      ),
      ...same(
        'refuses it',
        "rootfsPropagation private, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation rprivate, the host being shared, --no-pivot: that is the root's",
      ),
      ...same(
        'shared comes to nothing, unbindable is refused',
        "rootfsPropagation shared, the host being shared: that is the root's",
        "rootfsPropagation shared, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation rshared, the host being shared: that is the root's",
        "rootfsPropagation rshared, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation unbindable, the host being shared: that is the root's",
        "rootfsPropagation unbindable, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation runbindable, the host being shared: that is the root's",
        "rootfsPropagation runbindable, the host being shared, --no-pivot: that is the root's",
        'the root of a container may be a mount of its own on the host, shared with others',
        'a root that is read-only is so, whatever its propagation',
      ),
    },
    'config/mounts-targets': {
      'destinations are made with mode 755 whatever the umask of the caller': 'the umask of the caller counts',
      'a tmpfs has the mode of the folder that it covers, unless the options say another':
        'the mode of the folder counts even if the options have one',
    },
    // In a guest only; docs/cves.md.
    'hardening/descriptors': {
      'nothing is loaded into the init from the image: its file is static': 'has a dynamic section',
    },
    'hardening/procfs': {
      'what covers a masked path is not of the image (CVE-2025-31133)':
        "vulnerable: the container's streams become what the link names",
      'a container sees no control group but its own, and cannot write to it':
        'without a cgroup namespace all groups are seen, read-only',
    },
    'hardening/host': {
      'a FIFO as /etc/passwd costs nothing but HOME': 'waits for ever',
      'a file of 100 GB as /etc/passwd costs nothing but HOME': 'fails',
      'a folder as /etc/passwd costs nothing but HOME': 'fails',
      'a link to /proc/kmsg as /etc/passwd costs nothing but HOME': 'waits for ever',
    },
    'rootless/user': {
      'sysfs that cannot be mounted is that of the host': 'fails: sysfs cannot be mounted',
      'a bind mount of what the user cannot reach is refused, by name': 'says more than one line',
      'a limit that cannot be set is refused, with what to do': 'does not say what to do',
      'a cgroup that may be made, but not joined, is refused with what to do': 'does not say what to do',
      'a limit whose controller was not delegated is refused with what to do': 'does not say what to do',
      'a seccomp agent of the user gets the listener: run, create and start, exec':
        'a process of exec is not notified of',
      'with --rootless=false a cgroup that cannot be made is an error': 'says more than one line',
      'additional groups are refused': 'says more than one line',
      'ids that the user was not given are refused, by name': 'says more than one line',
      'ids that the user was given are mapped by newuidmap and newgidmap':
        'takes no additional groups from users, mapped or not',
      'the OOM score can be raised, and where it cannot be lowered it stays': 'fails where it cannot be lowered',
      'without XDG_RUNTIME_DIR the state lies in a folder of the user alone': "uses /run/runc, which is not the user's",
      'root of a user namespace runs a container without one of its own': 'fails: setgroups, sysfs',
    },
    'config-linux/user-namespaces': {
      'a root file system in a folder of root that is closed to others is found':
        'opens it as the root of the container',
      'a bind mount keeps the flags that the mount of the host has':
        'fails where a locked flag is not among the options',
      'a missing source is named': 'says it in two lines',
      'a flag that is locked cannot be taken away, and the error names the mount':
        'takes rw for nothing where the flag is locked',
      'a device that is another one on the host is refused, by name': 'binds whatever node has the path',
      'a device of another type on the host is refused': 'binds whatever node has the path',
      'a FIFO is made': 'binds it from the host, where it is not',
      'without a network namespace of its own the container gets the /sys of the host':
        'fails: sysfs cannot be mounted',
      'an additional group that is not mapped is refused, by name': 'refuses it with a message that does not name it',
      'a user that is not mapped is refused, by name': 'refuses it with a message that does not name it',
      'a namespace in which 0 is not mapped works': 'needs 0',
      'a user namespace is joined by path, with its other namespaces': 'needs mappings for a namespace that has them',
      'a user namespace path that is no user namespace is refused, by name':
        'needs mappings for a namespace that has them',
      'a range of size 0: refused in one line': 'refuses it with a message that does not name it',
      'overlapping ranges inside: refused in one line': 'refuses it with a message that does not name it',
      'overlapping ranges outside: refused in one line': 'refuses it with a message that does not name it',
      'more ranges than the kernel takes: refused in one line': 'refuses it with a message that does not name it',
      'no gid mappings: refused in one line': 'refuses it with a message that does not name it',
      'no uid mappings: refused in one line': 'refuses it with a message that does not name it',
      'mappings without a user namespace: refused in one line': 'takes it',
      'a gid that is not mapped: refused in one line': 'refuses it with a message that does not name it',
      'exec of a user that is not mapped fails, by name': 'refuses it with a message that does not name it',
    },
    'config/mounts-idmap': {
      ...same(
        'mapped ids (runtime-spec 1.1) are not known',
        'ids are mapped by the mappings of the mount: bind',
        'ids are mapped by the mappings of the mount: rbind,idmap',
        'ids are mapped by the mappings of the mount: rbind,ridmap',
        'ids are mapped by the mappings of the mount: bind,ro,idmap,nosuid',
        'several ranges are mapped',
        'what the container writes belongs to the mapped ids on the host',
        'a file can be bound with mapped ids, too',
        'a relative source is relative to the bundle',
        'each mount has its own mappings',
        'mountinfo shows which mounts have mapped ids, and no more than the mount is the hosts',
        'idmap with rbind: a mount below has ids 1000:2000',
        'ridmap with rbind: a mount below has ids 5:6',
        'idmap without mappings takes those of the user namespace of the container',
        'ridmap without mappings takes those of the user namespace of the container',
        'a mount may have mappings of its own in a user namespace',
        'in a user namespace a source that is closed to its root can be bound with mapped ids',
      ),
    },
    'config/mount-options': {
      ...same('defaults is passed to the file system', 'tmpfs: defaults', 'tmpfs: defaults nodev'),
      ...same(
        'words with r in front do nothing to new file systems',
        'tmpfs: rro',
        'tmpfs: rnosuid',
        'tmpfs: nosuid rsuid',
      ),
      ...same(
        'of two words that contradict each other the first counts',
        'bind: rbind rro rrw',
        'bind: rbind rnosuid rsuid',
        'bind: rbind rnodev rdev',
        'bind: rbind rnoexec rexec',
        'bind: rbind rnoatime ratime',
        'bind: rbind rstrictatime rnostrictatime',
        'bind: rbind rnodiratime rdiratime',
        'bind: rbind rnosymfollow rsymfollow',
      ),
      ...same(
        'flags that no word names are cleared',
        'bind of a mount that is nosuid,nodev,noatime: rbind noexec',
        'bind of a mount that is nosuid,nodev,noatime: rbind suid',
        'bind of a mount that is nosuid,nodev,noatime: rbind relatime',
      ),
      ...same(
        'on a tmpfs ro is done by another remount, at the end, that clears the other flags',
        'remount: remount ro',
        'remount: remount bind ro',
        'remount: a tmpfs of a read-only mount becomes writable again',
      ),
    },
    'runtime/notify': {
      'a program that ends without a word ends run --detach too': 'waits for ever',
      'the exit status of a program that is never ready is passed on': 'waits for ever',
    },
    'cli/exec-terminal': {
      'the standard streams are one terminal of the container, the controlling one, with the size of that of the caller':
        'a race: the program may be faster than its size',
    },
    'runtime/update': {
      'update --cpu-idle 1': 'has no such flag',
      'update --cpu-quota 50000 --cpu-burst 10000': 'has no such flag',
      'what cannot be set leaves everything as it was': 'says more than one line',
    },
    'runtime/pause': {
      'a container whose parent control group is frozen cannot be resumed by itself, and the error says why':
        'succeeds, though the container does not go on',
    },
    'cli/exec': {
      'exec --process: the OOM score is that of the container where the file has none': 'always that of the container',
      'exec has the limits, the umask and the OOM score of the configuration': 'passes over the umask',
    },
    'config/hooks': {
      'of several who delete a container at once one calls its poststop hooks':
        'a race: several of them find the state, and call the hooks',
      'a createContainer hook without env has the environment of the caller': 'it gets that of the program',
      ...same(
        'start does not wait for these hooks',
        'a startContainer hook that fails makes start fail, and leaves a stopped container for delete',
        'the hundredth startContainer hook that fails is named, and the program does not run',
        'a program that is gone after a hundred hooks is named by start',
      ),
      'the hooks are called in the order of the lifecycle': 'poststart hooks are called by create already',
      'for poststart hooks of run the container runs, and cannot be started':
        'poststart hooks are called before the program is executed, and may start the container',
      'for poststart hooks of run --detach the container runs, and cannot be started':
        'poststart hooks are called before the program is executed, and may start the container',
      'poststart hooks get the state on stdin, and the status is running':
        'poststart hooks are called by create already, with the status created',
      'a poststart hook that fails does not keep the container from its end and its deletion':
        'poststart hooks are called by create already, which then fails',
    },
    'config/hostname': {
      'the domainname of the configuration is set': 'domainname (runtime-spec 1.1) is not known',
    },
    'config/mounts': {
      'tmpcopyup copies folders, links, modes and owners, before the mount becomes read-only':
        'it gives the tmpfs the mode of the folder even if the options have one',
      'no mounts at all is a valid configuration': 'needs /proc in the container',
      'the type cgroup2 is that file system beside v1 too, without a cgroup namespace':
        'shows the whole hierarchy of the host',
    },
    'config/process': {
      'all CPUs may be used, whatever the caller was restricted to': 'resets it from 1.3 on only',
      'the scheduler SCHED_OTHER is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_BATCH is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_IDLE is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_FIFO is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_RR is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_DEADLINE is set': 'scheduler (runtime-spec 1.1) is not known',
      'the I/O priority IOPRIO_CLASS_IDLE is set': 'ioPriority (runtime-spec 1.1) is not known',
      'the I/O priority IOPRIO_CLASS_BE is set': 'ioPriority (runtime-spec 1.1) is not known',
      'the I/O priority IOPRIO_CLASS_RT is set': 'ioPriority (runtime-spec 1.1) is not known',
      'the personality of the configuration is set': 'personality is not known',
    },
    'config/root': {
      'root.path may be a symbolic link': 'refuses it: "not an absolute path, or a symlink"',
    },
    'config/terminal': {
      'the console socket may have a path longer than an address': 'takes paths of 107 bytes only',
      'run in the foreground needs no terminal of its own': 'wants to open /dev/tty',
      'input through a pipe reaches the program': 'wants to open /dev/tty',
    },
    'config/user': {
      'a group id above 2^31 is set': 'refuses ids above 2147483647',
    },
    'runtime/kill': {
      'kill KILL ends what is left of a container without a pid namespace when its init is gone':
        'only with --all; without since 1.2',
    },
    'config-linux/block-io': {
      'a rate of zero takes the limit away': 'leaves it as it is',
    },
    'config-linux/cgroups': {
      'cgroups below that nest deeper than a path can say are removed with the container':
        'leaves them: "file name too long"',
      'kill KILL ends a container that has frozen itself below its cgroup': 'its process stays, frozen',
      'kill --all KILL ends a container that has frozen itself below its cgroup': 'its process stays, frozen',
      'kill KILL ends a container that has frozen itself deeper than a path can say': 'its process stays, frozen',
      'kill --all KILL ends a container that has frozen itself deeper than a path can say': 'its process stays, frozen',
      'ps and kill --all know a process deeper than a path can say': 'does not find it, and leaves its cgroups',
      'delete --force ends a container that has frozen itself below its cgroup':
        'says after 10 s "container init still running"',
      'delete --force ends a container that has frozen itself deeper than a path can say':
        'says after 10 s "container init still running"',
      'pids.limit 0 is a limit in a configuration of version 1.3.0': 'zero means no limit (before runtime-spec 1.3)',
      'cpu.idle is set': 'cpu.idle (runtime-spec 1.1) is not known',
      'cpu.burst is set': 'cpu.burst (runtime-spec 1.1) is not known',
    },
    'config-linux/namespaces': {
      'user and pid namespace of another container are joined': 'demands mappings',
      'a time namespace has the offsets of the configuration': 'time namespaces (runtime-spec 1.1) are not known',
      'a time namespace without offsets is a new one': 'time namespaces (runtime-spec 1.1) are not known',
      'offsets may be negative, and have nanoseconds': 'time namespaces (runtime-spec 1.1) are not known',
      'offsets that would set a clock below zero are refused, by name':
        'time namespaces (runtime-spec 1.1) are not known',
      'a time namespace with a user namespace belongs to it': 'time namespaces (runtime-spec 1.1) are not known',
      'a time namespace is joined by path': 'time namespaces (runtime-spec 1.1) are not known',
      'exec is in the time namespace of the container': 'time namespaces (runtime-spec 1.1) are not known',
    },
    'config-linux/paths': {
      'a mount below a read-only path is read-only too': 'stays writable',
      'rootfsPropagation shared is that of the root': 'the root is not shared where the mount of the host is private',
      'rootfsPropagation unbindable is that of the root': 'binds the root after it has made it unbindable',
    },
    'errors/config': {
      'a missing ociVersion is refused in one line': 'takes it',
      'a procfs in a user namespace without a pid namespace is refused in one line': 'says more than one line',
      'an empty ociVersion is refused in one line': 'takes it',
      'an ociVersion that is no version is refused in one line': 'takes it',
      'an ociVersion of another major version is refused in one line': 'takes it',
      'a missing root.path is refused in one line': 'refuses it with a message that does not name it',
      'a root.path that is a file is refused in one line': 'refuses it with a message that does not name it',
      'a rlimit that is given twice is refused in one line': 'takes it',
      'an oomScoreAdj out of range is refused in one line': 'says more than one line',
      'an unknown scheduler policy is refused in one line': 'takes it',
      'an unknown I/O priority class is refused in one line': 'takes it',
      'a mount without a destination is refused in one line': 'says more than one line',
      'a bind mount without a source is refused in one line': 'takes it',
      'a namespace path that is no namespace is refused in one line': 'refuses it with a message that does not name it',
      'a namespace path of another type is refused in one line': 'refuses it with a message that does not name it',
      'user mappings without a user namespace is refused in one line': 'takes it',
      'time offsets without a time namespace is refused in one line': 'takes it',
      'a device without a path is refused in one line': 'takes it',
      'a swap limit below the memory limit is refused in one line': 'refuses it with a message that does not name it',
      'cpus that are not there is refused in one line': 'says more than one line',
      'a device rule of an unknown access is refused in one line': 'takes it',
      'an unknown personality is refused in one line': 'takes it',
      'a config.json that is null is refused in one line': 'crashes with the trace of a nil pointer',
    },
    'errors/host': {
      'a full state directory makes create fail and leaves nothing':
        'fails without the reason: "unable to store init state: %!w(<nil>)"',
      'a create that is killed leaves nothing that delete --force cannot remove':
        'without a state file delete --force does not know the control groups',
      'where the caller has closed its standard streams, a container that waits holds nothing of the host in their place':
        'its init has sockets and an eventfd there',
    },
    'runtime/lifecycle': {
      'a created container has nothing open of the host but streams and sockets':
        'it holds the FIFO that start writes to, by a path of the host',
      'of several creates with the same id at a time exactly one succeeds':
        'a race: sometimes a create that fails removes the state of the one that succeeded',
      'create with an id in use fails, names the id, and does not harm the container':
        'the message says "container with given ID already exists" without the id',
      'the same id is free again at once after delete, whoever else deletes it too':
        'a race: a delete that is slower than another removes the state of a new container, whose processes stay',
      'the program starts once, however often start is called at the same time':
        'a race: a start that loses can wait for the FIFO of the init without end',
    },
    'runtime/run': {
      'run with an id in use fails and does not harm the other container':
        'the message says "container with given ID already exists" without the id',
      'the descriptors of the program of run are the very files of the caller':
        'in the foreground runc copies between pipes of its own and the descriptors of the caller',
    },
    'config-linux/seccomp': {
      'a filter need not allow what the runtime does, with noNewPrivileges':
        'what it does itself after loading the filter has to be allowed',
      'a filter need not allow what the runtime does, without noNewPrivileges':
        'what it does itself after loading the filter has to be allowed',
    },
    'config-linux/seccomp-notify': {
      'the connection to the agent is closed behind the state': 'a copy of the socket stays open until the end of runc',
      'an agent may be asked about every call that a runtime makes itself':
        'SCMP_ACT_NOTIFY cannot be used for the write syscall',
      'an agent may be asked about every call, by the default action': 'refuses it, for write would wait for the agent',
      'the flags of a filter are taken, with an agent too': 'knows no flags',
    },
  },
  crun: {
    'config-linux/shared-mounts': {
      ...same(
        'leaves all that it has mounted on the host, for ever',
        'when it has ended nothing of it is mounted any more',
        'delete unmounts what it has mounted, and no more',
        'delete --force unmounts what it has mounted, and no more',
        'a set-up that fails leaves nothing mounted',
        'a program that is not there leaves nothing mounted',
        'a root file system that is a mount of its own stays one',
        'what lies on the root file system by the time of delete, and is not its own, stays',
      ),
      'a read-only root is read-only': 'ignores it without a mount namespace',
      'exec runs a program in the root of the container': "it runs in the host's",
      'what it mounts in a volume of the host is not mounted in the volume itself': 'it is',
      'the propagation of the mounts of the host stays as it is': 'there are more mounts afterwards',
      'masked and read-only paths are so for the container, and only there': 'masks of files are shared with the host',
      'a path that leads to the mount namespace of the caller is as good as none': "takes the host's root away",
    },
    'config/mounts-tmpcopyup': {
      'times of files, folders and links are kept': 'they are not kept',
      'files with several names are one file in the copy': 'each name becomes a file',
      'extended attributes are kept': 'they are not kept of the top',
      'special bits, owners, FIFOs and devices are kept': 'the top does not get owner and mode',
    },
    'config-linux/devices': {
      'a device of the configuration takes the place of the default one': 'the default device stays',
      'the type bits of fileMode are passed over': 'takes them for the mode',
    },
    'config-linux/propagation': {
      ...same(
        'a root that is a slave becomes private; without pivot_root, and with unbindable, it fails',
        "rootfsPropagation private, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation slave, the host being shared: that is the root's",
        "rootfsPropagation slave, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation rslave, the host being shared: that is the root's",
        "rootfsPropagation rslave, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation shared, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation rshared, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation unbindable, the host being shared, --no-pivot: that is the root's",
        "rootfsPropagation runbindable, the host being shared: that is the root's",
        "rootfsPropagation runbindable, the host being shared, --no-pivot: that is the root's",
      ),
      'what the host mounts in a volume that is rslave reaches the container': 'the volume is private',
      'without pivot_root the procfs of the host is not below that of the container':
        'leaves control groups behind where it fails',
    },
    'config/mounts-targets': {
      'a file is mounted where the destination ends with a slash': 'refuses it: ENOTDIR',
      'destinations are made with mode 755 whatever the umask of the caller': 'the umask of the caller counts',
      'a tmpfs has the mode of the folder that it covers, unless the options say another': 'gives a tmpfs no mode',
      'copy-symlink makes the same link where the source is one': 'mounts something all the same',
      'copy-symlink takes the same link for done, and nothing else': 'hangs',
    },
    // In a guest only; docs/cves.md.
    'hardening/procfs': {
      '/dev/console is not made through a link (CVE-2025-52565)': 'vulnerable: a file is made on the host',
    },
    'hardening/host': {
      'a pid file is not written through a link': 'overwrites what the link names',
      'a path of control groups with dots harms no other group': 'delete --force ends all processes of the machine',
    },
    'rootless/user': {
      'a bind mount of what the user cannot reach is refused, by name': 'says more than one line',
      'exec works in a container that has not been started': 'cannot enter it now and then: EPERM',
      'a cgroup that may be made, but not joined, is refused with what to do': 'does not say what to do',
      'a limit whose controller was not delegated is refused with what to do': 'does not say what to do',
      'a limit that cannot be set is refused, with what to do': 'runs without the limit',
      'with --rootless=false a cgroup that cannot be made is an error': 'runs without a cgroup',
      'additional groups are refused': 'leaves them out',
      'ids that the user was not given are refused, by name': 'says more than one line',
      'the OOM score can be raised, and where it cannot be lowered it stays': 'fails where it cannot be lowered',
      'without XDG_RUNTIME_DIR the state lies in a folder of the user alone': "uses /run/crun, which is not the user's",
    },
    'config-linux/user-namespaces': {
      'exec is in the user namespace, with the ids and limits that are asked for': 'exec passes over the limits',
      'a root file system in a folder of root that is closed to others is found':
        'opens it as the root of the container',
      'a flag that is locked cannot be taken away, and the error names the mount':
        'takes it away: what it binds is not locked',
      'a mount of the host stays read-only for a container with CAP_SYS_ADMIN': 'what it binds is not locked',
      'a mount below the source of a recursive bind is bound too, and cannot be taken away':
        'what it binds is not locked',
      'a device that is another one on the host is refused, by name': 'binds whatever node has the path',
      'a device of another type on the host is refused': 'binds whatever node has the path',
      'a device that the host has not is refused': 'passes it over',
      'devpts with a group that is not mapped is refused by name': 'leaves the group out',
      'without a network namespace of its own the container gets the /sys of the host':
        'the bind mount of /sys has none of the flags',
      'an additional group that is not mapped is refused, by name': 'refuses it with a message that does not name it',
      'a user that is not mapped is refused, by name': 'refuses it with a message that does not name it',
      'a destination that is a dangling link is made, and bound from a closed folder': 'refuses it: openat2 ENOENT',
      'a range of size 0: refused in one line': 'refuses it with a message that does not name it',
      'overlapping ranges inside: refused in one line': 'refuses it with a message that does not name it',
      'overlapping ranges outside: refused in one line': 'refuses it with a message that does not name it',
      'more ranges than the kernel takes: refused in one line': 'refuses it with a message that does not name it',
      'no gid mappings: refused in one line': 'refuses it with a message that does not name it',
      'no uid mappings: refused in one line': 'refuses it with a message that does not name it',
      'mappings without a user namespace: refused in one line': 'takes it',
      'a gid that is not mapped: refused in one line': 'refuses it with a message that does not name it',
      'exec of a user that is not mapped fails, by name': 'refuses it with a message that does not name it',
    },
    'config/mounts-idmap': {
      'a relative source is relative to the bundle': 'a relative source is that of its own working directory',
      ...same(
        'idmap is recursive, and ridmap is not known',
        'idmap with rbind: a mount below has ids 1000:2000',
        'ridmap with rbind: a mount below has ids 5:6',
        'ridmap without mappings takes those of the user namespace of the container',
      ),
    },
    'config/mount-options': {
      ...same(
        'a word does not undo another',
        'tmpfs: ro rw',
        'tmpfs: nosuid suid',
        'tmpfs: nodev dev',
        'tmpfs: noexec exec',
        'tmpfs: noatime atime',
        'tmpfs: strictatime nostrictatime',
        'tmpfs: nodiratime diratime',
        'tmpfs: sync async',
        'tmpfs: mand nomand',
        'bind: rbind ro rw',
        'bind: rbind rro rrw',
        'bind: rbind rnosuid rsuid',
        'bind: rbind rnodev rdev',
        'bind: rbind rnoexec rexec',
      ),
      ...same(
        'nosymfollow is not known',
        'tmpfs: nosymfollow',
        'tmpfs: nosymfollow symfollow',
        'tmpfs: symfollow',
        'bind: rbind nosymfollow',
        'bind: rbind rnosymfollow',
      ),
      ...same(
        'iversion, noiversion, silent and loud are not known',
        'tmpfs: iversion',
        'tmpfs: iversion nosuid noatime sync',
        'tmpfs: noiversion',
        'tmpfs: silent',
        'tmpfs: loud',
      ),
      ...same(
        'access times are no recursive flags: EINVAL',
        'bind: rbind rnoatime',
        'bind: rbind rnoatime ratime',
        'bind: rbind rstrictatime',
        'bind: rbind rstrictatime rnostrictatime',
        'bind: rbind rnodiratime',
        'bind: rbind rnodiratime rdiratime',
      ),
      ...same(
        'flags that no word names are cleared',
        'bind of a mount that is nosuid,nodev,noatime: rbind',
        'bind of a mount that is nosuid,nodev,noatime: rbind noexec',
        'bind of a mount that is nosuid,nodev,noatime: rbind suid',
        'bind of a mount that is nosuid,nodev,noatime: rbind relatime',
        'bind of a mount that is nosuid,nodev,noatime: rbind rdev',
      ),
      ...same(
        'the mount is private in the container',
        'propagation: rbind shared',
        'propagation: rbind rshared',
        'propagation: rbind unbindable',
        'propagation: rbind runbindable',
        'propagation: rbind shared rprivate',
      ),
      ...same(
        'ro is done by another remount, at the end, that clears the other flags',
        'remount: remount ro',
        'remount: remount bind ro',
        'remount: a tmpfs of a read-only mount becomes writable again',
      ),
      'an overlay that is read-only has a read-only file system': 'ro is done by another remount, of the mount only',
    },
    'config/version': {
      'a configuration of version 1.2.0 is taken': 'takes versions up to its own, 1.0',
      'a configuration of version 1.3.0 is taken': 'takes versions up to its own, 1.0',
    },
    'config-linux/seccomp': {
      'a filter need not allow what the runtime does, with noNewPrivileges':
        'what it does itself after loading the filter has to be allowed',
      'a filter need not allow what the runtime does, without noNewPrivileges':
        'what it does itself after loading the filter has to be allowed',
    },
    'config-linux/seccomp-notify': {
      'run hands the listener to the agent, with the container process state, once': 'ociVersion is 0.2.0',
      'the connection to the agent is closed behind the state': 'it stays open as long as the container is there',
      'a process of exec has a listener of its own': 'tells the agent the pid of the init',
      'where the agent is gone by the time of start, the program does not run':
        'the process of create waits for the agent by itself',
      'listenerPath is ignored where no rule notifies': 'connects to the socket in any case',
      'SCMP_ACT_NOTIFY without listenerPath is refused': 'refuses it with a message that does not name it',
      'the flags of a filter are taken, with an agent too': 'TSYNC and a listener exclude each other',
    },
    'runtime/update': {
      'update --memory 64m': 'takes no units',
      'update --memory 1.5GiB': 'takes no units',
      'update --memory-reservation 32M': 'takes no units',
      'update --memory 64m --memory-swap 96mb': 'takes no units',
      'memory and swap can be raised and lowered together': 'takes no units',
      'swap alone is changed against the limit of memory that the container has': 'takes no units',
      'update --cpu-idle 1': 'has no such flag',
      'update --cpu-quota 50000 --cpu-burst 10000': 'has no such flag',
      'update --pids-limit -1': 'writes -1 to pids.max, which the kernel refuses',
      'update --blkio-weight 300': 'knows blkio.weight only',
      'zeros of an engine ask for nothing': 'sets zeros',
      'what cannot be set leaves everything as it was': 'says more than one line',
      'a memory limit below what is used fails or is kept by the kernel, and the container lives': 'takes no units',
      'a stopped container cannot be updated': 'does nothing, and succeeds',
      'an update of a container that does not exist fails': 'other words',
      'resources that are not JSON, or of a wrong type, are refused': 'takes numbers that are text',
    },
    'runtime/pause': {
      'a paused container cannot be paused': 'does it again',
      'a running container cannot be resumed': 'does nothing, and succeeds',
      'a stopped container cannot be resumed': 'says that the control group is missing',
      'pause and resume of a container that does not exist fail': 'other words',
      'a created container can be paused, and started once it is resumed': 'the status is created all the while',
      'a paused container cannot be deleted without --force': 'says that it is running',
      'kill KILL ends a paused container': 'does not thaw it',
      'a container whose parent control group is frozen cannot be resumed by itself, and the error says why':
        'succeeds, though the container does not go on',
    },
    'cli/crun': {
      'a --config that is missing is named': 'says that some file is missing',
      'a regular expression that is none is refused': 'takes it, and deletes nothing',
    },
    'cli/environment': {
      'an argument with any byte is told in one line that a terminal can show': 'prints the argument as it is',
    },
    'config/terminal': {
      'run in the foreground gives the terminal the size of that of the caller':
        'the terminal has no size where consoleSize is not given',
      'run in the foreground passes a change of the size on': 'the program does not see the new size',
      'a program that cannot be executed leaves the terminal of the caller as it was':
        'what it says does not name the program',
      'run in the foreground needs no terminal of its own': 'gives no output without a terminal of its own',
      'input through a pipe reaches the program': 'gives no output without a terminal of its own',
      'the end of the program ends run, whoever has the terminal open still': 'waits for who has it open',
    },
    'runtime/notify': {
      'run in the foreground passes READY=1 on, and its own pid': 'sends no MAINPID',
      "run --detach ends when the program is ready, and passes on the init's pid": 'sends no MAINPID',
      'start ends when the program is ready': 'sends no MAINPID',
      'the program may be another user': 'its socket is for root only',
    },
    'cli/exec-terminal': {
      'the standard streams are one terminal of the container, the controlling one, with the size of that of the caller':
        'the terminal has no size where consoleSize is not given',
      'a change of the size is passed on': 'the program does not see the new size',
      'exec --tty works in a created container': 'shows the output as lines of its log, with the time',
      'the terminal belongs to the user of the process, group tty, mode 620': 'it stays with root',
      'a program that does not read keeps nobody waiting': 'waits for the program to read',
      'execs with terminals at a time all run': 'shows the output as lines of its log, with the time',
    },
    'engines/buildah': {
      'buildah run passes streams, statuses and a terminal on': 'says it in other words that a program is missing',
    },
    'engines/docker': {
      'docker exec passes streams, statuses and a terminal on, and tells errors apart':
        'says it in other words that a program is missing',
      'docker run shows output and exit status':
        "dockerd looks for runc's words to tell a missing program from other errors: 125, not 127",
    },
    'cli/exec': {
      'exec --process: the OOM score is that of the container where the file has none': 'passes over both',
      '--cap gives what the container has inheritable as an ambient capability too': 'gives none',
      'exec has the environment, directory and capabilities of the configuration':
        'exec starts in / where --cwd is not given',
      'exec --cwd, --env and --user change them': '--env replaces the environment of the configuration, PATH included',
      'exec -e and -u are --env and --user': '--env replaces the environment of the configuration, PATH included',
      'exec --cap adds to the bounding, effective and permitted sets only': '--cap replaces the sets',
      'exec has the groups of the configuration, and --additional-gids adds to them':
        'passes over those of the configuration',
      'exec has the limits, the umask and the OOM score of the configuration': 'passes over them',
      'exec --env replaces a variable of the configuration':
        '--env replaces the environment of the configuration, PATH included',
      "exec --cgroup runs in a cgroup below the container's": 'knows paths of cgroup v2 only',
    },
    'cli/flags': {
      'long flags take a single dash, as in Go': 'a C program with getopt: a single dash begins short flags',
      'a single dash takes a value after = too': 'a C program with getopt: a single dash begins short flags',
      'a relative --pid-file is relative to the working directory of the caller':
        'the pid file is written after the change to the bundle',
      'the id .hidden is valid':
        'the session keyring gets the id as its name, and the kernel refuses names with a dot in front',
      'the id ... is valid':
        'the session keyring gets the id as its name, and the kernel refuses names with a dot in front',
      'the id "/a" is refused': 'takes it',
      'the id "a b" is refused': 'takes it',
      'the id "a\\nb" is refused': 'takes it',
      'the id "ünï" is refused': 'takes it',
      'the id "a:b" is refused': 'takes it',
      'the id "a*" is refused': 'takes it',
      'the id "a%b" is refused': 'takes it',
      'the id "a\\\\b" is refused': 'takes it',
    },
    'cli/ps': {
      'ps lists all processes of the container with their commands': 'prints pids only',
      'ps of a stopped container is empty': 'crashes (SIGSEGV)',
    },
    'cli/list': {
      'list without containers prints the header only': 'other columns',
      'list of a root that is missing is empty': 'other columns',
      'spec --rootless writes a configuration with a user namespace and no network namespace':
        'keeps the network namespace',
      'features prints one JSON object with versions, hooks, namespaces and capabilities': 'has no features command',
    },
    'cli/log': {
      'with --log-format text a line of the log has time, level and msg': 'a format of its own',
      '--debug logs more': 'has no debug messages on this way',
    },
    'config/capabilities': {
      'an unknown capability is a warning, not an error': 'passes it over without a warning',
    },
    'config/mounts': {
      'tmpcopyup copies folders, links, modes and owners, before the mount becomes read-only':
        'it does not give the tmpfs the mode of the folder',
      'a dangling symbolic link into a mount is created there': 'does not make what the link leads to',
      'the flag nosymfollow is set on a bind mount': 'nosymfollow is not known',
      'the flag nosymfollow is set on a tmpfs': 'nosymfollow is not known',
      'a later option overrides an earlier one': 'rw behind ro does not clear it',
      'the propagation shared is set': 'the mount is private in the container',
      'the propagation unbindable is set': 'the mount is private in the container',
      'a destination that is a dangling symbolic link is created where it points to, inside the root':
        'refuses it: openat2 ENOENT',
      'no mounts at all is a valid configuration': 'needs /dev in the root file system',
    },
    'config/process': {
      ...same('an empty one is kept', 'an empty HOME is none', 'a long environment is cleared of repetitions too'),
      'all CPUs may be used, whatever the caller was restricted to': 'keeps the affinity of the caller',
      'empty labels ask for nothing': 'an empty selinuxLabel is written too',
      'HOME of a user whom /etc/passwd does not know is /': 'sets no HOME',
      'the scheduler SCHED_OTHER is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_BATCH is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_IDLE is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_FIFO is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_RR is set': 'scheduler (runtime-spec 1.1) is not known',
      'the scheduler SCHED_DEADLINE is set': 'scheduler (runtime-spec 1.1) is not known',
      'the I/O priority IOPRIO_CLASS_IDLE is set': 'ioPriority (runtime-spec 1.1) is not known',
      'the I/O priority IOPRIO_CLASS_BE is set': 'ioPriority (runtime-spec 1.1) is not known',
      'the I/O priority IOPRIO_CLASS_RT is set': 'ioPriority (runtime-spec 1.1) is not known',
    },
    'config/root': {
      '--no-pivot leaves no procfs in sight that is not masked, wherever the host has one':
        'that of the host is in sight',
      'root.path may be relative to the bundle with dots': 'resolves x/.. by the file system, and x is missing',
    },
    'config/user': {
      'an unprivileged user can write to the descriptors of the caller':
        'does not give stdio to the user, so that /dev/stdout cannot be opened',
    },
    'config-linux/block-io': {
      'the weight 10 is set': 'knows blkio.weight only',
      'the weight 300 is set': 'knows blkio.weight only',
      'the weight 1000 is set': 'knows blkio.weight only',
      'update changes the weight': 'knows blkio.weight only',
      'the weight for a device whose scheduler knows none is refused in one line':
        'leaves control groups behind where it fails',
      'throttleReadBpsDevice of a device that is not there is refused in one line':
        'leaves control groups behind where it fails',
      'throttleWriteBpsDevice of a device that is not there is refused in one line':
        'leaves control groups behind where it fails',
      'throttleReadIOPSDevice of a device that is not there is refused in one line':
        'leaves control groups behind where it fails',
      'throttleWriteIOPSDevice of a device that is not there is refused in one line':
        'leaves control groups behind where it fails',
    },
    'config-linux/cgroups': {
      'kill KILL ends a container that has frozen itself below its cgroup': 'its process stays, frozen',
      'kill --all KILL ends a container that has frozen itself below its cgroup': 'its process stays, frozen',
      'kill KILL ends a container that has frozen itself deeper than a path can say': 'its process stays, frozen',
      'kill --all KILL ends a container that has frozen itself deeper than a path can say': 'its process stays, frozen',
      'delete --force ends a container that has frozen itself below its cgroup': 'leaves its process, frozen',
      'delete --force ends a container that has frozen itself deeper than a path can say': 'leaves its process, frozen',
      'pids.limit 0 is a limit in a configuration of version 1.3.0': 'zero means no limit (before runtime-spec 1.3)',
      'pids.limit -1 is set': 'writes -1 to pids.max, which the kernel refuses',
      'cpu.burst is set': 'cpu.burst (runtime-spec 1.1) is not known',
      'events --stats prints one JSON object with the usage': 'has no events command',
    },
    'config-linux/namespaces': {
      'a time namespace has the offsets of the configuration': 'fails on this kernel: the sync socket is closed',
      'a time namespace without offsets is a new one': 'fails on this kernel: the sync socket is closed',
      'offsets may be negative, and have nanoseconds': 'fails on this kernel: the sync socket is closed',
      'offsets that would set a clock below zero are refused, by name':
        'fails on this kernel: the sync socket is closed',
      'a time namespace with a user namespace belongs to it': 'fails on this kernel: the sync socket is closed',
      'a time namespace is joined by path': 'fails on this kernel: the sync socket is closed',
      'exec is in the time namespace of the container': 'fails on this kernel: the sync socket is closed',
    },
    'config-linux/paths': {
      'the root as a read-only path makes the root read-only, not the mounts below': 'comes to nothing',
      'a read-only path keeps the flags of its mount': 'the new mount has ro only',
      'a mount below a read-only path is read-only too': 'stays writable',
    },
    'errors/config': {
      'a sysctl of the host network by its path is refused in one line': 'takes it',
      'a missing ociVersion is refused in one line': 'refuses it with a message that does not name it',
      'a missing root.path is refused in one line': 'refuses it with a message that does not name it',
      'a root.path that is a file is refused in one line': 'refuses it with a message that does not name it',
      'a missing process is refused in one line': 'refuses it with a message that does not name it',
      'a missing process.args is refused in one line': 'takes it',
      'empty process.args is refused in one line': 'refuses it with a message that does not name it',
      'a missing process.cwd is refused in one line': 'refuses it with a message that does not name it',
      'an empty process.cwd is refused in one line': 'refuses it with a message that does not name it',
      'a relative process.cwd is refused in one line': 'takes it',
      'a program that is a directory is refused in one line': 'refuses it with a message that does not name it',
      'a program that is not executable is refused in one line': 'refuses it with a message that does not name it',
      'a rlimit that is given twice is refused in one line': 'takes it',
      'an environment variable without = is refused in one line': 'takes it',
      'an unknown scheduler policy is refused in one line': 'takes it',
      'an unknown I/O priority class is refused in one line': 'takes it',
      'a mount without a destination is refused in one line': 'refuses it with a message that does not name it',
      'a mount of an unknown type is refused in one line': 'refuses it with a message that does not name it',
      'a mount option that the file system refuses is refused in one line':
        'refuses it with a message that does not name it',
      'a bind mount of a directory on a file is refused in one line': 'refuses it with a message that does not name it',
      'a tmpfs with a size that is no number is refused in one line': 'refuses it with a message that does not name it',
      'a namespace without a type is refused in one line': 'refuses it with a message that does not name it',
      'a namespace that is given twice is refused in one line': 'takes it',
      'user mappings without a user namespace is refused in one line': 'takes it',
      'a user namespace without mappings is refused in one line': 'refuses it with a message that does not name it',
      'time offsets without a time namespace is refused in one line': 'takes it',
      'a device of an unknown type is refused in one line': 'takes it',
      'a device without a path is refused in one line': 'refuses it with a message that does not name it',
      'a device without a type is refused in one line': 'refuses it with a message that does not name it',
      'a memory limit that is no number is refused in one line': 'takes it',
      'a swap limit below the memory limit is refused in one line': 'refuses it with a message that does not name it',
      'cpus that are not there is refused in one line': 'leaves the control groups behind',
      'a cpu quota below the least one is refused in one line': 'leaves the control groups behind',
      'a device rule of an unknown type is refused in one line': 'leaves the control groups behind',
      'a device rule of an unknown access is refused in one line': 'leaves the control groups behind',
      'an unknown rootfsPropagation is refused in one line': 'takes it',
      'an unknown seccomp architecture is refused in one line': 'refuses it with a message that does not name it',
      'an unknown seccomp operator is refused in one line': 'refuses it with a message that does not name it',
      'a hook without a path is refused in one line': 'refuses it with a message that does not name it',
      'a hook with a timeout of 0 is refused in one line': 'takes it',
      'process.args that is text is refused in one line': 'takes it',
      'process.args with a number is refused in one line': 'takes it',
      'process.env that is an object is refused in one line': 'refuses it with a message that does not name it',
      'process.cwd that is a number is refused in one line': 'refuses it with a message that does not name it',
      'a negative uid is refused in one line': 'refuses it with a message that does not name it',
      'a uid that is text is refused in one line': 'takes it',
      'a uid with a fraction is refused in one line': 'refuses it with a message that does not name it',
      'a uid of 2^32 is refused in one line': 'refuses it with a message that does not name it',
      'process.terminal that is text is refused in one line': 'takes it',
      'root.readonly that is text is refused in one line': 'takes it',
      'mount options that are text is refused in one line': 'takes it',
      'annotations that are no text is refused in one line': 'refuses it with a message that does not name it',
      'linux.namespaces that is an object is refused in one line': 'refuses it with a message that does not name it',
      'linux.maskedPaths with a number is refused in one line': 'takes it',
      'a sysctl that is a number is refused in one line': 'refuses it with a message that does not name it',
      'hostname that is a number is refused in one line': 'takes it',
      'a hook with a relative path is refused in one line':
        'a race: SIGPIPE or EPIPE where a hook ends without reading its state',
      'a hook that fails is refused in one line':
        'a race: SIGPIPE or EPIPE where a hook ends without reading its state',
      'a namespace path of another type is refused in one line': 'sometimes says only that the sync socket is closed',
      'a namespace path that is no namespace is refused in one line':
        'sometimes says only that the sync socket is closed',
    },
    'errors/host': {
      'a full state directory makes create fail and leaves nothing': 'leaves its state directory behind',
      'a state directory without free inodes makes create fail and leaves nothing':
        'the message is not about the space',
      'a read-only state directory makes create fail': 'the message is not about the read-only file system',
      'control groups that are read-only, as in a container, make create fail, and it leaves nothing':
        'says "No such file or directory"',
      'a create that is killed leaves nothing that delete --force cannot remove':
        'without a status file delete --force does not know the control groups',
    },
    'runtime/kill': {
      'kill KILL ends what is left of a container without a pid namespace when its init is gone': 'only with --all',
      'kill takes a name in lower case': 'takes it for signal 0 and sends nothing',
      ...same(
        'its init is process 1, which the kernel spares',
        ...['HUP', 'INT', 'QUIT', 'ABRT', 'TERM'].map((name) => `kill ${name} ends a created container`),
      ),
      'kill with an unknown signal name fails, names it, and does not harm the container':
        'takes it for signal 0 and sends nothing',
    },
    'runtime/lifecycle': {
      'a created container has nothing open of the host but streams and sockets':
        'it holds the FIFO that start writes to, by a path of the host',
      'the same id is free again at once after delete, whoever else deletes it too':
        'a race: deletes get in the way of each other, and one of them fails',
    },
    'runtime/run': {
      'run --keep leaves the stopped container for delete': 'has no --keep',
      'what a caller has given a /dev/null to write to can write, even if that was opened for reading only':
        'exec leaves the streams as they are',
      'LISTEN_FDS passes descriptors and the variables of systemd on':
        'does not set LISTEN_FDS and LISTEN_PID for the program',
    },
    'config/hooks': {
      'of several who delete a container at once one calls its poststop hooks':
        'a race: several of them find the state, and call the hooks',
      'every kind of hook takes large arguments and environments, several of a kind too':
        'a race: a hook that ends before it has read the state is an error',
      'startContainer hooks get the state on stdin, and the status is created': 'the status is starting',
      'a hook gets its state where the caller has closed the standard streams': 'fails where one of them is closed',
      'a daemon that a hook leaves behind keeps nobody waiting': 'waits for its end',
      'after a createRuntime hook that fails poststop hooks are called, and the others are not':
        'calls no poststop hooks where create fails',
      'after a createContainer hook that fails poststop hooks are called, and the others are not':
        'calls no poststop hooks where create fails',
      ...same(
        'start does not wait for these hooks',
        'a startContainer hook that fails makes start fail, and leaves a stopped container for delete',
        'the hundredth startContainer hook that fails is named, and the program does not run',
        'a program that is gone after a hundred hooks is named by start',
      ),
      'a prestart hook that fails makes create fail and leaves nothing':
        'a race: SIGPIPE or EPIPE where a hook ends without reading its state',
      'a createRuntime hook that fails makes create fail and leaves nothing':
        'a race: SIGPIPE or EPIPE where a hook ends without reading its state',
      'a createContainer hook that fails makes create fail and leaves nothing':
        'a race: SIGPIPE or EPIPE where a hook ends without reading its state',
      'a startContainer hook that fails keeps the program from running':
        'a race: SIGPIPE or EPIPE where a hook ends without reading its state',
      'a hook that does not read its state is no mistake, however long the state is':
        'a race: SIGPIPE or EPIPE where a hook ends without reading its state',
      'a poststart hook that fails does not keep the container from its end and its deletion':
        'a race: SIGPIPE or EPIPE where a hook ends without reading its state',
      'a poststop hook that fails does not keep the container from its end and its deletion':
        'a race: SIGPIPE or EPIPE where a hook ends without reading its state',
    },
  },
}
