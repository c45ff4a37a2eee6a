/** A long plan for one executor, cut into batches where one grows too large for a message. */
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
   * Between two items: sends what is planned so far, for the executor to begin with while the rest is planned. That is worth a message
   * (some 10 µs) where there is enough to do. What is held back is sent first if its time has come.
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
   * From here on nothing is sent: the plan is made before its time has come. Again: neither is this part when the last one is.
   * `release` is called between pieces of the plan, until it says that it has released this part.
   */
  hold(release: (() => boolean) | null = null): void {
    this.#held.push([])
    this.#release ??= release
  }

  /** Sends the first part of what has been held back. */
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
