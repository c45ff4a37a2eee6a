/** runtime-spec, config-linux.md: "Masked Paths" and "Readonly Paths"; "Sysctl"; "Rootfs Mount Propagation". */
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { bundle, container, fails, heading, inside, oneLine } from '../harness.ts'
import { parseMountinfo } from '../host.ts'

const { test, only, run } = heading('config-linux/paths')

const made = () => {
  const b = bundle((config) => {
    config.root.readonly = false
  })
  b.file('secret/file', 'content')
  return b
}

test('a masked file reads as empty', () => {
  const b = made()
  b.config.linux.maskedPaths = ['/secret/file']
  assert.is(inside('cat /secret/file; echo end', b), 'end\n')
})

test('a masked directory is empty and read-only', () => {
  const b = made()
  b.config.linux.maskedPaths = ['/secret']
  assert.is(inside('ls /secret; touch /secret/new 2>/dev/null || echo refused', b), 'refused\n')
})

test('a masked path that is missing is passed over', () => {
  const b = made()
  b.config.linux.maskedPaths = ['/not/there', '/secret/file']
  assert.is(inside('ls /not 2>/dev/null; cat /secret/file; echo end', b), 'end\n')
})

test('no masked paths is a valid configuration', () => {
  const b = made()
  b.config.linux.maskedPaths = []
  assert.is(inside('cat /secret/file', b), 'content')
})

for (const path of ['/proc/kcore', '/proc/keys', '/proc/timer_list']) {
  test(`${path} of the default configuration reads as empty`, () => {
    assert.is(inside(`cat ${path} 2>/dev/null | head -c 1 | wc -c`).trim(), '0')
  })
}

test('/sys/firmware of the default configuration is empty', () => {
  assert.is(inside('ls /sys/firmware'), '')
})

test('a read-only file cannot be written and can be read', () => {
  const b = made()
  b.config.linux.readonlyPaths = ['/secret/file']
  assert.is(inside('cat /secret/file; echo x > /secret/file || echo refused', b), 'contentrefused\n')
})

test('a read-only directory cannot be written, with all below', () => {
  const b = made()
  b.config.linux.readonlyPaths = ['/secret']
  assert.is(
    inside('touch /secret/new 2>/dev/null || echo a; echo x > /secret/file || echo b; touch /other && echo c', b),
    'a\nb\nc\n',
  )
})

test('a read-only path that is missing is passed over', () => {
  const b = made()
  b.config.linux.readonlyPaths = ['/not/there', '/secret']
  assert.is(inside('touch /secret/new 2>/dev/null || echo refused', b), 'refused\n')
})

test('/proc/sys of the default configuration is read-only', () => {
  assert.is(inside('echo 1 > /proc/sys/vm/overcommit_memory || echo refused'), 'refused\n')
})

test('/proc/sysrq-trigger of the default configuration is read-only', () => {
  assert.is(inside('echo h > /proc/sysrq-trigger || echo refused'), 'refused\n')
})

test('a read-only path keeps the flags of its mount', () => {
  const b = made()
  b.config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'noexec'] })
  b.config.linux.readonlyPaths = ['/tmp']
  const line = parseMountinfo(inside('cat /proc/self/mountinfo', b))
    .filter(({ target }) => target === '/tmp')
    .at(-1)!
  for (const flag of ['ro', 'nosuid', 'nodev', 'noexec']) assert.ok(line.options.includes(flag), line.options.join())
})

test('a mount below a read-only path is read-only too', () => {
  const b = made()
  for (const destination of ['/secret', '/secret/below'])
    b.config.mounts.push({ destination, type: 'tmpfs', source: 'tmpfs' })
  b.config.linux.readonlyPaths = ['/secret']
  assert.is(inside('touch /secret/below/x 2>/dev/null || echo refused', b), 'refused\n')
})

test('a masked path behind an absolute symbolic link is resolved inside the root', () => {
  const b = made()
  symlinkSync('/secret', join(b.rootfs, 'link'))
  b.config.linux.maskedPaths = ['/link/file']
  assert.is(inside('cat /secret/file; echo end', b), 'end\n')
})

test('masked folders are one empty file system, masked files are /dev/null', () => {
  const b = made()
  for (const name of ['one', 'two', 'three']) b.file(`${name}/file`, 'content')
  b.config.linux.maskedPaths = ['/one', '/secret/file', '/two', '/one', '/three']
  const text = inside('ls /one /two /three | grep -c file; cat /secret/file; cat /proc/self/mountinfo', b)
  assert.match(text, /^0\n/)
  const lines = parseMountinfo(text).filter(({ target }) => ['/one', '/two', '/three'].includes(target))
  assert.is(lines.length >= 3, true)
  for (const line of lines) assert.ok(line.options.includes('ro') && line.type === 'tmpfs', line.options.join())
})

test('a masked file of a masked folder is passed over', () => {
  const b = made()
  b.config.linux.maskedPaths = ['/secret', '/secret/file']
  assert.is(inside('ls /secret; echo end', b), 'end\n')
})

test('a masked path that leads out of the root by a link is resolved inside', () => {
  const b = made()
  symlinkSync('../../../../secret', join(b.rootfs, 'link'))
  b.config.linux.maskedPaths = ['/link']
  assert.is(inside('ls /secret; echo end', b), 'end\n')
})

test('a path may be masked and read-only', () => {
  const b = made()
  b.config.linux.maskedPaths = ['/secret/file']
  b.config.linux.readonlyPaths = ['/secret']
  assert.is(inside('cat /secret/file; touch /secret/x 2>/dev/null || echo refused', b), 'refused\n')
})

only('runt', 'the root as a masked path is refused', () => {
  const b = made()
  b.config.linux.maskedPaths = ['/']
  b.write()
  oneLine(fails(container(b).create(), /linux\.maskedPaths \(\/\): the root itself/))
})

test('the root as a read-only path makes the root read-only, not the mounts below', () => {
  const b = made()
  b.config.linux.readonlyPaths = ['/']
  assert.is(inside('touch /x 2>/dev/null || echo refused; touch /dev/shm/x && echo wrote', b), 'refused\nwrote\n')
})

test('sysctl values of the network namespace are set', () => {
  const text = inside('cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_default_ttl', (config) => {
    config.linux.sysctl = { 'net.ipv4.ip_forward': '1', 'net.ipv4.ip_default_ttl': '33' }
  })
  assert.is(text, '1\n33\n')
})

test('sysctl values of the ipc and uts namespaces are set', () => {
  const text = inside('cat /proc/sys/kernel/msgmax /proc/sys/kernel/domainname', (config) => {
    config.linux.sysctl = { 'kernel.msgmax': '4321', 'kernel.domainname': 'by.sysctl' }
  })
  assert.is(text, '4321\nby.sysctl\n')
})

test('sysctl names may be written with slashes', () => {
  const text = inside('cat /proc/sys/net/ipv4/ip_default_ttl', (config) => {
    config.linux.sysctl = { 'net/ipv4/ip_default_ttl': '34' }
  })
  assert.is(text, '34\n')
})

test('sysctl values of the container do not change the host', () => {
  const before = inside('cat /proc/sys/kernel/msgmax', (config) => {
    config.linux.sysctl = { 'kernel.msgmax': '4321' }
  })
  assert.is(before, '4321\n')
  assert.is.not(inside('cat /proc/sys/kernel/msgmax'), '4321\n')
})

for (const [value, tag] of [
  ['private', /^$/],
  ['slave', /^(?!.*shared:)/],
  ['shared', /shared:/],
  ['unbindable', /unbindable/],
] as const) {
  test(`rootfsPropagation ${value} is that of the root`, () => {
    const lines = parseMountinfo(
      inside('cat /proc/self/mountinfo', (config) => {
        config.linux.rootfsPropagation = value
      }),
    )
    assert.match(lines.find(({ target }) => target === '/')!.tags.join(' '), tag)
  })
}

run()
