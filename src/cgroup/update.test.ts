import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { deviceList } from './devices.ts'
import { oldContent } from './update.ts'

test('a file goes back to what it said, or to what it said of the same device', () => {
  for (const [name, content, old, back] of [
    ['memory.max', '100', 'max\n', 'max'],
    ['cpu.max', '5000 100000', 'max 100000\n', 'max 100000'],
    ['cpuset.cpus', '0', '\n', '\n'],
    ['memory.oom_control', '1', 'oom_kill_disable 0\nunder_oom 0\noom_kill 0\n', '0'],
    ['io.max', '8:0 rbps=5', '8:0 rbps=7 wbps=max riops=max wiops=max\n', '8:0 rbps=7 wbps=max riops=max wiops=max'],
    ['io.max', '8:0 rbps=5', '8:16 rbps=7 wbps=max riops=max wiops=max\n', '8:0 rbps=max wbps=max riops=max wiops=max'],
    ['blkio.throttle.read_bps_device', '8:0 5', '', '8:0 0'],
    ['blkio.throttle.read_bps_device', '8:0 5', '8:16 1\n8:0 2\n', '8:0 2'],
    ['io.bfq.weight', '500', 'default 100\n8:0 50\n', '100'],
    ['io.weight', 'default 500', 'default 100\n', 'default 100'],
    ['io.bfq.weight', '8:0 500', 'default 100\n', '8:0 default'],
    ['net_prio.ifpriomap', 'eth0 5', 'lo 0\neth0 1\n', 'eth0 1'],
    ['rdma.max', 'mlx hca_handle=3', 'mlx hca_handle=max hca_object=2\n', 'mlx hca_handle=max hca_object=2'],
    ['memory.stat', '5', 'a 1\nb 2\n', null],
  ] as const)
    assert.is(oldContent(name, content, old), back, `${name} ${content}`)
})

test('devices.list is foretold as the kernel makes it', () => {
  const list = deviceList([
    { allow: true, type: 'a' },
    { allow: false },
    { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
    { allow: true, type: 'b', major: 8 },
    { allow: false, type: 'c', major: 10, minor: 229, access: 'w' },
    // Not what was allowed, word for word: no effect.
    { allow: false, type: 'b', major: 8, minor: 1 },
  ])!
  assert.ok(list.includes('c 10:229 r'))
  assert.ok(list.includes('b 8:* rwm'))
  assert.ok(list.includes('c 1:3 rwm'))
  assert.is(deviceList([{ allow: false }, { allow: true }, { allow: false, type: 'c', major: 1, minor: 1 }]), null)
})

test.run()
