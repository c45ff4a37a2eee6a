/** A long plan for one executor, sent as several batches: because one would be too large for a message, or to have it begun with early. */
import type { Machine } from '../base/platform.ts'
import { Flag } from '../executor/protocol.ts'
import { Batch } from './batch.ts'
import type { Session } from './session.ts'

/** Bytes after which a batch is sent and a new one begun. One planned item takes far less than what is left to MESSAGE_MAX. */
const FULL = 0x1_0000

export class Train {
  /** The batch under construction. Steps, labels and pointers of one batch cannot be used in another; slots can. */
  batch: Batch
  readonly #session: Session
  readonly #held: { batch: Batch; flags: number }[][] = []
  #release: (() => boolean) | null = null

  constructor(session: Session, machine: Machine) {
    this.#session = session
    this.batch = new Batch(machine)
  }

  /** Between two items: starts a new batch if this one is full. */
  next(about: string): Batch {
    if (this.batch.size > FULL) this.dispatch()
    return this.batch.about(about)
  }

  /**
   * Between two items: sends what is planned so far, so that the executor begins with it while the rest is planned. A message costs some
   * 10 µs, so this is for places with enough to do. Asks first whether what is held back may be sent now (see `hold`).
   */
  piece(): void {
    if (this.#release?.()) this.#release = null
    this.dispatch()
  }

  /** Sends what is planned so far and does not wait; a failure is reported by the batch that is waited for later. */
  dispatch(): void {
    const batch = this.#renew()
    if (batch.count > 0) this.#send(batch, Flag.SILENT)
  }

  /** Sends what is planned and gives the batch to wait for: once it is answered, all of the plan has been done. */
  depart(): Batch {
    const batch = this.#renew()
    this.#send(batch, 0)
    return batch
  }

  /**
   * Holds back all that is planned from here on, until `release`. Called again, it begins a second part, with a `release` of its own.
   * The function `release`, if given, is called at each `piece`: it calls the method `release` once the time has come, and returns true
   * when it need not be called again.
   */
  hold(release: (() => boolean) | null = null): void {
    this.#held.push([])
    this.#release ??= release
  }

  /** Sends what has been held back, or the first part of it. */
  release(): void {
    for (const { batch, flags } of this.#held.shift() ?? []) this.#session.send(batch, flags)
  }

  /** Forgets what has been held back. */
  drop(): void {
    this.#held.length = 0
    this.#release = null
  }

  #renew(): Batch {
    const { batch } = this
    this.batch = new Batch(batch.machine)
    return batch
  }

  #send(batch: Batch, flags: number): void {
    const held = this.#held.at(-1)
    if (held) held.push({ batch, flags })
    else this.#session.send(batch, flags)
  }
}
