/** One note for several tests. */
const same = (note: string, ...tests: string[]): Record<string, string> =>
  Object.fromEntries(tests.map((test) => [test, note]))

/**
 * Who is right where both peers fail a test: heading, test, what the specification (runtime-spec 1.3) says. `*` is for all tests of a
 * heading that have no note of their own.
 */
export const notes: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'cli/exec': {
    'exec --process: the OOM score is that of the container where the file has none':
      'The specification has no exec. A file that names a score asks for it; one that does not leaves the process as the container is.',
    'exec has the limits, the umask and the OOM score of the configuration':
      'The specification has no exec. process.user.umask is "the umask of the user" (config.md, POSIX-platform User), whichever program that user runs: the test asks for that.',
  },
  'cli/exec-terminal': {
    'the standard streams are one terminal of the container, the controlling one, with the size of that of the caller':
      'The specification has no exec; a terminal that has its size from the start is what a caller expects.',
  },
  'config/hooks': {
    'of several who delete a container at once one calls its poststop hooks':
      'runtime.md, Lifecycle, steps 11 to 13: one delete destroys the container, then its poststop hooks are called. The test is right: a hook that is called twice may free what another container has meanwhile.',
    'a hook without args is called with its path, without env with nothing':
      'config.md, POSIX-platform Hooks: env has "the same semantics as IEEE Std 1003.1-2008\'s environ". Without env there is nothing to hand over: the test is right, though nobody minds more.',
    'a startContainer hook that fails makes start fail, and leaves a stopped container for delete':
      'runtime.md, Lifecycle, step 7: if a startContainer hook fails, the runtime MUST generate an error and stop the container. The test is right.',
    'a poststart hook that fails does not keep the container from its end and its deletion':
      'runtime.md, Lifecycle, step 9 (since 1.3): if a poststart hook fails, the runtime MUST generate an error, stop the container, and continue with its destruction. The test is right; runc is of the time of 1.0, crun has a race.',
    ...same(
      'runtime.md, Lifecycle: where a startContainer hook fails, or the program cannot be run, start MUST generate an error. The test is right; that it names the cause is what a caller needs.',
      'the hundredth startContainer hook that fails is named, and the program does not run',
      'a program that is gone after a hundred hooks is named by start',
    ),
  },
  'config/mounts': {
    'no mounts at all is a valid configuration': 'config.md, Mounts: mounts is OPTIONAL. The test is right.',
    'tmpcopyup copies folders, links, modes and owners, before the mount becomes read-only':
      'config.md, Linux mount options: tmpcopyup copies up the contents; what the root of the tmpfs gets it does not say. The test asks that options win, and that without them the copied folder does.',
  },
  'config/mount-options': {
    '*': 'config.md, Linux mount options: the words "correspond to mount(8)", where the last of two that contradict each other counts; those that begin with r are the attributes of mount_setattr(2), access times among them. The test is right.',
    ...same(
      'The specification does not say what becomes of flags that no word names. A bind mount has those of its source (mount(2)); the test asks that nosuid, nodev and others stay, as they protect the host.',
      'bind of a mount that is nosuid,nodev,noatime: rbind noexec',
      'bind of a mount that is nosuid,nodev,noatime: rbind suid',
      'bind of a mount that is nosuid,nodev,noatime: rbind relatime',
    ),
    ...same(
      'config.md, Linux mount options: remount and ro MUST be implemented. The test is right that the other words of the mount hold too.',
      'remount: remount ro',
      'remount: remount bind ro',
      'remount: a tmpfs of a read-only mount becomes writable again',
    ),
  },
  'config/mounts-tmpcopyup': {
    '*': 'config.md, Linux mount options: tmpcopyup (MAY) copies up "the contents"; what belongs to a file besides its bytes it does not say. The tests ask for what cp -a keeps: more than the specification.',
  },
  'config/mounts-idmap': {
    '*': 'config.md, Linux mount options: idmap is for the mount, ridmap is "applied recursively". The test is right.',
    'a relative source is relative to the bundle':
      'config.md, Mounts: "Path values for bind mounts are either absolute or relative to the bundle." The test is right.',
  },
  'config/mounts-targets': {
    '*': 'The specification does not say which modes a mount or a destination that is made has. The tests ask for what a program in the container expects, whoever called the runtime.',
  },
  'config/process': {
    '*': 'config.md, Linux Process (since 1.1) has the property; the peers of Debian 12 are older. The test is right.',
  },
  'config/terminal': {
    '*': 'config.md, Process: with terminal true a pseudoterminal is allocated; that the caller has to have one itself is said nowhere. The test is right.',
  },
  'config-linux/cgroups': {
    'cpu.burst is set': 'config-linux.md, CPU (since 1.1) has burst; the peers are older. The test is right.',
    'kill KILL ends a container that has frozen itself below its cgroup':
      "runtime.md, Kill: the signal is sent, and what then happens is the kernel's. The test asks that who is allowed cgroups cannot outlive SIGKILL.",
    'kill --all KILL ends a container that has frozen itself below its cgroup':
      "runtime.md, Kill: the signal is sent, and what then happens is the kernel's. The test asks that who is allowed cgroups cannot outlive SIGKILL.",
    'kill KILL ends a container that has frozen itself deeper than a path can say':
      "runtime.md, Kill: the signal is sent, and what then happens is the kernel's. The test asks that who is allowed cgroups cannot outlive SIGKILL.",
    'kill --all KILL ends a container that has frozen itself deeper than a path can say':
      "runtime.md, Kill: the signal is sent, and what then happens is the kernel's. The test asks that who is allowed cgroups cannot outlive SIGKILL.",
    'delete --force ends a container that has frozen itself below its cgroup':
      "runtime.md, Delete: what was made for the container is to be deleted; --force is the peers' own flag, to do so whatever state it is in. The test is right.",
    'delete --force ends a container that has frozen itself deeper than a path can say':
      "runtime.md, Delete: what was made for the container is to be deleted; --force is the peers' own flag, to do so whatever state it is in. The test is right.",
    'pids.limit 0 is a limit in a configuration of version 1.3.0':
      'config-linux.md, PIDs (since 1.3): 0 is a valid limit and SHOULD be treated as such; it was none before, and the peers are older. The test is right. It expects 1 in the file, which forbids a second process as 0 does.',
  },
  'config-linux/devices': {
    'a device of the configuration takes the place of the default one':
      'config-linux.md, Default Devices: they come "in addition to any devices configured"; Devices: fileMode, uid and gid are those of the entry. The test is right.',
  },
  'config-linux/namespaces': same(
    'config-linux.md, Namespaces (time) and Offset for Time Namespace (since 1.1): the test is right. runc is older; crun fails on this kernel.',
    'a time namespace has the offsets of the configuration',
    'a time namespace without offsets is a new one',
    'offsets may be negative, and have nanoseconds',
    'offsets that would set a clock below zero are refused, by name',
    'a time namespace with a user namespace belongs to it',
    'a time namespace is joined by path',
    'exec is in the time namespace of the container',
  ),
  'config-linux/shared-mounts': {
    '*': 'config-linux.md, Namespaces: without an entry the namespace is inherited. runtime.md, Delete: what create made MUST be deleted. That other mounts of the caller stay as they are the specification does not say; nobody expects less.',
    'a read-only root is read-only':
      'config.md, Root: with readonly "the root filesystem MUST be read-only inside the container". The test is right.',
    'masked and read-only paths are so for the container, and only there':
      'config-linux.md, Masked Paths and Readonly Paths, ask for no mount namespace. The test is right.',
    'exec runs a program in the root of the container':
      "The specification has no exec. That its program sees the files of the host instead can be nobody's wish.",
  },
  'config-linux/user-namespaces': {
    '*': 'runtime.md, Create: a property that cannot be applied as specified MUST give an error. The peers give one; that it names the field, in one line, is asked for by this project and not by the specification.',
    'a root file system in a folder of root that is closed to others is found':
      'The specification does not say whose rights count on the way to root.path. The test asks for those of the caller: which users are mapped need not decide what root may run.',
    'a flag that is locked cannot be taken away, and the error names the mount':
      'config.md, Linux mount options: rw MUST be implemented; runtime.md, Create: what cannot be applied as specified MUST give an error. The test is right with runc, which says nothing. crun binds before it is in the user namespace, where nothing is locked: it applies rw, which the specification allows.',
    ...same(
      'config-linux.md, Devices: the device of the entry MUST be available; runtime.md, Create: what cannot be applied as specified MUST give an error. Another device in its place is neither: the test is right.',
      'a device that is another one on the host is refused, by name',
      'a device of another type on the host is refused',
    ),
    'without a network namespace of its own the container gets the /sys of the host':
      'The kernel mounts a sysfs only for the owner of the network namespace. runtime.md, Create, would have an error then, as runc has one. The test asks for what rootless engines rely on, with the flags of the configuration.',
    'mappings without a user namespace: refused in one line':
      'config-linux.md does not say it. The test asks that a property without any effect is no silence: stricter than the specification.',
  },
  'config-linux/seccomp': {
    '*': 'config-linux.md, Seccomp: it "provides application sandboxing"; which calls a runtime makes by itself is not what a filter of the container is for. The test is right.',
  },
  'config-linux/seccomp-notify': {
    'the connection to the agent is closed behind the state':
      'config-linux.md, Seccomp, listenerPath: the runtime sends the container process state once. The specification does not say when it closes; an agent that reads to the end waits otherwise.',
    'the flags of a filter are taken, with an agent too':
      'config-linux.md, Seccomp: flags and listenerPath exclude each other nowhere. The test is right.',
  },
  'config-linux/propagation': {
    '*': "config-linux.md, Rootfs Mount Propagation: rootfsPropagation is that of the root, however the root is changed and whatever the host's is. The test is right.",
  },
  'config-linux/paths': {
    'a mount below a read-only path is read-only too':
      'config-linux.md, Readonly Paths: they are set "as readonly inside the container"; of mounts below them it says nothing. The test asks for the safe reading: with the /proc of the host bound recursively, /proc/sys/fs/binfmt_misc is such a mount.',
  },
  'errors/config': {
    '*': 'config.md, Valid values: runtimes MUST generate an error when invalid or unsupported values are encountered. That they name the field, in one line, is asked for by this project and not by the specification; where a peer "takes it", the test is right.',
    'a rlimit that is given twice is refused in one line':
      'config.md, POSIX process: "If rlimits contains duplicated entries with same type, the runtime MUST generate an error." The test is right.',
    'a missing ociVersion is refused in one line':
      'config.md, Specification version: ociVersion is REQUIRED. The test is right.',
    'user mappings without a user namespace is refused in one line':
      'config-linux.md does not say it. The test asks that a property without any effect is no silence: stricter than the specification.',
    'time offsets without a time namespace is refused in one line':
      'config-linux.md does not say it. The test asks that a property without any effect is no silence: stricter than the specification.',
    'a device without a path is refused in one line': 'config-linux.md, Devices: path is REQUIRED. The test is right.',
  },
  'errors/host': {
    'a full state directory makes create fail and leaves nothing':
      'runtime.md, Errors: an error MUST leave the state of the environment as if the operation were never attempted. The test is right.',
    'a create that is killed leaves nothing that delete --force cannot remove':
      'The specification knows no --force, and no create that is killed. The test asks more than it does.',
  },
  'runtime/kill': {
    'kill KILL ends what is left of a container without a pid namespace when its init is gone':
      'runtime.md, Kill: a signal to a container that is neither created nor running MUST have no effect, and give an error. By the letter the peers are right. The test asks for what runc does since 1.2: without a pid namespace nothing else ends these processes.',
  },
  'runtime/lifecycle': {
    'a created container has nothing open of the host but streams and sockets':
      'The specification does not speak of descriptors. The test asks that a container holds no way to files of the host, and is not told where they lie.',
    'the same id is free again at once after delete, whoever else deletes it too':
      'runtime.md, Delete: what was not created by this container MUST NOT be deleted. The test is right, though it asks for several commands at a time, of which the specification does not speak.',
  },
  'runtime/pause': {
    'a container whose parent control group is frozen cannot be resumed by itself, and the error says why':
      'The specification has no resume. The test asks for no success that is none.',
  },
  'runtime/update': {
    '*': 'The specification has no update. The tests ask for fields that config-linux.md has for create, and that nothing is changed by half.',
  },
}
