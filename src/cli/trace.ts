/** What is done, seen batch by batch: as lines (--debug) and as a timeline (--trace). */
import { RuntError } from '../base/errors.ts'
import { stringifyJson } from '../base/json.ts'
import type { Machine } from '../base/platform.ts'
import { planWriting, readText } from '../container/files.ts'
import type { Sessions } from '../container/sessions.ts'
import { hostSlots, initSlots } from '../container/slots.ts'
import { CLOCK_REALTIME } from '../linux/constants.ts'
import { ANY, type Batch, type OutPointer, type Step } from '../session/batch.ts'
import { renderCall, renderResult } from '../session/render.ts'
import type { Answer, Observer, Session } from '../session/session.ts'
import { Train } from '../session/train.ts'
import { drawTrace, parseTrace, type Span, traceOf } from './timeline.ts'

/** Shows all batches to the observers from now on. The returned function ends that. */
export function observe({ host, stage, init }: Sessions, observers: readonly Observer[]): () => void {
  const all = [host, stage, init]
  const together: Observer = {
    sending(session, batch, silent) {
      for (const observer of observers) observer.sending(session, batch, silent)
    },
    answered(session, batch, answer) {
      for (const observer of observers) observer.answered(session, batch, answer)
    },
  }
  for (const session of all) session.observer = together
  return () => {
    for (const session of all) session.observer = null
  }
}

/** Every system call, as strace(1) shows them. Of silent batches, which are not answered, only the calls are known. */
export class CallLog implements Observer {
  readonly lines: string[] = []

  sending(session: string, batch: Batch, silent: boolean): void {
    if (silent) this.#add(session, batch, null)
  }

  answered(session: string, batch: Batch, answer: Answer | null): void {
    this.#add(session, batch, answer)
  }

  #add(session: string, batch: Batch, answer: Answer | null): void {
    for (let index = 0; index < batch.count; index++) {
      const step = batch.stepAt(index)
      if (step.name === null || (answer && answer.value(step) === undefined)) continue
      const slots = session === 'host' ? hostSlots : initSlots
      this.lines.push(`${session}: ${answer ? renderResult(step, answer, slots) : renderCall(step, null, slots)}`)
    }
  }
}

/** When a batch was seen. Times in milliseconds since 1970. */
interface Sight {
  session: string
  batch: Batch
  silent: boolean
  sent: number
  answered?: number
  answer?: Answer | null
  clock?: { step: Step; time: OutPointer }
}

/**
 * When each batch was sent, performed and answered. A batch that is answered ends with a look at the clock, for that is the only
 * way to know when an executor was done with it.
 */
export class Stopwatch implements Observer {
  readonly #now: () => number
  readonly #begin: number
  readonly #sights: Sight[] = []

  constructor(now: () => number) {
    this.#now = now
    this.#begin = now()
  }

  sending(session: string, batch: Batch, silent: boolean): void {
    const known = this.#sights.find((sight) => sight.batch === batch)
    const sight: Sight = { session, batch, silent, sent: this.#now() }
    // A batch that is performed again has it already.
    if (known?.clock) sight.clock = known.clock
    else if (!silent) {
      const end = batch.label()
      const time = batch.about('--trace').out(16)
      sight.clock = { step: batch.call('clock_gettime', CLOCK_REALTIME, time).on(ANY, end), time }
      batch.place(end)
    }
    this.#sights.push(sight)
  }

  answered(_session: string, batch: Batch, answer: Answer | null): void {
    const sight = this.#sights.find((one) => one.batch === batch && one.answered === undefined)
    if (!sight) return
    sight.answered = this.#now()
    sight.answer = answer
  }

  /** By session, in the order in which they were sent; microseconds since the beginning. */
  spans(): Span[] {
    const since = (time: number): number => Math.round((time - this.#begin) * 1000)
    return this.#sights.map(({ session, batch, silent, sent, answered, answer, clock }) => {
      const read = clock && answer?.ok(clock.step) ? { answer, time: clock.time } : null
      const performed = read
        ? since(Number(read.answer.long(read.time)) * 1000 + Number(read.answer.long(read.time, 8)) / 1e6)
        : null
      const operations = batch.count - (clock ? 1 : 0)
      return {
        executor: session,
        about: subjects(batch, operations),
        operations,
        silent,
        sent: since(sent),
        performed,
        answered: answered === undefined ? null : since(answered),
        outcome: answered === undefined ? 'unanswered' : answer === null ? 'skipped' : read ? 'done' : 'failed',
      }
    })
  }
}

/** What the operations of a batch are part of, each thing once. */
function subjects(batch: Batch, operations: number): string[] {
  const found = new Set<string>()
  for (let index = 0; index < operations; index++) found.add(batch.stepAt(index).about)
  found.delete('')
  return [...found]
}

/** Writes the file of --trace, an absolute path. */
export function writeTrace(host: Session, machine: Machine, file: string, title: string, spans: readonly Span[]): void {
  write(host, machine, '--trace', file, `${stringifyJson(traceOf(title, spans))}\n`)
}

/** The `trace` command: draws a file of --trace. Gives the path of the picture, which lies beside it. */
export function drawFile(host: Session, machine: Machine, file: string): string {
  const text = readText(host, machine, file)
  if (text === null) throw new RuntError(`${file}: no such file; the flag --trace of another command writes one`)
  const picture = `${file}.svg`
  write(host, machine, 'picture', picture, drawTrace(parseTrace(text, file)))
  return picture
}

function write(host: Session, machine: Machine, what: string, path: string, text: string): void {
  const train = new Train(host, machine)
  planWriting(train, `${what} (${path})`, path, text, 0o644)
  host.wait(train.depart())
}
