/** runtime-spec, config.md: "POSIX-platform Mounts", `uidMappings` and `gidMappings`, `idmap` and `ridmap`; mount_setattr(2). */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readFileSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Bundle,
  base,
  bundle,
  container,
  fails,
  heading,
  inside,
  leavesNothing,
  oneLine,
  skip,
} from '../harness.ts'
import { parseMountinfo } from '../host.ts'

const { test, only, run } = heading('config/mounts-idmap')

const mapping = (containerID: number, hostID: number, size = 1) => [{ containerID, hostID, size }]

const [major, minor] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number) as [number, number]
const mapsTmpfs = major > 6 || (major === 6 && minor >= 3)
const onTmpfs = statfsSync(base).type === 0x0102_1994

/** A bundle whose folder `extra` holds a file of 1000:2000 and one of 0:0, bound to /data. */
function prepared(mount: Record<string, unknown>): Bundle {
  if (onTmpfs && !mapsTmpfs) skip(`${base} lies on a tmpfs, and for mapped ids that takes Linux 6.3; TMPDIR may help`)
  const made = bundle()
  const source = join(made.directory, 'extra')
  mkdirSync(source)
  chmodSync(source, 0o777)
  for (const [name, uid, gid] of [
    ['of-user', 1000, 2000],
    ['of-root', 0, 0],
  ] as const) {
    writeFileSync(join(source, name), 'content')
    chownSync(join(source, name), uid, gid)
  }
  made.config.mounts.push({ destination: '/data', type: 'bind', source, options: ['rbind'], ...mount })
  return made
}

const owners = 'cd /data; stat -c "%n %u:%g" of-user of-root'

for (const options of [['bind'], ['rbind', 'idmap'], ['rbind', 'ridmap'], ['bind', 'ro', 'idmap', 'nosuid']])
  test(`ids are mapped by the mappings of the mount: ${options.join()}`, () => {
    const made = prepared({ options, uidMappings: mapping(1000, 70, 2), gidMappings: mapping(2000, 80, 2) })
    assert.is(inside(owners, made), 'of-user 70:80\nof-root 65534:65534\n')
  })

test('several ranges are mapped', () => {
  const ranges = [...mapping(0, 7), ...mapping(1000, 8)]
  const made = prepared({ options: ['bind', 'idmap'], uidMappings: ranges, gidMappings: [...mapping(0, 9, 3000)] })
  assert.is(inside(owners, made), 'of-user 8:2009\nof-root 7:9\n')
})

test('what the container writes belongs to the mapped ids on the host', () => {
  // The folder is of 0:0: where an id has no mapping, nothing can be written.
  const uids = [...mapping(1000, 0), ...mapping(0, 7)]
  const gids = [...mapping(2000, 0), ...mapping(0, 7)]
  const made = prepared({ options: ['bind', 'idmap'], uidMappings: uids, gidMappings: gids })
  inside('echo new > /data/new', made)
  const { uid, gid } = statSync(join(made.directory, 'extra/new'))
  assert.equal([uid, gid], [1000, 2000])
  assert.is(readFileSync(join(made.directory, 'extra/new'), 'utf8'), 'new\n')
})

test('a file can be bound with mapped ids, too', () => {
  const made = prepared({ options: ['bind', 'idmap'], uidMappings: mapping(1000, 5), gidMappings: mapping(2000, 6) })
  const mount = made.config.mounts.at(-1)!
  mount.source = join(made.directory, 'extra/of-user')
  assert.is(inside('stat -c "%u:%g" /data; cat /data', made), '5:6\ncontent')
})

test('a relative source is relative to the bundle', () => {
  const made = prepared({ options: ['bind', 'idmap'], uidMappings: mapping(1000, 5), gidMappings: mapping(2000, 6) })
  made.config.mounts.at(-1)!.source = 'extra'
  assert.match(inside(owners, made), /^of-user 5:6$/m)
})

test('each mount has its own mappings', () => {
  const made = prepared({ options: ['bind', 'idmap'], uidMappings: mapping(1000, 5), gidMappings: mapping(2000, 6) })
  const more = { type: 'bind', source: join(made.directory, 'extra'), options: ['bind', 'idmap'] }
  const [uids, gids] = [mapping(1000, 15), mapping(2000, 16)]
  made.config.mounts.push(
    { destination: '/other', ...more, uidMappings: uids, gidMappings: gids } as never,
    { destination: '/same', ...more, uidMappings: uids, gidMappings: gids } as never,
    { destination: '/plain', ...more, options: ['bind'] },
  )
  const script = 'stat -c "%n %u:%g" /data/of-user /other/of-user /same/of-user /plain/of-user'
  assert.equal(inside(script, made).trim().split('\n'), [
    '/data/of-user 5:6',
    '/other/of-user 15:16',
    '/same/of-user 15:16',
    '/plain/of-user 1000:2000',
  ])
})

test('mountinfo shows which mounts have mapped ids, and no more than the mount is the hosts', () => {
  const made = prepared({ options: ['bind', 'idmap'], uidMappings: mapping(0, 1), gidMappings: mapping(0, 1) })
  const line = parseMountinfo(inside('cat /proc/self/mountinfo', made)).find(({ target }) => target === '/data')!
  assert.ok(line.options.includes('idmapped'), line.options.join())
  assert.not(line.tags.some((tag) => tag.startsWith('shared:')))
})

/** A tmpfs below `extra`, while the body runs. A tmpfs can be mapped from Linux 6.3 on. */
function withMountBelow(made: Bundle, body: () => void): void {
  if (!mapsTmpfs) skip('a tmpfs with mapped ids takes Linux 6.3')
  const below = join(made.directory, 'extra/below')
  mkdirSync(below)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'uid=1000,gid=2000', 'tmpfs', below])
  try {
    body()
  } finally {
    execFileSync('umount', [below])
  }
}

for (const [option, below] of [
  ['idmap', '1000:2000'],
  ['ridmap', '5:6'],
] as const)
  test(`${option} with rbind: a mount below has ids ${below}`, () => {
    const uids = mapping(1000, 5)
    const made = prepared({ options: ['rbind', option], uidMappings: uids, gidMappings: mapping(2000, 6) })
    withMountBelow(made, () => {
      assert.is(inside('stat -c "%u:%g" /data/of-user /data/below', made), `5:6\n${below}\n`)
    })
  })

only('runt', 'a new file system can have mapped ids', () => {
  const made = bundle()
  withMountBelow(prepared({}), () => {
    made.config.mounts.push({
      destination: '/m',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['uid=1000', 'gid=2000', 'idmap'],
      uidMappings: mapping(1000, 5),
      gidMappings: mapping(2000, 6),
    } as never)
    assert.is(inside('stat -c "%u:%g" /m', made), '5:6\n')
  })
})

only('runt crun', 'ranges may stand in the option: id in the file system, id on the host, length', () => {
  const made = prepared({ options: ['bind', 'idmap=uids=1000-5-1#0-7-1;gids=2000-6-1#0-8-1'] })
  assert.is(inside(owners, made), 'of-user 5:6\nof-root 7:8\n')
})

/** A user namespace for the container: root is 100000 on the host. */
function inUserNamespace(made: Bundle): void {
  // Mount points are made by the root of the container.
  chownSync(made.rootfs, 100_000, 100_000)
  const ranges = mapping(0, 100_000, 65_536)
  made.config.linux.namespaces.push({ type: 'user' })
  made.config.linux.uidMappings = ranges
  made.config.linux.gidMappings = ranges
}

for (const option of ['idmap', 'ridmap'])
  test(`${option} without mappings takes those of the user namespace of the container`, () => {
    const made = prepared({ options: ['bind', option] })
    inUserNamespace(made)
    assert.is(inside(owners, made), 'of-user 1000:2000\nof-root 0:0\n')
  })

test('a mount may have mappings of its own in a user namespace', () => {
  const made = prepared({
    options: ['bind', 'idmap'],
    uidMappings: mapping(1000, 100_005),
    gidMappings: mapping(2000, 100_006),
  })
  inUserNamespace(made)
  assert.match(inside(owners, made), /^of-user 5:6$/m)
})

only('runt crun', 'ranges behind a @ are ids of the container', () => {
  const made = prepared({ options: ['bind', 'idmap=uids=@1000-5-1;gids=@2000-6-1'] })
  inUserNamespace(made)
  assert.match(inside(owners, made), /^of-user 5:6$/m)
})

test('in a user namespace a source that is closed to its root can be bound with mapped ids', () => {
  const made = prepared({ options: ['bind', 'idmap'] })
  chmodSync(join(made.directory, 'extra'), 0o700)
  inUserNamespace(made)
  assert.match(inside(owners, made), /^of-user 1000:2000$/m)
})

/** What is refused: the mount, and what the message has to name. */
const refused: [string, Record<string, unknown>, RegExp][] = [
  ['uidMappings without gidMappings', { uidMappings: mapping(0, 1) }, /mounts\[7\]\.gidMappings/],
  ['gidMappings without uidMappings', { gidMappings: mapping(0, 1) }, /mounts\[7\]\.uidMappings/],
  ['idmap without mappings and without a user namespace', { options: ['rbind', 'idmap'] }, /mounts\[7\]\.options/],
  ['ridmap without mappings and without a user namespace', { options: ['rbind', 'ridmap'] }, /mounts\[7\]\.options/],
  [
    'a value of idmap that is none',
    { options: ['rbind', 'idmap=true'] },
    /mounts\[7\]\.options: "idmap=true": what goes with a bind mount is "idmap"/,
  ],
  [
    'a file system that cannot have mapped ids',
    { source: '/proc/sys', uidMappings: mapping(0, 1), gidMappings: mapping(0, 1) },
    /mounts\[7\] \(\/data\): id mapping of source \/proc\/sys: mount_setattr\(.*EINVAL/,
  ],
  [
    'a source that is missing',
    { source: '/no/such', uidMappings: mapping(0, 1), gidMappings: mapping(0, 1) },
    /mounts\[7\] \(\/data\): source \/no\/such: open_tree\(.*ENOENT/,
  ],
  [
    'ranges that overlap',
    { uidMappings: [...mapping(0, 1, 5), ...mapping(2, 9, 5)], gidMappings: mapping(0, 1) },
    /mounts\[7\]\.uidMappings/,
  ],
  ['ranges in the option that are no numbers', { options: ['bind', 'idmap=uids=a-b-c;gids=0-0-1'] }, /a-b-c/],
  ['ranges for users only', { options: ['bind', 'idmap=uids=0-0-1'] }, /uids and gids are needed both/],
  [
    'ranges of a user namespace that is not there',
    { options: ['bind', 'idmap=uids=@0-0-1;gids=@0-0-1'] },
    /linux\.uidMappings/,
  ],
]
for (const [what, mount, names] of refused)
  only('runt', `${what} is refused in one line, and nothing is left`, () => {
    const made = prepared(mount)
    made.write()
    const result = fails(container(made).create(), names)
    oneLine(result)
    leavesNothing()
  })

run()
