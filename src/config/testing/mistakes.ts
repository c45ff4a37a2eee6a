/** Values by path, see `patch` in samples.ts. */
export type Changes = Record<string, unknown>

/** What is changed in the `complete` config, and the whole error without the name of the file. */
export type Mistake = [Changes, string]

/** Mistakes that the schema finds. */
export const schemaMistakes: Mistake[] = [
  [{ ociVersion: undefined }, 'ociVersion: missing'],
  [{ ociVersion: 1 }, 'ociVersion: 1 is not a string'],
  [{ root: 'rootfs' }, 'root: "rootfs" is not an object'],
  [{ 'root.path': undefined }, 'root.path: missing'],
  [{ 'root.readonly': 'yes' }, 'root.readonly: "yes" is not true or false'],
  [{ process: [] }, 'process: [] is not an object'],
  [{ 'process.cwd': undefined }, 'process.cwd: missing'],
  [{ 'process.args': 'sh -c true' }, 'process.args: "sh -c true" is not an array'],
  [{ 'process.args[2]': 5 }, 'process.args[2]: 5 is not a string'],
  [{ 'process.env': { PATH: '/bin' } }, 'process.env: {"PATH":"/bin"} is not an array'],
  [{ 'process.terminal': 1 }, 'process.terminal: 1 is not true or false'],
  [{ 'process.consoleSize.width': undefined }, 'process.consoleSize.width: missing'],
  [{ 'process.user.uid': -1 }, 'process.user.uid: -1 is not an integer from 0 to 4294967295'],
  [{ 'process.user.gid': 1.5 }, 'process.user.gid: 1.5 is not an integer from 0 to 4294967295'],
  [{ 'process.user.uid': 'root' }, 'process.user.uid: "root" is not an integer from 0 to 4294967295'],
  [
    { 'process.user.uid': 18446744073709551615n },
    'process.user.uid: 18446744073709551615 is not an integer from 0 to 4294967295',
  ],
  [{ 'process.capabilities.bounding': 'ALL' }, 'process.capabilities.bounding: "ALL" is not an array'],
  [{ 'process.rlimits[0].soft': undefined }, 'process.rlimits[0].soft: missing'],
  [
    { 'process.rlimits[0].hard': 18446744073709551616n },
    'process.rlimits[0].hard: 18446744073709551616 is not an integer from 0 to 18446744073709551615',
  ],
  [{ 'process.rlimits[0].hard': -1 }, 'process.rlimits[0].hard: -1 is not an integer from 0 to 18446744073709551615'],
  [
    { 'process.scheduler.policy': 'SCHED_BEST' },
    'process.scheduler.policy: "SCHED_BEST" is not one of "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"',
  ],
  [
    { 'process.ioPriority.class': 'IOPRIO_CLASS_NONE' },
    'process.ioPriority.class: "IOPRIO_CLASS_NONE" is not one of "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"',
  ],
  [{ 'mounts[1].destination': undefined }, 'mounts[1].destination: missing'],
  [{ 'mounts[0]': '/proc' }, 'mounts[0]: "/proc" is not an object'],
  [{ 'mounts[6].uidMappings[0].size': undefined }, 'mounts[6].uidMappings[0].size: missing'],
  [{ 'hooks.createRuntime[0].path': undefined }, 'hooks.createRuntime[0].path: missing'],
  [{ annotations: { 'a.b': 1 } }, 'annotations["a.b"]: 1 is not a string'],
  [{ annotations: { 'a/b~c': true } }, 'annotations["a/b~c"]: true is not a string'],
  [
    { 'linux.namespaces[2].type': 'foo' },
    'linux.namespaces[2].type: "foo" is not one of "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"',
  ],
  [{ 'linux.namespaces[0].path': 5 }, 'linux.namespaces[0].path: 5 is not a string'],
  [{ 'linux.sysctl': { 'net.ipv4.ip_forward': 1 } }, 'linux.sysctl["net.ipv4.ip_forward"]: 1 is not a string'],
  [{ 'linux.devices[0].type': 'x' }, 'linux.devices[0].type: "x" is not one of "c", "b", "u", "p"'],
  [{ 'linux.resources.devices[0].allow': undefined }, 'linux.resources.devices[0].allow: missing'],
  [
    { 'linux.resources.memory.limit': 9223372036854775808n },
    'linux.resources.memory.limit: 9223372036854775808 is not an integer from -9223372036854775808 to 9223372036854775807',
  ],
  [
    { 'linux.resources.memory.limit': '512m' },
    'linux.resources.memory.limit: "512m" is not an integer from -9223372036854775808 to 9223372036854775807',
  ],
  [
    { 'linux.resources.blockIO.weight': 65536 },
    'linux.resources.blockIO.weight: 65536 is not an integer from 0 to 65535',
  ],
  [
    { 'linux.resources.blockIO.throttleReadBpsDevice[0].rate': undefined },
    'linux.resources.blockIO.throttleReadBpsDevice[0].rate: missing',
  ],
  [{ 'linux.resources.unified': [] }, 'linux.resources.unified: [] is not an object'],
  [
    { 'linux.rootfsPropagation': 'public' },
    'linux.rootfsPropagation: "public" is not one of "shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable", ""',
  ],
  [{ 'linux.seccomp.defaultAction': undefined }, 'linux.seccomp.defaultAction: missing'],
  [{ 'linux.seccomp.syscalls[0].names': [] }, 'linux.seccomp.syscalls[0].names: is empty'],
  [
    { 'linux.seccomp.syscalls[2].args[0].op': 'EQ' },
    'linux.seccomp.syscalls[2].args[0].op: "EQ" is not one of "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"',
  ],
  [
    { 'linux.seccomp.flags': ['LOG'] },
    'linux.seccomp.flags[0]: "LOG" is not one of "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"',
  ],
  [{ 'linux.personality.domain': 'BSD' }, 'linux.personality.domain: "BSD" is not one of "LINUX", "LINUX32"'],
  [{ 'linux.memoryPolicy.mode': undefined }, 'linux.memoryPolicy.mode: missing'],
  [{ 'linux.netDevices.eth0': 'net0' }, 'linux.netDevices.eth0: "net0" is not an object'],
]

/** Mistakes that the rules find. */
export const ruleMistakes: Mistake[] = [
  [{ ociVersion: '2.0.0' }, 'ociVersion: "2.0.0" is not a version that runt knows: 1.0.0 to 1.3.x'],
  [{ ociVersion: '0.5.0' }, 'ociVersion: "0.5.0" is not a version that runt knows: 1.0.0 to 1.3.x'],
  [{ ociVersion: 'latest' }, 'ociVersion: "latest" is not a version such as "1.3.0"'],
  [{ ociVersion: '1.0' }, 'ociVersion: "1.0" is not a version such as "1.3.0"'],
  [{ root: undefined }, 'root: missing'],
  [{ 'root.path': '' }, 'root.path: is empty'],
  [{ process: undefined }, 'process: missing, it is needed to create a container'],
  [{ 'process.args': undefined }, 'process.args: missing'],
  [{ 'process.args': null }, 'process.args: missing'],
  [{ 'process.args': [] }, 'process.args: is empty, at least the program is needed'],
  [{ 'process.env': ['A=1', 'B'] }, 'process.env[1]: "B" is not NAME=VALUE'],
  [{ 'process.env': ['=C'] }, 'process.env[0]: "=C" is not NAME=VALUE'],
  [{ 'process.cwd': 'root' }, 'process.cwd: "root" is not an absolute path'],
  [{ 'process.cwd': '' }, 'process.cwd: "" is not an absolute path'],
  [{ 'process.args[1]': 'a\0b' }, 'process.args[1]: "a\\u0000b" holds a NUL'],
  [{ 'linux.cgroupsPath': '/a\0' }, 'linux.cgroupsPath: "/a\\u0000" holds a NUL'],
  [{ 'process.consoleSize.height': 65536 }, 'process.consoleSize.height: 65536 is not an integer from 0 to 65535'],
  [{ 'process.user.uid': 4294967295 }, 'process.user.uid: 4294967295 is not an integer from 0 to 4294967294'],
  [{ 'process.user.umask': 512 }, 'process.user.umask: 512 is not an integer from 0 to 511'],
  [
    { 'process.user.additionalGids': [1, 4294967295] },
    'process.user.additionalGids[1]: 4294967295 is not an integer from 0 to 4294967294',
  ],
  [
    { 'process.rlimits[0].type': 'RLIMIT_FILES' },
    'process.rlimits[0].type: "RLIMIT_FILES" is not one of "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME"',
  ],
  [
    { 'process.rlimits[1].soft': 18446744073709551615n },
    'process.rlimits[1].soft: 18446744073709551615 is larger than process.rlimits[1].hard, 1024',
  ],
  [
    { 'process.rlimits[1].type': 'RLIMIT_CORE' },
    'process.rlimits[1].type: "RLIMIT_CORE" is there already, in process.rlimits[0]',
  ],
  [{ 'process.oomScoreAdj': 1001 }, 'process.oomScoreAdj: 1001 is not an integer from -1000 to 1000'],
  [
    { 'process.scheduler': { policy: 'SCHED_FIFO' } },
    'process.scheduler.priority: 0 is not an integer from 1 to 99, which SCHED_FIFO needs',
  ],
  [
    { 'process.scheduler': { policy: 'SCHED_OTHER', priority: 5 } },
    'process.scheduler.priority: 5 is for SCHED_FIFO and SCHED_RR only, not for SCHED_OTHER',
  ],
  [
    { 'process.scheduler': { policy: 'SCHED_BATCH', runtime: 5 } },
    'process.scheduler.runtime: 5 is for SCHED_DEADLINE only, not for SCHED_BATCH',
  ],
  [{ 'process.scheduler.nice': 20 }, 'process.scheduler.nice: 20 is not an integer from -20 to 19'],
  [{ 'process.ioPriority.priority': 8 }, 'process.ioPriority.priority: 8 is not an integer from 0 to 7'],
  [
    { 'process.execCPUAffinity.final': '3-1' },
    'process.execCPUAffinity.final: "3-1" is not a list of numbers and ranges such as "0-3,7"',
  ],
  [{ hostname: 'h'.repeat(65) }, `hostname: "${'h'.repeat(65)}" is longer than 64 bytes`],
  [{ 'linux.namespaces': [{ type: 'mount' }] }, 'hostname: "slartibartfast" needs a uts namespace in linux.namespaces'],
  [
    { hostname: undefined, 'linux.namespaces': [{ type: 'mount' }] },
    'domainname: "foobarbaz.test" needs a uts namespace in linux.namespaces',
  ],
  [{ 'linux.namespaces[7].type': 'pid' }, 'linux.namespaces[7].type: "pid" is there already, in linux.namespaces[0]'],
  [{ 'linux.namespaces[0].path': 'ns/pid' }, 'linux.namespaces[0].path: "ns/pid" is not an absolute path'],
  [
    { 'linux.namespaces': [{ type: 'uts' }] },
    'linux.uidMappings: [{"containerID":0,"hostID":1000,"size":32000}] needs a user namespace in linux.namespaces',
  ],
  [{ 'linux.gidMappings': [] }, 'linux.gidMappings: missing, a new user namespace needs it'],
  [{ 'linux.uidMappings[0].size': 0 }, 'linux.uidMappings[0].size: 0 maps no ids'],
  [
    { 'linux.uidMappings[0].hostID': 4294967290 },
    'linux.uidMappings[0]: hostID 4294967290 and size 32000 go beyond the last id, 4294967294',
  ],
  [
    { 'linux.uidMappings[1]': { containerID: 31999, hostID: 100000, size: 5 } },
    'linux.uidMappings[1].containerID: 31999 is mapped by linux.uidMappings[0] already',
  ],
  [
    { 'linux.gidMappings[1]': { containerID: 40000, hostID: 900, size: 101 } },
    'linux.gidMappings[0].hostID: 1000 is mapped by linux.gidMappings[1] already',
  ],
  [
    { 'linux.uidMappings': Array.from({ length: 341 }, (_, id) => ({ containerID: id, hostID: id, size: 1 })) },
    'linux.uidMappings: 341 entries, the kernel takes 340',
  ],
  [
    {
      'linux.uidMappings': Array.from({ length: 340 }, (_, id) => ({
        containerID: id,
        hostID: 100000 + 2 * id,
        size: 1,
      })),
    },
    'linux.uidMappings: 340 entries, 4310 bytes as the kernel wants them; it takes less than 4096: join neighbouring ids to one entry',
  ],
  [{ 'process.user.uid': 32000 }, 'process.user.uid: 32000 is not mapped by linux.uidMappings'],
  [
    { 'linux.namespaces': [{ type: 'user' }, { type: 'uts' }] },
    'linux.timeOffsets: needs a time namespace in linux.namespaces',
  ],
  [
    { 'linux.namespaces[7].path': '/proc/1/ns/time' },
    'linux.timeOffsets: not for an existing time namespace, its clocks run already',
  ],
  [{ 'linux.timeOffsets.realtime': {} }, 'linux.timeOffsets.realtime: not one of "boottime", "monotonic"'],
  [
    { 'linux.timeOffsets.boottime.nanosecs': 1000000000 },
    'linux.timeOffsets.boottime.nanosecs: 1000000000 is not an integer from 0 to 999999999',
  ],
  [{ 'mounts[2].destination': '' }, 'mounts[2].destination: is empty'],
  [{ 'mounts[6].gidMappings': [] }, 'mounts[6].gidMappings: missing, both mappings are needed'],
  [{ 'linux.maskedPaths': ['proc'] }, 'linux.maskedPaths[0]: "proc" is not an absolute path'],
  [{ 'linux.readonlyPaths': ['sys'] }, 'linux.readonlyPaths[0]: "sys" is not an absolute path'],
  [{ 'hooks.poststop[0].path': 'true' }, 'hooks.poststop[0].path: "true" is not an absolute path'],
  [{ 'hooks.prestart[0].timeout': 0 }, 'hooks.prestart[0].timeout: 0 is not a number of seconds above 0'],
  [{ 'linux.devices[0].major': undefined }, 'linux.devices[0].major: missing, type "c" needs it'],
  [{ 'linux.devices[1].minor': 1048576 }, 'linux.devices[1].minor: 1048576 is not an integer from 0 to 1048575'],
  [{ 'linux.devices[1].path': 'sda' }, 'linux.devices[1].path: "sda" is not an absolute path'],
  [
    { 'linux.netDevices.eth0.name': 'sixteen-letters-' },
    'linux.netDevices.eth0.name: "sixteen-letters-" is not the name of a network device: 1 to 15 bytes without "/", ":" and spaces',
  ],
  [
    { 'linux.netDevices["e/0"]': {} },
    'linux.netDevices["e/0"]: "e/0" is not the name of a network device: 1 to 15 bytes without "/", ":" and spaces',
  ],
  [{ 'linux.netDevices.eth1.name': 'n%s' }, 'linux.netDevices.eth1.name: "n%s" may hold one "%d" and no other "%"'],
  [
    { 'linux.netDevices.ens4.name': 'container_eth0' },
    'linux.netDevices.ens4.name: "container_eth0" is the name of linux.netDevices.eth0 already',
  ],
  [
    { 'linux.sysctl': { 'vm.swappiness': '1' } },
    'linux.sysctl["vm.swappiness"]: belongs to no namespace, it would change the host',
  ],
  [{ 'linux.sysctl': { 'net/../kernel/panic': '1' } }, 'linux.sysctl["net/../kernel/panic"]: not the name of a sysctl'],
  [{ 'linux.sysctl': { 'kernel.hostname': 'x' } }, 'linux.sysctl["kernel.hostname"]: conflicts with hostname'],
  [{ 'linux.sysctl': { 'kernel.domainname': 'x' } }, 'linux.sysctl["kernel.domainname"]: conflicts with domainname'],
  [{ 'linux.resources.devices[0].type': 'p' }, 'linux.resources.devices[0].type: "p" is not one of "a", "b", "c"'],
  [{ 'linux.resources.devices[0].access': 'x' }, 'linux.resources.devices[0].access: "x" has none of "r", "w" and "m"'],
  [
    { 'linux.resources.devices[1].major': -2 },
    'linux.resources.devices[1].major: -2 is not an integer from -1 to 4095',
  ],
  [
    { 'linux.resources.memory.swappiness': 101 },
    'linux.resources.memory.swappiness: 101 is not an integer from 0 to 100',
  ],
  [
    { 'linux.resources.cpu.burst': 1000001 },
    'linux.resources.cpu.burst: 1000001 is larger than linux.resources.cpu.quota, 1000000',
  ],
  [
    { 'linux.resources.cpu.cpus': 'all' },
    'linux.resources.cpu.cpus: "all" is not a list of numbers and ranges such as "0-3,7"',
  ],
  [
    { 'linux.resources.blockIO.weightDevice[1].weight': undefined },
    'linux.resources.blockIO.weightDevice[1]: needs weight or leafWeight',
  ],
  [
    { 'linux.resources.hugepageLimits[0].pageSize': '2M' },
    'linux.resources.hugepageLimits[0].pageSize: "2M" is not a size such as "2MB"',
  ],
  [{ 'linux.resources.rdma.rxe3': {} }, 'linux.resources.rdma.rxe3: needs hcaHandles or hcaObjects'],
  [{ 'linux.resources.unified["../x"]': '1' }, 'linux.resources.unified["../x"]: not the name of a file in a cgroup'],
  [
    { 'linux.seccomp.defaultAction': 'SCMP_ACT_NOTIFY', 'linux.seccomp.listenerPath': undefined },
    'linux.seccomp.defaultAction: "SCMP_ACT_NOTIFY" needs linux.seccomp.listenerPath',
  ],
  [
    { 'linux.seccomp.defaultErrnoRet': 1 },
    'linux.seccomp.defaultErrnoRet: 1 is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE only, not for SCMP_ACT_ALLOW',
  ],
  [
    { 'linux.seccomp.syscalls[1].errnoRet': 1 },
    'linux.seccomp.syscalls[1].errnoRet: 1 is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE only, not for SCMP_ACT_NOTIFY',
  ],
  [
    { 'linux.seccomp.syscalls[0].errnoRet': 4096 },
    'linux.seccomp.syscalls[0].errnoRet: 4096 is not an integer from 0 to 4095',
  ],
  [
    { 'linux.seccomp.syscalls[2].args[0].index': 6 },
    'linux.seccomp.syscalls[2].args[0].index: 6 is not an integer from 0 to 5',
  ],
  [
    { 'linux.seccomp.listenerPath': '' },
    'linux.seccomp.listenerMetadata: "MKNOD=/dev/null" needs linux.seccomp.listenerPath',
  ],
  [
    { 'linux.seccomp.listenerPath': undefined, 'linux.seccomp.listenerMetadata': undefined },
    'linux.seccomp.syscalls[1].action: "SCMP_ACT_NOTIFY" needs linux.seccomp.listenerPath',
  ],
  [{ 'linux.intelRdt.closID': 'a/b' }, 'linux.intelRdt.closID: "a/b" is not the name of a directory, or "/"'],
  [{ 'linux.intelRdt.closID': '..' }, 'linux.intelRdt.closID: ".." is not the name of a directory, or "/"'],
  [{ 'linux.intelRdt.l3CacheSchema': 'L3:0=1\n' }, 'linux.intelRdt.l3CacheSchema: "L3:0=1\\n" has more than one line'],
  [
    { 'linux.intelRdt.memBwSchema': '0=20' },
    'linux.intelRdt.memBwSchema: "0=20" is not one line that starts with "MB:"',
  ],
  [{ 'linux.intelRdt.schemata[1]': 'MB:0=1\nx' }, 'linux.intelRdt.schemata[1]: "MB:0=1\\nx" has more than one line'],
  [{ 'linux.memoryPolicy.nodes': '' }, 'linux.memoryPolicy.nodes: missing, MPOL_INTERLEAVE needs nodes'],
  [
    { 'linux.memoryPolicy.mode': 'MPOL_LOCAL' },
    'linux.memoryPolicy.nodes: "2-3" is not for MPOL_LOCAL, which has no nodes',
  ],
  [
    { 'linux.memoryPolicy.flags[1]': 'MPOL_F_RELATIVE_NODES' },
    'linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other',
  ],
  [
    { 'linux.memoryPolicy.flags': ['MPOL_F_NUMA_BALANCING'] },
    'linux.memoryPolicy.flags: "MPOL_F_NUMA_BALANCING" is for MPOL_BIND and MPOL_PREFERRED_MANY only, not for MPOL_INTERLEAVE',
  ],
  [{ 'linux.personality.flags': ['X'] }, 'linux.personality.flags[0]: "X" is unknown'],
]
