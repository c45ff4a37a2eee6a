import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from '../base/errors.ts'
import { cgroupOfCaller, explainRefusal, withoutDevices } from './rootless.ts'

test('device rules become the one that allows all, which takes no program', () => {
  assert.equal(withoutDevices({ pids: { limit: 1 } }), {
    pids: { limit: 1 },
    devices: [{ allow: true, access: 'rwm' }],
  })
})

test('what is no refusal of a cgroup is passed on as it is', () => {
  const error = new RuntError('mounts[0]: no', 'EROFS')
  assert.is(explainRefusal(error, null), error)
  assert.is(explainRefusal('no error at all', null), 'no error at all')
})

test('the cgroup of the caller is that in which it is, of each hierarchy', () => {
  const hierarchy = { version: 2 as const, controllers: [], mountpoint: '/cg' }
  assert.equal(cgroupOfCaller({ mode: 'v2', hierarchies: [{ ...hierarchy, own: '/mine' }] }), {
    mode: 'v2',
    folders: [{ ...hierarchy, path: '/mine' }],
  })
})

test.run()
