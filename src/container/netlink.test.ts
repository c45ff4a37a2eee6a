import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Struct } from '../base/bytes.ts'
import { Session } from '../session/session.ts'
import { FakeKernel } from '../session/testing/fake-kernel.ts'
import { decodeMessages, encodeMessage, Flags, IFINFOMSG, Message, Netlink } from './netlink.ts'

const LINK = new Struct(IFINFOMSG).u32(4, 7).bytes
const MULTI = 2
const INTERRUPTED = 0x10
const ERROR = 2
const DONE = 3

/** A message as the kernel sends it. */
function sent(type: number, flags: number, body: Uint8Array): Uint8Array {
  const message = new Struct(16 + body.length)
    .u32(0, 16 + body.length)
    .u16(4, type)
    .u16(6, flags)
  message.bytes.set(body, 16)
  return message.bytes
}
const errno = (number: number) => sent(ERROR, 0, new Struct(20).u32(0, -number >>> 0).bytes)
const both = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]))

test('a message has its length, and attributes at multiples of four', () => {
  const bytes = encodeMessage(Message.GETLINK, Flags.ACK, LINK, [
    [3, 'eth0'],
    [29, 8],
  ])
  const view = new DataView(bytes.buffer)
  assert.is(view.getUint32(0, true), bytes.length)
  assert.is(bytes.length, 16 + 16 + 12 + 8)
  assert.is(view.getUint16(6, true), Flags.ACK | Flags.REQUEST)
  assert.is(view.getUint16(32, true), 4 + 5)
  assert.is(view.getUint16(46, true), 29)
  assert.is(view.getUint32(48, true), 8)
})

test('what was put together is taken apart', () => {
  const bytes = encodeMessage(Message.NEWLINK, 0, LINK, [[3, 'eth0']])
  const { answers, errno: failed, end } = decodeMessages(bytes, IFINFOMSG)
  assert.is(failed, 0)
  assert.is(end, true)
  assert.is(answers[0]!.body.getInt32(4, true), 7)
  assert.equal(
    [...answers[0]!.attributes.get(3)!],
    [...'eth0\0'].map((letter) => letter.charCodeAt(0)),
  )
})

test('an answer of several messages goes on up to its last', () => {
  const link = sent(Message.NEWLINK, MULTI, LINK)
  assert.is(decodeMessages(both(link, link), IFINFOMSG).end, false)
  const { answers, end, torn } = decodeMessages(
    both(link, sent(DONE, MULTI | INTERRUPTED, new Uint8Array(4))),
    IFINFOMSG,
  )
  assert.is(answers.length, 1)
  assert.is(end, true)
  assert.is(torn, true)
})

test('nonsense does not lead beyond the bytes that are there', () => {
  assert.throws(() => decodeMessages(sent(Message.NEWLINK, 0, LINK).subarray(0, 20), IFINFOMSG), /cut off/)
  const short = sent(Message.NEWLINK, 0, both(LINK, new Struct(4).u16(0, 400).bytes))
  assert.is(decodeMessages(short, IFINFOMSG).answers[0]!.attributes.size, 0)
  assert.is(decodeMessages(new Uint8Array(3), IFINFOMSG).end, false)
})

/** Asks a kernel that gives these answers, one a recvfrom(2). */
function ask(replies: Uint8Array[]) {
  const kernel = new FakeKernel(({ name, args, memory }) => {
    if (name !== 'recvfrom') return 0
    const reply = replies.shift()!
    memory(args[1]!, reply.length).set(reply)
    return reply.length
  })
  const message = encodeMessage(Message.GETLINK, Flags.DUMP, LINK, [])
  return new Netlink(new Session('host', kernel), 'x86_64', 5).ask('linux.netDevices.h0', IFINFOMSG, message)
}

test('an errno in an answer is an error', () => {
  assert.throws(() => ask([errno(16)]), /^linux\.netDevices\.h0: EBUSY/)
  assert.equal(ask([errno(0)]), [])
})

test('an answer that changes came into is asked for again', () => {
  const link = sent(Message.NEWLINK, MULTI, LINK)
  const done = sent(DONE, MULTI, new Uint8Array(4))
  const torn = sent(DONE, MULTI | INTERRUPTED, new Uint8Array(4))
  assert.is(ask([both(link, link), torn, link, done]).length, 1)
})

test.run()
