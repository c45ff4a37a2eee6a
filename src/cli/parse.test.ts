import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { caseCount, Random, seedOf, strings } from '../base/testing/random.ts'
import { type CommandEntry, commands, globalOptions, type OptionEntry } from './commands.ts'
import { normaliseCommand, normaliseGlobals, UsageError } from './normalise.ts'
import {
  byCommander,
  byTable,
  type Invocation,
  type Options,
  parseCommand,
  parseGlobals,
  programHelp,
} from './parse.ts'

function refusal(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    assert.instance(error, UsageError)
    return (error as UsageError).message
  }
  return ''
}

const parse = (...args: string[]): Invocation => parseCommand(args) as Invocation
const run = commands.find(({ name }) => name === 'run')!
const exec = commands.find(({ name }) => name === 'exec')!
const create = commands.find(({ name }) => name === 'create')!

test('global flags end at the command', () => {
  const globals = normaliseGlobals(['--root', '/r', '--debug', 'create', '--debug', 'x'], globalOptions)
  assert.equal(globals, { options: ['--root=/r', '--debug'], rest: ['create', '--debug', 'x'] })
  assert.equal(normaliseGlobals(['--debug', '--', 'list'], globalOptions).rest, ['list'])
})

test('flags are taken as Go programs take them', () => {
  const globals = (...args: string[]): string[] => normaliseGlobals(args, globalOptions).options
  assert.equal(globals('-root', 'D', '-log-format=json'), ['--root=D', '--log-format=json'])
  assert.equal(globals('-debug=true', '--systemd-cgroup=1'), ['--debug', '--systemd-cgroup'])
  assert.equal(globals('--debug', '--debug=false'), [])
  assert.equal(globals('--log', '--debug'), ['--log=--debug'])
  assert.equal(globals('--log=a=b\nc'), ['--log=a=b\nc'])
  assert.equal(globals('-v'), ['--version'])
  assert.equal(normaliseCommand(['-b', 'D', 'x', '-pid-file', 'F', '-'], create), {
    options: ['--bundle=D', '--pid-file=F'],
    operands: ['x', '-'],
  })
  assert.equal(normaliseCommand(['-b=D', '--', '-x', '--'], create), {
    options: ['--bundle=D'],
    operands: ['-x', '--'],
  })
})

test("short flags are taken as crun's getopt takes them, but a misspelt flag is one", () => {
  const options = (...args: string[]): string[] => normaliseCommand(args, run).options
  assert.equal(options('-b/bundle', 'x'), ['--bundle=/bundle'])
  assert.equal(normaliseCommand(['-fjson'], commands.find(({ name }) => name === 'list')!).options, ['--format=json'])
  assert.equal(normaliseCommand(['-dt', '-u0:0', 'x', 'sh'], exec).options, ['--detach', '--tty', '--user=0:0'])
  assert.equal(normaliseGlobals(['-V'], globalOptions).options, ['--version'])
  for (const flag of ['-bundel', '-dx', '-detahc', '-xd'])
    assert.match(
      refusal(() => options(flag, 'x')),
      `unknown flag ${flag}`,
    )
})

test('unknown flags, missing values and unclear flags are named', () => {
  assert.is(
    refusal(() => parseGlobals(['--nope'])),
    "unknown flag --nope (try 'runt --help')",
  )
  assert.is(
    refusal(() => parse('create', '-nope=3', 'x')),
    "create: unknown flag -nope (try 'runt create --help')",
  )
  assert.is(
    refusal(() => parse('list', '-foo')),
    "list: unknown flag -foo (try 'runt list --help')",
  )
  assert.match(
    refusal(() => parse('kill', 'x', '-9')),
    'unknown flag -9',
  )
  assert.match(
    refusal(() => parse('create', '--bundle')),
    'flag --bundle needs a value',
  )
  assert.match(
    refusal(() => parse('run', '--detach=maybe', 'x')),
    'flag --detach: "maybe" is neither true nor false',
  )
  assert.match(
    refusal(() => parse('state', '--debug', 'x')),
    'unknown flag --debug',
  )
  assert.match(
    refusal(() => parse('state', '--a\nb', 'x')),
    'unknown flag "--a\\nb"',
  )
})

test('missing and superfluous arguments and unknown commands are named', () => {
  assert.is(
    refusal(() => parse('create')),
    "create: missing required argument 'id' (try 'runt create --help')",
  )
  assert.match(
    refusal(() => parse('state', 'a', 'b')),
    'unexpected argument "b"',
  )
  assert.match(
    refusal(() => parse('list', 'a')),
    'unexpected argument "a"',
  )
  assert.match(
    refusal(() => parse('delete')),
    "missing required argument 'id'",
  )
  assert.is(
    refusal(() => parse('nope', '-x')),
    `unknown command "nope" (try 'runt --help')`,
  )
  assert.match(
    refusal(() => parse('constructor')),
    'unknown command',
  )
  assert.match(
    refusal(() => parse('help', 'nope')),
    'unknown command "nope"',
  )
})

test('values that cannot be are refused', () => {
  for (const value of ['-1', 'x', '1.5', '', '9999999999'])
    assert.match(
      refusal(() => parse('run', '--preserve-fds', value, 'x')),
      '--preserve-fds',
      value,
    )
  assert.match(
    refusal(() => parse('run', '--pid-file=', 'x')),
    '--pid-file',
  )
  assert.match(
    refusal(() => parse('create', '-b', '', 'x')),
    'must not be empty',
  )
  assert.match(
    refusal(() => parse('list', '-f', 'yaml')),
    'Allowed choices are table, json',
  )
  assert.match(
    refusal(() => parseGlobals(['--log-format', 'xml'])),
    /--log-format.*Allowed choices are text, json/,
  )
  assert.match(
    refusal(() => parseGlobals(['--rootless', 'maybe'])),
    'Allowed choices',
  )
})

test('options have their defaults and values', () => {
  const plain = parse('create', 'x')
  assert.is(plain.options.text('bundle'), '.')
  assert.is(plain.options.text('pid-file'), null)
  assert.is(plain.options.count('preserve-fds'), 0)
  assert.is(plain.options.flag('no-pivot'), false)
  const full = parse(
    'run',
    '-d',
    '--no-pivot',
    '--no-new-keyring',
    '--preserve-fds',
    '2',
    '--bundle',
    '/b',
    '--keep',
    'x',
  )
  assert.is(full.command, 'run')
  assert.equal(full.operands, ['x'])
  for (const flag of ['detach', 'no-pivot', 'no-new-keyring', 'keep']) assert.ok(full.options.flag(flag), flag)
  assert.not(full.options.flag('no-subreaper'))
  assert.is(full.options.count('preserve-fds'), 2)
  assert.is(full.options.text('bundle'), '/b')
})

test('the last of two equal flags counts', () => {
  assert.is(parse('create', '-b', '1', '--bundle=2', 'x').options.text('bundle'), '2')
  assert.is(parse('run', '-d', '--detach=false', 'x').options.flag('detach'), false)
  assert.is(parse('create', '--no-pivot', '--no-pivot=false', 'x').options.flag('no-pivot'), false)
})

test('command lines of engines are understood', () => {
  // containerd's shim, podman through conmon, CRI-O, buildah.
  const globals = parseGlobals(
    '--root /run/containerd/runc/k8s.io --log /l/log.json --log-format json --systemd-cgroup create'.split(' '),
  )
  assert.is(globals.options.text('root'), '/run/containerd/runc/k8s.io')
  assert.is(globals.options.text('log-format'), 'json')
  assert.ok(globals.options.flag('systemd-cgroup'))
  assert.is(parseGlobals(['--cgroup-manager', 'cgroupfs', 'list']).options.text('cgroup-manager'), 'cgroupfs')
  assert.is(parseGlobals(['--rootless=auto', '--criu', '/c', 'list']).options.text('rootless'), 'auto')
  assert.equal(parse('create', '--bundle', '/b', '--pid-file', '/p', '--console-socket', '/s', 'id').operands, ['id'])
  assert.equal(parse('kill', '--all', 'id', '9').operands, ['id', '9'])
  assert.equal(parse('delete', '--force', 'a', 'b').operands, ['a', 'b'])
  assert.equal(parse('kill', 'id', 'KILL', '-a').operands, ['id', 'KILL'])
})

test('help names every command and every flag', () => {
  const help = programHelp()
  for (const option of globalOptions) assert.match(help, `--${option.name}`)
  for (const command of commands) {
    assert.match(help, new RegExp(`^ +${command.name} .*${command.summary.slice(0, 10)}`, 'm'))
    const own = parseCommand(['help', command.name])
    assert.type(own, 'string')
    assert.match(own as string, command.name === 'help' ? 'Usage: runt help' : `Usage: runt ${command.name} [options]`)
    for (const option of command.options) assert.match(own as string, `--${option.name}`)
    if (command.refused === undefined) assert.is(parseCommand([command.name, '--help']), own)
    else assert.throws(() => parseCommand([command.name, '--help']), command.refused)
  }
  assert.is(parseCommand([]), help)
  assert.is(parseCommand(['help']), help)
  assert.ok(parseGlobals(['-h', 'create']).options.flag('help'))
  assert.match(parseCommand(['create', 'x', '-h']) as string, 'Usage: runt create')
})

test('no flag has two meanings', () => {
  for (const options of [globalOptions, ...commands.map((command) => command.options)]) {
    const names = options.flatMap(({ name, short }) => (short ? [name, short] : [name]))
    assert.is(new Set([...names, 'help', 'h']).size, names.length + 2)
  }
})

test('after the id of exec come the words of a program, whatever they look like', () => {
  const { options, operands } = parse('exec', '-t', 'x', '-u', '1:2', 'ls', '-l', '--user', '--', '-h')
  assert.equal(operands, ['x', 'ls', '-l', '--user', '--', '-h'])
  assert.is(options.text('user'), '1:2')
  assert.is(options.flag('tty'), true)
  assert.equal(parse('exec', 'x', '--', '-u', 'ls').operands, ['x', '-u', 'ls'])
})

test('the table of commands says the same as commander, or leaves it to it', () => {
  const random = new Random(seedOf('parsers'))
  const told = (entries: readonly OptionEntry[], options: Options): unknown[] =>
    entries.map(({ name }) => [name, options.flag(name), options.text(name), options.list(name), options.count(name)])
  const counts = { same: 0, left: 0 }
  for (let number = 0; number < caseCount(4000); number++) {
    const entry: CommandEntry | null = random.chance(1, 8) ? null : random.pick(commands)
    const entries = entry?.options ?? globalOptions
    const line: string[] = []
    while (entries.length > 0 && !random.chance(1, 4)) {
      const { name, value, choices } = random.pick(entries)
      const given = random.pick([
        ...(choices ?? []),
        '1',
        '',
        'x',
        '-1',
        '999999999',
        '--',
        'a=b',
        random.pick(strings),
      ])
      line.push(value === undefined ? `--${name}` : `--${name}=${given}`)
    }
    const operands = ['a', 'b', '-c', 'd'].slice(0, entry ? random.below(5) : 0)
    const quick = byTable(entry, line, operands)
    const what = `case ${number}: ${entry?.name} ${JSON.stringify(line)} ${JSON.stringify(operands)}`
    if (quick === null) {
      assert.throws(
        () => byCommander(entry, line, operands),
        (error: unknown) => error instanceof UsageError,
        what,
      )
      counts.left++
      continue
    }
    assert.equal(told(entries, quick), told(entries, byCommander(entry, line, operands)), what)
    counts.same++
  }
  assert.ok(counts.same > 1000 && counts.left > 500, JSON.stringify(counts))
})

test('options of exec may be repeated', () => {
  const { options } = parse('exec', '-e', 'A=1', '--env', 'B=2,3', '-g', '4', '-g=5', '--no-new-privs', 'x')
  assert.equal(options.list('env'), ['A=1', 'B=2,3'])
  assert.equal(options.list('additional-gids'), [4, 5])
  assert.equal(options.list('cap'), [])
  assert.is(options.flag('no-new-privs'), true)
  assert.equal(parse('exec', 'x').options.list('env'), [])
  assert.match(
    refusal(() => parse('exec', '-g', 'wheel', 'x')),
    '--additional-gids',
  )
})

test.run()
