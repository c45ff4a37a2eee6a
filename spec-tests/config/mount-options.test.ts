/**
 * runtime-spec, config.md: "Linux mount options", word by word, as /proc/self/mountinfo inside shows them. mount(8),
 * "Filesystem-independent mount options".
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Bundle, bundle, heading, inside, ok, run as runtime } from '../harness.ts'
import { type MountLine, parseMountinfo } from '../host.ts'

const { test, only, run } = heading('config/mount-options')

interface Row {
  words: string
  /** Flags that mountinfo has to show, and flags that it must not. A ! in front means not. */
  shows: string
}

const lines = (made: Bundle): MountLine[] => parseMountinfo(inside('cat /proc/self/mountinfo', made))

/** The flags of the mount and of its file system together. */
function flagsAt(made: Bundle, target: string): string[] {
  const line = lines(made)
    .filter((one) => one.target === target)
    .at(-1)
  assert.ok(line, `${target} is not mounted`)
  return [...line.options, ...line.superOptions.map((option) => `super:${option}`)]
}

function check(flags: string[], shows: string): void {
  for (const word of shows.split(' ').filter((one) => one !== '')) {
    const absent = word.startsWith('!')
    assert.is(flags.includes(absent ? word.slice(1) : word), !absent, `${word} in ${flags.join()}`)
  }
}

/** On a new file system. */
const fresh: Row[] = [
  { words: 'ro', shows: 'ro' },
  { words: 'rw', shows: 'rw super:rw' },
  { words: 'ro rw', shows: 'rw super:rw' },
  { words: 'rw ro', shows: 'ro' },
  { words: 'nosuid', shows: 'nosuid' },
  { words: 'nosuid suid', shows: '!nosuid' },
  { words: 'suid', shows: '!nosuid' },
  { words: 'nodev', shows: 'nodev' },
  { words: 'nodev dev', shows: '!nodev' },
  { words: 'noexec', shows: 'noexec' },
  { words: 'noexec exec', shows: '!noexec' },
  { words: 'noatime', shows: 'noatime !relatime' },
  { words: 'noatime atime', shows: 'relatime !noatime' },
  { words: 'atime', shows: 'relatime !noatime' },
  { words: 'relatime', shows: 'relatime' },
  { words: 'norelatime', shows: 'relatime' },
  { words: 'strictatime', shows: '!relatime !noatime' },
  { words: 'strictatime nostrictatime', shows: 'relatime' },
  { words: 'nostrictatime', shows: 'relatime' },
  { words: 'nodiratime', shows: 'nodiratime relatime' },
  { words: 'nodiratime diratime', shows: '!nodiratime' },
  { words: 'nodiratime noatime', shows: 'nodiratime noatime' },
  { words: 'nosymfollow', shows: 'nosymfollow' },
  { words: 'nosymfollow symfollow', shows: '!nosymfollow' },
  { words: 'symfollow', shows: '!nosymfollow' },
  { words: 'sync', shows: 'super:sync' },
  { words: 'sync async', shows: '!super:sync' },
  { words: 'async', shows: '!super:sync' },
  { words: 'dirsync', shows: 'super:dirsync' },
  { words: 'lazytime', shows: 'super:lazytime' },
  { words: 'lazytime nolazytime', shows: '!super:lazytime' },
  { words: 'nolazytime', shows: '!super:lazytime' },
  { words: 'mand', shows: 'rw' },
  { words: 'mand nomand', shows: '!super:mand' },
  { words: 'nomand', shows: '!super:mand' },
  { words: 'iversion', shows: 'rw' },
  { words: 'iversion nosuid noatime sync', shows: 'nosuid noatime super:sync' },
  { words: 'noiversion', shows: 'rw' },
  { words: 'silent', shows: 'rw' },
  { words: 'loud', shows: 'rw' },
  { words: 'defaults', shows: 'rw relatime !nosuid !nodev !noexec' },
  { words: 'defaults nodev', shows: 'nodev' },
  { words: 'size=1m nosuid mode=700', shows: 'nosuid super:size=1024k super:mode=700' },
  { words: 'rro', shows: 'ro' },
  { words: 'rnosuid', shows: 'nosuid' },
  { words: 'nosuid rsuid', shows: '!nosuid' },
]
for (const { words, shows } of fresh)
  test(`tmpfs: ${words}`, () => {
    const made = bundle((config) => {
      config.mounts.push({ destination: '/m', type: 'tmpfs', source: 'tmpfs', options: words.split(' ') })
    })
    check(flagsAt(made, '/m'), shows)
  })

/** A bundle with a folder on the host, a tmpfs below it, and a bind mount of both. `outer`: the options of the tmpfs. */
function tree(words: string, outer: string[] = []): Bundle {
  const made = bundle((config) => {
    // What is bound has to be there before, so that the test needs no mount of the host's: a part of the container itself.
    config.mounts.push(
      { destination: '/outer', type: 'tmpfs', source: 'tmpfs', options: outer },
      { destination: '/outer/below', type: 'tmpfs', source: 'tmpfs', options: outer },
    )
  })
  made.config.mounts.push({
    destination: '/m',
    type: 'bind',
    source: join(made.rootfs, 'outer'),
    options: words.split(' '),
  })
  return made
}

/** Of a recursive bind mount: its top, and a mount below. */
const bound: (Row & { below: string })[] = [
  { words: 'rbind', shows: 'rw relatime', below: 'rw' },
  { words: 'rbind ro', shows: 'ro', below: 'rw' },
  { words: 'rbind ro rw', shows: 'rw', below: 'rw' },
  { words: 'rbind nosuid nodev noexec', shows: 'nosuid nodev noexec', below: '!nosuid !nodev !noexec' },
  { words: 'rbind noatime', shows: 'noatime', below: 'relatime' },
  { words: 'rbind strictatime', shows: '!relatime !noatime', below: 'relatime' },
  { words: 'rbind nodiratime', shows: 'nodiratime relatime', below: '!nodiratime' },
  { words: 'rbind nosymfollow', shows: 'nosymfollow', below: '!nosymfollow' },
  { words: 'rbind sync dirsync lazytime mand iversion silent', shows: '!super:sync', below: '!super:sync' },
  { words: 'rbind defaults async loud noiversion', shows: 'rw', below: 'rw' },
  { words: 'rbind rro', shows: 'ro', below: 'ro' },
  { words: 'rbind rro rrw', shows: 'rw', below: 'rw' },
  { words: 'rbind rro rw', shows: 'ro', below: 'ro' },
  { words: 'rbind rnosuid', shows: 'nosuid', below: 'nosuid' },
  { words: 'rbind rnosuid rsuid', shows: '!nosuid', below: '!nosuid' },
  { words: 'rbind rnodev', shows: 'nodev', below: 'nodev' },
  { words: 'rbind rnodev rdev', shows: '!nodev', below: '!nodev' },
  { words: 'rbind rnoexec', shows: 'noexec', below: 'noexec' },
  { words: 'rbind rnoexec rexec', shows: '!noexec', below: '!noexec' },
  { words: 'rbind rnoatime', shows: 'noatime', below: 'noatime' },
  { words: 'rbind rnoatime ratime', shows: 'relatime', below: 'relatime' },
  { words: 'rbind rstrictatime', shows: '!relatime !noatime', below: '!relatime !noatime' },
  { words: 'rbind rstrictatime rnostrictatime', shows: 'relatime', below: 'relatime' },
  { words: 'rbind rrelatime', shows: 'relatime', below: 'relatime' },
  { words: 'rbind rnorelatime', shows: 'relatime', below: 'relatime' },
  { words: 'rbind rnodiratime', shows: 'nodiratime', below: 'nodiratime' },
  { words: 'rbind rnodiratime rdiratime', shows: '!nodiratime', below: '!nodiratime' },
  { words: 'rbind rnosymfollow', shows: 'nosymfollow', below: 'nosymfollow' },
  { words: 'rbind rnosymfollow rsymfollow', shows: '!nosymfollow', below: '!nosymfollow' },
]
for (const { words, shows, below } of bound)
  test(`bind: ${words}`, () => {
    const made = tree(words)
    const all = lines(made)
    for (const [target, expected] of [
      ['/m', shows],
      ['/m/below', below],
    ] as const) {
      const line = all.filter((one) => one.target === target).at(-1)
      assert.ok(line, `${target} is not mounted`)
      check([...line.options, ...line.superOptions.map((option) => `super:${option}`)], expected)
    }
  })

test('bind: without rbind the mounts below do not come along', () => {
  const made = tree('bind')
  assert.not(lines(made).some(({ target }) => target === '/m/below'))
})

/** The flags of the source are kept where no word says otherwise. */
const kept: Row[] = [
  { words: 'rbind', shows: 'nosuid nodev noatime' },
  { words: 'rbind noexec', shows: 'nosuid nodev noexec noatime' },
  { words: 'rbind suid', shows: '!nosuid nodev noatime' },
  { words: 'rbind relatime', shows: 'relatime !noatime nosuid' },
  { words: 'rbind rdev', shows: '!nodev nosuid' },
]
for (const { words, shows } of kept)
  test(`bind of a mount that is nosuid,nodev,noatime: ${words}`, () => {
    check(flagsAt(tree(words, ['nosuid', 'nodev', 'noatime']), '/m'), shows)
  })

/** Propagation: what the tags of mountinfo have to match. */
const propagated: [words: string, tags: RegExp, below: RegExp][] = [
  ['rbind private', /^$/, /^/],
  ['rbind rprivate', /^$/, /^$/],
  ['rbind shared', /^shared:\d+/, /^(?!.*shared:)/],
  ['rbind rshared', /^shared:\d+/, /^shared:\d+/],
  ['rbind slave', /^(?!.*shared:)/, /^(?!.*shared:)/],
  ['rbind rslave', /^(?!.*shared:)/, /^(?!.*shared:)/],
  ['rbind unbindable', /unbindable/, /^(?!.*unbindable)/],
  ['rbind runbindable', /unbindable/, /unbindable/],
  ['rbind shared rprivate', /^$/, /^$/],
]
for (const [words, tags, below] of propagated)
  test(`propagation: ${words}`, () => {
    const all = lines(tree(words))
    const at = (target: string) =>
      all
        .filter((one) => one.target === target)
        .at(-1)!
        .tags.join(' ')
    assert.match(at('/m'), tags)
    assert.match(at('/m/below'), below)
  })

/** `remount` on a tmpfs that an earlier entry has made. */
const remounted: Row[] = [
  { words: 'remount ro', shows: 'ro super:ro nosuid' },
  { words: 'remount bind ro', shows: 'ro super:rw nosuid' },
  { words: 'remount bind ro nosuid nodev', shows: 'ro nosuid nodev super:rw' },
  { words: 'remount size=2m', shows: 'super:size=2048k rw' },
  { words: 'remount bind noatime', shows: 'noatime' },
]
for (const { words, shows } of remounted)
  test(`remount: ${words}`, () => {
    const made = bundle((config) => {
      config.mounts.push(
        { destination: '/m', type: 'tmpfs', source: 'tmpfs', options: ['size=1m', 'nosuid'] },
        { destination: '/m', type: 'tmpfs', source: '/tmp', options: words.split(' ') },
      )
    })
    const all = lines(made).filter(({ target }) => target === '/m')
    assert.is(all.length, 1, 'there is one mount')
    check(flagsAt(made, '/m'), shows)
  })

test('remount: a tmpfs of a read-only mount becomes writable again', () => {
  const made = bundle((config) => {
    config.mounts.push(
      { destination: '/m', type: 'tmpfs', source: 'tmpfs', options: ['ro'] },
      { destination: '/m', type: 'tmpfs', source: 'tmpfs', options: ['remount', 'rw'] },
    )
  })
  assert.is(inside('touch /m/file && echo wrote', made), 'wrote\n')
})

// runc makes whatever is at the place at the end read-only.
only('runt', 'a tmpfs that is read-only and then covered leaves what covers it writable', () => {
  for (const cover of ['/m', '/m/deep']) {
    const made = bundle((config) => {
      config.mounts.push(
        { destination: '/m', type: 'tmpfs', source: 'tmpfs' },
        { destination: '/m/deep', type: 'tmpfs', source: 'tmpfs', options: ['ro'] },
        { destination: cover, type: 'tmpfs', source: 'tmpfs' },
      )
    })
    assert.is(inside(`mkdir -p /m/deep/x && touch ${cover}/file && echo wrote`, made), 'wrote\n')
  }
})

for (const word of ['auto', 'noauto', 'nofail', '_netdev', 'x-systemd.automount', 'X-mount.mkdir', 'comment=text'])
  only('runt', `mount(8) keeps ${word} to itself`, () => {
    const made = bundle((config) => {
      config.mounts.push({ destination: '/m', type: 'tmpfs', source: 'tmpfs', options: [word, 'nosuid'] })
    })
    check(flagsAt(made, '/m'), 'nosuid')
  })

// podman run --volume name:/m:nocopy.
for (const word of ['copy', 'nocopy'])
  test(`${word}, a word of podman's own for volumes, means nothing`, () => {
    const made = bundle((config) => {
      config.mounts.push({ destination: '/m', type: 'bind', source: '/tmp', options: ['rbind', word, 'nosuid'] })
    })
    check(flagsAt(made, '/m'), 'nosuid')
  })

test('many parameters of a file system are passed on', () => {
  const options = ['size=1m', 'mode=711', 'uid=3', 'gid=4', 'nr_inodes=99', 'huge=never']
  const made = bundle((config) => {
    config.mounts.push({ destination: '/m', type: 'tmpfs', source: 'tmpfs', options })
  })
  assert.is(inside('stat -c "%a %u %g" /m', made), '711 3 4\n')
})

test('a value of more than 255 bytes is passed on', () => {
  const made = bundle()
  const layers = Array.from({ length: 5 }, (_, index) => join(made.directory, 'extra', `${index}-${'x'.repeat(80)}`))
  for (const [index, layer] of layers.entries()) mkdirSync(join(layer, `from-${index}`), { recursive: true })
  made.config.mounts.push({
    destination: '/m',
    type: 'overlay',
    source: 'overlay',
    options: ['ro', 'nosuid', `lowerdir=${layers.join(':')}`],
  })
  assert.is(inside('ls /m', made), 'from-0\nfrom-1\nfrom-2\nfrom-3\nfrom-4\n')
  check(flagsAt(made, '/m'), 'ro nosuid')
})

test('an overlay that is read-only has a read-only file system', () => {
  const made = bundle()
  for (const name of ['lower', 'upper', 'work']) mkdirSync(join(made.directory, 'extra', name), { recursive: true })
  const at = (name: string) => join(made.directory, 'extra', name)
  const options = ['ro', `lowerdir=${at('lower')}`, `upperdir=${at('upper')}`, `workdir=${at('work')}`]
  made.config.mounts.push({ destination: '/m', type: 'overlay', source: 'overlay', options })
  check(flagsAt(made, '/m'), 'ro super:ro')
})

only('runt runc', 'features lists the words that are known', () => {
  const { mountOptions } = JSON.parse(ok(runtime(['features'])).stdout)
  const words =
    'async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid private rbind relatime remount ro rprivate rro rshared rslave runbindable rw shared silent slave strictatime suid sync tmpcopyup unbindable'
  assert.equal(
    words.split(' ').filter((word) => !mountOptions.includes(word)),
    [],
  )
})

run()
