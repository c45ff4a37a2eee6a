import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { absolutePath, basename, cleanPath, demandFolder, dirname } from './paths.ts'

test('a cleaned path is absolute and has no empty, . or .. parts', () => {
  for (const [path, clean] of [
    ['/', '/'],
    ['', '/'],
    ['//a///b/', '/a/b'],
    ['/a/./b/../c', '/a/c'],
    ['/../../etc', '/etc'],
    ['a/b', '/a/b'],
    ['/..', '/'],
    ['/...', '/...'],
  ] as const)
    assert.is(cleanPath(path), clean, path)
})

test('a working folder that was removed is missed only where a path is relative to it', () => {
  demandFolder('/a', 'b')
  demandFolder('', '/b')
  assert.throws(() => demandFolder('', 'b'), 'b: a relative path, and the working folder has been removed')
  assert.throws(() => demandFolder('(unreachable)/a', 'b'), 'removed or unmounted')
})

test('a relative path starts from the base', () => {
  assert.is(absolutePath('/bundle', 'rootfs'), '/bundle/rootfs')
  assert.is(absolutePath('/bundle', '../x'), '/x')
  assert.is(absolutePath('/bundle', '/x/.'), '/x')
  assert.is(absolutePath('/bundle', ''), '/bundle')
})

test('folder and name of a path', () => {
  assert.equal(['/a/b', '/a', '/'].map(dirname), ['/a', '/', '/'])
  assert.equal(['/a/b', '/a', '/'].map(basename), ['b', 'a', ''])
})

test.run()
