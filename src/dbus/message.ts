/** D-Bus messages (D-Bus Specification, "Message Format"). */
import { RuntError } from '../base/errors.ts'
import { marshal, Reader, unmarshal, type Value, type Variant, variant, Writer } from './marshal.ts'

export const MessageType = { CALL: 1, REPLY: 2, ERROR: 3, SIGNAL: 4 } as const

/** Header fields that this client uses, and their types. */
const Field = {
  PATH: 1,
  INTERFACE: 2,
  MEMBER: 3,
  ERROR_NAME: 4,
  REPLY_SERIAL: 5,
  DESTINATION: 6,
  SIGNATURE: 8,
} as const

const VERSION = 1
const LITTLE = 0x6c
const BIG = 0x42
/** Bytes up to and with the length of the header fields. */
export const PREFIX = 16
/** Bytes of a message that is taken: answers of systemd's have some hundred. The specification allows 128 MiB. */
const MESSAGE_MAX = 0x10_0000

export interface MethodCall {
  /** Name on the bus; null on a connection without a bus. */
  destination: string | null
  path: string
  interface: string
  member: string
  /** Of the arguments. */
  signature: string
  body: readonly Value[]
}

export interface Message {
  type: number
  /** Of the call that is answered; 0 in signals. */
  replySerial: number
  path: string
  interface: string
  member: string
  errorName: string
  signature: string
  body: Value[]
}

/** The bytes of a method call. `serial`: its number on this connection, which the reply repeats. */
export function encodeCall(call: MethodCall, serial: number): Uint8Array {
  const body = marshal(call.signature, call.body)
  const fields: Value[] = [
    [Field.PATH, variant('o', call.path)],
    [Field.INTERFACE, variant('s', call.interface)],
    [Field.MEMBER, variant('s', call.member)],
  ]
  if (call.destination !== null) fields.push([Field.DESTINATION, variant('s', call.destination)])
  if (call.signature !== '') fields.push([Field.SIGNATURE, variant('g', call.signature)])
  return new Writer()
    .write('y', LITTLE)
    .write('y', MessageType.CALL)
    .write('y', 0)
    .write('y', VERSION)
    .write('u', body.length)
    .write('u', serial)
    .write('a(yv)', fields)
    .align(8)
    .raw(body).bytes
}

/** Length of a message by its first `PREFIX` bytes. Throws a RuntError for what is no message. */
export function messageLength(prefix: Uint8Array): number {
  const [order, , , version] = prefix
  if ((order !== LITTLE && order !== BIG) || version !== VERSION)
    throw new RuntError('what the other side sent is not D-Bus')
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength)
  const body = view.getUint32(4, order === LITTLE)
  const fields = view.getUint32(12, order === LITTLE)
  const length = ((PREFIX + fields + 7) & ~7) + body
  if (body > MESSAGE_MAX || fields > MESSAGE_MAX || length > MESSAGE_MAX)
    throw new RuntError(`the other side announced a D-Bus message of ${PREFIX + fields + body} bytes`)
  return length
}

/** Reads a whole message. Throws a RuntError. */
export function decodeMessage(bytes: Uint8Array): Message {
  const little = bytes[0] === LITTLE
  const reader = new Reader(bytes, little, PREFIX - 4)
  const texts: Record<number, string> = {}
  let replySerial = 0
  for (const [code, { signature, value }] of reader.read('a(yv)') as [number, Variant][]) {
    if (code === Field.REPLY_SERIAL && signature === 'u') replySerial = value as number
    else if (typeof value === 'string') texts[code] = value
  }
  reader.align(8)
  const signature = texts[Field.SIGNATURE] ?? ''
  return {
    type: bytes[1]!,
    replySerial,
    path: texts[Field.PATH] ?? '',
    interface: texts[Field.INTERFACE] ?? '',
    member: texts[Field.MEMBER] ?? '',
    errorName: texts[Field.ERROR_NAME] ?? '',
    signature,
    body: unmarshal(signature, bytes.subarray(reader.position), little),
  }
}
