/** runtime-spec, runtime.md: "Lifecycle". */
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Container,
  container,
  ended,
  execute,
  fails,
  heading,
  leavesNothing,
  ok,
  remember,
  run as runtime,
  STAYS,
  start,
  started,
  stateRoot,
  words,
} from '../harness.ts'
import { cgroupDirectories, isAlive, waitFor } from '../host.ts'

const { only, test, run } = heading('runtime/lifecycle')

const script = (text: string) => (config: Container['bundle']['config']) => {
  config.process.args = ['sh', '-c', text]
  config.root.readonly = false
}

test('create leaves the container created, and the program has not run', () => {
  const c = container(script('touch /ran'))
  ok(c.create())
  assert.is(c.status(), 'created')
  assert.not(existsSync(join(c.bundle.rootfs, 'ran')))
})

test('start runs the program', () => {
  const c = container(script('touch /ran; sleep 60'))
  ok(c.create())
  ok(c.start())
  assert.is(c.status(), 'running')
  assert.ok(waitFor(() => existsSync(join(c.bundle.rootfs, 'ran'))))
})

test('create and start print nothing', () => {
  const c = container()
  const created = ok(c.create())
  const begun = ok(c.start())
  assert.equal([created.stdout, created.stderr, begun.stdout, begun.stderr], ['', '', '', ''])
})

test('a container whose program ends is stopped', () => {
  const c = started(script('exit 3'))
  c.until('stopped')
})

test('the process stays the same from created to running', () => {
  const c = container()
  ok(c.create())
  const { pid } = c.state()
  ok(c.start())
  assert.is(c.state().pid, pid)
})

test('a created container has a process and its control groups before it is started', () => {
  const c = container()
  ok(c.create())
  const { pid } = c.state()
  assert.ok(isAlive(pid!))
  assert.ok(cgroupDirectories(c.bundle.config.linux.cgroupsPath).length > 0)
})

test('changes to config.json after create have no effect', () => {
  const c = container(script('echo before'))
  ok(c.create())
  c.bundle.config.process.args = ['sh', '-c', 'echo after']
  c.bundle.write()
  ok(c.start())
  c.until('stopped')
  assert.is(c.output(), 'before\n')
})

test('a container outlives the loss of its config.json', () => {
  const c = container(script('echo alive'))
  ok(c.create())
  rmSync(join(c.bundle.directory, 'config.json'))
  ok(c.start())
  c.until('stopped')
  assert.is(c.output(), 'alive\n')
  ok(c.delete())
})

test('start of a running container fails and does not harm it', () => {
  const c = started()
  fails(c.start())
  assert.is(c.status(), 'running')
})

test('start of a stopped container fails', () => {
  const c = started(script('true'))
  c.until('stopped')
  fails(c.start())
  assert.is(c.status(), 'stopped')
})

test('create with an id in use fails, names the id, and does not harm the container', () => {
  const c = started()
  fails(c.create(), new RegExp(c.id))
  assert.is(c.status(), 'running')
  assert.ok(isAlive(c.state().pid!))
})

test('an id can be used again after delete', () => {
  const c = started(script('true'))
  c.until('stopped')
  ok(c.delete())
  ok(c.create())
  assert.is(c.status(), 'created')
})

test('delete of a stopped container removes its state and its control groups', () => {
  const c = started(script('true'))
  c.until('stopped')
  ok(c.delete())
  assert.equal(readdirSync(stateRoot), [])
  assert.equal(cgroupDirectories(c.bundle.config.linux.cgroupsPath), [])
  leavesNothing()
})

test('delete of a running container fails and does not harm it', () => {
  const c = started()
  fails(c.delete())
  assert.is(c.status(), 'running')
})

test('delete --force ends a running container', () => {
  const c = started()
  const { pid } = c.state()
  ok(c.delete('--force'))
  assert.ok(waitFor(() => !isAlive(pid!)))
  leavesNothing()
})

test('delete -f is delete --force', () => {
  const c = started()
  ok(c.delete('-f'))
  leavesNothing()
})

test('delete --force ends a container that was only created', () => {
  const c = container()
  ok(c.create())
  const { pid } = c.state()
  ok(c.delete('--force'))
  assert.ok(waitFor(() => !isAlive(pid!)))
  leavesNothing()
})

test('delete --force of an unknown container succeeds', () => {
  ok(runtime(['delete', '--force', 'nobody']))
})

test('delete leaves the root file system and the bundle alone', () => {
  const c = started(script('echo kept > /file'))
  c.until('stopped')
  ok(c.delete())
  assert.is(readFileSync(join(c.bundle.rootfs, 'file'), 'utf8'), 'kept\n')
  assert.ok(existsSync(join(c.bundle.directory, 'config.json')))
})

test('state of a deleted container fails and names it', () => {
  const c = started(script('true'))
  c.until('stopped')
  ok(c.delete())
  fails(runtime(['state', c.id]), new RegExp(`${c.id}|not exist|no such`, 'i'))
})

for (const command of [['state'], ['start'], ['kill'], ['delete'], ['kill', '--all']]) {
  test(`${command.join(' ')} of an unknown container fails`, () => {
    fails(runtime([...command, 'nobody']), /nobody|does not exist/)
  })
}

test('a container whose process was killed from outside is stopped and can be deleted', () => {
  const c = started()
  process.kill(c.state().pid!, 'SIGKILL')
  c.until('stopped')
  ok(c.delete())
  leavesNothing()
})

test('a created container whose process was killed from outside is stopped and can be deleted', () => {
  const c = container()
  ok(c.create())
  process.kill(c.state().pid!, 'SIGKILL')
  c.until('stopped')
  fails(c.start())
  ok(c.delete())
  leavesNothing()
})

test('when pid 1 ends, so does every other process of the container', () => {
  const c = started(script('sleep 61 & sleep 61 & echo ready; sleep 0.2'))
  c.until('stopped')
  ok(c.delete())
  leavesNothing()
})

test('delete --force ends the other processes of a container without a pid namespace', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'sleep 61 & sleep 61 & echo ready; wait']
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid')
  })
  c.says(/ready/)
  ok(c.delete('--force'))
  leavesNothing()
})

test('of several creates with the same id at a time exactly one succeeds', async () => {
  const c = container()
  const words = ['create', '--bundle', c.bundle.directory, c.id]
  const statuses = await Promise.all([1, 2, 3, 4, 5, 6].map(() => ended(start(words))))
  assert.is(statuses.filter((status) => status === 0).length, 1, `statuses ${statuses}`)
  assert.is(c.status(), 'created')
  ok(c.start())
  assert.is(c.status(), 'running')
})

test('twenty containers are created, started and deleted at the same time', async () => {
  const all = Array.from({ length: 20 }, () => container())
  const each = async (words: (c: Container) => string[]) => {
    const statuses = await Promise.all(all.map((c) => ended(start(words(c)))))
    assert.ok(
      statuses.every((status) => status === 0),
      `${words(all[0]!)[0]}: ${statuses}`,
    )
  }
  await each((c) => ['create', '--bundle', c.bundle.directory, c.id])
  await each((c) => ['start', c.id])
  const listed = ok(runtime(['list', '-q']))
    .stdout.trim()
    .split('\n')
    .sort()
  assert.equal(listed, all.map(({ id }) => id).sort())
  await each((c) => ['delete', '--force', c.id])
  leavesNothing()
})

test('two containers may use the same bundle', () => {
  const c = container(script('echo $0'))
  const other = container(c.bundle, remember('other'))
  c.bundle.config.linux.cgroupsPath = `${c.bundle.config.linux.cgroupsPath}-a`
  c.bundle.write()
  ok(c.create())
  c.bundle.config.linux.cgroupsPath = c.bundle.config.linux.cgroupsPath.replace(/-a$/, '-b')
  c.bundle.write()
  ok(other.create())
  ok(c.start())
  ok(other.start())
  c.until('stopped')
  other.until('stopped')
})

test('a container that ignores SIGTERM is running after kill', () => {
  const c = started(script('trap "" TERM; echo ready; while :; do sleep 0.1; done'))
  c.says(/ready/)
  ok(c.kill())
  assert.is(c.status(), 'running')
})

/** What several `start` of a container at the same time say, one line each; "started" where one succeeds. */
function startTogether(c: Container, times: number): string[] {
  const script = 'n=$1; shift; for i in $(seq $n); do { "$@" 2>&1 && echo started; } & done; wait'
  return execute(['sh', '-c', script, 'sh', String(times), ...words(['start', c.id])])
    .stdout.trim()
    .split('\n')
    .sort()
}

test('the program starts once, however often start is called at the same time', () => {
  const c = container(script('echo x >> /count; sleep 60'))
  ok(c.create())
  const said = startTogether(c, 3)
  assert.is(said.filter((line) => line === 'started').length, 1, said.join('\n'))
  assert.ok(waitFor(() => existsSync(join(c.bundle.rootfs, 'count'))))
  assert.is(readFileSync(join(c.bundle.rootfs, 'count'), 'utf8'), 'x\n')
})

// With many hooks the init is told step by step what to do, by who has started it; with none it needs nobody any more.
for (const hooks of [0, 30])
  only('runt', `who starts a container while another does is told that it runs; ${hooks} startContainer hooks`, () => {
    const loses = 'runt: start: cannot start an already running container'
    for (let round = 0; round < 6; round++) {
      const c = container((config) => {
        config.process.args = ['sleep', '60']
        config.hooks = { startContainer: Array.from({ length: hooks }, () => ({ path: '/bin/true' })) }
      })
      ok(c.create())
      assert.equal(startTogether(c, 8), [...Array(7).fill(loses), 'started'])
      assert.is(c.status(), 'running')
      ok(c.delete('--force'))
    }
  })

test('a container stays after the runtime has gone, with pid 1 and its children', () => {
  const c = started(script(STAYS))
  c.says(/ready/)
  assert.is(c.status(), 'running')
  ok(c.kill('TERM'))
  c.until('stopped')
  assert.is(c.output(), 'ready\ngot TERM\n')
})

test('a created container has nothing open of the host but streams and sockets', () => {
  const c = container()
  ok(c.create())
  const folder = `/proc/${c.state().pid}/fd`
  // What comes last is done behind the back of `create`.
  const open = (): string[] =>
    readdirSync(folder)
      .filter((fd) => Number(fd) > 2)
      .map((fd) => readlinkSync(join(folder, fd)))
      .filter((target) => !/^(socket|pipe|anon_inode):/.test(target))
  waitFor(() => open().length === 0)
  assert.equal(open(), [])
  ok(c.start())
})

only('runt', 'delete --force of a container that is being created waits for that, and removes it', async () => {
  const c = container((config) => {
    config.hooks = { createRuntime: [{ path: '/bin/sleep', args: ['sleep', '0.5'] }] }
  })
  const creating = start(['create', '--bundle', c.bundle.directory, c.id])
  assert.ok(waitFor(() => existsSync(join(stateRoot, c.id, 'state.json'))))
  ok(c.delete('--force'))
  assert.is(await ended(creating), 0)
  leavesNothing()
})

test('the same id is free again at once after delete, whoever else deletes it too', async () => {
  const c = container()
  for (let round = 0; round < 10; round++) {
    ok(c.create())
    const others = [0, 1].map(() => start(['delete', '--force', c.id]))
    runtime(['delete', '--force', c.id])
    const made = c.create()
    const ends = await Promise.all(others.map(ended))
    assert.equal(ends, [0, 0])
    // One of the others may have come late, and meant the new one.
    if (made.status !== 0 || runtime(['state', c.id]).status !== 0) continue
    ok(c.start())
    ok(c.delete('--force'))
  }
})

run()
