import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Config, Mount } from '../config/types.ts'
import { idmapOf } from './idmapped-mounts.ts'
import { readMountOptions } from './mount-options.ts'

const uid = [{ containerID: 0, hostID: 1000, size: 1 }]
const gid = [{ containerID: 0, hostID: 2000, size: 1 }]
const ranges = [
  { containerID: 0, hostID: 0, size: 1 },
  { containerID: 1, hostID: 2, size: 1000 },
]
const userns: Config['linux'] = { namespaces: [{ type: 'user' }], uidMappings: ranges, gidMappings: ranges }

function asked(options: string[], more: Partial<Mount> = {}, linux: Config['linux'] = {}) {
  const mount: Mount = { destination: '/data', type: 'bind', source: '/x', options: ['bind', ...options], ...more }
  const config: Config = {
    ociVersion: '1.3.0',
    root: { path: 'rootfs' },
    process: { args: ['sh'], cwd: '/', user: { uid: 0, gid: 0 } },
    linux,
  }
  return idmapOf('mounts[3] (/data)', mount, readMountOptions(mount.options!), config)
}

test('a mount that asks for nothing gets nothing', () => {
  assert.is(asked([]), null)
  assert.is(asked([], { uidMappings: [], gidMappings: [] }, userns), null)
})

test("the mount's own mappings count, with the option or without", () => {
  for (const options of [[], ['idmap'], ['ridmap'], ['idmap=uids=0-1-1;gids=0-1-1']])
    assert.equal(asked(options, { uidMappings: uid, gidMappings: gid }, userns), { uid, gid })
})

test('one mapping without the other is refused', () => {
  assert.throws(() => asked(['idmap'], { uidMappings: uid }), /^mounts\[3\]: uidMappings and gidMappings are needed/)
  assert.throws(() => asked([], { gidMappings: gid }, userns), /needed both/)
})

test("the option alone takes the mappings of the container's user namespace", () => {
  assert.equal(asked(['idmap'], {}, userns), { uid: ranges, gid: ranges })
  assert.equal(asked(['ridmap'], {}, { namespaces: [{ type: 'user', path: '/run/ns' }] }), { path: '/run/ns' })
  assert.throws(() => asked(['idmap']), /^mounts\[3\]\.options: "idmap" needs uidMappings and gidMappings, or a user/)
})

test('ranges in the option: id in the file system, id on the host, length', () => {
  assert.equal(asked(['idmap=uids=0-1-10#10-11-10;gids=0-100-10']), {
    uid: [
      { containerID: 0, hostID: 1, size: 10 },
      { containerID: 10, hostID: 11, size: 10 },
    ],
    gid: [{ containerID: 0, hostID: 100, size: 10 }],
  })
})

test('ranges behind a @ are ids of the container', () => {
  assert.equal(asked(['idmap=uids=@1-3-10;gids=@0-0-1'], {}, userns), {
    uid: [{ containerID: 1, hostID: 4, size: 10 }],
    gid: [{ containerID: 0, hostID: 0, size: 1 }],
  })
  assert.throws(
    () => asked(['idmap=uids=@0-0-10;gids=@0-0-1'], {}, userns),
    /^mounts\[3\]\.options: "idmap=.*: the ids 0 to 9 of the container lie in no single range of linux\.uidMappings$/,
  )
})

for (const text of ['uids=0-1', 'uids=0-1-x;gids=0-0-1', 'uids=0-1-1', 'uids=0-1-1;gids=', 'uids=0-1-1;pids=0-1-1'])
  test(`idmap=${text} is refused`, () => {
    assert.throws(() => asked([`idmap=${text}`]), /^mounts\[3\]\.options: "idmap=/)
  })

test.run()
