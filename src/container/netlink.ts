/**
 * rtnetlink(7): questions and answers of one message or several. The sockets belong to an executor; what is sent and received is put
 * together and taken apart here. linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
 */
import { encodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import { describeErrno, errnoName } from '../linux/errno.ts'
import { Batch } from '../session/batch.ts'
import type { Session } from '../session/session.ts'

export const AF_NETLINK = 16
export const NETLINK_ROUTE = 0

const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLM_F_MULTI = 2
const NLM_F_DUMP_INTR = 0x10

export const Message = { NEWLINK: 16, GETLINK: 18, NEWADDR: 20, GETADDR: 22 } as const
export const Flags = { REQUEST: 1, ACK: 4, EXCL: 0x200, CREATE: 0x400, DUMP: 0x300 } as const

/** Bytes of struct nlmsghdr, ifinfomsg, ifaddrmsg. */
const HEADER = 16
export const IFINFOMSG = 16
export const IFADDRMSG = 8
/** Longest answer that is received in one go: twice what the kernel uses for its dumps. */
const RECEIVED = 0x1_0000

/** An attribute: its type, and a number (32 bits), a name, or bytes. */
export type Attribute = readonly [type: number, value: number | string | Uint8Array]

const aligned = (length: number): number => (length + 3) & ~3

/** One message. `body`: the structure that the type of message begins with. */
export function encodeMessage(
  type: number,
  flags: number,
  body: Uint8Array,
  attributes: readonly Attribute[],
): Uint8Array {
  const values = attributes.map(([, value]) => {
    if (typeof value === 'number') return new Struct(4).u32(0, value).bytes
    return typeof value === 'string' ? encodeUtf8(`${value}\0`) : value
  })
  const length = values.reduce((sum, value) => sum + 4 + aligned(value.length), HEADER + body.length)
  const message = new Struct(length)
    .u32(0, length)
    .u16(4, type)
    .u16(6, flags | Flags.REQUEST)
    .u32(8, 1)
  message.bytes.set(body, HEADER)
  let at = HEADER + body.length
  values.forEach((value, index) => {
    message.u16(at, 4 + value.length).u16(at + 2, attributes[index]![0])
    message.bytes.set(value, at + 4)
    at += 4 + aligned(value.length)
  })
  return message.bytes
}

/** A message that came back: what its structure and its attributes hold. */
export interface Answered {
  type: number
  body: DataView
  attributes: Map<number, Uint8Array>
}

/** Takes apart what one recvfrom(2) gave. `size`: of the structure of the answers. `end`: the answer is complete. */
export function decodeMessages(
  bytes: Uint8Array,
  size: number,
): { answers: Answered[]; errno: number; end: boolean; torn: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const answers: Answered[] = []
  let torn = false
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const length = view.getUint32(at, true)
    const type = view.getUint16(at + 4, true)
    const flags = view.getUint16(at + 6, true)
    if (length < HEADER || at + length > bytes.length) throw new RuntError('netlink: an answer that is cut off')
    torn ||= (flags & NLM_F_DUMP_INTR) !== 0
    // The payload begins with an errno, negative; 0 is an acknowledgement.
    if (type === NLMSG_ERROR) return { answers, errno: -view.getInt32(at + HEADER, true), end: true, torn }
    if (type === NLMSG_DONE)
      return { answers, errno: length >= HEADER + 4 ? -view.getInt32(at + HEADER, true) : 0, end: true, torn }
    answers.push({
      type,
      body: new DataView(bytes.buffer, bytes.byteOffset + at + HEADER, Math.min(size, length - HEADER)),
      attributes: decodeAttributes(bytes.subarray(at + HEADER + size, at + length)),
    })
    if ((flags & NLM_F_MULTI) === 0) return { answers, errno: 0, end: true, torn }
    at += aligned(length)
  }
  return { answers, errno: 0, end: false, torn }
}

function decodeAttributes(bytes: Uint8Array): Map<number, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const attributes = new Map<number, Uint8Array>()
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true)
    if (length < 4 || at + length > bytes.length) break
    // The two high bits are flags.
    attributes.set(view.getUint16(at + 2, true) & 0x3fff, bytes.slice(at + 4, at + length))
    at += aligned(length)
  }
  return attributes
}

/** How often a dump is asked for again that changes came into. */
const TRIES = 10

/** An executor's socket of type AF_NETLINK, by its number. */
export class Netlink {
  readonly #session: Session
  readonly #machine: Machine
  readonly #fd: number

  constructor(session: Session, machine: Machine, fd: number) {
    this.#session = session
    this.#machine = machine
    this.#fd = fd
  }

  /** Sends a request and waits for all of the answer. Throws a RuntError that begins with `about` where the kernel refuses. */
  ask(about: string, size: number, message: Uint8Array): Answered[] {
    for (let tries = 1; ; tries++) {
      const { answers, errno, torn } = this.#once(about, size, message)
      if (errno !== 0) throw new RuntError(`${about}: ${describeErrno(errno)}`, errnoName(errno))
      if (!torn || tries === TRIES) return answers
    }
  }

  #once(about: string, size: number, message: Uint8Array): { answers: Answered[]; errno: number; torn: boolean } {
    const answers: Answered[] = []
    let torn = false
    for (let first = true; ; first = false) {
      const b = new Batch(this.#machine).about(about)
      if (first) b.call('sendto', this.#fd, b.data(message), message.length, 0, 0, 0)
      const buffer = b.out(RECEIVED)
      const count = b.call('recvfrom', this.#fd, buffer, buffer.length, 0, 0, 0)
      const answer = this.#session.run(b)
      const got = decodeMessages(answer.bytes(buffer, answer.value(count)), size)
      answers.push(...got.answers)
      torn ||= got.torn
      if (got.end) return { answers, errno: got.errno, torn }
    }
  }
}
