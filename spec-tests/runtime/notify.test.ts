/** sd_notify(3): a container as a service. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  type Container,
  container,
  environment,
  execute,
  heading,
  leavesNothing,
  ok,
  repository,
  skip,
  words,
} from '../harness.ts'
import { patience } from '../host.ts'

const { test, only, run } = heading('runtime/notify')

interface Service {
  pid: number
  /** Each message, and whether it came while the command ran. */
  messages: [string, boolean][]
  status: number
  /** What it wrote. */
  said: string
}

let services = 0

/** Runs the runtime as a service manager does. */
function serve(args: string[], socket = join(base, `notify${services++}`)): Service {
  const done = spawnSync('python3', [join(repository, 'spec-tests/notify.py'), socket, ...words(args)], {
    cwd: base,
    env: environment(),
    encoding: 'utf8',
    timeout: 25_000 * patience,
  })
  if (done.error && (done.error as NodeJS.ErrnoException).code === 'ENOENT') skip('needs python3')
  assert.is(done.status, 0, done.stderr)
  return JSON.parse(done.stdout)
}

/** Lines of all messages. */
const lines = ({ messages }: Service): string[] =>
  messages.flatMap(([text]) => text.split('\n')).filter((line) => line !== '' && line !== 'BARRIER=1')

/** A container with the host's perl, whose program sends messages and goes on with a shell command. */
function service(then: string, messages: string[], configure: (config: Config) => void = () => {}): Container {
  if (!existsSync('/usr/bin/perl')) skip('needs perl')
  return container((config) => {
    for (const folder of ['/usr', '/lib', '/lib64'])
      if (existsSync(folder))
        config.mounts.push({ destination: folder, source: folder, type: 'bind', options: ['rbind', 'ro'] })
    const list = messages.map((text) => `"${text.replaceAll('\n', '\\n')}"`).join(', ')
    const send = `socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; connect(S, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!; send(S, $_, 0) or die $! for (${list})`
    config.process.args = ['sh', '-c', `/usr/bin/perl -MSocket -e '${send}' || exit 9; ${then}`]
    configure(config)
  })
}

test('run in the foreground passes READY=1 on, and its own pid', () => {
  const c = service('sleep 0.3; exit 4', ['STATUS=starting', 'READY=1'])
  const served = serve(['run', '--bundle', c.bundle.directory, c.id])
  assert.equal(lines(served).sort(), [`MAINPID=${served.pid}`, 'READY=1'])
  assert.is(served.status, 4)
  assert.ok(served.messages.every(([, early]) => early))
  leavesNothing()
})

test("run --detach ends when the program is ready, and passes on the init's pid", () => {
  const c = service('exec sleep 60', ['READY=1\nSTATUS=up'])
  const served = serve(['run', '--detach', '--bundle', c.bundle.directory, c.id])
  assert.equal(lines(served).sort(), [`MAINPID=${c.state().pid}`, 'READY=1'])
  assert.is(served.status, 0, served.said)
})

test('start ends when the program is ready', () => {
  const c = service('exec sleep 60', ['READY=1'])
  const create = serve(['create', '--bundle', c.bundle.directory, c.id])
  assert.equal([create.status, create.messages], [0, []])
  const served = serve(['start', c.id])
  assert.equal(lines(served).sort(), [`MAINPID=${c.state().pid}`, 'READY=1'])
  assert.is(served.status, 0, served.said)
})

test('the program may be another user', () => {
  const c = service('exec sleep 60', ['READY=1'], (config) => {
    config.process.user = { uid: 1234, gid: 1234 }
  })
  assert.ok(lines(serve(['run', '--detach', '--bundle', c.bundle.directory, c.id])).includes('READY=1'))
})

test('a program that ends without a word ends run --detach too', () => {
  const c = container((config) => {
    config.process.args = ['true']
  })
  const served = serve(['run', '--detach', '--bundle', c.bundle.directory, c.id])
  assert.equal([served.status, served.messages], [0, []])
})

test('the exit status of a program that is never ready is passed on', () => {
  const c = container((config) => {
    config.process.args = ['sh', '-c', 'exit 6']
  })
  assert.is(serve(['run', '--bundle', c.bundle.directory, c.id]).status, 6)
  leavesNothing()
})

only('runt', 'READY=1 may come in any line of a message, and words that are not it do not count', () => {
  const c = service('exec sleep 60', ['XREADY=1', 'READY=10', 'STATUS=now\nREADY=1\nMAINPID=1'])
  const served = serve(['run', '--detach', '--bundle', c.bundle.directory, c.id])
  assert.equal(lines(served).sort(), [`MAINPID=${c.state().pid}`, 'READY=1'])
})

only('runt', 'the socket of the service manager may have an abstract name', () => {
  const c = service('exec sleep 60', ['READY=1'])
  const served = serve(['run', '--detach', '--bundle', c.bundle.directory, c.id], `@runt-test-${process.pid}`)
  assert.ok(lines(served).includes('READY=1'))
})

only('runt', 'a program with a terminal can say that it is ready', () => {
  const c = service('sleep 0.2; exit 5', ['READY=1'], (config) => {
    config.process.terminal = true
  })
  const served = serve(['run', '--bundle', c.bundle.directory, c.id])
  assert.ok(lines(served).includes('READY=1'))
  assert.is(served.status, 5)
  leavesNothing()
})

only('runt', 'a service manager that is gone does not keep the container from running', () => {
  const c = service('exec sleep 60', ['READY=1'])
  ok(c.run(['--detach'], { env: { NOTIFY_SOCKET: '/no/such/socket' } }))
  assert.is(c.status(), 'running')
})

only('runt', 'of several starts at once the one that goes on hears the program', () => {
  for (let round = 0; round < 8; round++) {
    const c = service('exec sleep 60', ['READY=1'])
    assert.is(serve(['create', '--bundle', c.bundle.directory, c.id]).status, 0)
    // The service manager is gone; that is a warning. Who does not hear the program waits for its end.
    const script = 'for i in 1 2 3 4 5 6; do "$@" & done; wait'
    const env = { NOTIFY_SOCKET: '/no/such/socket' }
    const { stderr } = execute(['sh', '-c', script, 'sh', ...words(['start', c.id])], { env, timeout: 10_000 })
    assert.is(stderr.match(/cannot start an already running container/g)?.length, 5, stderr)
    assert.is(stderr.match(/NOTIFY_SOCKET/g)?.length, 1, stderr)
    ok(c.delete('--force'))
  }
})

run()
