import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from '../base/errors.ts'
import type { CgroupPaths } from '../cgroup/manager.ts'
import { placeBelow } from './enter.ts'

const folder = (version: 1 | 2, controllers: string[], name = controllers.join(',')) => ({
  version,
  controllers,
  mountpoint: `/sys/fs/cgroup/${name}`,
  path: '/box',
})
const hybrid: CgroupPaths = {
  mode: 'hybrid',
  folders: [folder(1, ['cpu', 'cpuacct']), folder(1, ['pids']), folder(2, [], 'unified')],
}
const paths = (of: CgroupPaths, ...wanted: string[]): string[] => placeBelow(of, wanted).folders.map(({ path }) => path)

test('without --cgroup the cgroup is the container own', () => {
  assert.equal(paths(hybrid), ['/box', '/box', '/box'])
})

test('a path is one in all hierarchies with controllers', () => {
  assert.equal(paths(hybrid, 'a/b'), ['/box/a/b', '/box/a/b', '/box'])
  assert.equal(paths({ mode: 'v2', folders: [folder(2, ['pids'])] }, '/a'), ['/box/a'])
  assert.equal(paths(hybrid, '/'), ['/box', '/box', '/box'])
})

test('controllers choose their hierarchies', () => {
  assert.equal(paths(hybrid, 'cpuacct:/a', 'pids:b'), ['/box/a', '/box/b', '/box'])
  assert.throws(
    () => paths(hybrid, 'gpu:a'),
    (error: unknown) => error instanceof RuntError && /--cgroup: .*"gpu"/.test(error.message),
  )
})

test('no path leads out of the container cgroup', () => {
  for (const path of ['..', '../../other', 'pids:a/../..', '/a/..'])
    assert.throws(() => paths(hybrid, path), /^--cgroup: bad sub cgroup path "/)
})

test.run()
