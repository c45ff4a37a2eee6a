import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeUtf8 } from '../base/bytes.ts'
import { Batch } from '../session/batch.ts'
import type { Call } from '../session/testing/fake-kernel.ts'
import { type Caller, holdUserNamespace, type IdMaps, planRelease, writeIdMaps } from './id-maps.ts'
import { fakeHost } from './testing/fake-host.ts'

const root: Caller = { uid: 0, gid: 0 }
const alice: Caller = { uid: 1000, gid: 100 }
const ranges: IdMaps = {
  field: 'linux',
  uid: [
    { containerID: 0, hostID: 1000, size: 1 },
    { containerID: 1, hostID: 100_000, size: 65_536 },
  ],
  gid: [{ containerID: 0, hostID: 200_000, size: 10 }],
}
const self: IdMaps = {
  field: 'linux',
  uid: [{ containerID: 0, hostID: 1000, size: 1 }],
  gid: [{ containerID: 0, hostID: 100, size: 1 }],
}

const maps = { '/proc/4711/uid_map': '', '/proc/4711/gid_map': '' }

/** What the host is made to do: files written, with their content. `kernel` answers other calls. */
function written(
  maps: IdMaps,
  caller: Caller,
  kernel: (call: Call) => number | string | undefined = () => undefined,
): string[] {
  const story: string[] = []
  let path = ''
  const { runtime } = fakeHost({}, (_executor, call) => {
    if (call.name === 'openat') {
      path = call.text(call.args[1]!)
      return 9
    }
    if (call.name === 'write') story.push(`${path}: ${call.text(call.args[1]!)}`)
    return kernel(call)
  })
  writeIdMaps(runtime, 4711, maps, caller)
  return story
}

/** A helper that ends with this status and says something. */
const helper =
  (status: number, says = '') =>
  ({ name, args, memory }: Call): number | undefined => {
    if (name === 'waitid') {
      const info = memory(args[2]!, 128)
      info[8] = 1
      info[24] = status
      return 0
    }
    if (name === 'lseek') return says.length
    if (name !== 'pread64') return undefined
    memory(args[1]!, says.length).set(encodeUtf8(says))
    return says.length
  }

test('root writes all ranges, each map at once, and leaves setgroups allowed', () => {
  assert.equal(written(ranges, root), [
    '/proc/4711/uid_map: 0 1000 1\n1 100000 65536\n',
    '/proc/4711/gid_map: 0 200000 10\n',
  ])
})

test('others write their own ids, after they have given up setgroups', () => {
  assert.equal(written(self, alice), [
    '/proc/4711/setgroups: deny',
    '/proc/4711/uid_map: 0 1000 1\n',
    '/proc/4711/gid_map: 0 100 1\n',
  ])
})

test('for any other ids of others the helpers are called, and no file is written', () => {
  for (const maps of [
    ranges,
    { ...self, uid: [{ containerID: 0, hostID: 1001, size: 1 }] },
    { ...self, gid: [{ containerID: 0, hostID: 100, size: 2 }] },
  ])
    assert.equal(written(maps, alice, helper(0)), [])
})

test('a helper that is missing is named, with the field that needs it', () => {
  assert.throws(
    () => written(ranges, alice, helper(127)),
    /^linux\.uidMappings: only root may map other ids .*newuidmap\(1\).*package uidmap/,
  )
})

test('what a helper says about its refusal is told in one line', () => {
  assert.throws(
    () => written(ranges, alice, helper(1, 'newuidmap: uid range [0-1) -> [5-6) not allowed\n')),
    /^linux\.uidMappings: newuidmap: uid range \[0-1\) -> \[5-6\) not allowed; \/etc\/subuid says/,
  )
})

test('a helper of a relative folder of $PATH is not executed', () => {
  const paths: string[] = []
  const { runtime } = fakeHost({}, (_executor, call) => {
    if (call.name === 'execve') paths.push(call.text(call.args[0]!))
    return call.name === 'clone' ? 0 : call.name === 'execve' ? 'ENOENT' : undefined
  })
  Object.assign(runtime.platform.env, { PATH: '.:/opt/bin::bin:/usr/bin' })
  assert.throws(() => writeIdMaps(runtime, 4711, ranges, alice))
  assert.equal([...new Set(paths)], ['/opt/bin/newuidmap', '/usr/bin/newuidmap'])
})

test('a namespace that is held is mapped, and its process is ended and waited for', () => {
  const calls: string[] = []
  const { runtime } = fakeHost(maps, (_executor, { name, args }) => {
    calls.push(`${name} ${args[0]} ${args[1]}`)
    return undefined
  })
  const held = holdUserNamespace(runtime, ranges, root)
  assert.is(held.path, '/proc/4711/ns/user')
  assert.is(calls.filter((call) => call.startsWith('write ')).length, 2)
  const b = new Batch('x86_64')
  planRelease(b, held)
  runtime.host.run(b)
  assert.ok(calls.includes('kill 4711 9'))
  assert.is(calls.at(-1), 'waitid 1 4711')
})

test('the process of a namespace that cannot be mapped is ended', () => {
  const calls: string[] = []
  const { runtime } = fakeHost(maps, (_executor, { name, args }) => {
    calls.push(`${name} ${args[0]} ${args[1]}`)
    return name === 'write' ? 'EPERM' : undefined
  })
  assert.throws(() => holdUserNamespace(runtime, ranges, root), /^linux\.uidMappings: write\(.*EPERM/)
  assert.ok(calls.includes('kill 4711 9'))
})

test.run()
