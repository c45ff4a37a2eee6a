/**
 * A client of a message bus. The socket is the host executor's: what is sent and received travels in batches, and every wait has an end.
 */
import { decodeUtf8, encodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import * as k from '../linux/constants.ts'
import { describeErrno, Errno, errnoName } from '../linux/errno.ts'
import { ANY, Batch, type OutPointer, type Step } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer } from '../session/session.ts'
import type { Address } from './address.ts'
import type { Value } from './marshal.ts'
import {
  decodeMessage,
  encodeCall,
  type Message,
  MessageType,
  type MethodCall,
  messageLength,
  PREFIX,
} from './message.ts'

/** Sends a batch to the host executor and waits for its answer. */
export type Perform = (batch: Batch) => Answer

/** Milliseconds for each step: to connect, to get an answer, to see a signal. */
const PATIENCE = 30_000
/** Bytes asked for at once, and sent with one call. */
const RECEIVE = 0x4000
const SEND = 0x8000
/** Bytes of a line of the greeting (the specification's limit for authentication is 16 KiB). */
const LINE_MAX = 0x1000
/** Signals kept that nobody has asked for yet. */
const SIGNALS_MAX = 1000

/** The other side answered a call with an error. */
export class BusError extends RuntError {
  /** Such as `org.freedesktop.systemd1.UnitExists`. */
  readonly error: string
  /** What the other side said about it. */
  readonly reason: string

  constructor(about: string, error: string, reason: string) {
    super(`${about}: ${reason}${reason === '' ? error : ` (${error})`}`)
    this.error = error
    this.reason = reason
  }
}

/** There is nobody at the address, or one that does not let us in. */
export class Unreachable extends RuntError {}

export class Connection {
  readonly address: Address
  readonly #perform: Perform
  readonly #machine: Machine
  readonly #patience: number
  /** Descriptor in the host executor. */
  #fd = -1
  #serial = 0
  /** Taken and not yet sent. */
  #unsent: Uint8Array = new Uint8Array(0)
  /** Received and not yet taken apart. */
  #bytes: Uint8Array = new Uint8Array(0)
  /** The greeting is over: there are messages now. */
  #talking = false
  readonly #replies = new Map<number, Message>()
  readonly #waiting = new Set<number>()
  readonly #signals: Message[] = []

  /** Connects and says who we are. Throws Unreachable. */
  constructor(perform: Perform, machine: Machine, address: Address, patience = PATIENCE) {
    this.#perform = perform
    this.#machine = machine
    this.#patience = patience
    this.address = address
    try {
      this.#connect()
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Takes a call that is to be sent, at the latest when somebody waits; `reply` waits for its answer. */
  send(call: MethodCall): number {
    const serial = ++this.#serial
    this.#waiting.add(serial)
    this.#write(encodeCall(call, serial))
    return serial
  }

  /** Sends what has been taken. */
  flush(): void {
    while (this.#unsent.length > 0) {
      const b = new Batch(this.#machine)
      const sent = this.#planSending(b)
      this.#checkSending(this.#perform(b), sent)
    }
  }

  /** The answer to a call that was sent; `about` says what it was, for errors. Throws a BusError when the answer is one. */
  reply(serial: number, about: string): Message {
    const message = this.#until(about, () => this.#replies.get(serial))
    this.#replies.delete(serial)
    if (message.type !== MessageType.ERROR) return message
    const [reason] = message.body
    throw new BusError(about, message.errorName, typeof reason === 'string' ? oneLine(reason) : '')
  }

  call(call: MethodCall, about: string): Message {
    return this.reply(this.send(call), about)
  }

  /** The first signal that `wanted` gives a value for; others received before it are forgotten. */
  signal<T>(about: string, wanted: (message: Message) => T | undefined): T {
    return this.#until(about, () => {
      for (let next = this.#signals.shift(); next; next = this.#signals.shift()) {
        const value = wanted(next)
        if (value !== undefined) return value
      }
      return undefined
    })
  }

  close(): void {
    if (this.#fd < 0) return
    const b = new Batch(this.#machine)
    const closed = b.label()
    c.close(b, this.#fd).on(ANY, closed)
    b.place(closed)
    this.#fd = -1
    this.#perform(b)
  }

  #connect(): void {
    const { socket } = this.address
    const b = new Batch(this.#machine)
    const end = b.label()
    b.about(this.address.name)
    const fd = c.socket(b, k.AF_UNIX, k.SOCK_STREAM)
    // Bounds connect too, when the other side takes no connections (unix(7), socket(7)).
    const time = new Struct(16).u64(0, Math.ceil(this.#patience / 1000))
    b.call('setsockopt', fd, k.SOL_SOCKET, k.SO_SNDTIMEO, b.data(time.bytes), 16)
    const { pointer, length } = c.unixAddress(b, socket)
    // A name in the abstract namespace has no NUL at its end.
    const connected = b.call('connect', fd, pointer, socket.startsWith('\0') ? length - 1 : length).on(ANY, end)
    const uid = b.call('geteuid')
    b.place(end)
    b.patience = this.#patience
    const answer = this.#perform(b)
    this.#fd = answer.value(fd)!
    const result = answer.value(connected)!
    if (result < 0) throw new Unreachable(`${this.address.name}: ${describeErrno(-result)}`, errnoName(-result))
    this.#authenticate(answer.value(uid)!)
  }

  /**
   * SASL (D-Bus Specification, "Authentication Protocol"). The other side compares the uid with that of the socket; from inside a
   * user namespace we do not know that one, and leave it to the other side.
   */
  #authenticate(uid: number): void {
    const digits = [...encodeUtf8(String(uid))].map((byte) => byte.toString(16)).join('')
    this.#write(encodeUtf8(`\0AUTH EXTERNAL ${digits}\r\n`))
    let line = this.#line()
    if (line.startsWith('REJECTED')) {
      this.#write(encodeUtf8('AUTH EXTERNAL\r\n'))
      line = this.#line()
      if (line === 'DATA' || line.startsWith('DATA ')) {
        this.#write(encodeUtf8('DATA\r\n'))
        line = this.#line()
      }
    }
    if (!line.startsWith('OK'))
      throw new Unreachable(`${this.address.name}: it does not let uid ${uid} in: ${JSON.stringify(oneLine(line))}`)
    this.#write(encodeUtf8('BEGIN\r\n'))
    this.#talking = true
    // Its answer is our name on the bus, which nobody needs.
    if (!this.address.direct) this.send(busCall('Hello', '', []))
  }

  #line(): string {
    return this.#until('authentication', () => {
      const end = this.#bytes.indexOf(0x0a)
      if (end < 0 && this.#bytes.length <= LINE_MAX) return undefined
      if (end < 1 || this.#bytes[end - 1] !== 0x0d)
        throw new Unreachable(`${this.address.name}: what it said to our authentication is not D-Bus`)
      const line = decodeUtf8(this.#bytes.subarray(0, end - 1))
      this.#bytes = this.#bytes.slice(end + 1)
      return line
    })
  }

  /** Receives until `look` finds what it wants; no longer than the patience, however busy the other side is. */
  #until<T>(about: string, look: () => T | undefined): T {
    const lost = (what: string): RuntError => new RuntError(`${about}: ${this.address.name} ${what}`)
    let deadline: number | null = null
    let now = 0
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      const received = this.#receive(deadline === null ? this.#patience : deadline - now)
      deadline ??= received.start + this.#patience
      now = received.end
      const { bytes } = received
      if (typeof bytes === 'number') {
        if (bytes !== Errno.EAGAIN && bytes !== Errno.EINTR) throw lost(`is gone: ${describeErrno(bytes)}`)
      } else if (bytes.length === 0) throw lost('closed the connection')
      else this.#take(bytes, lost)
      if (now >= deadline && look() === undefined) throw lost(`did not answer within ${this.#patience / 1000} s`)
    }
  }

  /** Sends what there is to send and waits for bytes; gives them or an errno, and the times in milliseconds. */
  #receive(milliseconds: number): { bytes: Uint8Array | number; start: number; end: number } {
    while (this.#unsent.length > SEND) this.flush()
    const b = new Batch(this.#machine)
    const start = clock(b)
    const sent = this.#unsent.length > 0 ? this.#planSending(b) : null
    const buffer = b.out(RECEIVE)
    const polled = b.label()
    const end = b.label()
    const poll = b.data(new Struct(8).u32(0, this.#fd).u16(4, k.POLLIN).bytes)
    b.call('ppoll', poll, 1, b.data(timespec(milliseconds)), 0, 8).on(ANY, polled)
    b.place(polled)
    const count = b.call('recvfrom', this.#fd, buffer, RECEIVE, k.MSG_DONTWAIT, 0, 0).on(ANY, end)
    b.place(end)
    const stop = clock(b)
    b.patience += milliseconds
    const answer = this.#perform(b)
    if (sent) this.#checkSending(answer, sent)
    const result = answer.value(count)!
    const time = (out: OutPointer): number => Number(answer.long(out)) * 1000 + Number(answer.long(out, 8)) / 1_000_000
    return { bytes: result < 0 ? -result : answer.bytes(buffer, result), start: time(start), end: time(stop) }
  }

  /** Takes received bytes apart, once there are messages in them. */
  #take(bytes: Uint8Array, lost: (what: string) => RuntError): void {
    const all = join(this.#bytes, bytes)
    let at = 0
    try {
      while (this.#talking && all.length - at >= PREFIX) {
        const length = messageLength(all.subarray(at, at + PREFIX))
        if (all.length - at < length) break
        // Alignment counts from the start of a message.
        this.#sort(decodeMessage(all.slice(at, at + length)))
        at += length
      }
    } catch (error) {
      if (error instanceof RuntError) throw lost(`makes no sense: ${error.message}`)
      throw error
    }
    this.#bytes = all.subarray(at)
  }

  #sort(message: Message): void {
    if (message.type === MessageType.SIGNAL) {
      if (this.#signals.length === SIGNALS_MAX) this.#signals.shift()
      this.#signals.push(message)
    } else if (this.#waiting.delete(message.replySerial)) this.#replies.set(message.replySerial, message)
  }

  #write(bytes: Uint8Array): void {
    this.#unsent = join(this.#unsent, bytes)
  }

  /** Plans to send the next bytes that have been taken. Gives how many, and the step. */
  #planSending(b: Batch): { step: Step; count: number } {
    const piece = this.#unsent.subarray(0, SEND)
    this.#unsent = this.#unsent.subarray(piece.length)
    const end = b.label()
    const step = b.call('sendto', this.#fd, b.data(piece), piece.length, k.MSG_NOSIGNAL, 0, 0).on(ANY, end)
    b.place(end)
    b.patience += this.#patience
    return { step, count: piece.length }
  }

  #checkSending(answer: Answer, { step, count }: { step: Step; count: number }): void {
    const result = answer.value(step)!
    if (result === count) return
    // A time-out (SO_SNDTIMEO) is EAGAIN, or a short count.
    const slow = result >= 0 || result === -Errno.EAGAIN!
    const what = slow ? `took nothing for ${this.#patience / 1000} s` : `is gone: ${describeErrno(-result)}`
    throw new RuntError(`${this.address.name} ${what}`)
  }
}

const join = (first: Uint8Array, second: Uint8Array): Uint8Array => {
  const both = new Uint8Array(first.length + second.length)
  both.set(first)
  both.set(second, first.length)
  return both
}

/** A call of the bus itself. */
export function busCall(member: string, signature: string, body: readonly Value[]): MethodCall {
  return {
    destination: 'org.freedesktop.DBus',
    path: '/org/freedesktop/DBus',
    interface: 'org.freedesktop.DBus',
    member,
    signature,
    body,
  }
}

function clock(b: Batch): OutPointer {
  const time = b.out(16)
  b.call('clock_gettime', k.CLOCK_MONOTONIC, time)
  return time
}

/** struct timespec of a time from now; none that has passed. */
function timespec(milliseconds: number): Uint8Array {
  const left = Math.max(0, Math.ceil(milliseconds))
  return new Struct(16).u64(0, Math.floor(left / 1000)).u64(8, (left % 1000) * 1_000_000).bytes
}

/** What others say must not forge lines of our log. */
const oneLine = (text: string): string => text.replace(/\p{Cc}+/gu, ' ').trim()
