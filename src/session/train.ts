/** A long plan for one executor, cut into batches where one grows too large for a message. */
import { Flag } from '../executor/protocol.ts'
import { Batch, type Machine } from './batch.ts'
import type { Session } from './session.ts'

/** Bytes after which a batch is sent and a new one begun. One planned item takes far less than what is left to MESSAGE_MAX. */
const FULL = 0x1_0000

export class Train {
  /** The batch under construction. Steps, labels and pointers of one batch cannot be used in another; slots can. */
  batch: Batch
  readonly #session: Session

  constructor(session: Session, machine: Machine) {
    this.#session = session
    this.batch = new Batch(machine)
  }

  /** Between two items: starts a new batch if this one is full. */
  next(about: string): Batch {
    if (this.batch.size > FULL) this.dispatch()
    return this.batch.about(about)
  }

  /** Sends what is planned so far and does not wait; a failure is reported by the batch that is waited for later. */
  dispatch(): void {
    if (this.batch.count > 0) this.#session.send(this.batch, Flag.SILENT)
    this.batch = new Batch(this.batch.machine)
  }

  /** Sends what is planned and gives the batch to wait for: once it is answered, all of the plan has been done. */
  depart(): Batch {
    const last = this.batch
    this.batch = new Batch(last.machine)
    this.#session.send(last)
    return last
  }
}
