/** runtime-spec, config.md: "Mounts": sources, destinations, and what an image may do with them. */
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Bundle, bundle, container, fails, heading, inside, leavesNothing, oneLine } from '../harness.ts'
import { parseMountinfo } from '../host.ts'

const { test, only, run } = heading('config/mounts-targets')

const tmpfs = (destination: string, ...options: string[]) => ({ destination, type: 'tmpfs', source: 'tmpfs', options })
const bind = (source: string, destination: string, ...options: string[]) => ({
  destination,
  type: 'bind',
  source,
  options: ['rbind', ...options],
})

/** A bundle with a folder on the host that holds a file and a link to it. */
function withExtra(): Bundle & { extra: string } {
  const made = bundle()
  const extra = join(made.directory, 'extra')
  mkdirSync(join(extra, 'folder'), { recursive: true })
  writeFileSync(join(extra, 'file'), 'content')
  symlinkSync('file', join(extra, 'link'))
  return { ...made, extra }
}

const targets = (made: Bundle) => parseMountinfo(inside('cat /proc/self/mountinfo', made)).map(({ target }) => target)

// Destinations

for (const [written, meant] of [
  ['/dir/', '/dir'],
  ['//dir///deep//', '/dir/deep'],
  ['/./dir/./', '/dir'],
  ['/dir/../other', '/other'],
  ['dir', '/dir'],
] as const)
  test(`the destination ${written} is ${meant}`, () => {
    const made = bundle((config) => {
      config.mounts.push(tmpfs(written))
    })
    assert.ok(targets(made).includes(meant))
  })

test('a file is mounted where the destination ends with a slash', () => {
  const made = withExtra()
  made.config.mounts.push(bind(join(made.extra, 'file'), '/etc/new/'))
  assert.is(inside('cat /etc/new', made), 'content')
})

test('one mount covers another at the same destination', () => {
  const made = withExtra()
  made.config.mounts.push(tmpfs('/m'), bind(made.extra, '/m'))
  assert.match(inside('ls /m', made), /^file$/m)
})

test('a link of the image that leads out of the root ends at the root', () => {
  const made = withExtra()
  const outside = join(made.extra, 'folder')
  symlinkSync(outside, join(made.rootfs, 'evil'))
  symlinkSync('../../../../../../../../../../tmp', join(made.rootfs, 'dots'))
  mkdirSync(join(made.rootfs, outside), { recursive: true })
  made.config.mounts.push(tmpfs('/evil/a'), tmpfs('/dots/b'))
  const all = targets(made)
  assert.ok(all.includes(join(outside, 'a')))
  assert.ok(all.includes('/tmp/b'))
  assert.equal(readdirSync(outside), [])
})

test('a chain of links is followed inside the root', () => {
  const made = bundle((config) => {
    config.mounts.push(tmpfs('/one/end'))
  })
  symlinkSync('two', join(made.rootfs, 'one'))
  symlinkSync('/three', join(made.rootfs, 'two'))
  symlinkSync('etc', join(made.rootfs, 'three'))
  assert.ok(targets(made).includes('/etc/end'))
})

test('destinations are made with mode 755 whatever the umask of the caller', () => {
  const made = bundle((config) => {
    config.mounts.push(tmpfs('/a/b/c'))
  })
  const before = process.umask(0o077)
  try {
    inside('true', made)
  } finally {
    process.umask(before)
  }
  for (const path of ['a', 'a/b', 'a/b/c']) assert.is(statSync(join(made.rootfs, path)).mode & 0o777, 0o755, path)
})

test('a tmpfs has the mode of the folder that it covers, unless the options say another', () => {
  const made = bundle((config) => {
    config.mounts.push(tmpfs('/a'), tmpfs('/b', 'mode=711'), tmpfs('/c', 'ro'), tmpfs('/new'))
  })
  for (const name of ['a', 'b', 'c']) mkdirSync(join(made.rootfs, name), { mode: 0o750 })
  assert.is(inside('stat -c %a /a /b /c /new; touch /c/x 2>/dev/null || echo ro', made), '750\n711\n750\n1777\nro\n')
})

only('runt', 'so does a tmpfs that only mount(2) can make', () => {
  const made = bundle((config) => {
    config.mounts.push(tmpfs('/a', 'silent'), tmpfs('/b', 'silent', 'ro'), tmpfs('/new', 'silent'))
  })
  for (const name of ['a', 'b']) mkdirSync(join(made.rootfs, name), { mode: 0o750 })
  assert.is(inside('stat -c %a /a /b /new; touch /b/x 2>/dev/null || echo ro', made), '750\n750\n1777\nro\n')
})

test('a thousand mounts are made', () => {
  const made = bundle((config) => {
    config.mounts.push(tmpfs('/m', 'nr_inodes=2000'))
    for (let number = 0; number < 1000; number++) config.mounts.push(bind('/dev/null', `/m/${number}`))
  })
  made.config.process.args = ['sh', '-c', 'grep -c " /m/" /proc/self/mountinfo']
  made.write()
  const result = container(made).run([], { timeout: 60_000 })
  assert.is(result.stdout, '1000\n', result.stderr)
})

// Sources

test('the source of a bind mount may be a link, which is followed', () => {
  const made = withExtra()
  made.config.mounts.push(bind(join(made.extra, 'link'), '/data'))
  assert.is(inside('cat /data; test -L /data || echo file', made), 'contentfile\n')
})

test('a source with dots behind a link is what the kernel takes it for', () => {
  const made = withExtra()
  mkdirSync(join(made.extra, 'elsewhere/deep'), { recursive: true })
  writeFileSync(join(made.extra, 'elsewhere/found'), 'by the link')
  symlinkSync('elsewhere/deep', join(made.extra, 'jump'))
  made.config.mounts.push(bind(`${made.extra}/jump/../found`, '/data'))
  assert.is(inside('cat /data', made), 'by the link')
})

test('a socket can be bound', async () => {
  const made = withExtra()
  const path = join(made.extra, 's')
  const server = createServer()
  await new Promise<void>((ready) => server.listen(path, ready))
  try {
    made.config.mounts.push(bind(path, '/run/socket'))
    assert.is(inside('test -S /run/socket && echo socket', made), 'socket\n')
  } finally {
    await new Promise((closed) => server.close(closed))
  }
})

test('a device and a FIFO can be bound', () => {
  const made = withExtra()
  spawnSync('mkfifo', [join(made.extra, 'pipe')])
  made.config.mounts.push(bind('/dev/zero', '/dev/other'), bind(join(made.extra, 'pipe'), '/pipe'))
  assert.is(inside('head -c 2 /dev/other | wc -c; test -p /pipe && echo pipe', made).replace(/ /g, ''), '2\npipe\n')
})

test('what is bound is found inside earlier mounts of the container, too', () => {
  const made = bundle((config) => {
    config.mounts.push(tmpfs('/m', 'size=123k'))
  })
  made.config.mounts.push(bind(join(made.rootfs, 'm'), '/again'))
  assert.match(inside('grep " /again " /proc/self/mountinfo', made), /size=124k|size=123k/)
})

// crun's words for links

only('runt crun', 'copy-symlink makes the same link where the source is one', () => {
  const made = withExtra()
  made.config.mounts.push(bind(join(made.extra, 'link'), '/made/data', 'copy-symlink'))
  assert.is(inside('readlink /made/data; grep -c /made/data /proc/self/mountinfo; true', made), 'file\n0\n')
  assert.is(readlinkSync(join(made.rootfs, 'made/data')), 'file')
})

only('runt crun', 'copy-symlink takes the same link for done, and nothing else', () => {
  const made = withExtra()
  made.config.mounts.push(bind(join(made.extra, 'link'), '/data', 'copy-symlink'))
  symlinkSync('file', join(made.rootfs, 'data'))
  assert.is(inside('readlink /data', made), 'file\n')
  const other = withExtra()
  other.config.mounts.push(bind(join(other.extra, 'link'), '/data', 'copy-symlink'))
  symlinkSync('another', join(other.rootfs, 'data'))
  other.write()
  fails(container(other).run(), /data.*(something else|different content)/)
})

only('runt crun', 'copy-symlink binds what is no link', () => {
  const made = withExtra()
  made.config.mounts.push(bind(join(made.extra, 'file'), '/data', 'copy-symlink'), tmpfs('/after'))
  assert.is(inside('cat /data; stat -f -c %T /after', made), 'contenttmpfs\n')
})

only('runt', 'src-nofollow binds the link itself, dest-nofollow covers one', () => {
  const made = withExtra()
  symlinkSync('/nowhere', join(made.rootfs, 'target'))
  made.config.mounts.push(bind(join(made.extra, 'link'), '/target', 'src-nofollow', 'dest-nofollow'))
  assert.is(inside('readlink /target', made), 'file\n')
  assert.is(readlinkSync(join(made.rootfs, 'target')), '/nowhere')
})

only('runt', 'dest-nofollow alone covers a link with a file', () => {
  const made = withExtra()
  symlinkSync('/nowhere', join(made.rootfs, 'target'))
  made.config.mounts.push(bind(join(made.extra, 'file'), '/target', 'dest-nofollow'))
  assert.is(inside('cat /target', made), 'content')
  assert.not(existsSync(join(made.rootfs, 'nowhere')))
})

// /proc and /sys

for (const file of ['cpuinfo', 'meminfo', 'stat', 'uptime', 'loadavg', 'swaps', 'diskstats'])
  test(`a bind mount may cover /proc/${file}, as lxcfs does`, () => {
    const made = withExtra()
    made.config.mounts.push(bind(join(made.extra, 'file'), `/proc/${file}`))
    assert.is(inside(`cat /proc/${file}`, made), 'content')
  })

test('a procfs may be bound to /proc', () => {
  const made = bundle((config) => {
    config.mounts[0] = bind('/proc', '/proc')
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid')
  })
  assert.is(inside('stat -f -c %t /proc', made), '9fa0\n')
})

/** What is refused: the change, what the message has to name. */
const refused: [what: string, change: (made: ReturnType<typeof withExtra>) => void, names: RegExp][] = [
  ['the root as a destination', ({ config }) => config.mounts.push(tmpfs('/')), /mounts\[7\] \(\/\)/],
  ['a dot as a destination', ({ config }) => config.mounts.push(tmpfs('/.')), /mounts\[7\] \(\/\.\)/],
  ['an empty destination', ({ config }) => config.mounts.push(tmpfs('')), /mounts\[7\]\.destination/],
  [
    'a folder on a file',
    ({ config, extra }) => config.mounts.push(bind(extra, '/etc/passwd')),
    /mounts\[7\] \(\/etc\/passwd\): source .*extra is a folder: .*ENOTDIR/,
  ],
  [
    'a file on a folder',
    ({ config, extra }) => config.mounts.push(bind(join(extra, 'file'), '/etc')),
    /mounts\[7\] \(\/etc\): source .*extra\/file is no folder, the destination is one: ENOTDIR \(Not a directory\)/,
  ],
  [
    'a tmpfs on a file',
    ({ config }) => config.mounts.push(tmpfs('/etc/passwd')),
    /mounts\[7\] \(\/etc\/passwd\): .*ENOTDIR/,
  ],
  [
    'a source that is missing',
    ({ config, extra }) => config.mounts.push(bind(`${extra}/no`, '/data')),
    /mounts\[7\] \(\/data\): source .*extra\/no: open_tree\(.*ENOENT/,
  ],
  ['a bind mount without a source', ({ config }) => config.mounts.push(bind('', '/data')), /mounts\[7\].*source/],
  [
    'a destination that is a circle of links',
    ({ config, rootfs }) => {
      symlinkSync('b', join(rootfs, 'a'))
      symlinkSync('a', join(rootfs, 'b'))
      config.mounts.push(tmpfs('/a'))
    },
    /mounts\[7\] \(\/a\): .*ELOOP/,
  ],
  ['a tmpfs over /proc', ({ config }) => config.mounts.push(tmpfs('/proc')), /mounts\[7\] \(\/proc\).*type proc/],
  [
    'a folder bound over /proc',
    ({ config, extra }) => config.mounts.push(bind(extra, '/proc')),
    /mounts\[7\] \(\/proc\): only procfs may cover \/proc/,
  ],
  ['a tmpfs in /proc', ({ config }) => config.mounts.push(tmpfs('/proc/sys')), /mounts\[7\] \(\/proc\/sys\)/],
  [
    'a bind mount in /proc',
    ({ config, extra }) => config.mounts.push(bind(join(extra, 'file'), '/proc/self/attr/exec')),
    /mounts\[7\] \(\/proc\/self\/attr\/exec\)/,
  ],
  [
    'a bind mount in /proc by a link',
    ({ config, extra, rootfs }) => {
      symlinkSync('/proc/sys/kernel', join(rootfs, 'innocent'))
      config.mounts.push(bind(join(extra, 'file'), '/innocent/hostname'))
    },
    /mounts\[7\] \(\/innocent\/hostname\): .*\/proc/,
  ],
  [
    '/proc that is a link',
    ({ rootfs }) => {
      mkdirSync(join(rootfs, 'else'))
      symlinkSync('/else', join(rootfs, 'proc'))
    },
    /mounts\[0\] \(\/proc\): .*ELOOP/,
  ],
  [
    '/sys that is a link',
    ({ rootfs }) => {
      mkdirSync(join(rootfs, 'else'))
      symlinkSync('else', join(rootfs, 'sys'))
    },
    /mounts\[5\] \(\/sys\): .*ELOOP/,
  ],
  [
    'a word with a typing mistake on a bind mount',
    ({ config, extra }) => config.mounts.push(bind(extra, '/data', 'rro ', 'nosiud')),
    /mounts\[7\] \(\/data\): .*"rro "/,
  ],
  [
    'a parameter that the file system does not know',
    ({ config }) => config.mounts.push(tmpfs('/data', 'banana=3')),
    /mounts\[7\] \(\/data\): fsconfig\(.*"banana", "3".*EINVAL.*tmpfs: Unknown parameter 'banana'/,
  ],
  [
    'a parameter with a bad value',
    ({ config }) => config.mounts.push(tmpfs('/data', 'size=much')),
    /mounts\[7\] \(\/data\): fsconfig\(.*"size", "much".*EINVAL.*tmpfs: Bad value for 'size'/,
  ],
  [
    'a file system that the kernel does not know',
    ({ config }) => config.mounts.push({ destination: '/data', type: 'banana', source: 'x' }),
    /mounts\[7\] \(\/data\): fsopen\("banana".*ENODEV.*no such file system/,
  ],
  [
    'a mount without a type',
    ({ config }) => config.mounts.push({ destination: '/data', source: 'x' }),
    /mounts\[7\] \(\/data\): no type/,
  ],
  [
    'a remount of what is no mount',
    ({ config }) => config.mounts.push(tmpfs('/etc', 'remount', 'ro')),
    /mounts\[7\] \(\/etc\): remount: fspick\(.*EINVAL.*nothing is mounted/,
  ],
  [
    'a remount of what is missing',
    ({ config }) => config.mounts.push(tmpfs('/no/such', 'remount', 'ro')),
    /mounts\[7\] \(\/no\/such\): remount: openat2\(.*ENOENT/,
  ],
  [
    'tmpcopyup on another file system',
    ({ config, extra }) => config.mounts.push(bind(extra, '/data', 'tmpcopyup')),
    /mounts\[7\] \(\/data\): .*tmpcopyup/,
  ],
  [
    'copy-symlink with src-nofollow',
    ({ config, extra }) => config.mounts.push(bind(extra, '/data', 'copy-symlink', 'src-nofollow')),
    /mounts\[7\] \(\/data\): .*copy-symlink/,
  ],
  [
    'options that are longer than a page',
    ({ config }) => config.mounts.push(tmpfs('/data', `context=${'x'.repeat(5000)}`)),
    /mounts\[7\] \(\/data\): its options take 5008 bytes/,
  ],
]
for (const [what, change, names] of refused)
  only('runt', `${what}: refused in one line, and nothing is left`, () => {
    const made = withExtra()
    change(made)
    made.write()
    oneLine(fails(container(made).create(), names))
    leavesNothing()
  })

test('what a failed mount has been given as a destination stays on the host, empty', () => {
  const made = withExtra()
  made.config.mounts.push(tmpfs('/kept'), tmpfs('/bad', 'banana'))
  made.write()
  fails(container(made).create())
  assert.equal(readdirSync(join(made.rootfs, 'kept')), [])
  assert.is(lstatSync(join(made.rootfs, 'kept')).isDirectory(), true)
  assert.is(readFileSync(join(made.extra, 'file'), 'utf8'), 'content')
})

run()
