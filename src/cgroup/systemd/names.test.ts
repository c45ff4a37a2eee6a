import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { unitOf, unitPath } from './names.ts'

const units: readonly (readonly [path: string | undefined, unit: string, cgroup: string])[] = [
  ['system.slice:runc:abc', 'runc-abc.scope', '/system.slice/runc-abc.scope'],
  ['machine.slice:libpod:1f', 'libpod-1f.scope', '/machine.slice/libpod-1f.scope'],
  [
    'kubepods-burstable-pod1.slice:cri-containerd:x',
    'cri-containerd-x.scope',
    '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-x.scope',
  ],
  [':docker:x', 'docker-x.scope', '/system.slice/docker-x.scope'],
  ['-.slice:a:b', 'a-b.scope', '/a-b.scope'],
  ['system.slice::b', '-b.scope', '/system.slice/-b.scope'],
  ['user.slice:x:user-pod.slice', 'user-pod.slice', '/user.slice/user-pod.slice'],
  [undefined, 'runt-box.scope', '/system.slice/runt-box.scope'],
  ['', 'runt-box.scope', '/system.slice/runt-box.scope'],
]
for (const [path, unit, cgroup] of units)
  test(`${path} is the unit ${unit} in ${cgroup}`, () => {
    const name = unitOf(path, 'box', 'runt', 'system.slice')
    assert.is(name.unit, unit)
    assert.is(unitPath(name), cgroup)
  })

const wrong: readonly (readonly [path: string, message: RegExp])[] = [
  [
    '/a/b',
    /^linux\.cgroupsPath: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "\/a\/b" instead$/,
  ],
  ['a:b', /expected cgroupsPath to be of format/],
  ['a.slice:b:c:d', /expected cgroupsPath to be of format/],
  ['system:runc:a', /invalid slice name: "system"/],
  ['a--b.slice:runc:a', /invalid slice name: "a--b.slice"/],
  ['-a.slice:runc:a', /invalid slice name/],
  ['a/b.slice:runc:a', /invalid slice name/],
  ['.slice:runc:a', /invalid slice name: ".slice"/],
  ['system.slice:runc:', /"runc-.scope" is no name of a unit/],
  ['system.slice:runc:a/b', /"runc-a\/b.scope" is no name of a unit/],
  ['system.slice:runc:a b', /is no name of a unit/],
  [`system.slice:runc:${'x'.repeat(250)}`, /is no name of a unit/],
  ['system.slice:x:a--b.slice', /invalid slice name/],
]
for (const [path, message] of wrong)
  test(`${path.slice(0, 40)} is refused`, () => {
    assert.throws(() => unitOf(path, 'box', 'runt', 'system.slice'), message)
  })

test.run()
