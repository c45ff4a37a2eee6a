/** A session: batches go to one executor, answers come back. */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Channel } from '../base/platform.ts'
import { Flag, REPLY_SIZE, Reply, SKIPPED } from '../executor/protocol.ts'
import { errnoName } from '../linux/errno.ts'
import type { Batch, OutPointer, Step } from './batch.ts'
import { renderFailure, type SlotNames } from './render.ts'

/** A system call of a batch failed unexpectedly. */
export class CallError extends RuntError {
  /** Number of the errno. */
  readonly code: number
  readonly step: Step
  /** Bare text of the failure without what it was about: `openat(…): ENOENT (…)`. */
  readonly detail: string
  /** What the executor answered: results of the operations before, output. */
  readonly answer: Answer

  constructor(step: Step, code: number, detail: string, answer: Answer) {
    super(step.about ? `${step.about}: ${detail}` : detail, errnoName(code))
    this.step = step
    this.code = code
    this.detail = detail
    this.answer = answer
  }

  /** Whether it is this operation that failed. There may be several objects for one. */
  isOf(step: Step): boolean {
    return step.batch === this.step.batch && step.index === this.step.index
  }
}

/** The other side of a session ended before it answered. */
export class SessionLost extends RuntError {}

/** The answer to a batch that ran to its end. */
export class Answer {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #batch: Batch

  constructor(bytes: Uint8Array, batch: Batch) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#batch = batch
  }

  /** Result of an operation: what the kernel returned, negative errno on error; undefined when it did not run. */
  value(step: Step): number | undefined {
    const at = REPLY_SIZE + 8 * step.index
    const high = this.#view.getInt32(at + 4, true)
    const low = this.#view.getUint32(at, true)
    if (high === -0x8000_0000 && low === 0) return undefined
    return high * 0x1_0000_0000 + low
  }

  /** Whether the operation ran and succeeded. */
  ok(step: Step): boolean {
    return (this.value(step) ?? -1) >= 0
  }

  /** A copy of the first `length` bytes of an output buffer. */
  bytes(out: OutPointer, length = out.length): Uint8Array {
    const start = this.#batch.outAt + out.offset
    return this.#bytes.slice(start, start + length)
  }

  /** Text of `length` bytes at an offset of an output buffer. */
  text(out: OutPointer, offset: number, length: number): string {
    const start = this.#batch.outAt + out.offset + offset
    return decodeUtf8(this.#bytes.subarray(start, start + length))
  }

  /** 32-bit word at an offset of an output buffer. */
  word(out: OutPointer, offset = 0): number {
    return this.#view.getInt32(this.#batch.outAt + out.offset + offset, true)
  }

  half(out: OutPointer, offset = 0): number {
    return this.#view.getUint16(this.#batch.outAt + out.offset + offset, true)
  }

  /** 64-bit word at an offset of an output buffer. */
  long(out: OutPointer, offset = 0): bigint {
    return this.#view.getBigUint64(this.#batch.outAt + out.offset + offset, true)
  }
}

/** Sees every batch. */
export interface Observer {
  /** Before a batch is laid out; operations may be added behind its own. A silent one is not answered unless it fails. */
  sending(session: string, batch: Batch, silent: boolean): void
  /** The answer, also of a batch that failed; null: it was skipped. */
  answered(session: string, batch: Batch, answer: Answer | null): void
}

/** Milliseconds that a session waits for an answer beyond what the batch says it may take. */
const PATIENCE = 120_000

/** A message of the executor, read: the answer to a batch, its failure, or the news that it was skipped (both null). */
interface Taken {
  batch: Batch
  answer: Answer | null
  failure: CallError | null
}

export class Session {
  readonly name: string
  readonly #channel: Channel
  readonly #waiting: { sequence: number; batch: Batch; silent: boolean }[] = []
  #sequence: number
  #failure: CallError | null = null
  /** A message that `hasAnswer` has received before anybody waited for it; null: the end of the session. */
  #early: Uint8Array | null | undefined
  readonly #slots: SlotNames
  observer: Observer | null = null

  /**
   * `first`: where its numbers start. Sessions that inherit batches from each other count in ranges of their own. `slots`: what error
   * messages call them.
   */
  constructor(name: string, channel: Channel, first = 0, slots: SlotNames = {}) {
    this.name = name
    this.#channel = channel
    this.#sequence = first
    this.#slots = slots
  }

  /**
   * Announces a batch that was sent on another session: the executor of this one is forked in the middle of it, performs the rest, and may
   * report a failure of it here.
   */
  inherit(batch: Batch, sequence: number): void {
    this.#waiting.push({ sequence, batch, silent: true })
  }

  /** Sequence number of the batch sent last. */
  get sequence(): number {
    return this.#sequence
  }

  /** Sends a batch and does not wait. Each batch sent so must be waited for, in order, unless it is silent. */
  send(batch: Batch, flags = 0, sequence = ++this.#sequence): void {
    this.observer?.sending(this.name, batch, (flags & Flag.SILENT) !== 0)
    // A batch that cannot be laid out is never waited for.
    const message = batch.encode(sequence, flags, this.#channel.outgoing)
    this.#waiting.push({ sequence, batch, silent: (flags & Flag.SILENT) !== 0 })
    this.#channel.send(message)
  }

  /**
   * The answer to a batch sent before. Throws the CallError of that batch, or of one before it that had no chance
   * to report yet. Answers to batches in between are dropped.
   */
  wait(batch: Batch): Answer {
    return this.#wait(batch, false)
  }

  /** Whether there is an answer to be had without waiting, or the session is at its end. */
  hasAnswer(): boolean {
    if (this.#early !== undefined) return true
    const reply = this.#channel.receive(0)
    if (reply === 'timeout') return false
    // The channel's buffer is used again for the next message.
    this.#early = reply?.slice() ?? null
    return true
  }

  /** With `past`, failures of earlier batches that nobody has waited for are passed over. */
  #wait(batch: Batch, past: boolean): Answer {
    for (;;) {
      const reply = this.#receive(PATIENCE + batch.patience)
      if (reply === null) throw new SessionLost(`the ${this.name} executor ended unexpectedly`)
      if (reply === 'timeout')
        throw new RuntError(`the ${this.name} executor did not answer within ${(PATIENCE + batch.patience) / 1000} s`)
      const taken = this.#take(reply)
      if (taken.failure && (taken.batch === batch || !past)) throw taken.failure
      if (taken.batch !== batch) continue
      if (taken.answer) return taken.answer
      throw this.#failure ?? new RuntError(`the ${this.name} executor skipped a batch for no reason`)
    }
  }

  /** Sends a batch and waits for its answer. */
  run(batch: Batch, flags = 0): Answer {
    this.send(batch, flags)
    return this.wait(batch)
  }

  /** As `run`, but first the executor and this session forget any failure, also one that nobody has been told of yet. */
  recover(batch: Batch): Answer {
    this.send(batch, Flag.FRESH)
    return this.#wait(batch, true)
  }

  /**
   * Waits until the executor is gone (an execve closed its session, or it ended); answers to earlier batches are
   * checked on the way.
   */
  waitForEnd(): void {
    for (;;) {
      const reply = this.#receive(Infinity)
      if (reply === null) return
      if (reply === 'timeout') continue
      const { failure } = this.#take(reply)
      if (failure) throw failure
    }
  }

  #receive(timeoutMs: number): Uint8Array | null | 'timeout' {
    const early = this.#early
    if (early === undefined) return this.#channel.receive(timeoutMs)
    this.#early = undefined
    return early
  }

  #take(reply: Uint8Array): Taken {
    if (reply.length < REPLY_SIZE)
      throw new RuntError(`the ${this.name} executor sent an answer of ${reply.length} bytes`)
    const view = new DataView(reply.buffer, reply.byteOffset, reply.byteLength)
    const sequence = view.getUint32(Reply.SEQUENCE, true)
    const stoppedAt = view.getUint32(Reply.STOPPED_AT, true)
    while (this.#waiting.length > 0 && this.#waiting[0]!.sequence !== sequence) {
      if (!this.#waiting.shift()!.silent) throw new RuntError(`the ${this.name} executor sent answers out of order`)
    }
    const sent = this.#waiting.shift()
    if (!sent) throw new RuntError(`the ${this.name} executor sent an answer to no question`)
    const { batch } = sent
    if (stoppedAt === SKIPPED) {
      this.observer?.answered(this.name, batch, null)
      return { batch, answer: null, failure: null }
    }
    if (reply.length !== batch.outAt + batch.outLength || stoppedAt > batch.count)
      throw new RuntError(`the ${this.name} executor sent an answer of the wrong shape`)
    // The channel's buffer is used again for the next message.
    const answer = new Answer(reply.slice(), batch)
    this.observer?.answered(this.name, batch, answer)
    if (stoppedAt < batch.count) {
      const step = batch.stepAt(stoppedAt)
      const code = -(answer.value(step) ?? 0)
      this.#failure = new CallError(step, code, renderFailure(step, code, answer, this.#slots), answer)
      return { batch, answer: null, failure: this.#failure }
    }
    return { batch, answer, failure: null }
  }
}
