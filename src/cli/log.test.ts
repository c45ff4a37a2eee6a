import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Machine } from '../base/platform.ts'
import { openPlatform } from '../engine-node/platform.ts'
import { AT_FDCWD, O_RDONLY } from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import { openat } from '../session/calls.ts'
import { Session } from '../session/session.ts'
import { Log, logLine, oneLine } from './log.ts'

const TIME = Date.UTC(2026, 0, 2, 3, 4, 5, 678)

/** A log with a real host executor; `said` is what it wrote to stderr. */
async function withLog(
  action: (log: Log, file: string, said: string[], host: Session, machine: Machine) => void,
  stderrOnly = false,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'runt-log-'))
  const platform = openPlatform()
  try {
    const said: string[] = []
    const host = new Session('host', platform.host)
    const log = new Log({ machine: platform.machine, now: () => TIME, stderr: (text) => said.push(text) }, () => {
      if (stderrOnly) throw new Error('the session was opened')
      return host
    })
    action(log, join(folder, 'log'), said, host, platform.machine)
  } finally {
    platform.close()
    rmSync(folder, { recursive: true })
  }
}

test('a line of the log has the formats of logrus', () => {
  assert.is(logLine('text', 'error', 'a "b"\n', TIME), 'time="2026-01-02T03:04:05Z" level=error msg="a \\"b\\"\\n"\n')
  const json = logLine('json', 'warning', 'x: y', TIME)
  assert.is(json, '{"level":"warning","msg":"x: y","time":"2026-01-02T03:04:05Z"}\n')
})

test('a message is shown on one line', () => {
  assert.is(oneLine('a\nb\tc\u001b[0m\u007f\u009b1m'), 'a\\nb\\tc\\u001b[0m\\u007f\\u009b1m')
})

test('without a file messages go to stderr and no session is opened', () =>
  withLog((log, _file, said) => {
    log.debug('unheard')
    log.warning('w')
    log.configure({ target: null, format: 'text', debug: true, quiet: false })
    log.debug('d')
    log.error('a\nb')
    assert.equal(said, ['runt: warning: w\n', 'runt: debug: d\n', 'runt: a\\nb\n'])
  }, true))

test('without a file JSON lines go to stderr if that is the format', () =>
  withLog((log, _file, said) => {
    log.configure({ target: null, format: 'json', debug: true, quiet: false })
    log.warning('w')
    log.error('e')
    assert.equal(
      said.map((line) => JSON.parse(line)).map(({ level, msg }) => [level, msg]),
      [
        ['warning', 'w'],
        ['error', 'e'],
      ],
    )
  }, true))

test('the file is made at once, and nothing unasked is written to it', () =>
  withLog((log, file, said, host, machine) => {
    log.configure({ target: { kind: 'file', name: file }, format: 'text', debug: false, quiet: false })
    log.debug('unheard')
    const batch = new Batch(machine)
    batch.call('getpid')
    host.run(batch)
    assert.equal(said, [])
    assert.is(readFileSync(file, 'utf8'), '')
  }))

test('with a file warnings go there only and errors to both', () =>
  withLog((log, file, said) => {
    log.configure({ target: { kind: 'file', name: file }, format: 'json', debug: true, quiet: false })
    log.warning('w')
    log.debug('d')
    log.error('e')
    assert.equal(said, ['runt: e\n'])
    const lines = readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.equal(
      lines.map(({ level, msg }) => [level, msg]),
      [
        ['warning', 'w'],
        ['debug', 'd'],
        ['error', 'e'],
      ],
    )
    assert.is(statSync(file).mode & 0o777 & ~0o644, 0)
  }))

test('an error is logged after a failure that was seen and after one that nobody waited for', () =>
  withLog((log, file, _said, host, machine) => {
    log.configure({ target: { kind: 'file', name: file }, format: 'text', debug: false, quiet: false })
    const failing = (): Batch => {
      const batch = new Batch(machine)
      openat(batch, AT_FDCWD, '/nonexistent/file', O_RDONLY)
      return batch
    }
    const seen = failing()
    assert.throws(() => host.run(seen), 'ENOENT')
    log.error('first')
    host.send(failing())
    host.send(failing())
    log.warning('lost with the failure')
    log.error('second')
    const text = readFileSync(file, 'utf8')
    assert.match(text, 'msg="first"')
    assert.match(text, 'msg="second"')
  }))

test('a log that cannot be opened fails the command, with its name', () =>
  withLog((log, file, said, host, machine) => {
    log.configure({ target: { kind: 'file', name: `${file}/in/nowhere` }, format: 'text', debug: false, quiet: false })
    log.warning('w')
    const batch = new Batch(machine)
    batch.call('getpid')
    assert.throws(
      () => host.run(batch),
      (error: Error) => error.message.startsWith(`--log ${file}/in/nowhere: openat(`) && /ENOENT/.test(error.message),
    )
    log.error('e')
    assert.equal(said, ['runt: e\n'])
  }))

test('a huge message fits', () =>
  withLog((log, file) => {
    log.configure({ target: { kind: 'file', name: file }, format: 'json', debug: false, quiet: false })
    log.error('\u0001'.repeat(200_000))
    assert.ok(JSON.parse(readFileSync(file, 'utf8')).msg.length >= 10_000)
  }))

test('a bug is told with its stack', () =>
  withLog((log, file, said) => {
    log.configure({ target: { kind: 'file', name: file }, format: 'json', debug: false, quiet: false })
    log.crash(new TypeError('x is not a function'))
    assert.is(said[0], 'runt: internal error: TypeError: x is not a function\n')
    assert.match(said[1]!, /^ +at /)
    assert.is(JSON.parse(readFileSync(file, 'utf8')).msg, 'internal error: TypeError: x is not a function')
  }))

test.run()
