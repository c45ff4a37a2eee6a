/** Flags that crun has and runc lacks. podman and people's scripts use them. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  container,
  ended,
  execute,
  fails,
  heading,
  run as invoke,
  ok,
  remember,
  runBare,
  skip,
  stateRoot,
  words,
} from '../harness.ts'
import { waitFor } from '../host.ts'

const { only, run } = heading('cli/crun')
const test = (name: string, body: () => void | Promise<void>) => only('runt crun', name, body)

test('--config names another file than config.json, below the working folder', () => {
  const c = container()
  renameSync(join(c.bundle.directory, 'config.json'), join(base, 'other.json'))
  ok(invoke(['create', '--bundle', c.bundle.directory, '--config', 'other.json', c.id], { cwd: base }))
  assert.is(c.status(), 'created')
  ok(invoke(['delete', '-f', c.id]))
  ok(invoke(['create', '-b', c.bundle.directory, '-f', join(base, 'other.json'), c.id]))
  assert.is(c.status(), 'created')
})

test('--config may name a pipe that is written bit by bit', () => {
  const c = container((config) => {
    config.process.args = ['echo', 'whole']
  })
  const file = join(c.bundle.directory, 'config.json')
  const script = '{ head -c 1000 "$0"; sleep 0.2; tail -c +1001 "$0"; } | "$@"'
  const line = words(['run', '--bundle', c.bundle.directory, '--config', '/dev/stdin', c.id])
  assert.is(ok(execute(['sh', '-c', script, file, ...line])).stdout, 'whole\n')
})

test('a --config that is missing is named', () => {
  const c = container()
  fails(invoke(['create', '--bundle', c.bundle.directory, '--config', '/no/such.json', c.id]), /\/no\/such\.json/)
})

test('create takes --no-subreaper', () => {
  const c = container()
  ok(invoke(['create', '--no-subreaper', '--bundle', c.bundle.directory, c.id]))
})

test('delete --regex deletes the containers whose ids match', () => {
  const all = ['match-1', 'match-2', 'other'].map((name) => container(undefined, remember(name)))
  for (const c of all) {
    c.bundle.config.linux.cgroupsPath += c.id
    c.bundle.write()
    ok(c.create())
  }
  ok(invoke(['delete', '--force', '--regex', '^match-[0-9]$']))
  assert.is(ok(invoke(['list', '-q'])).stdout, 'other\n')
})

test('kill --regex sends the signal to the containers whose ids match', () => {
  const [one, other] = ['match-1', 'other'].map((name) => container(undefined, remember(name))) as [
    ReturnType<typeof container>,
    ReturnType<typeof container>,
  ]
  for (const c of [one, other]) {
    c.bundle.config.linux.cgroupsPath += c.id
    c.bundle.write()
    ok(c.create())
    ok(c.start())
  }
  ok(invoke(['kill', '--regex', 'mat', 'KILL']))
  one.until('stopped')
  assert.is(other.status(), 'running')
})

test('a regular expression that is none is refused', () => {
  fails(invoke(['delete', '--regex', '(']))
})

test('spec --file writes elsewhere', () => {
  const path = join(base, 'example.json')
  ok(invoke(['spec', '--file', path]))
  assert.ok(JSON.parse(readFileSync(path, 'utf8')).ociVersion)
})

test('--log=file:PATH is a file', () => {
  const path = join(base, 'prefixed.log')
  fails(runBare([`--log=file:${path}`, '--root', stateRoot, 'state', 'nobody']))
  assert.ok(existsSync(path))
})

/** What a command sends to a daemon that listens at `path`, where there is none on the host. */
async function datagrams(path: string, action: () => void): Promise<string> {
  if (existsSync(path)) skip(`the host has ${path}`)
  const folder = dirname(path)
  const made = existsSync(folder) ? '' : mkdirSync(folder, { recursive: true })
  const said = join(base, 'datagrams')
  const script = [
    'import socket, sys',
    's = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)',
    's.bind(sys.argv[1])',
    's.settimeout(20)',
    "open(sys.argv[2], 'wb').write(s.recv(65536))",
  ].join('\n')
  const daemon = spawn('python3', ['-c', script, path, said], { stdio: 'ignore' })
  try {
    assert.ok(waitFor(() => existsSync(path)))
    action()
    await ended(daemon)
    return readFileSync(said, 'utf8')
  } finally {
    daemon.kill('SIGKILL')
    for (const each of [path, said]) rmSync(each, { force: true })
    if (made) rmSync(made, { recursive: true })
  }
}

only('runt', '--log=syslog:NAME sends errors to syslog', async () => {
  const message = await datagrams('/dev/log', () => {
    fails(runBare(['--log=syslog:somebody', '--root', stateRoot, 'state', 'nobody']), /nobody/)
  })
  assert.is(message, '<11>somebody: state: container does not exist: nobody')
})

only('runt', '--log=journald:NAME sends errors to the journal of systemd', async () => {
  const message = await datagrams('/run/systemd/journal/socket', () => {
    fails(runBare(['--log=journald:somebody', '--root', stateRoot, 'state', 'nobody']), /nobody/)
  })
  assert.is(message, 'PRIORITY=3\nSYSLOG_IDENTIFIER=somebody\nMESSAGE=state: container does not exist: nobody\n')
})

for (const kind of ['journald', 'syslog']) {
  test(`a host without ${kind} is none of --log=${kind}:NAME`, () => {
    assert.is(ok(runBare([`--log=${kind}:somebody`, '--root', stateRoot, 'list', '-q'])).stdout, '')
    fails(runBare([`--log=${kind}:somebody`, '--root', stateRoot, 'state', 'nobody']), /nobody/)
  })
}

for (const flag of ['-?', '--usage']) {
  test(`${flag} shows help, and does nothing`, () => {
    assert.match(ok(runBare([flag])).stdout, /^Usage: /)
    assert.match(ok(runBare(['create', flag])).stdout, /--bundle/)
  })
}

test('short flags stand together, and values behind their letter', () => {
  const c = container()
  ok(invoke(['run', `-b${c.bundle.directory}`, '-d', c.id]))
  assert.is(c.status(), 'running')
})

test('-V is --version', () => {
  assert.match(ok(runBare(['-V'])).stdout, /version/)
})

run()
