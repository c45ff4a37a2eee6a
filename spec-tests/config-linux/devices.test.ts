/** runtime-spec, config-linux.md: "Devices" and "Default Devices"; config.md: "Default Filesystems". */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Bundle,
  bundle,
  type Config,
  container,
  fails,
  heading,
  inside,
  oneLine,
  runtime,
  skip,
} from '../harness.ts'
import { unified } from '../host.ts'

const { test, only, run } = heading('config-linux/devices')

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

test('/dev/core is a link to /proc/kcore', () => {
  if (!existsSync('/proc/kcore')) skip('the kernel has no /proc/kcore')
  assert.is(inside('readlink /dev/core'), '/proc/kcore\n')
})

test('a device may lie outside of /dev, in folders that are made', () => {
  const text = inside('stat -c "%n %F %t:%T %a" /some/where/null /top', (config) => {
    config.root.readonly = false
    config.linux.devices = [
      { path: '/some/where/null', type: 'c', major: 1, minor: 3, fileMode: 0o666 },
      { path: '/top', type: 'c', major: 1, minor: 5, fileMode: 0o600 },
    ]
  })
  assert.is(text, '/some/where/null character special file 1:3 666\n/top character special file 1:5 600\n')
})

test('a device of the configuration takes the place of the default one', () => {
  const text = inside('stat -c "%t:%T %a %u" /dev/null', (config) => {
    config.linux.devices = [{ path: '/dev/null', type: 'c', major: 1, minor: 3, fileMode: 0o600, uid: 7 }]
  })
  assert.is(text, '1:3 600 7\n')
})

test('the type bits of fileMode are passed over', () => {
  const text = inside('stat -c "%F %a" /dev/special', (config) => {
    config.linux.devices = [{ path: '/dev/special', type: 'c', major: 1, minor: 3, fileMode: 0o60640 }]
  })
  assert.is(text, 'character special file 640\n')
})

test('large numbers of devices are kept', () => {
  const text = inside('stat -c "%t:%T" /dev/large', (config) => {
    config.linux.devices = [{ path: '/dev/large', type: 'b', major: 4095, minor: 1_048_575, fileMode: 0o600 }]
  })
  assert.is(text, 'fff:fffff\n')
})

/** A bundle whose image has a /dev, which nothing is mounted on. */
function ofImage(devices: Record<string, unknown>[] = []): Bundle {
  const made = bundle((config) => {
    config.root.readonly = false
    config.mounts = config.mounts.filter(({ destination }) => !destination.startsWith('/dev'))
    config.linux.devices = devices
  })
  mkdirSync(join(made.rootfs, 'dev'))
  return made
}

const fuse = { path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o666 }

test('where nothing is mounted on /dev its files are made in the image', () => {
  const made = ofImage([fuse])
  assert.is(
    inside('cd /dev; stat -c "%n %t:%T" null tty fuse; readlink ptmx; readlink stdin', made),
    [...['null 1:3', 'tty 5:0', 'fuse a:e5', 'pts/ptmx', '/proc/self/fd/0', '']].join('\n'),
  )
  // A second time they are there already.
  assert.match(inside('stat -c "%n %t:%T" /dev/fuse', made), /a:e5/)
})

test('a device that is there already is taken as it is', () => {
  const made = ofImage([fuse])
  spawnSync('mknod', ['-m', '640', join(made.rootfs, 'dev/fuse'), 'c', '10', '229'])
  assert.is(inside('stat -c "%t:%T %a" /dev/fuse', made), 'a:e5 640\n')
})

test('/dev/ptmx of the image gives way to the link', () => {
  const made = ofImage()
  spawnSync('mknod', [join(made.rootfs, 'dev/ptmx'), 'c', '5', '2'])
  assert.is(inside('readlink /dev/ptmx', made), 'pts/ptmx\n')
})

/** config-linux.md: "If a file already exists at path that does not match the requested device, the runtime MUST generate an error." */
const others: [string, (path: string) => void][] = [
  ['a file', (path) => writeFileSync(path, '')],
  ['a folder', (path) => mkdirSync(path)],
  ['a link', (path) => symlinkSync('/dev/null', path)],
  ['a FIFO', (path) => spawnSync('mkfifo', [path])],
  ['another device', (path) => spawnSync('mknod', [path, 'c', '10', '228'])],
  ['a device of another type', (path) => spawnSync('mknod', [path, 'b', '10', '229'])],
]
for (const [what, make] of others)
  only('runt', `${what} in the place of a device is an error`, () => {
    const made = ofImage([fuse])
    make(join(made.rootfs, 'dev/fuse'))
    made.write()
    const message = /linux\.devices\[0\] \(\/dev\/fuse\): something else than this device is there already: EEXIST/
    oneLine(fails(container(made).create(), message))
  })

only('runt', 'a file in the place of a default device is an error', () => {
  const made = ofImage()
  writeFileSync(join(made.rootfs, 'dev/zero'), '')
  made.write()
  oneLine(fails(container(made).create(), /default devices \(\/dev\/zero\): something else/))
})

only('runt', 'the root in the place of a device is an error', () => {
  const made = ofImage([{ ...fuse, path: '/' }])
  oneLine(fails(container(made).create(), /linux\.devices\[0\]/))
})

test('in a /dev that is bound from elsewhere nothing is made', () => {
  const made = bundle((config) => {
    config.mounts = config.mounts.filter(({ destination }) => !destination.startsWith('/dev'))
    config.linux.devices = [fuse]
  })
  const extra = join(made.directory, 'extra')
  mkdirSync(extra)
  spawnSync('mknod', ['-m', '666', join(extra, 'null'), 'c', '1', '3'])
  made.config.mounts.push({ destination: '/dev', type: 'bind', source: extra, options: ['rbind'] })
  assert.is(inside('ls /dev', made), 'null\n')
})

run()
