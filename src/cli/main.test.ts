import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Channel, Platform } from '../base/platform.ts'
import { SPEC_VERSION, VERSION } from '../base/version.ts'
import { openPlatform } from '../engine-node/platform.ts'
import { main } from './main.ts'

interface Outcome {
  status: number
  out: string
  err: string
}

/** Runs a command line. Without `real` there is no executor: a session that is used is an error. */
async function runt(args: readonly string[], real: Platform | null = null): Promise<Outcome> {
  const outcome: Outcome = { status: -1, out: '', err: '' }
  const unreachable: Channel = {
    send() {
      throw new Error('a session was used')
    },
    receive: () => null,
    close() {},
  }
  const fake: Platform = {
    engine: 'quickjs',
    self: ['/runt'],
    machine: real?.machine ?? 'x86_64',
    args,
    env: {},
    getenv: () => undefined,
    now: () => 0,
    host: real?.host ?? unreachable,
    stage: unreachable,
    init: unreachable,
    stdout(text) {
      outcome.out += text
    },
    stderr(text) {
      outcome.err += text
    },
    exit() {
      throw new Error('exit')
    },
    handOver() {
      throw new Error('handOver')
    },
  }
  outcome.status = await main(fake)
  return outcome
}

async function withExecutor(action: (platform: Platform, folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'runt-main-'))
  const platform = openPlatform()
  try {
    await action(platform, folder)
  } finally {
    platform.close()
    rmSync(folder, { recursive: true })
  }
}

test('version and help need no executor', async () => {
  for (const flag of ['--version', '-v', '-version']) {
    const { status, out } = await runt([flag])
    assert.is(status, 0)
    assert.is(out.split('\n')[0], `runt version ${VERSION}`)
    assert.match(out, `spec: ${SPEC_VERSION}\nengine: quickjs\n`)
  }
  for (const args of [['--help'], ['-h'], ['help'], [], ['create', '--help'], ['help', 'create']]) {
    const { status, out, err } = await runt(args)
    assert.is(status, 0)
    assert.match(out, /^Usage: runt /)
    assert.is(err, '')
  }
})

test('a wrong command line is one line on stderr, status 1, and nothing is done', async () => {
  for (const [args, said] of [
    [['nope'], `runt: unknown command "nope" (try 'runt --help')\n`],
    [['--nope', 'list'], `runt: unknown flag --nope (try 'runt --help')\n`],
    [['create', '--nope', 'x'], `runt: create: unknown flag --nope (try 'runt create --help')\n`],
    [['create'], `runt: create: missing required argument 'id' (try 'runt create --help')\n`],
    [['state', 'a', 'b'], `runt: state: unexpected argument "b" (try 'runt state --help')\n`],
  ] as const) {
    assert.equal(await runt(args), { status: 1, out: '', err: said })
  }
})

test('ids and signals are checked before anything is done', async () => {
  for (const args of [
    ['create', 'a/b'],
    ['run', '..'],
    ['start', ''],
    ['state', 'a b'],
    ['kill', 'ä'],
    ['delete', 'a', 'b/c'],
  ]) {
    const { status, err } = await runt(['--root', '/nonexistent', ...args])
    assert.is(status, 1)
    assert.match(err, new RegExp(`^runt: ${args[0]}: .*container (id|ID)`))
  }
  const { status, err } = await runt(['--root', '/nonexistent', 'kill', 'x', 'FOO'])
  assert.is(status, 1)
  assert.is(err, 'runt: kill: unknown signal "FOO"\n')
})

test('a state folder that cannot be named is refused', async () => {
  const { status, err } = await runt(['--root=', 'list'])
  assert.is(status, 1)
  assert.match(err, '--root')
})

test('a wrong command line is logged too', () =>
  withExecutor(async (platform, folder) => {
    const file = join(folder, 'log.json')
    const { status } = await runt(['--log', file, '--log-format=json', 'create', '--nope', 'x'], platform)
    assert.is(status, 1)
    const { level, msg } = JSON.parse(readFileSync(file, 'utf8'))
    assert.is(level, 'error')
    assert.match(msg, 'unknown flag --nope')
  }))

test('any other exception is a bug and says so', async () => {
  const { status, err } = await runt(['spec'])
  assert.is(status, 255)
  assert.match(err, /^runt: internal error: Error: a session was used\n +at /)
})

test('spec writes config.json into the bundle and does not overwrite it', () =>
  withExecutor(async (platform, folder) => {
    assert.equal(await runt(['spec', '-b', folder], platform), { status: 0, out: '', err: '' })
    assert.ok(existsSync(join(folder, 'config.json')))
    const { status, err } = await runt(['spec', '--bundle', folder], platform)
    assert.is(status, 1)
    assert.match(err, /^runt: spec: .*config\.json exists\. Remove it first\n$/)
  }))

test.run()
