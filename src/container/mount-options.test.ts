import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as k from '../linux/constants.ts'
import { forMount2, knownMountOptions, propagationFlag, readMountOptions } from './mount-options.ts'

test('attributes are set and cleared, and the last word wins', () => {
  const { set, clear } = readMountOptions(['ro', 'nosuid', 'nodev', 'rw', 'suid', 'noexec'])
  assert.is(set, k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC)
  assert.is(clear, k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID)
})

/** The words, which access time they come to; null: the mount is left as it is. */
const accessTimes: [string[], number | null][] = [
  [['noatime'], k.MOUNT_ATTR_NOATIME],
  [['noatime', 'strictatime'], k.MOUNT_ATTR_STRICTATIME],
  [['strictatime', 'noatime'], k.MOUNT_ATTR_NOATIME],
  [['relatime'], k.MOUNT_ATTR_RELATIME],
  [['noatime', 'atime'], k.MOUNT_ATTR_RELATIME],
  [['atime'], k.MOUNT_ATTR_RELATIME],
  [['strictatime', 'atime'], k.MOUNT_ATTR_STRICTATIME],
  [['strictatime', 'nostrictatime'], k.MOUNT_ATTR_RELATIME],
  [['noatime', 'nostrictatime'], k.MOUNT_ATTR_NOATIME],
  [['noatime', 'norelatime'], k.MOUNT_ATTR_NOATIME],
  [['norelatime'], null],
  [['relatime', 'norelatime'], null],
]
for (const [words, time] of accessTimes)
  test(`${words.join(', ')}: of the access times one is set, and the kernel is told to change them`, () => {
    const plain = readMountOptions(words)
    const recursive = readMountOptions(words.map((word) => `r${word}`))
    for (const [set, clear] of [
      [plain.set, plain.clear],
      [recursive.recursiveSet, recursive.recursiveClear],
    ]) {
      assert.is(set, time ?? 0)
      assert.is(clear, time === null ? 0 : k.MOUNT_ATTR__ATIME)
    }
    assert.is(plain.recursiveSet | plain.recursiveClear | recursive.set | recursive.clear, 0)
  })

test('nodiratime is a flag beside the access times', () => {
  const { set, clear } = readMountOptions(['nodiratime', 'noatime'])
  assert.is(set, k.MOUNT_ATTR_NODIRATIME | k.MOUNT_ATTR_NOATIME)
  assert.is(clear, k.MOUNT_ATTR__ATIME)
})

test('words with r in front are for the whole tree', () => {
  const options = readMountOptions(['rro', 'rnosuid', 'rrw'])
  assert.is(options.set, 0)
  assert.is(options.recursiveSet, k.MOUNT_ATTR_NOSUID)
  assert.is(options.recursiveClear, k.MOUNT_ATTR_RDONLY)
})

test('words that begin with r and are not recursive mean themselves', () => {
  const options = readMountOptions(['ro', 'rw', 'relatime', 'rbind', 'rprivate', 'remount'])
  assert.is(options.bind, 'rbind')
  assert.equal(options.propagation, [k.MS_PRIVATE | k.MS_REC])
  assert.is(options.recursiveSet | options.recursiveClear, 0)
  assert.ok(options.remount)
  assert.equal(options.data, [])
})

test('what is unknown goes to the file system, values may hold =', () => {
  assert.equal(readMountOptions(['size=64k', 'lowerdir=a=b', 'newinstance', 'mode=', 'idmap=user', 'acl']).data, [
    ['size', '64k'],
    ['lowerdir', 'a=b'],
    ['newinstance'],
    ['mode', ''],
    ['idmap', 'user'],
    ['acl'],
  ])
})

test('flags of the file system are words, and the last one wins', () => {
  assert.equal(readMountOptions(['sync', 'dirsync', 'mand', 'async', 'lazytime', 'sync']).superblock, [
    ...['dirsync', 'mand', 'lazytime', 'sync'],
  ])
  assert.equal(readMountOptions(['lazytime', 'nolazytime']).superblock, ['nolazytime'])
})

test('flags without a word are for mount(2)', () => {
  assert.is(readMountOptions(['iversion', 'silent']).mountFlags, k.MS_I_VERSION | k.MS_SILENT)
  assert.is(readMountOptions(['iversion', 'silent', 'noiversion', 'loud']).mountFlags, 0)
})

test('in the form of mount(2) everything is a flag that can be one', () => {
  const words = 'ro nosuid nodev noexec nosymfollow noatime nodiratime sync dirsync mand lazytime iversion silent'
  const { flags, data } = forMount2(readMountOptions([...words.split(' '), 'size=1', 'noswap']))
  assert.is(flags, 1 + 2 + 4 + 8 + 256 + 1024 + 2048 + 16 + 128 + 64 + (1 << 25) + (1 << 23) + (1 << 15))
  assert.is(data, 'size=1,noswap')
})

test('words that ask for the usual, and those for mount(8) only, come to nothing', () => {
  const nothing = ['defaults', 'loud', '', 'noauto', '_netdev', 'x-systemd.automount', 'X-mount.mkdir', 'comment=a']
  assert.equal(readMountOptions(nothing), readMountOptions([]))
})

test('mapped ids are asked for plainly, for the tree, or with ranges', () => {
  assert.equal(readMountOptions(['idmap']).idmap, { recursive: false, text: null })
  assert.equal(readMountOptions(['ridmap']).idmap, { recursive: true, text: null })
  assert.equal(readMountOptions(['idmap=uids=0-1-2;gids=0-1-2']).idmap, {
    recursive: false,
    text: 'uids=0-1-2;gids=0-1-2',
  })
})

test('names that every object has are no options', () => {
  assert.equal(readMountOptions(['constructor', 'toString']).data, [['constructor'], ['toString']])
  assert.is(propagationFlag('valueOf'), undefined)
})

test('every known word is known once, and none is passed to the file system', () => {
  const words = knownMountOptions()
  assert.is(new Set(words).size, words.length)
  for (const word of words) assert.equal(readMountOptions([word]).data, [], word)
})

/** runtime-spec 1.3, config.md, "Linux mount options". */
const specified =
  'async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap'

test('every word of the specification is known', () => {
  const known = new Set(knownMountOptions())
  assert.equal(
    specified.split(' ').filter((word) => !known.has(word)),
    [],
  )
})

test.run()
