/** runtime-spec, config.md: "Root". */
import { existsSync, mkdirSync, realpathSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { bundle, container, execute, heading, inside, ok, remember, words } from '../harness.ts'
import { parseMountinfo } from '../host.ts'

const { test, run } = heading('config/root')

test('root.readonly true makes the root read-only', () => {
  const made = bundle()
  assert.is(inside('touch /file 2>/dev/null && echo wrote || echo refused', made), 'refused\n')
  assert.not(existsSync(join(made.rootfs, 'file')))
})

for (const value of [false, undefined]) {
  test(`root.readonly ${value} leaves the root writable`, () => {
    const made = bundle((config) => {
      if (value === undefined) delete config.root.readonly
      else config.root.readonly = value
    })
    assert.is(inside('touch /file && echo wrote', made), 'wrote\n')
    assert.ok(existsSync(join(made.rootfs, 'file')))
  })
}

test('a read-only root does not make the mounts below read-only', () => {
  assert.is(inside('touch /dev/shm/file && echo wrote'), 'wrote\n')
})

test('root.path may be absolute', () => {
  const made = bundle()
  made.config.root.path = made.rootfs
  assert.is(inside('echo ran', made), 'ran\n')
})

test('root.path may be relative to the bundle with dots', () => {
  assert.is(inside('echo ran', (config) => (config.root.path = './x/../rootfs/')).length, 4)
})

test('root.path may be a symbolic link', () => {
  const made = bundle()
  mkdirSync(join(made.directory, 'extra'))
  renameSync(made.rootfs, join(made.directory, 'extra/real'))
  symlinkSync('extra/real', made.rootfs)
  assert.is(inside('echo ran', made), 'ran\n')
})

test('root.path may hold spaces and other letters', () => {
  const made = bundle()
  mkdirSync(join(made.directory, 'extra'))
  const name = 'ä "root" \\ fs\twith, colon:'
  renameSync(made.rootfs, join(made.directory, 'extra', name))
  made.config.root.path = join('extra', name)
  mkdirSync(made.rootfs)
  assert.is(inside('echo ran', made), 'ran\n')
})

test('the host root is not reachable', () => {
  const made = bundle()
  writeFileSync(join(made.directory, 'extra'), 'secret')
  const outside = realpathSync(join(made.directory, 'extra'))
  assert.is(inside(`cat /../../extra ${outside} 2>/dev/null || echo no`, made), 'no\n')
})

test('the old root is no mount of the container', () => {
  const lines = parseMountinfo(inside('cat /proc/self/mountinfo'))
  assert.is(lines.filter(({ target }) => target === '/').length, 1)
  assert.not(
    lines.some(({ target }) => target.includes('runt-spec') || target.includes('put_old') || target.includes('pivot')),
  )
})

test('only the mounts of the configuration, masks and read-only paths are there', () => {
  const targets = parseMountinfo(inside('cat /proc/self/mountinfo')).map(({ target }) => target)
  const allowed =
    /^(\/|\/proc(\/.*)?|\/dev(\/(pts|shm|mqueue|console|null|zero|full|random|urandom|tty))?|\/sys(\/firmware|\/fs\/cgroup.*)?)$/
  assert.equal(
    targets.filter((target) => !allowed.test(target)),
    [],
  )
})

test('--no-pivot gives the container its root too', () => {
  const made = bundle((config) => {
    config.process.args = ['sh', '-c', 'ls / | tr "\\n" " "; cat /proc/sys/kernel/hostname']
  })
  const { stdout } = ok(container(made).run(['--no-pivot']))
  assert.match(stdout, /\bbin\b.*\bproc\b/)
  assert.match(stdout, /runc\n$/)
})

test('--no-pivot leaves no procfs in sight that is not masked, wherever the host has one', () => {
  const made = bundle((config) => {
    // The kernel lets a user namespace mount procfs only where one is to be seen as a whole.
    const script = 'echo inside; mount -t proc none /proc 2>/dev/null && echo bare'
    config.process.args = ['unshare', '-mrpf', 'sh', '-c', script]
    const capabilities = ['CAP_SETFCAP']
    config.process.capabilities = { bounding: capabilities, permitted: capabilities, effective: capabilities }
  })
  const place = join(made.directory, 'extra')
  mkdirSync(place)
  const script = `mount -t proc one '${place}' && mount -t proc two /proc && exec "$@"`
  const { directory, name } = made
  remember(name)
  const run = words(['run', '--bundle', directory, '--no-pivot', name])
  const { stdout } = execute(['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh', ...run])
  assert.is(stdout, 'inside\n')
})

test('the working directory of the container is inside its root', () => {
  assert.is(inside('readlink /proc/self/cwd; readlink /proc/self/root'), '/\n/\n')
})

run()
