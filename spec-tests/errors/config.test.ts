/**
 * Bad configurations: create refuses each with one line that names the thing, and leaves nothing behind.
 * What the spec demands to be refused is marked with its heading.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  bundle,
  type Config,
  container,
  fails,
  heading,
  leavesNothing,
  runtime as name,
  oneLine,
  run as runtime,
  set,
  withoutNamespaces,
} from '../harness.ts'

const { test, only, run } = heading('errors/config')

type Change = (config: Config) => void
const field =
  (path: string, value: unknown): Change =>
  (config) =>
    set(config, path, value)
const mount =
  (value: Record<string, unknown>): Change =>
  (config) => {
    config.mounts.push(value as unknown as Config['mounts'][number])
  }
const namespace =
  (value: Record<string, unknown>, ...instead: string[]): Change =>
  (config) => {
    withoutNamespaces(config, ...instead)
    config.linux.namespaces.push(value as unknown as Config['linux']['namespaces'][number])
  }

/** What is wrong, how it comes about, what the message must name. */
const cases: [what: string, change: Change, names: RegExp][] = [
  // config.md, "Specification version"
  ['a missing ociVersion', field('ociVersion', undefined), /version/i],
  ['an empty ociVersion', field('ociVersion', ''), /version/i],
  ['an ociVersion that is no version', field('ociVersion', 'banana'), /version/i],
  ['an ociVersion of another major version', field('ociVersion', '2.0.0'), /version/i],
  // config.md, "Root"
  ['a missing root', field('root', undefined), /root/i],
  ['a missing root.path', field('root.path', undefined), /root/i],
  ['a root.path that is missing', field('root.path', 'nowhere'), /nowhere/],
  ['a root.path that is a file', field('root.path', 'config.json'), /config\.json|rootfs/],
  // config.md, "Process"
  ['a missing process', field('process', undefined), /process/i],
  ['a missing process.args', field('process.args', undefined), /args/i],
  ['empty process.args', field('process.args', []), /args/i],
  ['an empty program name', field('process.args', ['']), /args|exec|executable/i],
  ['a missing process.cwd', field('process.cwd', undefined), /cwd/i],
  ['an empty process.cwd', field('process.cwd', ''), /cwd/i],
  ['a relative process.cwd', field('process.cwd', 'tmp'), /cwd/i],
  ['a process.cwd that is a file', field('process.cwd', '/etc/passwd'), /passwd|cwd|not a directory/i],
  ['a missing program', field('process.args', ['no-such-program']), /no-such-program/],
  ['a missing program with a path', field('process.args', ['/no/such/program']), /\/no\/such\/program/],
  ['a program that is a directory', field('process.args', ['/etc']), /\/etc/],
  ['a program that is not executable', field('process.args', ['/etc/passwd']), /\/etc\/passwd/],
  ['a rlimit of an unknown type', field('process.rlimits', [{ type: 'RLIMIT_X', soft: 1, hard: 1 }]), /RLIMIT_X/],
  [
    'a rlimit that is given twice',
    field('process.rlimits', [
      { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
      { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
    ]),
    /RLIMIT_CORE|rlimit/i,
  ],
  [
    'a rlimit whose soft limit is above the hard one',
    field('process.rlimits', [{ type: 'RLIMIT_NOFILE', soft: 20, hard: 10 }]),
    /rlimit/i,
  ],
  ['an oomScoreAdj out of range', field('process.oomScoreAdj', 5000), /oom/i],
  ['an apparmorProfile without AppArmor', field('process.apparmorProfile', 'no-such-profile'), /apparmor/i],
  ['an environment variable without =', field('process.env', ['PATH=/bin', 'NOEQUALS']), /NOEQUALS|env/],
  ['an unknown scheduler policy', field('process.scheduler', { policy: 'SCHED_X' }), /SCHED_X/],
  ['an unknown I/O priority class', field('process.ioPriority', { class: 'IOPRIO_X', priority: 0 }), /IOPRIO_X/],
  // config.md, "Hostname"
  ['a hostname without a uts namespace', (config) => withoutNamespaces(config, 'uts'), /uts|hostname/i],
  ['a hostname that is too long', field('hostname', 'x'.repeat(65)), /hostname/i],
  // config.md, "Mounts"
  ['a mount without a destination', mount({ type: 'tmpfs', source: 'tmpfs' }), /destination|mount/i],
  ['a mount of an unknown type', mount({ destination: '/tmp', type: 'nosuchfs', source: 'x' }), /nosuchfs|\/tmp/],
  [
    'a mount option that the file system refuses',
    mount({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuchoption'] }),
    /nosuchoption|\/tmp/,
  ],
  [
    'a bind mount without a source',
    mount({ destination: '/tmp', type: 'bind', options: ['bind'] }),
    /source|\/tmp|mount/i,
  ],
  [
    'a bind mount of a missing source',
    mount({ destination: '/tmp', type: 'bind', source: '/no/such/source', options: ['bind'] }),
    /\/no\/such\/source/,
  ],
  [
    'a bind mount of a directory on a file',
    mount({ destination: '/etc/passwd', type: 'bind', source: '/tmp', options: ['bind'] }),
    /\/etc\/passwd/,
  ],
  ['a mount below a file', mount({ destination: '/etc/passwd/x', type: 'tmpfs', source: 'tmpfs' }), /\/etc\/passwd/],
  [
    'a tmpfs with a size that is no number',
    mount({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['size=huge'] }),
    /size|\/tmp/,
  ],
  // config-linux.md, "Namespaces"
  ['a namespace of an unknown type', namespace({ type: 'banana' }), /banana/],
  ['a namespace without a type', namespace({}), /namespace|type/i],
  ['a namespace that is given twice', namespace({ type: 'pid' }), /pid/i],
  [
    'a namespace path that is missing',
    namespace({ type: 'network', path: '/no/such/ns' }, 'network'),
    /\/no\/such\/ns/,
  ],
  [
    'a namespace path that is no namespace',
    namespace({ type: 'network', path: '/etc/passwd' }, 'network'),
    /\/etc\/passwd/,
  ],
  [
    'a namespace path of another type',
    namespace({ type: 'network', path: '/proc/self/ns/uts' }, 'network'),
    /\/proc\/self\/ns\/uts/,
  ],
  [
    'a relative namespace path',
    namespace({ type: 'network', path: 'proc/self/ns/net' }, 'network'),
    /proc\/self\/ns\/net|absolute/,
  ],
  [
    'user mappings without a user namespace',
    field('linux.uidMappings', [{ containerID: 0, hostID: 0, size: 1 }]),
    /user/i,
  ],
  [
    'a procfs in a user namespace without a pid namespace',
    (config) => {
      config.linux.namespaces = [
        ...config.linux.namespaces.filter(({ type }: { type: string }) => type !== 'pid'),
        { type: 'user' },
      ]
      config.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }]
      config.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }]
    },
    /proc/,
  ],
  ['a user namespace without mappings', namespace({ type: 'user' }), /mapping|user/i],
  ['time offsets without a time namespace', field('linux.timeOffsets', { boottime: { secs: 1 } }), /time/i],
  // config-linux.md, "Devices"
  [
    'a device of an unknown type',
    field('linux.devices', [{ path: '/dev/x', type: 'z', major: 1, minor: 3 }]),
    /\/dev\/x|"z"|device|z /,
  ],
  ['a device without a path', field('linux.devices', [{ type: 'c', major: 1, minor: 3 }]), /device|path/i],
  ['a device without a type', field('linux.devices', [{ path: '/dev/x', major: 1, minor: 3 }]), /\/dev\/x|type/],
  // config-linux.md, "Control groups"
  ['a memory limit that is no number', field('linux.resources.memory', { limit: 'much' }), /limit|memory/i],
  [
    'a memory limit too small to hold the process',
    field('linux.resources.memory', { limit: 4096 }),
    /memory|limit|small|OOM/i,
  ],
  [
    'a swap limit below the memory limit',
    field('linux.resources.memory', { limit: 67_108_864, swap: 33_554_432 }),
    /swap/i,
  ],
  ['cpus that are not there', field('linux.resources.cpu', { cpus: '4000-4001' }), /cpu/i],
  ['a cpu quota below the least one', field('linux.resources.cpu', { quota: 1, period: 100_000 }), /quota|cfs|cpu/i],
  [
    'a device rule of an unknown type',
    field('linux.resources.devices', [{ allow: true, type: 'z', access: 'r' }]),
    /device|type|"z"/i,
  ],
  [
    'a device rule of an unknown access',
    field('linux.resources.devices', [{ allow: true, type: 'c', access: 'q' }]),
    /access|device|"q"/i,
  ],
  // config-linux.md, "Sysctl", "Seccomp", "Rootfs Mount Propagation", "Masked Paths"
  ['a sysctl that is not of a namespace', field('linux.sysctl', { 'vm.swappiness': '1' }), /vm\.swappiness/],
  [
    'a sysctl of the host network',
    (config) => {
      withoutNamespaces(config, 'network')
      config.linux.sysctl = { 'net.ipv4.ip_forward': '1' }
    },
    /net\.ipv4\.ip_forward/,
  ],
  [
    'a sysctl of the host ipc namespace',
    (config) => {
      withoutNamespaces(config, 'ipc')
      config.linux.sysctl = { 'kernel.shmmax': '1' }
    },
    /kernel\.shmmax/,
  ],
  [
    'a sysctl of the host network by its path',
    (config) => {
      withoutNamespaces(config, 'network')
      config.linux.namespaces.push({ type: 'network', path: `/proc/${process.pid}/ns/net` })
      config.linux.sysctl = { 'net.ipv4.ip_default_ttl': '64' }
    },
    /net\.ipv4\.ip_default_ttl/,
  ],
  ['a sysctl that is missing', field('linux.sysctl', { 'net.ipv4.no_such_thing': '1' }), /no_such_thing/],
  [
    'a sysctl value that the kernel refuses',
    field('linux.sysctl', { 'net.ipv4.ip_default_ttl': 'x' }),
    /ip_default_ttl/,
  ],
  ['a sysctl name that leaves /proc/sys', field('linux.sysctl', { 'net/../vm/swappiness': '1' }), /swappiness/],
  ['an unknown rootfsPropagation', field('linux.rootfsPropagation', 'banana'), /banana|propagation/i],
  ['an unknown seccomp action', field('linux.seccomp', { defaultAction: 'SCMP_ACT_BANANA' }), /SCMP_ACT_BANANA/],
  [
    'an unknown seccomp architecture',
    field('linux.seccomp', {
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_BANANA'],
      syscalls: [{ names: ['chroot'], action: 'SCMP_ACT_ERRNO' }],
    }),
    /SCMP_ARCH_BANANA/,
  ],
  [
    'an unknown seccomp operator',
    field('linux.seccomp', {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['kill'], action: 'SCMP_ACT_ERRNO', args: [{ index: 0, value: 1, op: 'SCMP_CMP_BANANA' }] }],
    }),
    /SCMP_CMP_BANANA/,
  ],
  ['an unknown personality', field('linux.personality', { domain: 'BANANA' }), /BANANA/],
  // config.md, "POSIX-platform Hooks"
  ['a hook with a relative path', field('hooks', { createRuntime: [{ path: 'bin/true' }] }), /hook|bin\/true/],
  ['a hook without a path', field('hooks', { createRuntime: [{ args: ['x'] }] }), /hook|path/i],
  ['a hook with a timeout of 0', field('hooks', { createRuntime: [{ path: '/bin/true', timeout: 0 }] }), /timeout/],
  ['a hook that fails', field('hooks', { createRuntime: [{ path: '/bin/false' }] }), /hook/],
  // wrong JSON types
  ['process.args that is text', field('process.args', 'sh'), /args/],
  ['process.args with a number', field('process.args', ['sh', 1]), /args/],
  ['process.env that is an object', field('process.env', { A: '1' }), /env/],
  ['process.cwd that is a number', field('process.cwd', 1), /cwd/],
  ['a negative uid', field('process.user.uid', -1), /uid/],
  ['a uid that is text', field('process.user.uid', '0'), /uid/],
  ['a uid with a fraction', field('process.user.uid', 1.5), /uid/],
  ['a uid of 2^32', field('process.user.uid', 4_294_967_296), /uid/],
  ['process.terminal that is text', field('process.terminal', 'no'), /terminal/],
  ['root that is text', field('root', 'rootfs'), /root/],
  ['root.readonly that is text', field('root.readonly', 'yes'), /readonly/],
  ['mounts that are an object', field('mounts', {}), /mounts/],
  [
    'mount options that are text',
    mount({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: 'ro' }),
    /options/,
  ],
  ['annotations that are no text', field('annotations', { key: 1 }), /annotations/],
  ['linux that is an array', field('linux', []), /linux/],
  ['linux.namespaces that is an object', field('linux.namespaces', {}), /namespaces/],
  ['linux.maskedPaths with a number', field('linux.maskedPaths', [1]), /maskedPaths/],
  ['a sysctl that is a number', field('linux.sysctl', { 'net.ipv4.ip_forward': 1 }), /sysctl/],
  ['hostname that is a number', field('hostname', 5), /hostname/],
]

for (const [what, change, names] of cases) {
  test(`${what} is refused in one line`, () => {
    const c = container(change)
    const result = fails(c.create(), names)
    oneLine(result)
    leavesNothing()
  })
}

test('a script with a missing interpreter does not run', () => {
  const made = bundle((config) => {
    config.process.args = ['/script']
  })
  made.file('script', '#!/no/such/interpreter\n')
  const result = container(made).run()
  assert.is.not(result.status, 0)
  assert.match(result.stderr, /\S/)
  leavesNothing()
})

test('a file without #! and without ELF does not run', () => {
  const made = bundle((config) => {
    config.process.args = ['/script']
  })
  made.file('script', 'no program')
  const result = container(made).run()
  assert.is.not(result.status, 0)
  assert.match(result.stderr, /exec format|ENOEXEC/i)
  leavesNothing()
})

test('run of a missing program exits with 1, 126 or 127, and leaves nothing', () => {
  const result = container((config) => {
    config.process.args = ['no-such-program']
  }).run()
  assert.ok([1, 126, 127].includes(result.status!), String(result.status))
  leavesNothing()
})

function broken(text: string) {
  const made = bundle()
  writeFileSync(join(made.directory, 'config.json'), text)
  const result = fails(container(made).create())
  oneLine(result)
  leavesNothing()
  return result
}

for (const [what, text] of [
  ['empty', ''],
  ['cut off', '{"ociVersion": "1.0.2",\n  "process": {'],
  ['no JSON', 'ociVersion: 1.0.2'],
  ['an array', '[]'],
  ['text', '"config"'],
  ['null', 'null'],
  ['an empty object', '{}'],
  ['JSON with a comma too much', '{"ociVersion": "1.0.2",}'],
  ['binary', '\0\x01\x02'],
] as const) {
  test(`a config.json that is ${what} is refused in one line`, () => {
    broken(text)
  })
}

only('runt', 'a config.json with a mistake is refused with file, line and column', () => {
  assert.match(broken('{\n  "ociVersion": "1.0.2",\n  "process": oops\n}').stderr, /config\.json:3:14/)
})

only('runt', 'an option that the file system does not know is named in the words of the kernel', () => {
  const c = container((config) => set(config, 'mounts.1.options', ['nosuid', 'no-such-option=1']))
  assert.match(fails(c.create()).stderr, /mounts\[1\] \(\/dev\): .*Unknown parameter 'no-such-option'/)
  leavesNothing()
})

only('runt', 'a value of the wrong type is named by its path', () => {
  const c = container((config) => set(config, 'mounts.2.options', 'ro'))
  assert.match(fails(c.create()).stderr, /mounts\[2\]\.options/)
})

test('a missing config.json is refused and named', () => {
  const made = bundle()
  rmSync(join(made.directory, 'config.json'))
  oneLine(fails(container(made).create(), /config\.json/))
  leavesNothing()
})

test('a config.json that is a directory is refused and named', () => {
  const made = bundle()
  rmSync(join(made.directory, 'config.json'))
  mkdirSync(join(made.directory, 'config.json'))
  oneLine(fails(container(made).create(), /config\.json/))
  leavesNothing()
})

test('a missing bundle is refused and named', () => {
  const result = fails(runtime(['create', '--bundle', '/no/such/bundle', 'x']), /\/no\/such\/bundle/)
  oneLine(result)
  leavesNothing()
})

test('unknown fields are passed over', () => {
  const c = container((config) => {
    config.notInTheSpec = { a: 1 }
    config.process.notInTheSpec = true
    config.linux.notInTheSpec = []
    config.process.args = ['echo', 'ran']
  })
  assert.is(c.run().stdout, 'ran\n', name)
})

test('a configuration for another platform too is no mistake', () => {
  const c = container((config) => {
    config.windows = { layerFolders: ['x'] }
    config.process.args = ['echo', 'ran']
  })
  assert.is(c.run().stdout, 'ran\n')
})

run()
