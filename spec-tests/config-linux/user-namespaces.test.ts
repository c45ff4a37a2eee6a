/** runtime-spec, config-linux.md: "User namespace mappings"; what works differently in a container that has one. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Bundle,
  bundle,
  type Config,
  container,
  fails,
  heading,
  inside,
  ok,
  oneLine,
  run as runCommand,
  set,
  skip,
  withoutNamespaces,
} from '../harness.ts'
import { cgroupDirectory, isAlive, mounts } from '../host.ts'

const { test, only, run } = heading('config-linux/user-namespaces')

const UID = 100_000
const GID = 200_000

/** A bundle with a user namespace, whose root file system belongs to its root. */
function mapped(configure: (config: Config) => void = () => {}): Bundle {
  const made = bundle((config) => {
    config.linux.namespaces.push({ type: 'user' })
    config.linux.uidMappings = [{ containerID: 0, hostID: UID, size: 65_536 }]
    config.linux.gidMappings = [{ containerID: 0, hostID: GID, size: 65_536 }]
    config.root.readonly = false
    config.process.args = ['true']
    config.mounts = config.mounts.filter(({ type }) => type !== 'cgroup')
    configure(config)
  })
  own(made.rootfs)
  return made
}

function own(...paths: string[]): void {
  const all = paths.flatMap((path) =>
    statSync(path).isDirectory() ? [path, ...readdirSync(path).map((name) => join(path, name))] : [path],
  )
  execFileSync('chown', ['-h', `${UID}:${GID}`, ...all])
}

/** A folder beside the bundle that only root of the host can enter, with a folder in it that belongs to the container. */
function hidden(made: Bundle): string {
  const outer = join(made.directory, 'extra')
  const inner = join(outer, 'data')
  mkdirSync(inner, { recursive: true })
  writeFileSync(join(inner, 'file'), 'secret\n')
  chmodSync(outer, 0o700)
  own(inner)
  return inner
}

test('a root file system in a folder of root that is closed to others is found', () => {
  const made = mapped()
  chmodSync(made.directory, 0o700)
  assert.is(inside('id -u', made), '0\n')
})

test('the source of a bind mount may lie in a folder that is closed to the root of the container', () => {
  const made = mapped()
  const source = hidden(made)
  made.config.mounts.push({ destination: '/mnt/data', type: 'bind', source, options: ['rbind', 'rw'] })
  assert.is(
    inside('cat /mnt/data/file; echo new > /mnt/data/new; ls -n /mnt/data/new | cut -d " " -f 1', made),
    'secret\n-rw-r--r--\n',
  )
  assert.is(statSync(join(source, 'new')).uid, UID)
})

test('the source of a bind mount may be closed itself', () => {
  const made = mapped()
  const source = join(made.directory, 'extra')
  mkdirSync(source, { mode: 0o700 })
  made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind'] })
  assert.match(inside('ls -ld /mnt; ls /mnt 2>&1 || true', made), /^drwx------.*\n.*Permission denied/)
})

test('a file is bound too, read-only', () => {
  const made = mapped()
  const source = join(hidden(made), 'file')
  made.config.mounts.push({ destination: '/etc/secret', type: 'bind', source, options: ['bind', 'ro'] })
  assert.is(inside('cat /etc/secret; echo x 2>/dev/null > /etc/secret || echo refused', made), 'secret\nrefused\n')
})

test('a bind mount keeps the flags that the mount of the host has', () => {
  const made = mapped()
  const source = join(made.directory, 'extra')
  mkdirSync(source)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'nosuid,nodev,noexec,ro', 'none', source])
  try {
    made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind', 'nosuid'] })
    const flags = inside('grep " /mnt " /proc/self/mountinfo | cut -d " " -f 6', made).trim().split(',')
    for (const flag of ['ro', 'nosuid', 'nodev', 'noexec']) assert.ok(flags.includes(flag), `${flag}: ${flags}`)
  } finally {
    execFileSync('umount', [source])
  }
})

test('a flag that is locked cannot be taken away, and the error names the mount', () => {
  const made = mapped()
  const source = join(made.directory, 'extra')
  mkdirSync(source)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'none', source])
  try {
    made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind', 'rw'] })
    made.write()
    const result = fails(container(made).run(), /\/mnt/)
    oneLine(result)
  } finally {
    execFileSync('umount', [source])
  }
})

test('a mount of the host stays read-only for a container with CAP_SYS_ADMIN', () => {
  const made = mapped()
  const source = join(made.directory, 'extra')
  mkdirSync(source)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'none', source])
  try {
    for (const name of ['bounding', 'effective', 'permitted'])
      made.config.process.capabilities![name]!.push('CAP_SYS_ADMIN')
    made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind'] })
    assert.match(inside('mount -o remount,bind,rw /mnt 2>&1 || echo refused', made), /refused\n$/)
  } finally {
    execFileSync('umount', [source])
  }
})

test('a mount below the source of a recursive bind is bound too, and cannot be taken away', () => {
  const made = mapped()
  const source = join(made.directory, 'extra')
  mkdirSync(join(source, 'below'), { recursive: true })
  writeFileSync(join(source, 'below/covered'), '')
  execFileSync('mount', ['-t', 'tmpfs', 'none', join(source, 'below')])
  try {
    for (const name of ['bounding', 'effective', 'permitted'])
      made.config.process.capabilities![name]!.push('CAP_SYS_ADMIN')
    made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind'] })
    assert.is(inside('ls /mnt/below; umount /mnt/below 2>/dev/null || echo refused', made), 'refused\n')
  } finally {
    execFileSync('umount', [join(source, 'below')])
  }
})

test('a missing source is named', () => {
  const made = mapped((config) => {
    config.mounts.push({ destination: '/mnt', type: 'bind', source: '/nowhere/to/be/found', options: ['rbind'] })
  })
  oneLine(fails(container(made).run(), /\/nowhere\/to\/be\/found/))
})

test('a device of the configuration is the node of the host', () => {
  const made = mapped((config) => {
    config.linux.devices = [{ path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o666, uid: 0, gid: 0 }]
  })
  const node = join('/dev', 'fuse')
  const rdev = statSync(node, { throwIfNoEntry: false })?.rdev
  if (rdev === undefined) skip('the host has no /dev/fuse')
  assert.match(inside('stat -c %t:%T /dev/fuse', made), /^a:e5\n/)
})

test('a device that is another one on the host is refused, by name', () => {
  const made = mapped((config) => {
    config.linux.devices = [{ path: '/dev/zero', type: 'c', major: 1, minor: 3 }]
  })
  const result = fails(container(made).run(), /\/dev\/zero.*1:3/)
  oneLine(result)
})

test('a device of another type on the host is refused', () => {
  const made = mapped((config) => {
    config.linux.devices = [{ path: '/dev/zero', type: 'b', major: 1, minor: 5 }]
  })
  fails(container(made).run(), /\/dev\/zero/)
})

test('a device that the host has not is refused', () => {
  const made = mapped((config) => {
    config.linux.devices = [{ path: '/dev/nobody', type: 'c', major: 1, minor: 5 }]
  })
  fails(container(made).run(), /\/dev\/nobody/)
})

test('a FIFO is made', () => {
  const made = mapped((config) => {
    config.linux.devices = [{ path: '/dev/pipe', type: 'p' }]
  })
  assert.is(inside('test -p /dev/pipe && echo yes', made), 'yes\n')
})

test('the links of /dev are there, and ptmx works', () => {
  assert.is(
    inside('readlink /dev/fd; readlink /dev/stdin; readlink /dev/ptmx; exec 3<>/dev/ptmx; ls /dev/pts', mapped()),
    '/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n0\nptmx\n',
  )
})

test('devpts with a group that is not mapped is refused by name', () => {
  const made = mapped((config) => {
    config.linux.gidMappings = [{ containerID: 0, hostID: GID, size: 1 }]
  })
  const result = fails(container(made).run(), /\/dev\/pts/)
  oneLine(result)
})

test('without a network namespace of its own the container gets the /sys of the host', () => {
  const made = mapped((config) => withoutNamespaces(config, 'network'))
  const text = inside('ls /sys/class/net; grep " /sys " /proc/self/mountinfo', made)
  for (const name of readdirSync('/sys/class/net')) assert.ok(text.includes(name), name)
  assert.match(text, / ro,nosuid,nodev,noexec/)
})

test('without an ipc namespace of its own the container gets the queues of the host', () => {
  if (!mounts().some(({ target }) => target === '/dev/mqueue')) skip('the host has no /dev/mqueue')
  const made = mapped((config) => withoutNamespaces(config, 'ipc'))
  assert.is(inside('test -d /dev/mqueue && echo yes', made), 'yes\n')
})

test('a cgroup mount shows the cgroup', () => {
  const made = mapped((config) => {
    config.linux.namespaces.push({ type: 'cgroup' })
    config.mounts.push({ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro', 'nosuid'] })
  })
  const text = inside('cat /proc/self/cgroup; ls /sys/fs/cgroup | wc -l', made)
  assert.match(text, /:\/\n/)
  assert.ok(Number(text.trim().split('\n').at(-1)) > 0)
})

test('a cgroup mount without a cgroup namespace is bound', () => {
  const made = mapped((config) => {
    config.mounts.push({ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro', 'nosuid'] })
  })
  assert.ok(Number(inside('ls /sys/fs/cgroup | wc -l', made)) > 0)
})

test('the process is in its cgroup, and limits hold', () => {
  const made = mapped((config) => {
    config.linux.resources = { pids: { limit: 77 } }
  })
  const c = container(made)
  ok(c.create())
  const folder = cgroupDirectory('pids', made.config.linux.cgroupsPath)!
  assert.is(readFileSync(join(folder, 'pids.max'), 'utf8'), '77\n')
  assert.is(readFileSync(join(folder, 'cgroup.procs'), 'utf8'), `${c.state().pid}\n`)
})

test('masked and read-only paths are covered', () => {
  const made = mapped()
  made.file('etc/private', 'x')
  made.config.linux.maskedPaths = ['/etc/private', '/proc/acpi', '/sys/firmware', '/nowhere']
  assert.is(
    inside('cat /etc/private; ls /sys/firmware; echo 1 2>/dev/null > /proc/sys/net/ipv4/ip_forward || echo ro', made),
    'ro\n',
  )
})

test('a sysctl of a namespace is set', () => {
  const made = mapped((config) => {
    config.linux.sysctl = { 'net.ipv4.ip_forward': '1' }
  })
  assert.is(inside('cat /proc/sys/net/ipv4/ip_forward', made), '1\n')
})

// runc since 1.4.
only('runt', "a sysctl of the user namespace is set, and not the host's", () => {
  const path = '/proc/sys/user/max_net_namespaces'
  const before = readFileSync(path, 'utf8')
  const made = mapped((config) => {
    config.linux.sysctl = { 'user.max_net_namespaces': '7' }
  })
  assert.is(inside(`cat ${path}`, made), '7\n')
  assert.is(readFileSync(path, 'utf8'), before)
  const own = bundle((config) => {
    config.linux.namespaces.push({ type: 'user', path: '/proc/self/ns/user' })
    config.linux.sysctl = { 'user.max_net_namespaces': before.trim() }
  })
  oneLine(fails(container(own).run(), /linux\.sysctl "user\.max_net_namespaces": the user namespace .* is the host's/))
})

test('limits of the process are those of the configuration', () => {
  const made = mapped((config) => {
    config.process.rlimits = [
      { type: 'RLIMIT_NOFILE', soft: 20, hard: 30 },
      { type: 'RLIMIT_CORE', soft: 5, hard: 6 },
    ]
  })
  const text = inside('ulimit -n; ulimit -Hn; ulimit -c', made)
  assert.match(text, /^20\n30\n/)
})

test('the OOM score is set', () => {
  const made = mapped((config) => {
    config.process.oomScoreAdj = 500
  })
  assert.is(inside('cat /proc/self/oom_score_adj', made), '500\n')
})

test('additional groups are set', () => {
  const made = mapped((config) => {
    config.process.user = { uid: 7, gid: 8, additionalGids: [9, 10] }
  })
  assert.is(inside('id -u; id -g; id -G', made), '7\n8\n8 9 10\n')
})

test('an additional group that is not mapped is refused, by name', () => {
  const made = mapped((config) => {
    config.process.user.additionalGids = [70_000]
  })
  oneLine(fails(container(made).run(), /process\.user/))
})

test('a user that is not mapped is refused, by name', () => {
  const made = mapped((config) => {
    config.process.user.uid = 70_000
  })
  oneLine(fails(container(made).run(), /process\.user\.uid/))
})

test('a user without capabilities has none, another one keeps those that are asked for', () => {
  const made = mapped((config) => {
    config.process.user = { uid: 7, gid: 8 }
    config.process.capabilities = {
      bounding: ['CAP_KILL', 'CAP_CHOWN'],
      permitted: ['CAP_KILL'],
      effective: ['CAP_KILL'],
      inheritable: ['CAP_KILL'],
      ambient: ['CAP_KILL'],
    }
  })
  assert.is(
    inside("grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status | cut -f 2", made),
    '0000000000000020\n0000000000000020\n0000000000000021\n',
  )
})

test('a namespace in which 0 is not mapped works', () => {
  const made = mapped((config) => {
    config.linux.uidMappings = [{ containerID: 500, hostID: UID, size: 10 }]
    config.linux.gidMappings = [{ containerID: 600, hostID: GID, size: 10 }]
    config.process.user = { uid: 501, gid: 601 }
    config.mounts = config.mounts.map((mount) =>
      mount.type === 'devpts'
        ? { ...mount, options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=600', 'uid=500'] }
        : mount.type === 'tmpfs'
          ? { ...mount, options: [...mount.options!, 'uid=500', 'gid=600'] }
          : mount,
    )
  })
  assert.is(inside('id -u; id -g; cat /proc/self/uid_map | tr -s " "', made), '501\n601\n 500 100000 10\n')
})

test('nothing of the stage is left open', () => {
  const made = mapped()
  const source = hidden(made)
  made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind'] })
  assert.is(inside('ls /proc/self/fd | tr "\\n" " "', made), '0 1 2 3 ')
})

test('a parked container has no descriptor of the host', () => {
  const made = mapped()
  const source = hidden(made)
  made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind'] })
  made.write()
  const c = container(made)
  ok(c.create())
  const pid = c.state().pid!
  const root = mounts(pid).map(({ target }) => target)
  assert.ok(root.includes('/mnt'))
  assert.not(root.some((target) => target.startsWith('/sys/fs/cgroup')))
  ok(c.start())
})

test('create, start, exec, kill and delete work', () => {
  const made = mapped((config) => {
    config.process.args = ['sleep', '100']
  })
  const c = container(made)
  ok(c.create())
  ok(c.start())
  const pid = c.state().pid!
  assert.is(statSync(`/proc/${pid}`).uid, UID)
  ok(c.kill('KILL'))
  c.until('stopped')
  ok(c.delete())
  assert.not(isAlive(pid))
})

test('exec is in the user namespace, with the ids and limits that are asked for', () => {
  const made = mapped((config) => {
    config.process.args = ['sleep', '60']
  })
  const c = container(made)
  ok(c.create())
  ok(c.start())
  const script = 'readlink /proc/self/ns/user; id -u; id -g; ulimit -n'
  const text = ok(runCommand(['exec', '--user', '7:8', c.id, 'sh', '-c', script])).stdout
  assert.is(text, `${readlinkSync(`/proc/${c.state().pid}/ns/user`)}\n7\n8\n1024\n`)
})

test('exec of a user that is not mapped fails, by name', () => {
  const made = mapped((config) => {
    config.process.args = ['sleep', '60']
  })
  const c = container(made)
  ok(c.create())
  ok(c.start())
  oneLine(fails(runCommand(['exec', '--user', '70000', c.id, 'true']), /process\.user/))
})

test('hooks run: createRuntime in the namespace of the host, createContainer in that of the container', () => {
  const made = mapped()
  const file = join(made.directory, 'extra')
  mkdirSync(file)
  chmodSync(file, 0o777)
  chmodSync(made.directory, 0o755)
  const hook = (name: string) => [
    { path: '/bin/sh', args: ['sh', '-c', `readlink /proc/self/ns/user > ${file}/${name}; id -u >> ${file}/${name}`] },
  ]
  made.config.hooks = { createRuntime: hook('outer'), createContainer: hook('inner') }
  const own = inside('readlink /proc/self/ns/user', made)
  const [outerLink, outerId] = readFileSync(join(file, 'outer'), 'utf8').trim().split('\n')
  const [innerLink, innerId] = readFileSync(join(file, 'inner'), 'utf8').trim().split('\n')
  assert.is.not(outerLink, own.trim())
  assert.is(outerId, '0')
  assert.is(innerLink, own.trim())
  assert.is(innerId, '0')
})

test('more sources than fit into one message are bound', () => {
  const made = mapped()
  const base = hidden(made)
  for (let index = 0; index < 230; index++) {
    mkdirSync(join(base, `s${index}`))
    made.config.mounts.push({
      destination: `/tmp/t${index}`,
      type: 'bind',
      source: join(base, `s${index}`),
      options: ['rbind'],
    })
  }
  assert.is(inside('grep -c " /tmp/t" /proc/self/mountinfo', made), '230\n')
})

test('a destination that is a dangling link is made, and bound from a closed folder', () => {
  const made = mapped()
  const source = hidden(made)
  execFileSync('ln', ['-s', '/run/made/there', join(made.rootfs, 'link')])
  made.config.mounts.push({ destination: '/link', type: 'bind', source, options: ['rbind'] })
  assert.is(inside('cat /run/made/there/file', made), 'secret\n')
})

test('a user namespace is joined by path, with its other namespaces', () => {
  const first = container(
    mapped((config) => {
      config.process.args = ['sleep', '60']
    }),
  )
  ok(first.create())
  ok(first.start())
  const pid = first.state().pid!
  const path = (name: string) => `/proc/${pid}/ns/${name}`
  const made = mapped((config) => {
    withoutNamespaces(config, 'user', 'network', 'ipc')
    config.linux.namespaces.push(
      { type: 'user', path: path('user') },
      { type: 'network', path: path('net') },
      { type: 'ipc', path: path('ipc') },
    )
    delete config.linux.uidMappings
    delete config.linux.gidMappings
  })
  const source = hidden(made)
  made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind'] })
  const text = inside(
    'readlink /proc/self/ns/user; readlink /proc/self/ns/net; cat /proc/self/uid_map | tr -s " "; id -u; cat /mnt/file; stat -c %t:%T /dev/null',
    made,
  )
  const link = (name: string) => execFileSync('readlink', [path(name)], { encoding: 'utf8' })
  assert.is(text, `${link('user')}${link('net')} 0 ${UID} 65536\n0\nsecret\n1:3\n`)
})

test('a user namespace path that is no user namespace is refused, by name', () => {
  const made = mapped((config) => {
    withoutNamespaces(config, 'user')
    config.linux.namespaces.push({ type: 'user', path: '/proc/self/ns/net' })
    delete config.linux.uidMappings
    delete config.linux.gidMappings
  })
  oneLine(fails(container(made).run(), /\/proc\/self\/ns\/net/))
})

const mistakes: [string, RegExp, (config: Config) => void][] = [
  ['a range of size 0', /linux\.uidMappings\[0\]/, (c) => set(c, 'linux.uidMappings.0.size', 0)],
  [
    'overlapping ranges inside',
    /linux\.uidMappings\[1\]/,
    (c) => set(c, 'linux.uidMappings.1', { containerID: 5, hostID: 900_000, size: 1 }),
  ],
  [
    'overlapping ranges outside',
    /linux\.gidMappings\[1\]/,
    (c) => set(c, 'linux.gidMappings.1', { containerID: 500_000, hostID: GID + 5, size: 1 }),
  ],
  [
    'more ranges than the kernel takes',
    /linux\.uidMappings/,
    (c) =>
      set(
        c,
        'linux.uidMappings',
        Array.from({ length: 341 }, (_, index) => ({ containerID: index, hostID: UID + 2 * index, size: 1 })),
      ),
  ],
  ['no gid mappings', /linux\.gidMappings/, (c) => set(c, 'linux.gidMappings', undefined)],
  ['no uid mappings', /linux\.uidMappings/, (c) => set(c, 'linux.uidMappings', undefined)],
  ['mappings without a user namespace', /linux\.uidMappings/, (c) => withoutNamespaces(c, 'user')],
  ['a gid that is not mapped', /process\.user\.gid/, (c) => set(c, 'process.user.gid', 70_000)],
]
for (const [name, message, configure] of mistakes)
  test(`${name}: refused in one line`, () => {
    oneLine(fails(container(mapped(configure)).run(), message))
  })

test('many ranges are mapped', () => {
  const made = mapped((config) => {
    config.linux.uidMappings = Array.from({ length: 100 }, (_, index) => ({
      containerID: index,
      hostID: UID + 2 * index,
      size: 1,
    }))
    config.linux.gidMappings = [{ containerID: 0, hostID: GID, size: 10 }]
  })
  chownSync(made.rootfs, UID, GID)
  assert.is(inside('cat /proc/self/uid_map | wc -l', made), '100\n')
})

run()
