import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as k from '../linux/constants.ts'
import { knownMountOptions, propagationFlag, readMountOptions } from './mount-options.ts'

test('attributes are set and cleared, and the last word wins', () => {
  const { set, clear } = readMountOptions(['ro', 'nosuid', 'nodev', 'rw', 'suid', 'noexec'])
  assert.is(set, k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC)
  assert.is(clear, k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID)
})

test('of the access times one is set, and the kernel is told to change them', () => {
  const { set, clear } = readMountOptions(['noatime', 'strictatime'])
  assert.is(set, k.MOUNT_ATTR_STRICTATIME)
  assert.is(clear, k.MOUNT_ATTR__ATIME)
  assert.is(readMountOptions(['relatime']).clear, k.MOUNT_ATTR__ATIME)
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
  assert.equal(readMountOptions(['size=64k', 'lowerdir=a=b', 'newinstance', 'mode=', 'sync']).data, [
    ['size', '64k'],
    ['lowerdir', 'a=b'],
    ['newinstance'],
    ['mode', ''],
    ['sync'],
  ])
})

test('words that ask for the usual come to nothing', () => {
  assert.equal(readMountOptions(['defaults', 'silent', 'loud', '']), readMountOptions([]))
})

test('names that every object has are no options', () => {
  assert.equal(readMountOptions(['constructor', 'toString']).data, [['constructor'], ['toString']])
  assert.is(propagationFlag('valueOf'), undefined)
})

test('every known word is known once', () => {
  const words = knownMountOptions()
  assert.is(new Set(words).size, words.length)
  for (const word of words)
    assert.equal(
      readMountOptions([word]).data.filter(([key]) => key !== word),
      [],
    )
})

test.run()
