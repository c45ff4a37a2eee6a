/** runtime-spec, config-linux.md: "Namespaces" and "User namespace mappings". */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
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
  skip,
  started,
  withoutNamespaces,
} from '../harness.ts'

const { test, run } = heading('config-linux/namespaces')

/** The name in /proc/PID/ns of each type of the spec. */
const links: Record<string, string> = {
  pid: 'pid',
  network: 'net',
  ipc: 'ipc',
  uts: 'uts',
  mount: 'mnt',
  cgroup: 'cgroup',
  user: 'user',
  time: 'time',
}
const outside = (type: string) => readlinkSync(`/proc/self/ns/${links[type]}`)
const within = (type: string, configure: (config: Config) => void = () => {}) =>
  inside(`readlink /proc/self/ns/${links[type]}`, configure).trim()

for (const type of ['pid', 'network', 'ipc', 'uts', 'mount']) {
  test(`the default configuration has a new ${type} namespace`, () => {
    assert.is.not(within(type), outside(type))
  })
}

for (const type of ['cgroup', 'user', 'time']) {
  test(`the default configuration leaves the ${type} namespace alone`, () => {
    if (!existsSync(`/proc/self/ns/${type}`)) skip(`the kernel has no ${type} namespaces`)
    assert.is(within(type), outside(type))
  })
}

for (const type of ['pid', 'network', 'ipc', 'uts']) {
  test(`without a ${type} namespace in the configuration the container has the one of the caller`, () => {
    const found = within(type, (config) => {
      withoutNamespaces(config, type)
      if (type === 'uts') delete config.hostname
      if (type === 'ipc') config.mounts = config.mounts.filter((mount) => mount.type !== 'mqueue')
      if (type === 'network') config.mounts = config.mounts.filter((mount) => mount.type !== 'sysfs')
    })
    assert.is(found, outside(type))
  })
}

test('a cgroup namespace is made on request, and the group of the container is its root', () => {
  const text = inside('readlink /proc/self/ns/cgroup; cat /proc/self/cgroup', (config) => {
    config.linux.namespaces.push({ type: 'cgroup' })
  })
  const [link, ...groups] = text.trim().split('\n')
  assert.is.not(link, outside('cgroup'))
  for (const group of groups) assert.match(group, /:\/$/)
})

for (const type of ['network', 'ipc', 'uts', 'pid', 'cgroup']) {
  test(`a ${type} namespace is joined by path`, () => {
    const first = started((config) => {
      config.linux.namespaces.push({ type: 'cgroup' })
    })
    const path = `/proc/${first.state().pid}/ns/${links[type]}`
    const found = within(type, (config) => {
      withoutNamespaces(config, type)
      config.linux.namespaces.push({ type, path })
      if (type === 'uts') delete config.hostname
    })
    assert.is(found, readlinkSync(path))
  })
}

test('a program in a joined pid namespace is not process 1, and sees the other container', () => {
  const first = started()
  const text = inside('echo $$; cat /proc/1/cmdline', (config) => {
    withoutNamespaces(config, 'pid')
    config.linux.namespaces.push({ type: 'pid', path: `/proc/${first.state().pid}/ns/pid` })
  })
  assert.is.not(text.split('\n')[0], '1')
  assert.match(text, /sleep\0?60/)
})

test('a hostname in a joined uts namespace is set for both', () => {
  const first = started()
  const hostname = inside('hostname', (config) => {
    config.linux.namespaces = config.linux.namespaces.map((one) =>
      one.type === 'uts' ? { type: 'uts', path: `/proc/${first.state().pid}/ns/uts` } : one,
    )
    config.hostname = 'shared'
  })
  assert.is(hostname, 'shared\n')
})

test('the loopback interface of a new network namespace is up', () => {
  assert.match(inside('ip addr show dev lo'), /<[^>]*\bUP\b[^>]*>[\s\S]*127\.0\.0\.1/)
})

test('a new network namespace has no interface of the host', () => {
  const names = inside('ls /sys/class/net').trim().split(/\s+/)
  assert.ok(names.includes('lo'))
  assert.is(inside('cat /proc/net/route | wc -l').trim(), '1')
})

test('processes of the host are not visible in a new pid namespace', () => {
  const pids = inside('ls /proc | grep -c "^[0-9]"')
  assert.ok(Number(pids) < 6, pids)
})

test('the container sees its processes as those of its pid namespace', () => {
  assert.match(inside('grep NSpid /proc/self/status'), /^NSpid:\t\d+\n$/)
})

const mapped = (config: Config) => {
  config.linux.namespaces.push({ type: 'user' })
  config.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }]
  config.linux.gidMappings = [{ containerID: 0, hostID: 200_000, size: 65_536 }]
  config.root.readonly = false
  config.mounts = config.mounts.filter(({ type }) => type !== 'cgroup')
}

/** A bundle whose root file system belongs to the mapped root, as engines prepare it. */
function owned(configure: (config: Config) => void = mapped): Bundle {
  const made = bundle(configure)
  execFileSync('chown', [
    '-h',
    '100000:200000',
    made.rootfs,
    ...readdirSync(made.rootfs).map((name) => join(made.rootfs, name)),
  ])
  return made
}

test('user and pid namespace of another container are joined', () => {
  const first = container(owned())
  ok(first.create())
  ok(first.start())
  const { pid } = first.state()
  const second = container(
    owned((config) => {
      mapped(config)
      delete config.linux.uidMappings
      delete config.linux.gidMappings
      config.linux.namespaces = config.linux.namespaces.map((one) =>
        one.type === 'user' || one.type === 'pid' ? { ...one, path: `/proc/${pid}/ns/${one.type}` } : one,
      )
    }),
  )
  ok(second.create())
  const state = second.state()
  for (const type of ['user', 'pid'])
    assert.is(readlinkSync(`/proc/${state.pid}/ns/${type}`), readlinkSync(`/proc/${pid}/ns/${type}`))
  assert.is.not(readlinkSync(`/proc/${state.pid}/ns/mnt`), readlinkSync(`/proc/${pid}/ns/mnt`))
  ok(second.start())
  const ids = ok(runCommand(['exec', second.id, 'sh', '-c', 'id -u; ps -o args | grep -c "^slee[p]"'])).stdout
  assert.is(ids, '0\n2\n')
})

test('a user namespace has the mappings of the configuration', () => {
  const text = inside('cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g', owned())
  assert.equal(
    text
      .trim()
      .split('\n')
      .map((line) => line.trim().replace(/\s+/g, ' ')),
    ['0 100000 65536', '0 200000 65536', '0', '0'],
  )
})

test('the container process is the mapped user of the host', () => {
  const c = container(owned())
  ok(c.create())
  const { pid } = c.state()
  assert.is.not(readlinkSync(`/proc/${pid}/ns/user`), outside('user'))
})

test('several ranges of a user namespace are mapped', () => {
  const made = owned()
  made.config.linux.uidMappings = [
    { containerID: 0, hostID: 100_000, size: 10 },
    { containerID: 10, hostID: 300_000, size: 20 },
  ]
  const text = inside('cat /proc/self/uid_map', made)
  assert.equal(
    text
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number)),
    [
      [0, 100_000, 10],
      [10, 300_000, 20],
    ],
  )
})

test('a container with a user namespace has its default devices', () => {
  assert.match(inside('echo x > /dev/null && head -c 4 /dev/zero | wc -c; stat -c %t:%T /dev/null', owned()), /4\s+1:3/)
})

test('a capability of a user namespace is one over its own namespaces only', () => {
  const made = owned()
  for (const name of ['bounding', 'effective', 'permitted'])
    made.config.process.capabilities![name]!.push('CAP_SYS_ADMIN')
  const text = inside('hostname changed && hostname; mount -t tmpfs none /tmp 2>&1 | head -1', made)
  assert.match(text, /^changed\n/)
})

test('another user of a user namespace is mapped too', () => {
  const made = owned()
  made.config.process.user = { uid: 1000, gid: 1000 }
  assert.is(inside('id -u; id -g', made), '1000\n1000\n')
})

const timeTest = (name: string, body: () => void) =>
  test(name, () => {
    if (!existsSync('/proc/self/ns/time')) skip('the kernel has no time namespaces')
    body()
  })

timeTest('a time namespace has the offsets of the configuration', () => {
  const text = inside('readlink /proc/self/ns/time; cut -d . -f 1 /proc/uptime', (config) => {
    config.linux.namespaces.push({ type: 'time' })
    config.linux.timeOffsets = { boottime: { secs: 1_000_000 }, monotonic: { secs: 5 } }
  })
  const [link, uptime] = text.trim().split('\n')
  assert.is.not(link, outside('time'))
  assert.ok(Number(uptime) > 1_000_000)
})

const offsets =
  (boottime: object, monotonic: object = {}) =>
  (config: Config) => {
    config.linux.namespaces.push({ type: 'time' })
    config.linux.timeOffsets = { boottime, monotonic }
  }

timeTest('a time namespace without offsets is a new one', () => {
  assert.is.not(
    within('time', (config) => config.linux.namespaces.push({ type: 'time' })),
    outside('time'),
  )
})

timeTest('offsets may be negative, and have nanoseconds', () => {
  const text = inside(
    'cat /proc/self/timens_offsets',
    offsets({ secs: -1, nanosecs: 5 }, { secs: 3, nanosecs: 999_999_999 }),
  )
  assert.match(text, /monotonic\s+3\s+999999999\nboottime\s+-1\s+5\n/)
})

timeTest('offsets that would set a clock below zero are refused, by name', () => {
  oneLine(fails(container(offsets({ secs: -1_000_000_000 })).run(), /linux\.timeOffsets/))
})

timeTest('a time namespace with a user namespace belongs to it', () => {
  const made = owned((config) => {
    mapped(config)
    offsets({ secs: 1_000_000 })(config)
  })
  const [link, uptime, id] = inside('readlink /proc/self/ns/time; cut -d . -f 1 /proc/uptime; id -u', made)
    .trim()
    .split('\n')
  assert.is.not(link, outside('time'))
  assert.ok(Number(uptime) > 1_000_000)
  assert.is(id, '0')
})

timeTest('a time namespace is joined by path', () => {
  const first = started(offsets({ secs: 2_000_000 }))
  const path = `/proc/${first.state().pid}/ns/time`
  const text = inside('readlink /proc/self/ns/time; cut -d . -f 1 /proc/uptime', (config) => {
    config.linux.namespaces.push({ type: 'time', path })
  })
  const [link, uptime] = text.trim().split('\n')
  assert.is(link, readlinkSync(path))
  assert.ok(Number(uptime) > 2_000_000)
})

timeTest('exec is in the time namespace of the container', () => {
  const c = started(offsets({ secs: 3_000_000 }))
  assert.ok(Number.parseInt(ok(runCommand(['exec', c.id, 'cat', '/proc/uptime'])).stdout, 10) > 3_000_000)
})

test('two containers of the same configuration share no namespace', () => {
  const [a, b] = [started(), started()]
  for (const type of ['pid', 'network', 'ipc', 'uts', 'mount']) {
    assert.is.not(
      readlinkSync(`/proc/${a.state().pid}/ns/${links[type]}`),
      readlinkSync(`/proc/${b.state().pid}/ns/${links[type]}`),
      type,
    )
  }
})

test('with a new pid namespace the state has the pid outside', () => {
  const c = container()
  ok(c.create())
  assert.is.not(readlinkSync(`/proc/${c.state().pid}/ns/pid`), outside('pid'))
})

run()
