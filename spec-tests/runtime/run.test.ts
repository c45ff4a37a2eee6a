/** runc-run(8): the foreground, --detach, exit statuses, descriptors. */
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  container,
  ended,
  environment,
  execute,
  fails,
  heading,
  leavesNothing,
  ok,
  run as runtime,
  STAYS,
  start,
  withoutNamespaces,
  words,
} from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'

const { test, only, run } = heading('runtime/run')

const script = (text: string) => (config: Config) => {
  config.process.args = ['sh', '-c', text]
}

for (const status of [0, 1, 42, 127, 255]) {
  test(`run passes on exit status ${status}`, () => {
    assert.is(container(script(`exit ${status}`)).run().status, status)
    leavesNothing()
  })
}

for (const [signal, number] of [
  ['SEGV', 11],
  ['ABRT', 6],
  ['TERM', 15],
] as const) {
  test(`run of a program that SIG${signal} ends exits with ${128 + number}`, () => {
    const c = container((config) => {
      config.process.args = ['sh', '-c', `kill -${signal} $$; sleep 5`]
      withoutNamespaces(config, 'pid')
    })
    assert.is(c.run().status, 128 + number)
    leavesNothing()
  })
}

test('run of a program that SIGKILL ends exits with 137', async () => {
  const c = container()
  const child = start(['run', '--bundle', c.bundle.directory, c.id])
  assert.ok(waitFor(() => runtime(['state', c.id]).stdout.includes('"running"')))
  process.kill(c.state().pid!, 'SIGKILL')
  assert.is(await ended(child), 137)
  leavesNothing()
})

test('run deletes the container after its end', () => {
  const c = container(script('true'))
  ok(c.run())
  fails(runtime(['state', c.id]))
  leavesNothing()
})

test('run --keep leaves the stopped container for delete', () => {
  const c = container(script('exit 4'))
  assert.is(c.run(['--keep']).status, 4)
  assert.is(c.status(), 'stopped')
  ok(c.delete())
})

test('run --detach returns while the program runs', () => {
  const c = container()
  ok(c.run(['--detach']))
  assert.is(c.status(), 'running')
})

test('run -d is run --detach', () => {
  const c = container()
  ok(c.run(['-d']))
  assert.is(c.status(), 'running')
})

test('the program of run --detach ends without the runtime', () => {
  const c = container(script('sleep 0.1; echo done; exit 9'))
  ok(c.run(['--detach']))
  c.until('stopped')
  assert.is(c.output(), 'done\n')
})

test('stdout and stderr of the program go to the descriptors of the caller, apart', () => {
  const result = container(script('echo out; echo err >&2')).run()
  assert.equal([result.stdout, result.stderr], ['out\n', 'err\n'])
})

test('stdin of the program is the pipe of the caller', () => {
  const result = container(script('cat')).run([], { stdin: 'first\nsecond\n' })
  assert.is(result.stdout, 'first\nsecond\n')
})

test('a megabyte goes through stdin and stdout unharmed', () => {
  const text = `${'0123456789abcdef'.repeat(64)}\n`.repeat(1000)
  const result = container(script('cat')).run([], { stdin: text })
  assert.is(result.stdout.length, text.length)
  assert.ok(result.stdout === text)
})

test('a closed stdin is the end of file', () => {
  assert.is(ok(container(script('cat; echo end')).run()).stdout, 'end\n')
})

for (const [command, flags] of [
  ['run', []],
  ['run --detach', ['--detach']],
] as const) {
  test(`the descriptors of the program of ${command} are the very files of the caller`, () => {
    const c = container(script('stat -L -c %i /proc/self/fd/0'))
    const input = join(base, 'input')
    const output = join(base, 'direct.out')
    writeFileSync(input, '')
    const [read, write] = [openSync(input, 'r'), openSync(output, 'w')]
    const [program, ...rest] = words(['run', ...flags, '--bundle', c.bundle.directory, c.id])
    const done = spawnSync(program!, rest, { stdio: [read, write, 'ignore'], env: environment(), timeout: 10_000 })
    closeSync(read)
    closeSync(write)
    assert.is(done.status, 0)
    assert.ok(waitFor(() => readFileSync(output, 'utf8') !== ''))
    assert.is(readFileSync(output, 'utf8'), `${statSync(input).ino}\n`)
  })
}

test('stdout of the program may be a pipe that the caller reads', async () => {
  const c = container(script('echo one; sleep 0.05; echo two'))
  const child = start(['run', '--bundle', c.bundle.directory, c.id], ['ignore', 'pipe', 'ignore'])
  let text = ''
  child.stdout!.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  await new Promise((settle) => child.stdout!.once('close', settle))
  assert.is(await ended(child), 0)
  assert.is(text, 'one\ntwo\n')
})

test('the program has no descriptors but 0, 1 and 2', () => {
  const listed = ok(container(script('ls /proc/self/fd')).run())
    .stdout.trim()
    .split(/\s+/)
  assert.equal(listed.slice(0, 3), ['0', '1', '2'])
  assert.is(listed.length, 4, 'and the one that ls opened for the directory')
})

test('the descriptors of the caller above 2 do not reach the program', () => {
  const fd = openSync('/dev/null', 'r')
  const listed = ok(container(script('ls /proc/self/fd')).run([], { descriptors: [fd, fd, fd] })).stdout
  closeSync(fd)
  assert.is(listed.trim().split(/\s+/).length, 4)
})

test('--preserve-fds passes descriptors on', () => {
  const file = join(base, 'passed')
  writeFileSync(file, 'through descriptor 4')
  const first = openSync('/dev/null', 'r')
  const second = openSync(file, 'r')
  const c = container(script('cat <&4'))
  const result = c.run(['--preserve-fds', '2'], { descriptors: [first, second] })
  closeSync(first)
  closeSync(second)
  assert.is(ok(result).stdout, 'through descriptor 4')
})

test('LISTEN_FDS passes descriptors and the variables of systemd on', () => {
  const fd = openSync('/dev/null', 'r')
  const c = container(script('echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | wc -l'))
  const run = words(['run', '--bundle', c.bundle.directory, c.id])
  const socketActivated = ['sh', '-c', 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', 'sh', ...run]
  const result = execute(socketActivated, { descriptors: [fd] })
  closeSync(fd)
  assert.is(ok(result).stdout, '1 1\n5\n')
})

only('runt', 'LISTEN_FDS without LISTEN_PID is for the runtime, and LISTEN_PID of the configuration stays', () => {
  const fd = openSync('/dev/null', 'r')
  const c = container(script('echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | wc -l'))
  const socketActivated = { env: { LISTEN_FDS: '1', LISTEN_PID: undefined }, descriptors: [fd] }
  assert.is(ok(c.run([], socketActivated)).stdout, '1 1\n5\n')
  c.bundle.config.process.env!.push('LISTEN_PID=2')
  c.bundle.write()
  assert.is(ok(c.run([], socketActivated)).stdout, '1 2\n5\n')
  closeSync(fd)
})

only('runt', 'LISTEN_FDNAMES comes along', () => {
  const fd = openSync('/dev/null', 'r')
  const c = container(script('echo $LISTEN_FDNAMES'))
  const run = words(['run', '--bundle', c.bundle.directory, c.id])
  const socketActivated = ['sh', '-c', 'LISTEN_FDS=1 LISTEN_FDNAMES=http LISTEN_PID=$$ exec "$@"', 'sh', ...run]
  const result = execute(socketActivated, { descriptors: [fd] })
  closeSync(fd)
  assert.is(ok(result).stdout, 'http\n')
})

test('the environment of the caller does not reach the program', () => {
  const result = container(script('env')).run([], { env: { SECRET_OF_CALLER: 'yes' } })
  assert.not.match(ok(result).stdout, /SECRET_OF_CALLER|RUNT_SPEC/)
})

for (const [signal, answer, status] of [
  ['SIGTERM', 'got TERM', 7],
  ['SIGINT', 'got INT', 8],
] as const) {
  test(`run in the foreground passes ${signal} on to the program`, async () => {
    const c = container(script(STAYS))
    const path = join(base, 'signal.out')
    const out = openSync(path, 'w')
    const child = start(['run', '--bundle', c.bundle.directory, c.id], ['ignore', out, 'ignore'])
    closeSync(out)
    assert.ok(waitFor(() => readFileSync(path, 'utf8').includes('ready')))
    child.kill(signal)
    assert.is(await ended(child), status)
    assert.match(readFileSync(path, 'utf8'), answer)
    leavesNothing()
  })
}

test('run in the foreground passes a signal on that does not end the program', async () => {
  const c = container(script(STAYS))
  const path = join(base, 'usr1.out')
  const out = openSync(path, 'w')
  const child = start(['run', '--bundle', c.bundle.directory, c.id], ['ignore', out, 'ignore'])
  closeSync(out)
  assert.ok(waitFor(() => readFileSync(path, 'utf8').includes('ready')))
  child.kill('SIGUSR1')
  assert.ok(waitFor(() => readFileSync(path, 'utf8').includes('got USR1')))
  child.kill('SIGTERM')
  assert.is(await ended(child), 7)
})

test('kill from another command ends run in the foreground', async () => {
  const c = container(script(STAYS))
  const path = join(base, 'kill.out')
  const out = openSync(path, 'w')
  const child = start(['run', '--bundle', c.bundle.directory, c.id], ['ignore', out, 'ignore'])
  closeSync(out)
  assert.ok(waitFor(() => readFileSync(path, 'utf8').includes('ready')))
  ok(c.kill('TERM'))
  assert.is(await ended(child), 7)
  leavesNothing()
})

test('run with an id in use fails and does not harm the other container', () => {
  const c = container()
  ok(c.run(['--detach']))
  const { pid } = c.state()
  fails(c.run(), new RegExp(c.id))
  assert.ok(isAlive(pid!))
  assert.is(c.status(), 'running')
})

test('run writes the pid file and leaves it after the end', () => {
  const path = join(base, 'run.pid')
  const c = container(script('sleep 60'))
  ok(c.run(['--detach', '--pid-file', path]))
  assert.is(Number(readFileSync(path, 'utf8').trim()), c.state().pid)
  ok(c.delete('--force'))
  assert.ok(existsSync(path))
})

test('zombies of the program are reaped with it', () => {
  ok(container(script('(sleep 0.01 &) ; (true &) ; sleep 0.1')).run())
  leavesNothing()
})

test('cgroups that the container has made below its own are removed with it', () => {
  const c = container((config) => {
    for (const mount of config.mounts) {
      if (mount.type === 'cgroup') mount.options = (mount.options ?? []).filter((option: string) => option !== 'ro')
    }
    const script = 'cd /sys/fs/cgroup; for folder in pids memory .; do mkdir -p $folder/a/b $folder/c && exit 5; done'
    config.process.args = ['sh', '-c', script]
  })
  assert.is(c.run().status, 5, c.errorOutput())
  leavesNothing()
})

test('what a caller has given a /dev/null to write to can write, even if that was opened for reading only', () => {
  const c = container((config) => {
    config.root.readonly = false
    config.process.args = ['sh', '-c', 'echo out && echo err >&2 && touch /program; exec sleep 60']
  })
  const call = (args: string[]) =>
    ok(execute(['sh', '-c', 'exec "$0" "$@" </dev/null 1</dev/null 2</dev/null', ...words(args)]))
  call(['run', '--detach', '--bundle', c.bundle.directory, c.id])
  call(['exec', c.id, 'sh', '-c', 'echo out && echo err >&2 && touch /second'])
  for (const name of ['program', 'second'])
    assert.ok(
      waitFor(() => existsSync(join(c.bundle.rootfs, name))),
      name,
    )
})

run()
