/** The log of runc(8): --log, --log-format, --debug; containerd and podman read the JSON lines. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  bundle,
  container,
  fails,
  heading,
  runtime as name,
  ok,
  oneLine,
  runBare,
  stateRoot,
} from '../harness.ts'

const { test, only, run } = heading('cli/log')

let files = 0
const logFile = () => join(base, `${++files}.log`)
const lines = (path: string) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')

function failing(...flags: string[]) {
  return fails(runBare([...flags, '--root', stateRoot, 'state', 'nobody']))
}

test('an error goes to stderr in one line', () => {
  oneLine(failing())
})

test('with --log an error goes to the file and to stderr', () => {
  const path = logFile()
  oneLine(failing('--log', path))
  assert.is(lines(path).length, 1)
})

test('with --log-format json each line of the log has level, msg and time', () => {
  const path = logFile()
  failing('--log', path, '--log-format', 'json')
  const all = lines(path).map((line) => JSON.parse(line))
  assert.is(all.length, 1)
  assert.is(all[0].level, 'error')
  assert.match(all[0].msg, /\S/)
  assert.ok(Math.abs(Date.parse(all[0].time) - Date.now()) < 60_000)
})

test('with --log-format json and without --log the JSON line goes to stderr', () => {
  const { stderr } = failing('--log-format', 'json')
  assert.is(JSON.parse(stderr.trim().split('\n')[0]!).level, 'error')
})

test('with --log-format text a line of the log has time, level and msg', () => {
  const path = logFile()
  failing('--log', path, '--log-format', 'text')
  assert.match(lines(path)[0]!, /^time="?\S+"? level=error msg=/)
})

test('the log is appended to', () => {
  const path = logFile()
  failing('--log', path)
  failing('--log', path)
  assert.is(lines(path).length, 2)
})

test('an error of create is in the JSON log, whole', () => {
  const path = logFile()
  const made = bundle((config) => {
    config.process.args = ['no "such" program']
  })
  const c = container(made)
  fails(runBare(['--log', path, '--log-format', 'json', '--root', stateRoot, 'create', '-b', made.directory, c.id]))
  const messages = lines(path).map((line) => JSON.parse(line).msg)
  assert.ok(
    messages.some((message) => /no .{0,2}such.{0,2} program/.test(message)),
    messages.join('|'),
  )
})

test('a command that succeeds logs nothing', () => {
  const path = logFile()
  const c = container()
  ok(runBare(['--log', path, '--root', stateRoot, 'create', '-b', c.bundle.directory, c.id]))
  assert.ok(!existsSync(path) || lines(path).length === 0)
})

test('--debug logs more', () => {
  const path = logFile()
  const c = container()
  ok(
    runBare([
      '--debug',
      '--log',
      path,
      '--log-format',
      'json',
      '--root',
      stateRoot,
      'create',
      '-b',
      c.bundle.directory,
      c.id,
    ]),
  )
  const all = lines(path).map((line) => JSON.parse(line))
  assert.ok(all.length > 0)
  assert.ok(all.every(({ level }) => level !== 'error'))
  if (name === 'runt') assert.ok(all.some(({ msg }) => /^init: \w+\(<root>, /.test(msg)))
})

test('an unknown --log-format is refused', () => {
  const result = runBare(['--log-format', 'xml', '--root', stateRoot, 'list'])
  assert.is.not(result.status, 0)
  assert.match(result.stderr, /xml|log-format/)
})

test('a log file that cannot be opened is refused', () => {
  const result = runBare(['--log', '/no/such/directory/log', '--root', stateRoot, 'list'])
  assert.is.not(result.status, 0)
  assert.match(result.stderr, /\/no\/such\/directory/)
})

only('runt', 'the line on stderr begins with the command', () => {
  assert.match(failing().stderr, /state: /)
})

only('runt', '--debug names fields of the config that mean nothing; without it they are passed over in silence', () => {
  const made = bundle((config) => {
    Object.assign(config, { procces: {} })
    Object.assign(config.linux, { resorces: { memory: { limit: 1 } } })
    config.process.args = ['true']
  })
  const quiet = ok(container(made).run())
  assert.is(quiet.stderr, '')
  const path = logFile()
  ok(container(made, undefined, ['--debug', '--log', path]).run())
  const told = lines(path).flatMap(
    (line) => /msg="config.json: (\S+): not a field that runt knows/.exec(line)?.[1] ?? [],
  )
  assert.equal(told.sort(), ['linux.resorces', 'procces'])
})

run()
