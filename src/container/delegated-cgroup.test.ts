import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CgroupPaths } from '../cgroup/manager.ts'
import type { Config } from '../config/types.ts'
import { checkDelegated, delegateBelow } from './delegated-cgroup.ts'
import { fakeHost } from './testing/fake-host.ts'

const paths = (mode: 'v1' | 'v2'): CgroupPaths => ({
  mode,
  folders: [{ version: mode === 'v2' ? 2 : 1, controllers: [], mountpoint: '/sys/fs/cgroup', path: '/box' }],
})
const config = (name?: string, more: Partial<Config> = {}): Config => ({
  ociVersion: '1.3.0',
  root: { path: 'rootfs' },
  process: { user: { uid: 7, gid: 7 }, args: ['sh'], cwd: '/' },
  ...(name === undefined ? {} : { annotations: { 'run.oci.delegate-cgroup': name } }),
  ...more,
})

test('a name is one folder, and cgroup v1 hands nothing on', () => {
  checkDelegated(config(), null)
  checkDelegated(config('payload'), paths('v2'))
  for (const name of ['', '.', '..', 'a/b', 'cgroup.procs'])
    assert.throws(
      () => checkDelegated(config(name), paths('v2')),
      /delegate-cgroup"\]: ".*" is not the name of a folder$/,
    )
  for (const cgroup of [null, paths('v1')])
    assert.throws(() => checkDelegated(config('payload'), cgroup), /it takes a cgroup of the container's own/)
})

const CONTROLLERS = { '/sys/fs/cgroup/box/cgroup.controllers': 'cpu pids\n' }

test('the init moves there, then controllers are handed on, as far as they can be', () => {
  const fake = fakeHost(CONTROLLERS, (_, call) =>
    call.name === 'write' && call.text(call.args[1]!).startsWith('+cpu') ? 'EINVAL' : undefined,
  )
  delegateBelow(fake.runtime, config('payload'), paths('v2'), 4711)
  const told = fake.host.log.filter((line) => /^(mkdirat|write|fchownat)/.test(line)).join('\n')
  assert.match(
    told,
    /^mkdirat.*"\/sys\/fs\/cgroup\/box\/payload".*\nwrite.*"4711".*\nwrite.*"\+cpu".*\nwrite.*"\+pids"/,
  )
  assert.not.match(told, /fchownat/)
})

test("who manages it is its owner: the program's user, with a cgroup namespace and a mount to write to", () => {
  const fake = fakeHost(CONTROLLERS)
  const more: Partial<Config> = {
    linux: { namespaces: [{ type: 'cgroup' }] },
    mounts: [{ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup' }],
  }
  delegateBelow(fake.runtime, config('payload', more), paths('v2'), 4711)
  const given = fake.host.log.filter((line) => line.startsWith('fchownat'))
  assert.ok(given.length > 0, fake.host.log.join('\n'))
  for (const line of given)
    assert.match(line, /^fchownat\(-100, "\/sys\/fs\/cgroup\/box\/payload(\/[a-z._]+)?", 7, /, line)
})

test('without the annotation nothing is done', () => {
  const fake = fakeHost({})
  delegateBelow(fake.runtime, config(), paths('v2'), 4711)
  assert.is(fake.host.log.length, 0)
})

test.run()
