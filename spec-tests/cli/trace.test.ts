/** --trace and the command trace: when each batch of system calls was sent and done. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { base, bundle, container, fails, heading, ok, oneLine, remember, run as runtime } from '../harness.ts'

const { only, run } = heading('cli/trace')
const test = (name: string, body: () => void): void => only('runt', name, body)

const file = join(base, 'trace.json')

const traced = (words: string[], script = 'exit 3') => {
  const made = bundle((config) => {
    config.process.args = ['sh', '-c', script]
  })
  return runtime(['--trace', file, ...words, '--bundle', made.directory, remember(made.name)])
}
const read = () => JSON.parse(readFileSync(file, 'utf8'))

test('run --trace writes events of all three executors, and has the status of the program', () => {
  assert.is(traced(['run']).status, 3)
  const { traceEvents } = read()
  const bars = traceEvents.filter((event: { ph: string }) => event.ph === 'X')
  assert.equal([...new Set(bars.map((event: { tid: number }) => event.tid))], [0, 1, 2])
  for (const { ts, dur } of bars) assert.ok(ts >= 0 && dur >= 0 && ts + dur < 60e6)
  assert.match(JSON.stringify(traceEvents), /"mounts\[0\][^"]*"/)
})

test('trace draws it', () => {
  ok(traced(['create']))
  assert.is(ok(runtime(['trace', file])).stdout, `${file}.svg\n`)
  const picture = readFileSync(`${file}.svg`, 'utf8')
  assert.match(picture, /^<svg [\s\S]*<\/svg>\n$/)
  assert.match(picture, '>runt create<')
})

test('a command that fails leaves a trace, and its error is the same', () => {
  const c = container((config) => {
    config.mounts.push({ destination: '/tmp', type: 'nosuch', source: 'none' })
  })
  const result = runtime(['--trace', file, 'create', '--bundle', c.bundle.directory, c.id])
  oneLine(fails(result, /mounts\[\d+\]/))
  assert.match(JSON.stringify(read()), /"cat":"failed"/)
})

test('a trace that cannot be written is a warning', () => {
  const result = ok(runtime(['--trace', '/proc/nowhere/x', 'list']))
  assert.match(result.stderr, /warning: --trace \(\/proc\/nowhere\/x\): openat/)
})

test('what is no trace is not drawn', () => {
  const other = join(base, 'other')
  writeFileSync(other, '{"a":1}')
  oneLine(fails(runtime(['trace', other]), /other: not a file of --trace/))
  oneLine(fails(runtime(['trace', join(base, 'missing')]), /missing: no such file/))
  assert.not.ok(existsSync(`${other}.svg`))
})

run()
