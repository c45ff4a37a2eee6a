/** runtime-spec, config-linux.md: "Devices" and "Default Devices"; config.md: "Default Filesystems". */
import * as assert from 'uvu/assert'
import { type Config, heading, inside, runtime } from '../harness.ts'
import { unified } from '../host.ts'

const { test, run } = heading('config-linux/devices')

let listing: string | undefined
function nodes(): string {
  const names = 'null zero full random urandom tty'
  listing ??= inside(
    `cd /dev; stat -c "%n %F %t:%T %a %u:%g" ${names}; for l in fd stdin stdout stderr ptmx; do echo $l $(readlink $l); done`,
  )
  return listing
}

for (const [name, numbers] of [
  ['null', '1:3'],
  ['zero', '1:5'],
  ['full', '1:7'],
  ['random', '1:8'],
  ['urandom', '1:9'],
  ['tty', '5:0'],
] as const) {
  test(`/dev/${name} is the character device ${numbers} that everybody may use`, () => {
    assert.match(nodes(), new RegExp(`^${name} character special file ${numbers} 666 0:0$`, 'm'))
  })
}

for (const [name, target] of [
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
  ['ptmx', '(/dev/)?pts/ptmx'],
] as const) {
  test(`/dev/${name} is a link to ${target}`, () => {
    assert.match(nodes(), new RegExp(`^${name} ${target}$`, 'm'))
  })
}

test('the default devices work', () => {
  const text = inside(
    'echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; cat /dev/null; echo y > /dev/full 2>/dev/null || echo full',
  )
  assert.is(text.replace(/ /g, ''), '3\n3\nfull\n')
})

test('a new pseudo-terminal can be opened', () => {
  assert.is(inside('exec 3<>/dev/ptmx && ls /dev/pts | grep -c "^0$"'), '1\n')
})

test('devices of the configuration are made with their numbers, modes and owners', () => {
  const text = inside('stat -c "%n %F %t:%T %a %u:%g" /dev/special /dev/block /dev/deep/er /dev/pipe', (config) => {
    config.linux.devices = [
      { path: '/dev/special', type: 'c', major: 10, minor: 229, fileMode: 0o640, uid: 5, gid: 6 },
      { path: '/dev/block', type: 'b', major: 7, minor: 0, fileMode: 0o600 },
      { path: '/dev/deep/er', type: 'u', major: 1, minor: 3 },
      { path: '/dev/pipe', type: 'p', fileMode: 0o622 },
    ]
  })
  const lines = text.trim().split('\n')
  assert.is(lines[0], '/dev/special character special file a:e5 640 5:6')
  assert.is(lines[1], '/dev/block block special file 7:0 600 0:0')
  assert.match(lines[2]!, /^\/dev\/deep\/er character special file 1:3 /)
  assert.is(lines[3], '/dev/pipe fifo 0:0 622 0:0')
})

test('the umask of the caller does not change the mode of a device', () => {
  const text = inside('umask; stat -c %a /dev/special', (config) => {
    config.process.user.umask = 0o77
    config.linux.devices = [{ path: '/dev/special', type: 'c', major: 1, minor: 3, fileMode: 0o666 }]
  })
  assert.match(text, /\n666\n$/)
})

const withMknod = (config: Config) => {
  for (const name of ['bounding', 'effective', 'permitted']) config.process.capabilities![name]!.push('CAP_MKNOD')
}

test('a device that the control group does not allow cannot be opened', () => {
  const text = inside('head -c 1 /dev/special 2>/dev/null || echo refused', (config) => {
    config.linux.devices = [{ path: '/dev/special', type: 'c', major: 10, minor: 1, fileMode: 0o666 }]
  })
  assert.is(text, 'refused\n')
})

test('a device that the control group allows can be opened', () => {
  const text = inside('head -c 1 /dev/mem-null | wc -c', (config) => {
    config.linux.devices = [{ path: '/dev/mem-null', type: 'c', major: 1, minor: 11, fileMode: 0o666 }]
    config.linux.resources = {
      devices: [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 1, minor: 11, access: 'rw' },
      ],
    }
    config.process.args = []
  })
  assert.match(text.trim(), /^[01]$/)
})

test('mknod of a device is allowed and opening it is not', () => {
  const text = inside(
    'mknod /dev/shm/mem c 1 1 && echo made; head -c 1 /dev/shm/mem 2>/dev/null || echo refused',
    (config) => {
      withMknod(config)
      config.mounts.find(({ destination }) => destination === '/dev/shm')!.options = ['mode=1777']
    },
  )
  assert.match(text, /refused\n$/)
})

test('the devices group of version 1 denies by default and lists the default devices', () => {
  if (unified) return
  const text = inside('cat /sys/fs/cgroup/devices/devices.list')
  const lines = text.trim().split('\n')
  for (const rule of [
    'c 1:3 rwm',
    'c 1:5 rwm',
    'c 1:7 rwm',
    'c 1:8 rwm',
    'c 1:9 rwm',
    'c 5:0 rwm',
    'c 5:2 rwm',
    'c 136:* rwm',
  ]) {
    assert.ok(lines.includes(rule), `${rule} of ${runtime}: ${lines.join(', ')}`)
  }
  assert.not(lines.includes('a *:* rwm'))
})

run()
