import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openPlatform } from '../engine-node/platform.ts'
import { Session } from '../session/session.ts'
import { absolute, defaultRoot, findPlace } from './place.ts'

const root = { cwd: '/', uid: 0, gid: 0, mapped: false }
const own = (uid: number) => `/own/${uid}`
const from = (env: Record<string, string>) => (name: string) => env[name]
const user = { cwd: '/', uid: 1000, gid: 1000, mapped: false }

test('root keeps its state in /run, whatever the environment', () => {
  assert.is(defaultRoot(root, from({}), own), '/run/runt')
  assert.is(defaultRoot(root, from({ XDG_RUNTIME_DIR: '/run/user/0', USER: 'root' }), own), '/run/runt')
})

test('other users keep it in XDG_RUNTIME_DIR, or a folder of their own', () => {
  assert.is(defaultRoot(user, from({ XDG_RUNTIME_DIR: '/run/user/1000/' }), own), '/run/user/1000/runt')
  assert.is(defaultRoot(user, from({}), own), '/own/1000/runt')
  assert.is(defaultRoot(user, from({ XDG_RUNTIME_DIR: '' }), own), '/own/1000/runt')
  assert.throws(() => defaultRoot(user, from({ XDG_RUNTIME_DIR: 'run' }), own), 'not an absolute path')
})

test('root of a user namespace that a user made counts as that user', () => {
  const mapped = { ...root, mapped: true }
  assert.is(defaultRoot(mapped, from({ XDG_RUNTIME_DIR: '/run/user/1000', USER: 'me' }), own), '/run/user/1000/runt')
  assert.is(defaultRoot(mapped, from({ XDG_RUNTIME_DIR: '/run/user/1000', USER: 'root' }), own), '/run/runt')
  assert.is(defaultRoot(mapped, from({}), own), '/run/runt')
})

test('a relative path starts at the working folder', () => {
  assert.is(absolute('/a', '/b'), '/a')
  assert.is(absolute('a/../c', '/b'), '/b/a/../c')
  assert.is(absolute('a', '/'), '/a')
})

test('the executor knows the caller', () => {
  const platform = openPlatform()
  try {
    const place = findPlace(new Session('host', platform.host), platform.machine)
    assert.is(place.cwd, process.cwd())
    assert.is(place.uid, process.geteuid!())
    assert.is(place.gid, process.getegid!())
    assert.type(place.mapped, 'boolean')
  } finally {
    platform.close()
  }
})

test.run()
