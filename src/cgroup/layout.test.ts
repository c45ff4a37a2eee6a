import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { detectLayout, locate, mountPlan } from './layout.ts'

const v1Mounts = `23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
`
const v1Own = '4:name=systemd:/\n3:memory:/api/x\n2:cpu,cpuacct:/\n'
const unifiedMount = '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n'
const v2Mounts = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n'
const v2Own = '0::/user.slice/session-1.scope\n'

test('v1: each mount with its controllers and the own cgroup', () => {
  assert.equal(detectLayout(v1Mounts, v1Own), {
    mode: 'v1',
    hierarchies: [
      { version: 1, controllers: ['cpu', 'cpuacct'], mountpoint: '/sys/fs/cgroup/cpu,cpuacct', own: '/' },
      { version: 1, controllers: ['memory'], mountpoint: '/sys/fs/cgroup/memory', own: '/api/x' },
      { version: 1, controllers: ['name=systemd'], mountpoint: '/sys/fs/cgroup/systemd', own: '/' },
    ],
  })
})

test('v1 controllers and a cgroup2 mount are a hybrid layout', () => {
  const layout = detectLayout(v1Mounts + unifiedMount, `${v1Own}0::/\n`)
  assert.is(layout.mode, 'hybrid')
  assert.equal(layout.hierarchies.at(-1), {
    version: 2,
    controllers: [],
    mountpoint: '/sys/fs/cgroup/unified',
    own: '/',
  })
})

test('a cgroup2 alone is v2', () => {
  assert.equal(detectLayout(v2Mounts, v2Own), {
    mode: 'v2',
    hierarchies: [{ version: 2, controllers: [], mountpoint: '/sys/fs/cgroup', own: '/user.slice/session-1.scope' }],
  })
})

test('a named v1 hierarchy beside cgroup2 leaves the host v2', () => {
  const named = '44 30 0:40 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n'
  assert.is(detectLayout(v2Mounts + named, `1:name=systemd:/\n${v2Own}`).mode, 'v2')
  assert.is(detectLayout(v2Mounts + named, `1:name=systemd:/\n${v2Own}`).hierarchies.length, 1)
})

test('nothing mounted is none', () => {
  assert.equal(detectLayout('27 1 254:0 / / rw - ext4 /dev/vda rw\n', v1Own), { mode: 'none', hierarchies: [] })
  assert.equal(detectLayout('', ''), { mode: 'none', hierarchies: [] })
})

test('in a container without a cgroup namespace the mount shows only its own part', () => {
  const mounts = '50 49 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n'
  const own = (path: string) => detectLayout(mounts, `3:memory:${path}\n`).hierarchies[0]!.own
  assert.is(own('/docker/abc'), '/')
  assert.is(own('/docker/abc/inner'), '/inner')
  assert.is(own('/docker/abcd'), '/')
  assert.is(own('/'), '/')
})

test('a cgroup outside of the cgroup namespace counts as the top', () => {
  const mounts = '50 49 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n'
  assert.is(detectLayout(mounts, '3:memory:/../other\n').hierarchies[0]!.own, '/')
})

test('a mount that another one hides does not count', () => {
  const hidden = `${v2Mounts}60 30 0:50 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n`
  assert.is(detectLayout(hidden, v2Own).mode, 'none')
})

test('the usual place is preferred, and blanks in mount points are understood', () => {
  const odd = '20 23 0:32 / /mnt/c\\040g rw - cgroup cgroup rw,memory\n'
  assert.is(detectLayout(odd + v1Mounts, v1Own).hierarchies[0]!.mountpoint, '/sys/fs/cgroup/memory')
  assert.is(detectLayout(odd, v1Own).hierarchies[0]!.mountpoint, '/mnt/c g')
})

const paths = (cgroupsPath: string | undefined, mounts = v1Mounts, own = v1Own) =>
  locate(detectLayout(mounts, own), cgroupsPath, 'id').folders.map(({ path }) => path)

test('an absolute cgroupsPath lies below the mount point, a relative one below the own cgroup', () => {
  assert.equal(paths('/a/b'), ['/a/b', '/a/b', '/a/b'])
  assert.equal(paths('a/b'), ['/a/b', '/api/x/a/b', '/a/b'])
})

test('without a cgroupsPath the id is taken', () => {
  assert.equal(paths(undefined), ['/id', '/api/x/id', '/id'])
  assert.equal(paths(''), ['/id', '/api/x/id', '/id'])
})

test('on v2 a relative path lies beside the own cgroup', () => {
  assert.equal(paths('a', v2Mounts, v2Own), ['/user.slice/a'])
  assert.equal(paths(undefined, v2Mounts, '0::/\n'), ['/id'])
})

test('dots do not lead out', () => {
  assert.equal(paths('/../../x/./y//z/..'), ['/x/y', '/x/y', '/x/y'])
  assert.equal(paths('../../x'), ['/x', '/api/x/x', '/x'])
})

test('the root is not taken as a container’s cgroup', () => {
  assert.throws(() => paths('/'), /linux\.cgroupsPath: "\/" is the root/)
  assert.throws(() => paths('a/..'), /linux\.cgroupsPath/)
})

test('the v1 mount plan binds the folders, or mounts anew in a cgroup namespace', () => {
  const located = locate(detectLayout(v1Mounts + unifiedMount, `${v1Own}0::/\n`), '/a', 'id')
  assert.equal(mountPlan(located, false), {
    tmpfs: true,
    mounts: [
      { folder: 'cpu,cpuacct', type: 'bind', source: '/sys/fs/cgroup/cpu,cpuacct/a', options: [] },
      { folder: 'memory', type: 'bind', source: '/sys/fs/cgroup/memory/a', options: [] },
      { folder: 'systemd', type: 'bind', source: '/sys/fs/cgroup/systemd/a', options: [] },
    ],
    links: [
      { name: 'cpu', target: 'cpu,cpuacct' },
      { name: 'cpuacct', target: 'cpu,cpuacct' },
    ],
    unified: { folder: '', type: 'bind', source: '/sys/fs/cgroup/unified/a', options: [] },
  })
  assert.equal(mountPlan(located, true).mounts[0], {
    folder: 'cpu,cpuacct',
    type: 'cgroup',
    source: 'cgroup',
    options: ['cpu', 'cpuacct'],
  })
  assert.is(mountPlan(located, true).unified.type, 'cgroup2')
})

test('the v2 mount plan is one mount', () => {
  const located = locate(detectLayout(v2Mounts, v2Own), '/a', 'id')
  const one = { folder: '', type: 'cgroup2', source: 'cgroup2', options: [] }
  assert.equal(mountPlan(located, true), { tmpfs: false, mounts: [one], links: [], unified: one })
  assert.is(mountPlan(located, false).mounts[0]!.source, '/sys/fs/cgroup/a')
})

test.run()
