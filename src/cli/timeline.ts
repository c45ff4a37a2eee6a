/**
 * The file of --trace and the picture of it.
 *
 * The file has the Trace Event Format that chrome://tracing and ui.perfetto.dev read: a row for each executor, an event for
 * each batch, `ts` and `dur` in microseconds since the command began.
 */
import { RuntError } from '../base/errors.ts'
import { parseJson } from '../base/json.ts'

/** A batch on its way. Times in microseconds. */
export interface Span {
  executor: string
  /** Config fields, paths and names of steps that its operations are part of. */
  about: string[]
  operations: number
  silent: boolean
  sent: number
  /** When the executor was done; null where nobody knows: silent batches, and those that failed. */
  performed: number | null
  answered: number | null
  outcome: 'done' | 'failed' | 'skipped' | 'unanswered'
}

/** One event of the format; `X` has a duration, `i` has none, `M` names a row. */
export interface TraceEvent {
  name: string
  ph: 'X' | 'i' | 'M'
  pid: number
  tid: number
  ts?: number
  dur?: number
  s?: 't'
  cat?: string
  args: Record<string, unknown>
}

export interface Trace {
  displayTimeUnit: 'ms'
  traceEvents: TraceEvent[]
}

/** Rows of a trace, by number. */
const ROWS = ['host', 'stage', 'init'] as const
const PID = 1

/**
 * An executor performs one batch after the other: the bar of a batch begins when it was sent, or when the one before was done. Silent
 * batches are part of the bar of the next one that was answered, and a mark where they were sent.
 */
export function traceOf(title: string, spans: readonly Span[]): Trace {
  const traceEvents: TraceEvent[] = [
    { name: 'process_name', ph: 'M', pid: PID, tid: 0, args: { name: title } },
    ...ROWS.map((name, tid): TraceEvent => ({ name: 'thread_name', ph: 'M', pid: PID, tid, args: { name } })),
  ]
  ROWS.forEach((row, tid) => {
    let free = 0
    let waiting: number | null = null
    for (const span of spans) {
      if (span.executor !== row) continue
      const { about, operations, sent, performed, answered, outcome } = span
      const name = about[0] === undefined ? '(nothing)' : about.length > 1 ? `${about[0]} …` : about[0]
      const args = { about, operations, sent, performed, answered, outcome }
      const end = performed ?? answered
      if (end === null) {
        waiting ??= sent
        traceEvents.push({ name, ph: 'i', s: 't', cat: outcome, pid: PID, tid, ts: sent, args })
        continue
      }
      const ts = Math.max(free, waiting ?? sent)
      traceEvents.push({ name, ph: 'X', cat: outcome, pid: PID, tid, ts, dur: Math.max(0, end - ts), args })
      free = Math.max(free, end)
      waiting = null
    }
  })
  return { displayTimeUnit: 'ms', traceEvents }
}

/** Reads a file of --trace. Throws a RuntError. */
export function parseTrace(text: string, name: string): Trace {
  const value = parseJson(text, name) as Partial<Trace> | null
  const events: unknown = value?.traceEvents
  const fits = (event: Partial<TraceEvent> | null): boolean =>
    typeof event === 'object' &&
    event !== null &&
    typeof event.name === 'string' &&
    typeof event.ph === 'string' &&
    typeof event.tid === 'number' &&
    typeof event.args === 'object' &&
    (event.ph === 'M' || (typeof event.ts === 'number' && Number.isFinite(event.ts)))
  if (!Array.isArray(events) || !events.every(fits)) throw new RuntError(`${name}: not a file of --trace`)
  return value as Trace
}

const WIDTH = 1200
const LEFT = 60
const TOP = 40
const ROW = 44
const BAR = 26
const COLOURS: Readonly<Record<string, string>> = { done: '#4878a8', failed: '#c0392b', skipped: '#999999' }

/** The picture: time from left to right, a row for each executor; what a bar is about shows where the pointer is. */
export function drawTrace({ traceEvents }: Trace): string {
  const title = String(traceEvents.find(({ name, ph }) => ph === 'M' && name === 'process_name')?.args.name ?? '')
  const rows = traceEvents.filter(({ name, ph }) => ph === 'M' && name === 'thread_name')
  const timed = traceEvents.filter(({ ph }) => ph !== 'M')
  const end = Math.max(1, ...timed.map(({ ts = 0, dur = 0 }) => ts + dur))
  const x = (time: number): string => (LEFT + (time / end) * (WIDTH - LEFT - 20)).toFixed(1)
  const y = (tid: number): number =>
    TOP +
    ROW *
      Math.max(
        0,
        rows.findIndex((row) => row.tid === tid),
      )
  const height = TOP + ROW * rows.length + 20
  const marks = ticks(end).map(
    (time) =>
      `<path d="M${x(time)} ${TOP - 8}V${height - 20}" stroke="#dddddd"/><text x="${x(time)}" y="${TOP - 12}" text-anchor="middle" fill="#666666">${time / 1000} ms</text>`,
  )
  const names = rows.map(
    (row) => `<text x="8" y="${y(row.tid) + BAR / 2 + 4}">${escaped(String(row.args.name))}</text>`,
  )
  const shapes = timed.map(({ ph, tid, ts = 0, dur = 0, cat = '', args }) => {
    const about = Array.isArray(args.about) ? args.about.map(String) : []
    const tip = `<title>${escaped([`${ts} µs${ph === 'X' ? `, ${dur} µs long` : ', sent; no answer asked for'}; operations: ${args.operations}`, ...about].join('\n'))}</title>`
    if (ph === 'i')
      return `<path d="M${x(ts)} ${y(tid) - 4}v${BAR + 8}" stroke="#e0a030" stroke-width="2">${tip}</path>`
    const width = Math.max(0.8, Number(x(ts + dur)) - Number(x(ts))).toFixed(1)
    return `<rect x="${x(ts)}" y="${y(tid)}" width="${width}" height="${BAR}" fill="${COLOURS[cat] ?? '#4878a8'}" stroke="white" stroke-width="0.3">${tip}</rect>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    `<text x="8" y="16" font-weight="bold">${escaped(title)}</text>`,
    ...marks,
    ...names,
    ...shapes,
    '</svg>',
    '',
  ].join('\n')
}

/** At most eleven round times, in microseconds. */
function ticks(end: number): number[] {
  const size = 10 ** Math.floor(Math.log10(end))
  const step = [0.1, 0.2, 0.5].map((part) => part * size).find((part) => part >= 1 && end / part <= 10) ?? size
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, index) => index * step)
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (char) => ENTITIES[char]!).replace(/[^\n\P{Cc}]/gu, '?')
