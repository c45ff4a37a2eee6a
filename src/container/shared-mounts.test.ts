import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { heightOf } from './shared-mounts.ts'

/** Lines of mountinfo: id, parent, target. */
const mountinfo = (...mounts: [number, number, string][]): string =>
  mounts.map(([id, parent, target]) => `${id} ${parent} 0:1 / ${target} rw - tmpfs tmpfs rw\n`).join('')

const host: [number, number, string] = [1, 0, '/']

test('how many mounts lie on a folder is counted down to the one that was there before', () => {
  const text = mountinfo(host, [7, 1, '/b/my\\040root'], [9, 7, '/b/my\\040root'], [12, 9, '/b/my\\040root/proc'])
  assert.is(heightOf(text, 7, { rootfs: '/b/my root', on: 7 }), 0)
  assert.is(heightOf(text, 9, { rootfs: '/b/my root', on: 7 }), 1)
  assert.is(heightOf(text, 9, { rootfs: '/b/my root', on: 1 }), 2)
})

test("a stack that does not lie on that mount is somebody else's", () => {
  const text = mountinfo(host, [7, 1, '/b/root'], [9, 7, '/b/root'])
  assert.is(heightOf(text, 9, { rootfs: '/b/root', on: 4 }), null)
  assert.is(heightOf(text, 1, { rootfs: '/b/root', on: 4 }), null)
  assert.is(heightOf(text, 99, { rootfs: '/b/root', on: 4 }), null)
  assert.is(heightOf(text, 9, { rootfs: '/b/root', on: 1, root: 8 }), null)
  assert.is(heightOf(text, 9, { rootfs: '/b/root', on: 1, root: 7 }), 2)
  // The folder above has been mounted on.
  assert.is(heightOf(mountinfo(host, [7, 1, '/b'], [9, 7, '/b/root']), 9, { rootfs: '/b/root', on: 1 }), null)
})

test('a mountinfo that goes round in circles has an end', () => {
  assert.is(heightOf(mountinfo([7, 9, '/x'], [9, 7, '/x']), 7, { rootfs: '/x', on: 4 }), null)
})

test.run()
