/** The command line of runc(8): global flags, flags of commands, help and version. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  bundle,
  container,
  ended,
  execute,
  fails,
  heading,
  leavesNothing,
  runtime as name,
  ok,
  oneLine,
  remember,
  runBare,
  run as runtime,
  start,
  stateRoot,
  words,
} from '../harness.ts'

const { test, only, run } = heading('cli/flags')

for (const flag of ['--version', '-v']) {
  test(`${flag} prints name, version and the version of the spec`, () => {
    const lines = ok(runBare([flag]))
      .stdout.trim()
      .split('\n')
    assert.match(lines[0]!, /^\S+ version \d+\.\d+\.\d+/)
    assert.ok(
      lines.some((line) => /^spec: 1\.\d+\.\d+/.test(line)),
      lines.join('|'),
    )
  })
}

only('runt', '--version names runt and spec 1.3.0', () => {
  const lines = ok(runBare(['--version']))
    .stdout.trim()
    .split('\n')
  assert.match(lines[0]!, /^runt version \d/)
  assert.ok(lines.includes('spec: 1.3.0'))
})

only('runt', 'checkpoint and restore say that they are not supported, whatever the flags', () => {
  for (const args of [
    ['checkpoint', '--image-path', '/tmp/x', '--leave-running', 'c'],
    ['restore', '--bundle', '/tmp/x', '--detach', 'c'],
    ['checkpoint', '--help'],
    ['restore', '--help'],
  ]) {
    const result = fails(runBare(args), new RegExp(`${args[0]}: not supported`))
    assert.is(result.status, 1)
    oneLine(result)
  }
})

test('--help exits with 0 and lists the commands', () => {
  const text = ok(runBare(['--help'])).stdout
  for (const command of ['create', 'start', 'state', 'kill', 'delete', 'run', 'list', 'spec']) {
    assert.match(text, new RegExp(`\\b${command}\\b`))
  }
})

for (const command of [
  'create',
  'start',
  'state',
  'kill',
  'delete',
  'run',
  'list',
  'spec',
  'exec',
  'pause',
  'resume',
  'ps',
]) {
  test(`${command} --help exits with 0 and does nothing`, () => {
    assert.match(ok(runBare([command, '--help'])).stdout, new RegExp(command))
  })
}

test('an unknown command fails and is named', () => {
  const result = runtime(['frobnicate'])
  assert.is.not(result.status, 0)
  assert.match(result.stdout + result.stderr, /frobnicate/)
})

test('an unknown flag fails and is named', () => {
  const result = runtime(['create', '--frobnicate', 'x'])
  assert.is.not(result.status, 0)
  assert.match(result.stdout + result.stderr, /frobnicate/)
  leavesNothing()
})

for (const command of [
  'create',
  'start',
  'state',
  'kill',
  'delete',
  'run',
  'exec',
  'pause',
  'resume',
  'update',
  'ps',
]) {
  test(`${command} without an id fails`, () => {
    const result = runtime([command])
    assert.is.not(result.status, 0)
    assert.match(result.stdout + result.stderr, /\S/)
  })
}

for (const command of ['start', 'state', 'pause']) {
  test(`${command} with two ids fails`, () => {
    assert.is.not(runtime([command, 'one', 'two']).status, 0)
  })
}

test('the state lies below --root, in a directory named after the id', () => {
  const c = container()
  ok(c.create())
  assert.ok(existsSync(join(stateRoot, c.id)))
})

test('--root DIR is created if it is missing', () => {
  const root = join(base, 'tmp/deep/root')
  const c = container()
  ok(runBare(['--root', root, 'create', '--bundle', c.bundle.directory, c.id]))
  assert.ok(existsSync(join(root, c.id)))
  ok(runBare(['--root', root, 'delete', '--force', c.id]))
  execute(['rm', '-r', join(base, 'tmp/deep')])
})

test('--root=DIR is --root DIR', () => {
  const c = container()
  ok(c.create())
  ok(runBare([`--root=${stateRoot}`, 'state', c.id]))
})

test('containers of different roots do not see each other', () => {
  const c = container()
  ok(c.create())
  fails(runBare(['--root', join(base, 'other-root'), 'state', c.id]))
  execute(['rm', '-rf', join(base, 'other-root')])
})

for (const flags of [
  ['--debug'],
  ['--log', '/dev/null'],
  ['--log-format', 'json'],
  ['--log-format', 'text'],
  ['--log-format=json', '--log=/dev/null', '--debug'],
  ['--rootless', 'false'],
  ['--rootless=auto'],
]) {
  test(`the global flags ${flags.join(' ')} are accepted`, () => {
    const c = container()
    ok(runBare([...flags, '--root', stateRoot, 'create', '--bundle', c.bundle.directory, c.id]))
    const { status } = JSON.parse(ok(runBare([...flags, '--root', stateRoot, 'state', c.id])).stdout)
    assert.is(status, 'created')
  })
}

test('--systemd-cgroup is accepted by commands that need no systemd', () => {
  const c = container()
  ok(c.create())
  ok(runBare(['--systemd-cgroup', '--root', stateRoot, 'state', c.id]))
})

test('long flags take a single dash, as in Go', () => {
  const c = container()
  const pidFile = join(base, 'dash.pid')
  ok(runBare(['-root', stateRoot, 'create', '-bundle', c.bundle.directory, '-pid-file', pidFile, c.id]))
  assert.is(Number(readFileSync(pidFile, 'utf8')), c.state().pid)
  ok(runBare(['-root', stateRoot, 'delete', '-force', c.id]))
  leavesNothing()
})

test('a single dash takes a value after = too', () => {
  const c = container()
  ok(runBare([`-root=${stateRoot}`, 'create', `-bundle=${c.bundle.directory}`, c.id]))
  assert.is(c.status(), 'created')
})

test('-b is --bundle', () => {
  const c = container()
  ok(runtime(['create', '-b', c.bundle.directory, c.id]))
  assert.is(c.status(), 'created')
})

test('the bundle is the working directory by default', () => {
  const c = container()
  ok(runtime(['create', c.id], { cwd: c.bundle.directory }))
  assert.is(c.status(), 'created')
})

for (const command of ['create', 'run']) {
  test(`${command} writes the pid, and nothing else, to --pid-file`, () => {
    const c = container()
    const pidFile = join(base, `${command}.pid`)
    writeFileSync(pidFile, 'something longer than a pid was here before')
    const flags = command === 'run' ? ['--detach'] : []
    ok(runtime([command, ...flags, '--bundle', c.bundle.directory, '--pid-file', pidFile, c.id]))
    assert.match(readFileSync(pidFile, 'utf8'), /^\d+\n?$/)
    assert.is(Number(readFileSync(pidFile, 'utf8')), c.state().pid)
  })
}

test('a relative --pid-file is relative to the working directory of the caller', () => {
  const c = container()
  mkdirSync(join(base, 'here'))
  ok(runtime(['create', '--bundle', c.bundle.directory, '--pid-file', 'x.pid', c.id], { cwd: join(base, 'here') }))
  assert.is(Number(readFileSync(join(base, 'here/x.pid'), 'utf8')), c.state().pid)
  execute(['rm', '-r', join(base, 'here')])
})

test('a pid file that cannot be written makes create fail and leaves nothing', () => {
  const c = container()
  fails(c.create('--pid-file', '/no/such/directory/pid'), /\/no\/such\/directory/)
  leavesNothing()
})

test('--no-new-keyring is accepted', () => {
  ok(container().create('--no-new-keyring'))
})

for (const id of ['a', 'A-b_c.d+e', '0', '-dash'.slice(1), 'x'.repeat(200), '.hidden', '...', '_', '+']) {
  test(`the id ${id.length > 20 ? `of ${id.length} letters` : id} is valid`, () => {
    const c = container(bundle(), remember(id))
    ok(c.create())
    assert.is(c.state().id, id)
    ok(c.delete('--force'))
    leavesNothing()
  })
}

for (const id of [
  '',
  '..',
  '.',
  'a/b',
  '../a',
  '/a',
  'a b',
  'a\nb',
  'ünï',
  'a:b',
  'a*',
  'a%b',
  'x'.repeat(1025),
  'a\\b',
]) {
  test(`the id ${id.length > 20 ? `of ${id.length} letters` : JSON.stringify(id)} is refused`, () => {
    const c = container(bundle(), id === '' || /^[./]|\//.test(id) ? 'none' : id)
    const result = runtime(['create', '--bundle', c.bundle.directory, id])
    assert.ok(result.status !== null && result.status !== 0)
    assert.match(result.stdout + result.stderr, /\S/)
    leavesNothing()
  })
}

test('--console-socket without a terminal is refused', () => {
  const c = container()
  fails(c.create('--console-socket', '/no/such/socket'), /console|terminal|socket/i)
  leavesNothing()
})

test('create with a terminal and without --console-socket is refused', () => {
  const c = container((config) => {
    config.process.terminal = true
  })
  fails(c.create(), /console|terminal|tty/i)
  leavesNothing()
})

test('run --detach with a terminal and without --console-socket is refused', () => {
  const c = container((config) => {
    config.process.terminal = true
  })
  fails(c.run(['--detach']), /console|terminal|tty/i)
  leavesNothing()
})

test('create with --console-socket connects to it and sends a message, with the terminal attached', async () => {
  const c = container((config) => {
    config.process.terminal = true
  })
  const path = join(base, 'console.sock')
  // The message stays in the socket until the end: Node.js would close the terminal that comes with it.
  let connection: Socket | undefined
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    connection = socket
  })
  await new Promise<void>((settle) => server.listen(path, settle))
  const status = await ended(start(['create', '--bundle', c.bundle.directory, '--console-socket', path, c.id]))
  const created = status === 0 && c.status() === 'created'
  const received = new Promise<number>((settle) => {
    connection?.once('data', (chunk) => settle(chunk.length))
    connection?.once('close', () => settle(0))
    if (!connection) settle(0)
  })
  connection?.resume()
  const length = await received
  connection?.destroy()
  await new Promise((settle) => server.close(settle))
  assert.is(status, 0)
  assert.ok(created)
  assert.ok(length > 0)
})

test('run in the foreground with a terminal gives the program a terminal of its own', () => {
  const c = container((config) => {
    config.process.terminal = true
    config.process.consoleSize = { height: 33, width: 77 }
    config.process.args = ['sh', '-c', 'tty; stty size; ls -l /dev/console; echo x > /dev/tty; exit 5']
  })
  const command = words(['run', '--bundle', c.bundle.directory, c.id])
    .map((word) => `'${word}'`)
    .join(' ')
  const result = execute(['script', '-qec', command, '/dev/null'])
  assert.is(result.status, 5, result.stdout)
  assert.match(result.stdout, /\/dev\/(pts\/0|console)/)
  assert.match(result.stdout, /c[-rw]{9}.* \/dev\/console/)
  leavesNothing()
})

test('the runtime has a name', () => {
  assert.is.not(name, 'unknown')
})

run()
