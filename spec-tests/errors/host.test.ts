/** A host that does not play along: full or unwritable state directories, broken state, missing rights. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  command,
  container,
  execute,
  fails,
  heading,
  leavesNothing,
  ok,
  runBare,
  run as runtime,
  skip,
  started,
  stateRoot,
  withRuntime,
  words,
} from '../harness.ts'
import { cgroupDirectories, isAlive, mounts, removeTree, unified, waitFor } from '../host.ts'

const { test, only, run } = heading('errors/host')

function withTmpfs(options: string, body: (directory: string) => void): void {
  const directory = join(base, 'tiny')
  mkdirSync(directory)
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', directory])
  try {
    body(directory)
  } finally {
    removeTree(directory)
  }
}

test('a container runs where no memfd may be executed', () => {
  // The sysctl belongs to the pid namespace that is made here.
  const c = container((config) => {
    config.process.args = ['/bin/echo', 'made it']
  })
  const line = [...command, '--root', stateRoot, 'run', '--bundle', c.bundle.directory, c.id]
  const script = 'f=/proc/sys/vm/memfd_noexec; test ! -e $f || echo 2 > $f; exec "$@"'
  const { status, stdout, stderr } = execute([
    'unshare',
    '--pid',
    '--fork',
    '--mount-proc',
    'sh',
    '-c',
    script,
    'sh',
    ...line,
  ])
  assert.is(status, 0, stderr)
  assert.is(stdout, 'made it\n')
})

/** Without the almost empty cgroup2 that hybrid hosts have beside cgroup v1: a container's cgroup is made while its init mounts then. */
const onlyVersion1 = (own: readonly string[]): readonly string[] => {
  const second = mounts().find(({ type }) => type === 'cgroup2')?.target
  return second ? ['unshare', '--mount', 'sh', '-c', `umount ${second} && exec "$@"`, 'sh', ...own] : own
}

for (const [place, wrap] of [
  ['as this host has it', (own: readonly string[]) => own],
  ['with cgroup v1 alone', onlyVersion1],
] as const) {
  test(`a mount that is refused leaves no cgroup, where the one above is there already: ${place}`, () => {
    if (wrap === onlyVersion1 && unified) skip('this host has no cgroup v1')
    const beside = started((config) => {
      config.process.args = ['sleep', '60']
    })
    const c = container((config) => {
      config.mounts!.push({ destination: '/proc/missing', type: 'tmpfs', source: 'tmpfs' })
    })
    withRuntime(wrap, () => fails(c.run(), /\/proc/))
    assert.equal(cgroupDirectories(c.bundle.config.linux.cgroupsPath), [])
    ok(beside.delete('--force'))
    leavesNothing()
  })
}

test('a full state directory makes create fail and leaves nothing', () => {
  withTmpfs('size=64k', (directory) => {
    const { bfree, bsize } = statfsSync(directory)
    writeFileSync(join(directory, 'filler'), Buffer.alloc(bfree * bsize))
    const c = container()
    fails(runBare(['--root', directory, 'create', '--bundle', c.bundle.directory, c.id]), /space|ENOSPC/)
    assert.equal(readdirSync(directory), ['filler'])
    assert.equal(cgroupDirectories(c.bundle.config.linux.cgroupsPath), [])
  })
  leavesNothing()
})

test('a state directory without free inodes makes create fail and leaves nothing', () => {
  withTmpfs('nr_inodes=2', (directory) => {
    writeFileSync(join(directory, 'filler'), '')
    const c = container()
    fails(runBare(['--root', directory, 'create', '--bundle', c.bundle.directory, c.id]), /space|ENOSPC/)
    assert.equal(readdirSync(directory), ['filler'])
  })
  leavesNothing()
})

test('a read-only state directory makes create fail', () => {
  withTmpfs('ro', (directory) => {
    const c = container()
    fails(runBare(['--root', directory, 'create', '--bundle', c.bundle.directory, c.id]), /read-only|EROFS/i)
    assert.equal(cgroupDirectories(c.bundle.config.linux.cgroupsPath), [])
  })
  leavesNothing()
})

test('a state directory that is a file makes create fail', () => {
  const file = join(base, 'a-file')
  writeFileSync(file, '')
  const c = container()
  fails(runBare(['--root', file, 'create', '--bundle', c.bundle.directory, c.id]), /a-file|not a directory|ENOTDIR/i)
  leavesNothing()
})

test('control groups that are read-only, as in a container, make create fail, and it leaves nothing', () => {
  const c = container()
  const script =
    'for d in /sys/fs/cgroup /sys/fs/cgroup/*; do if mountpoint -q $d; then mount -o remount,bind,ro $d; fi; done; exec "$@"'
  const result = withRuntime(
    (runtimeWords) => ['unshare', '-m', 'sh', '-c', script, 'sh', ...runtimeWords],
    () => c.create(),
  )
  fails(result, /read-only/i)
  assert.not(existsSync(join(stateRoot, c.id)))
  leavesNothing()
  ok(c.create())
})

test('a full root file system with missing mount points makes create fail and leaves nothing', () => {
  const c = container()
  withTmpfs('size=3m,nr_inodes=200', (directory) => {
    execFileSync('cp', ['-a', `${c.bundle.rootfs}/.`, directory])
    const { bfree, bsize } = statfsSync(directory)
    writeFileSync(join(directory, 'filler'), Buffer.alloc(bfree * bsize))
    const { ffree } = statfsSync(directory)
    for (let n = 0; n < ffree; n++) writeFileSync(join(directory, `f${n}`), '')
    c.bundle.config.root.path = directory
    c.bundle.write()
    fails(c.create(), /space|ENOSPC/)
  })
  leavesNothing()
})

for (const [what, text] of [
  ['empty', ''],
  ['no JSON', 'oops'],
  ['an empty object', '{}'],
] as const) {
  test(`a state file that is ${what} makes state fail, and the container is fine when it is back`, () => {
    const c = started()
    const { pid } = c.state()
    const files = readdirSync(join(stateRoot, c.id)).filter((file) => lstatSync(join(stateRoot, c.id, file)).isFile())
    const saved = files.map((file) => execute(['cat', join(stateRoot, c.id, file)]).stdout)
    for (const file of files) writeFileSync(join(stateRoot, c.id, file), text)
    fails(runtime(['state', c.id]))
    files.forEach((file, index) => {
      writeFileSync(join(stateRoot, c.id, file), saved[index]!)
    })
    assert.is(c.state().pid, pid)
  })
}

only('runt', 'where the state is damaged, delete says what is left to do', () => {
  const c = started()
  const file = join(stateRoot, c.id, 'state.json')
  const { stdout } = execute(['cat', file])
  writeFileSync(file, stdout.slice(0, 100))
  fails(
    c.delete('--force'),
    /state\.json: not JSON; .*: end its processes and remove its cgroup and this folder by hand/,
  )
  writeFileSync(file, stdout)
  ok(c.delete('--force'))
})

test('a directory in the state directory that is no container does not disturb list', () => {
  const c = started()
  mkdirSync(join(stateRoot, 'stranger'))
  const { stdout } = runtime(['list', '-q'])
  execute(['rmdir', join(stateRoot, 'stranger')])
  assert.ok(stdout.split('\n').includes(c.id))
})

test('stdout that is closed does not harm create', () => {
  const c = container()
  const script = `exec "$@" >&- 2>&- <&-`
  execute(['sh', '-c', script, 'sh', ...words(['create', '--bundle', c.bundle.directory, c.id])])
  const state = runtime(['state', c.id])
  if (state.status === 0) assert.is(JSON.parse(state.stdout).status, 'created')
  else leavesNothing()
})

only('runt', 'a FIFO in the place of a state keeps nobody waiting', () => {
  const folder = join(stateRoot, 'fifo')
  mkdirSync(folder, { recursive: true })
  execute(['mkfifo', join(folder, 'state.json')])
  try {
    fails(runtime(['state', 'fifo'], { timeout: 5000 }), /state\.json: not JSON/)
    ok(runtime(['list'], { timeout: 5000 }))
  } finally {
    removeTree(folder)
  }
})

test('where the caller has closed its standard streams, a container that waits holds nothing of the host in their place', () => {
  const c = container()
  execute(['sh', '-c', 'exec "$@" >&- 2>&- <&-', 'sh', ...words(['create', '--bundle', c.bundle.directory, c.id])])
  if (runtime(['state', c.id]).status !== 0) return leavesNothing()
  const { pid } = c.state()
  const streams = readdirSync(`/proc/${pid}/fd`).filter((fd) => Number(fd) < 3)
  for (const fd of streams) assert.is(readlinkSync(`/proc/${pid}/fd/${fd}`), '/dev/null')
  ok(c.start())
})

test("a working folder that was removed is in nobody's way", () => {
  const c = container()
  const folder = join(base, 'gone')
  const inIt = (args: string[]) => {
    mkdirSync(folder)
    return execute(['sh', '-c', 'rmdir "$0" && exec "$@"', folder, ...words(args)], { cwd: folder })
  }
  ok(inIt(['create', '--bundle', c.bundle.directory, c.id]))
  ok(inIt(['start', c.id]))
  ok(inIt(['exec', c.id, 'true']))
  ok(inIt(['delete', '--force', c.id]))
})

test('an unprivileged caller is refused and told so', () => {
  const c = container()
  chmodSync(c.bundle.directory, 0o755)
  const root = join(base, 'unprivileged')
  mkdirSync(root, { mode: 0o777 })
  chmodSync(root, 0o777)
  const result = execute([
    'setpriv',
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    ...command,
    '--root',
    root,
    'create',
    '--bundle',
    c.bundle.directory,
    c.id,
  ])
  const left = readdirSync(root)
  execute(['rm', '-rf', root])
  fails(result)
  assert.equal(left, [])
  leavesNothing()
})

test('a create that is killed leaves nothing that delete --force cannot remove', () => {
  const c = container((config) => {
    config.hooks = { createRuntime: [{ path: '/bin/sleep', args: ['sleep', '3'] }] }
  })
  const create = words(['create', '--bundle', c.bundle.directory, c.id])
  execute(['timeout', '-s', 'KILL', '0.5', ...create])
  ok(c.delete('--force'))
  assert.not(existsSync(join(stateRoot, c.id)))
  waitFor(() => cgroupDirectories(c.bundle.config.linux.cgroupsPath).length === 0, 500)
})

test('a container whose bundle is gone can be deleted', () => {
  const c = started()
  const { pid } = c.state()
  execute(['mv', c.bundle.directory, `${c.bundle.directory}1`])
  ok(c.delete('--force'))
  assert.not(isAlive(pid!))
  leavesNothing()
})

run()
