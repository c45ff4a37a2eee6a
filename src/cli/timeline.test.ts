import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Flag } from '../executor/protocol.ts'
import { Batch } from '../session/batch.ts'
import { Session } from '../session/session.ts'
import { agreeableKernel, FakeKernel } from '../session/testing/fake-kernel.ts'
import { drawTrace, parseTrace, type Span, traceOf } from './timeline.ts'
import { observe, Stopwatch } from './trace.ts'

const span = (executor: string, sent: number, performed: number | null, more: Partial<Span> = {}): Span => ({
  executor,
  about: ['mounts[0]', 'mounts[1]'],
  operations: 3,
  silent: performed === null,
  sent,
  performed,
  answered: performed === null ? null : performed + 5,
  outcome: performed === null ? 'unanswered' : 'done',
  ...more,
})
const bars = (spans: Span[]) =>
  traceOf('runt run', spans)
    .traceEvents.filter(({ ph }) => ph !== 'M')
    .map(({ ph, tid, ts, dur, name }) => [ph, tid, ts, dur, name])

test('a batch begins when it was sent, or when its executor was done with the one before', () => {
  assert.equal(bars([span('host', 10, 40), span('host', 20, 50), span('init', 20, 60), span('host', 70, 80)]), [
    ['X', 0, 10, 30, 'mounts[0] …'],
    ['X', 0, 40, 10, 'mounts[0] …'],
    ['X', 0, 70, 10, 'mounts[0] …'],
    ['X', 2, 20, 40, 'mounts[0] …'],
  ])
})

test('silent batches are marks, and part of the bar of the next that was answered', () => {
  assert.equal(bars([span('init', 5, null), span('init', 8, null, { about: [] }), span('init', 20, 30)]), [
    ['i', 2, 5, undefined, 'mounts[0] …'],
    ['i', 2, 8, undefined, '(nothing)'],
    ['X', 2, 5, 25, 'mounts[0] …'],
  ])
})

test('a batch that failed ends where it was answered', () => {
  const [bar] = traceOf('x', [span('host', 1, null, { answered: 9, outcome: 'failed' })]).traceEvents.filter(
    ({ ph }) => ph === 'X',
  )
  assert.equal([bar?.cat, bar?.ts, bar?.dur], ['failed', 1, 8])
})

test('the picture has a row for each executor, a bar for each batch, and survives hostile text', () => {
  const trace = traceOf('runt <run>', [
    span('host', 0, 12_000, { about: ['</title><script>alert(1)</script>\u001b[31m'] }),
    span('stage', 1000, null),
  ])
  const picture = drawTrace(parseTrace(JSON.stringify(trace), 'x'))
  assert.is(picture.split('<rect').length - 1, 2)
  assert.match(picture, '&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;?[31m')
  assert.not.match(picture, '<script>')
  assert.match(picture, '>runt &lt;run&gt;<')
  for (const row of ['host', 'stage', 'init']) assert.match(picture, `>${row}</text>`)
  assert.match(picture, '>12 ms</text>')
  assert.not.match(picture, 'NaN')
})

test('a trace of nothing is a picture too', () => {
  assert.not.match(drawTrace(traceOf('runt list', [])), /NaN|Infinity/)
})

test('what is no trace is refused', () => {
  for (const text of [
    '{}',
    'null',
    '{"traceEvents":[{}]}',
    '{"traceEvents":[{"name":"a","ph":"X","tid":0,"args":{}}]}',
  ])
    assert.throws(() => parseTrace(text, 'file'), /file: not a file of --trace/)
})

test('batches are seen when they are sent and answered, and say when they were done', () => {
  const agreeable = agreeableKernel()
  const kernel = new FakeKernel((call) => {
    if (call.name === 'chdir') return 'ENOENT'
    if (call.name !== 'clock_gettime') return agreeable(call)
    const time = new Uint8Array(new BigUint64Array([5n, 2_500_000n]).buffer)
    call.memory(call.args[1]!, 16).set(time)
    return 0
  })
  const host = new Session('host', kernel)
  let now = 5000
  const watch = new Stopwatch(() => now++)
  const stop = observe({ host, stage: host, init: host }, [watch])
  const batch = (about: string): Batch => new Batch('x86_64').about(about)
  const silent = batch('silent')
  silent.call('getpid')
  host.send(silent, Flag.SILENT)
  const asked = batch('asked')
  asked.call('getpid')
  host.run(asked)
  const failing = batch('failing')
  failing.call('chdir', '/nowhere')
  assert.throws(() => host.run(failing))
  stop()
  host.recover(batch('unseen'))
  const spans = watch.spans()
  assert.equal(
    spans.map(({ about, operations, sent, performed, answered, outcome }) => [
      ...about,
      operations,
      sent,
      performed,
      answered,
      outcome,
    ]),
    [
      ['silent', 1, 1000, null, null, 'unanswered'],
      ['asked', 1, 2000, 2500, 3000, 'done'],
      ['failing', 1, 4000, null, 5000, 'failed'],
    ],
  )
})

test.run()
