import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Config } from '../config/types.ts'
import { cgroupOwner } from './cgroup-owner.ts'

const config = (changes: {
  uid?: number
  namespaces?: string[]
  options?: string[]
  mounts?: Config['mounts']
}): Config => ({
  ociVersion: '1.3.0',
  root: { path: 'rootfs' },
  process: { user: { uid: changes.uid ?? 0, gid: 0 }, args: ['sh'], cwd: '/' },
  mounts: changes.mounts ?? [
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: changes.options ?? [] },
  ],
  linux: {
    namespaces: (changes.namespaces ?? ['cgroup', 'user']).map((type) => ({ type: type as 'user' })),
    uidMappings: [
      { containerID: 0, hostID: 1000, size: 1 },
      { containerID: 1, hostID: 100_000, size: 65_535 },
    ],
  },
})

test('the owner is the mapped user of the process', () => {
  assert.is(cgroupOwner(config({})), 1000)
  assert.is(cgroupOwner(config({ uid: 5 })), 100_004)
  assert.is(cgroupOwner(config({ uid: 70_000 })), null)
  assert.is(cgroupOwner(config({ namespaces: ['cgroup'], uid: 5 })), 5)
})

test('nothing is handed over to root, without a cgroup namespace, or with a read-only mount or none', () => {
  assert.is(cgroupOwner(config({ namespaces: ['cgroup'] })), null)
  assert.is(cgroupOwner(config({ namespaces: ['user'] })), null)
  assert.is(cgroupOwner(config({ options: ['nosuid', 'ro'] })), null)
  assert.is(cgroupOwner(config({ mounts: [] })), null)
})

test.run()
