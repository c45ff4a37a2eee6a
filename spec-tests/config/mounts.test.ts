/** runtime-spec, config.md: "Mounts"; mount(8). */
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Bundle, bundle, type Config, heading, inside } from '../harness.ts'
import { type MountLine, mounts, parseMountinfo, unified } from '../host.ts'

const { test, run } = heading('config/mounts')

function table(what: Bundle | ((config: Config) => void) = () => {}): MountLine[] {
  return parseMountinfo(inside('cat /proc/self/mountinfo', what))
}
function find(lines: MountLine[], target: string): MountLine {
  const found = lines.filter((line) => line.target === target)
  assert.ok(found.length > 0, `${target} is not mounted`)
  return found.at(-1)!
}

let defaults: MountLine[] | undefined
for (const [target, type, options, superOptions] of [
  ['/proc', 'proc', ['rw'], []],
  ['/dev', 'tmpfs', ['rw', 'nosuid'], ['size=65536k', 'mode=755']],
  ['/dev/pts', 'devpts', ['rw', 'nosuid', 'noexec'], ['gid=5', 'mode=620', 'ptmxmode=666']],
  ['/dev/shm', 'tmpfs', ['rw', 'nosuid', 'nodev', 'noexec'], ['size=65536k']],
  ['/dev/mqueue', 'mqueue', ['rw', 'nosuid', 'nodev', 'noexec'], []],
  ['/sys', 'sysfs', ['ro', 'nosuid', 'nodev', 'noexec'], []],
] as const) {
  test(`the default configuration mounts ${target}`, () => {
    defaults ??= table()
    const line = find(defaults, target)
    assert.is(line.type, type)
    for (const option of options) assert.ok(line.options.includes(option), `${option} in ${line.options}`)
    for (const option of superOptions)
      assert.ok(line.superOptions.includes(option), `${option} in ${line.superOptions}`)
  })
}

test('the default configuration mounts the control groups read-only', () => {
  defaults ??= table()
  const type = unified ? 'cgroup2' : 'cgroup'
  const lines = defaults.filter((line) => line.type === type)
  const outside = mounts().filter((line) => line.type === type && line.target.startsWith('/sys/fs/cgroup'))
  assert.is(lines.length, outside.length)
  for (const line of lines) assert.ok(line.options.includes('ro'), line.target)
})

for (const namespaced of [true, false]) {
  test(`the type cgroup2 is that file system beside v1 too, ${namespaced ? 'with' : 'without'} a cgroup namespace`, () => {
    const host = mounts().some(({ type }) => type === 'cgroup2')
    const lines = table((config) => {
      config.mounts = config.mounts.filter(({ type }) => type !== 'cgroup')
      config.mounts.push({ destination: '/mnt', type: 'cgroup2', source: 'cgroup2', options: ['ro', 'nosuid'] })
      const namespaces = config.linux.namespaces.filter(({ type }) => type !== 'cgroup')
      config.linux.namespaces = namespaced ? [...namespaces, { type: 'cgroup' }] : namespaces
    })
    const line = find(lines, '/mnt')
    assert.is(line.type, 'cgroup2')
    assert.ok(line.options.includes('ro'))
    // Whose root is shown: without a mount of the host there is none to bind the container's own of.
    if (host && !namespaced) assert.is.not(line.root, '/')
  })
}

test('the control group mounts show the group of the container as their root', () => {
  assert.is(
    inside('cat /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null | grep -c "^1$"').trim() !== '0',
    true,
  )
})

test('a tmpfs has the size and mode of its options', () => {
  const lines = table((config) => {
    config.mounts.push({
      destination: '/tmp',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['size=1m', 'mode=1770', 'noexec'],
    })
  })
  const line = find(lines, '/tmp')
  assert.ok(line.superOptions.includes('size=1024k'))
  assert.ok(line.superOptions.includes('mode=1770'))
  assert.ok(line.options.includes('noexec'))
})

function bound(options: string[], script: string, before: (directory: string) => void = () => {}): string {
  const made = bundle()
  const source = join(made.directory, 'extra')
  mkdirSync(source)
  writeFileSync(join(source, 'file'), 'content')
  before(source)
  made.config.mounts.push({ destination: '/data', type: 'bind', source, options })
  return inside(script, made)
}

test('a bind mount shows the directory of the host', () => {
  assert.is(bound(['bind'], 'cat /data/file'), 'content')
})

test('a bind mount is writable without ro', () => {
  assert.is(bound(['rbind', 'rw'], 'echo x > /data/new && cat /data/new'), 'x\n')
})

test('a bind mount with ro is read-only', () => {
  assert.is(bound(['rbind', 'ro'], 'touch /data/new 2>/dev/null || echo refused'), 'refused\n')
})

test('the bind option makes a bind mount, whatever the type', () => {
  const made = bundle()
  made.file('from/file', 'content')
  made.config.mounts.push({ destination: '/data', type: 'none', source: join(made.rootfs, 'from'), options: ['bind'] })
  assert.is(inside('cat /data/file', made), 'content')
})

test('the bind option without a type makes a bind mount', () => {
  const made = bundle()
  made.file('from/file', 'content')
  made.config.mounts.push({ destination: '/data', source: join(made.rootfs, 'from'), options: ['bind'] })
  assert.is(inside('cat /data/file', made), 'content')
})

test('a relative source of a bind mount is relative to the bundle', () => {
  const made = bundle()
  made.file('from/file', 'content')
  made.config.mounts.push({ destination: '/data', type: 'bind', source: 'rootfs/from', options: ['bind'] })
  assert.is(inside('cat /data/file', made), 'content')
})

test('a file is mounted on a file, which is created', () => {
  const made = bundle()
  mkdirSync(join(made.directory, 'extra'))
  writeFileSync(join(made.directory, 'extra/file'), 'content')
  made.config.mounts.push({
    destination: '/new/dir/file',
    type: 'bind',
    source: join(made.directory, 'extra/file'),
    options: ['bind', 'ro'],
  })
  assert.is(inside('cat /new/dir/file', made), 'content')
  assert.ok(lstatSync(join(made.rootfs, 'new/dir/file')).isFile())
  assert.is(statSync(join(made.rootfs, 'new/dir/file')).size, 0)
})

for (const [flag, script] of [
  ['noexec', '/data/tool 2>/dev/null || echo refused'],
  ['nodev', 'cat /data/null 2>/dev/null || echo refused'],
] as const) {
  test(`a bind mount with ${flag} refuses`, () => {
    const out = bound(['bind', flag], script, (source) => {
      writeFileSync(join(source, 'tool'), '#!/bin/sh\necho ran', { mode: 0o755 })
    })
    assert.is(out, 'refused\n')
  })
}

for (const flag of ['nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime', 'relatime', 'ro', 'nosymfollow']) {
  test(`the flag ${flag} is set on a bind mount`, () => {
    const line = find(parseMountinfo(bound(['bind', flag], 'cat /proc/self/mountinfo')), '/data')
    assert.ok(line.options.includes(flag), line.options.join())
  })
  test(`the flag ${flag} is set on a tmpfs`, () => {
    const lines = table((config) => {
      config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: [flag] })
    })
    const line = find(lines, '/tmp')
    assert.ok(line.options.includes(flag), line.options.join())
  })
}

test('a later option overrides an earlier one', () => {
  const line = find(parseMountinfo(bound(['bind', 'ro', 'noexec', 'rw', 'exec'], 'cat /proc/self/mountinfo')), '/data')
  assert.ok(line.options.includes('rw'))
  assert.not(line.options.includes('noexec'))
})

for (const [option, tag] of [
  ['shared', /shared:/],
  ['slave', /^(?!.*shared:)/],
  ['private', /^$/],
  ['unbindable', /unbindable/],
] as const) {
  test(`the propagation ${option} is set`, () => {
    const lines = table((config) => {
      config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: [option] })
    })
    assert.match(find(lines, '/tmp').tags.join(' '), tag)
  })
}

test('mounts are made in the order of the configuration', () => {
  const made = bundle((config) => {
    config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs' })
    config.mounts.push({ destination: '/tmp/a', type: 'tmpfs', source: 'first' })
    config.mounts.push({ destination: '/tmp/a/b', type: 'tmpfs', source: 'second' })
  })
  assert.is(find(table(made), '/tmp/a/b').source, 'second')
  assert.not(existsSync(join(made.rootfs, 'tmp/a')))
})

test('a destination that is missing is created', () => {
  const made = bundle((config) => {
    config.mounts.push({ destination: '/some/where/deep', type: 'tmpfs', source: 'tmpfs' })
  })
  find(table(made), '/some/where/deep')
  assert.ok(statSync(join(made.rootfs, 'some/where/deep')).isDirectory())
})

test('an absolute symbolic link in a destination is resolved inside the root', () => {
  const made = bundle((config) => {
    config.mounts.push({ destination: '/run/lock', type: 'tmpfs', source: 'tmpfs' })
  })
  mkdirSync(join(made.rootfs, 'var/run'), { recursive: true })
  symlinkSync('/var/run', join(made.rootfs, 'run'))
  find(table(made), '/var/run/lock')
})

test('a symbolic link with dots in a destination does not leave the root', () => {
  const made = bundle((config) => {
    config.mounts.push({ destination: '/evil/dir', type: 'tmpfs', source: 'tmpfs' })
  })
  symlinkSync('../../../../../..', join(made.rootfs, 'evil'))
  find(table(made), '/dir')
})

test('a destination with dots does not leave the root', () => {
  const lines = table((config) => {
    config.mounts.push({ destination: '/../../../dir', type: 'tmpfs', source: 'tmpfs' })
  })
  find(lines, '/dir')
})

test('a destination that is a dangling symbolic link is created where it points to, inside the root', () => {
  const made = bundle((config) => {
    config.mounts.push({ destination: '/link', type: 'tmpfs', source: 'tmpfs' })
  })
  symlinkSync('/not/yet', join(made.rootfs, 'link'))
  find(table(made), '/not/yet')
})

test('a relative destination is taken from the root', () => {
  const lines = table((config) => {
    config.mounts.push({ destination: 'relative/dir', type: 'tmpfs', source: 'tmpfs' })
  })
  find(lines, '/relative/dir')
})

test('a destination with spaces and other letters works', () => {
  const lines = table((config) => {
    config.mounts.push({ destination: '/with space/ünï\t', type: 'tmpfs', source: 'tmpfs' })
  })
  find(lines, '/with space/ünï\t')
})

test('mounts of the container do not show on the host', () => {
  const before = mounts().length
  inside('true', (config) => {
    config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['rshared'] })
  })
  assert.is(mounts().length, before)
})

test('a file is mounted on a dangling symbolic link whose folders are missing too', () => {
  const made = bundle()
  mkdirSync(join(made.directory, 'extra'))
  writeFileSync(join(made.directory, 'extra/resolv.conf'), 'nameserver 192.0.2.1\n')
  symlinkSync('../run/resolve/stub.conf', join(made.rootfs, 'etc/resolv.conf'))
  made.config.mounts.push(
    { destination: '/etc/resolv.conf', type: 'bind', source: 'extra/resolv.conf', options: ['bind', 'ro'] },
    { destination: '/proof', type: 'tmpfs', source: 'tmpfs' },
  )
  assert.is(inside('cat /etc/resolv.conf; stat -f -c %T /proof', made), 'nameserver 192.0.2.1\ntmpfs\n')
  assert.ok(existsSync(join(made.rootfs, 'run/resolve/stub.conf')))
})

test('a dangling symbolic link into a mount is created there', () => {
  const made = bundle((config) => {
    config.mounts.push(
      { destination: '/run', type: 'tmpfs', source: 'tmpfs' },
      { destination: '/lock/deep', type: 'tmpfs', source: 'tmpfs' },
    )
  })
  symlinkSync('/run/lock', join(made.rootfs, 'lock'))
  assert.is(inside('stat -f -c %T /run/lock/deep', made), 'tmpfs\n')
  assert.equal(readdirSync(join(made.rootfs, 'run')), [])
})

test('tmpcopyup puts what the directory held into the tmpfs', () => {
  const made = bundle((config) => {
    config.mounts.push({ destination: '/data', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup'] })
  })
  made.file('data/file', 'content')
  assert.is(inside('cat /data/file && echo changed > /data/file', made), 'content')
  assert.is(readFileSync(join(made.rootfs, 'data/file'), 'utf8'), 'content')
})

test('tmpcopyup copies folders, links, modes and owners, before the mount becomes read-only', () => {
  const options = ['tmpcopyup', 'ro', 'nosuid']
  const made = bundle((config) => {
    config.mounts.push({ destination: '/data', type: 'tmpfs', source: 'tmpfs', options })
    config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', 'mode=1777'] })
    config.mounts.push({ destination: '/new', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup'] })
  })
  for (let number = 0; number < 100; number++) made.file(`data/many/file-${number}`, `${number}`)
  made.file('data/a/b/c', 'x'.repeat(3_000_000), 0o4710)
  chownSync(join(made.rootfs, 'data/a/b/c'), 12, 34)
  chmodSync(join(made.rootfs, 'data/a/b/c'), 0o4710)
  chmodSync(join(made.rootfs, 'data'), 0o751)
  symlinkSync('/etc/long/passwd', join(made.rootfs, 'data/link'))
  symlinkSync('a/b', join(made.rootfs, 'data/short'))
  const script =
    'cd /data; stat -c "%a %u %g %s" a/b/c; readlink link; readlink short; ls many | wc -l; stat -c %a . /tmp; touch x 2>/dev/null || echo ro; ls /new; cat many/file-99'
  assert.equal(inside(script, made).split('\n'), [
    ...['4710 12 34 3000000', '/etc/long/passwd', 'a/b', '100', '751', '1777', 'ro', '99'],
  ])
})

test('rro makes the mounts below read-only too', () => {
  const made = bundle((config) => {
    config.mounts.push({ destination: '/a', type: 'tmpfs', source: 'tmpfs' })
  })
  mkdirSync(join(made.directory, 'extra'))
  made.config.mounts.push({ destination: '/data', type: 'bind', source: '/dev', options: ['rbind', 'rro'] })
  const below = parseMountinfo(inside('cat /proc/self/mountinfo', made)).filter(({ target }) =>
    target.startsWith('/data'),
  )
  assert.ok(below.length > 1, 'the host has mounts below /dev')
  for (const line of below) assert.ok(line.options.includes('ro'), line.target)
})

test('a bind mount of /proc/self/ns is possible without a mount below', () => {
  const inode = inside('stat -L -c %i /data', (config) => {
    config.mounts.push({ destination: '/data', type: 'bind', source: '/proc/self/ns/uts', options: ['bind'] })
  })
  assert.match(inode, /^\d+\n$/)
})

test('no mounts at all is a valid configuration', () => {
  assert.is(
    inside('echo ran', (config) => {
      config.mounts = []
      delete config.linux.maskedPaths
      delete config.linux.readonlyPaths
    }),
    'ran\n',
  )
})

test('a tmpfs that is read-only holds what is mounted below', () => {
  const made = bundle((config) => {
    config.mounts.push(
      { destination: '/data', type: 'tmpfs', source: 'tmpfs', options: ['ro'] },
      { destination: '/data/inner/deep', type: 'tmpfs', source: 'tmpfs' },
      { destination: '/data/passwd', type: 'bind', source: '/etc/passwd', options: ['bind', 'ro'] },
    )
  })
  const script =
    'touch /data/x || echo closed; touch /data/inner/x || echo closed; touch /data/inner/deep/x && echo open; test -s /data/passwd && echo there'
  assert.is(inside(script, made), 'closed\nclosed\nopen\nthere\n')
  assert.ok(find(table(made), '/data').options.includes('ro'))
})

test('parameters of file systems mean nothing for a bind mount', () => {
  const text = inside('ls /mnt/passwd; touch /mnt/x || echo closed', (config) => {
    config.mounts.push({ destination: '/mnt', source: '/etc', options: ['mode=700', 'rbind', 'size=5', 'ro'] })
  })
  assert.is(text, '/mnt/passwd\nclosed\n')
})

test('a read-only /dev has its devices and mounts', () => {
  const made = bundle((config) => {
    const dev = config.mounts.find(({ destination }) => destination === '/dev')!
    dev.options = [...dev.options!, 'ro']
  })
  const script =
    'touch /dev/x || echo closed; echo > /dev/null && ls -d /dev/pts /dev/shm; touch /dev/shm/x && echo open'
  assert.is(inside(script, made), 'closed\n/dev/pts\n/dev/shm\nopen\n')
})

run()
