import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeUtf8, encodeUtf8 } from '../base/bytes.ts'
import { Reply } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import { type Call, FakeKernel } from '../session/testing/fake-kernel.ts'
import { makeRaw, type Settings } from './caller-terminal.ts'
import { planRelay } from './relay.ts'
import { HostSlot } from './slots.ts'

const [MASTER, OUTPUT, SIGNALS, PID] = [20, 1, 21, 4711]
const EXITED = 0x1_0000

/** What happens, in order: bytes from one side, a signal, the end of the init with a status. */
type Event =
  | { program: string }
  | { user: string | null }
  | { signal: number }
  | { exit: number; others?: string }
  | { hangUp: true }

interface Outcome {
  /** What was written to stdout, to the master, and as signals to the init. */
  stdout: string
  master: string
  kills: number[]
  status: number
  log: string[]
  /** The batch ran to its end. */
  whole: boolean
}

/** Runs the relay against a world in which these events happen one after the other, each once the relay waits. */
function relay(
  events: Event[],
  settings: Settings = null,
  most = Infinity,
  broken = false,
  failing: Record<string, string[]> = {},
): Outcome {
  const outcome: Outcome = { stdout: '', master: '', kills: [], status: -1, log: [], whole: false }
  let fromProgram = ''
  let fromUser = ''
  let eof = false
  let hungUp = false
  const signals: number[] = []
  let exit = -1
  let reaped = false
  const take = (call: Call, text: string): number => {
    const piece = encodeUtf8(text).subarray(0, call.args[2]!)
    call.memory(call.args[1]!, piece.length).set(piece)
    return piece.length
  }
  const ready = (fd: number, events: number): number => {
    let bits = 0
    if (fd === MASTER && fromProgram) bits |= k.POLLIN
    if (fd === 0 && (fromUser || eof)) bits |= k.POLLIN
    if (fd === SIGNALS && signals.length > 0) bits |= k.POLLIN
    if (fd === OUTPUT || fd === MASTER) bits |= k.POLLOUT
    return bits & events
  }
  const happen = (): void => {
    const event = events.shift()
    if (!event) throw new Error('the relay waits for ever')
    if ('program' in event) fromProgram += event.program
    else if ('user' in event) {
      if (event.user === null) eof = true
      else fromUser += event.user
    } else if ('signal' in event) signals.push(event.signal)
    else if ('hangUp' in event) hungUp = true
    else {
      fromProgram += event.others ?? ''
      exit = event.exit
      signals.push(k.SIGCHLD)
    }
  }
  const kernel = new FakeKernel((call) => {
    const { name, args, memory } = call
    const errno = failing[name]?.shift()
    if (errno !== undefined) return errno
    if (name === 'ppoll') {
      const set = new DataView(memory(args[0]!, 8 * args[1]!).slice().buffer)
      const answer = memory(args[0]!, 8 * args[1]!)
      for (;;) {
        let count = 0
        for (let i = 0; i < args[1]!; i++) {
          const fd = set.getInt32(8 * i, true)
          const bits = fd < 0 ? 0 : ready(fd, set.getInt16(8 * i + 4, true))
          answer[8 * i + 6] = bits
          if (bits) count++
        }
        if (count > 0 || args[2] !== 0) return count
        happen()
      }
    }
    if (name === 'read' && args[0] === MASTER) {
      if (!fromProgram) return hungUp ? 'EIO' : 'EAGAIN'
      const count = take(call, fromProgram)
      fromProgram = fromProgram.slice(count)
      return count
    }
    if (name === 'read' && args[0] === 0) {
      const count = take(call, fromUser)
      fromUser = fromUser.slice(count)
      return count
    }
    if (name === 'read') {
      memory(args[1]!, 4)[0] = signals.shift()!
      return 128
    }
    if (name === 'write') {
      if (args[0] === OUTPUT && broken) return 'EPIPE'
      const count = Math.min(args[2]!, most)
      outcome[args[0] === MASTER ? 'master' : 'stdout'] += decodeUtf8(memory(args[1]!, count).slice())
      return count
    }
    if (name === 'waitid') {
      if (reaped) return 'ECHILD'
      if (exit < 0) return 0
      reaped = true
      const info = new DataView(memory(args[2]!, 128).slice().buffer)
      info.setInt32(8, exit & EXITED ? k.CLD_EXITED : 2, true)
      info.setInt32(16, PID, true)
      info.setInt32(24, exit & 0xffff, true)
      memory(args[2]!, 128).set(new Uint8Array(info.buffer))
      return 0
    }
    if (name === 'clone') return 99
    if (name === 'kill') outcome.kills.push(args[1]!)
    return 0
  })
  const b = new Batch('x86_64')
  b.set(HostSlot.TERMINAL, MASTER)
  b.set(HostSlot.OUTPUT, OUTPUT)
  b.set(HostSlot.SIGNALS, SIGNALS)
  planRelay(b, PID, settings)
  kernel.send(b.encode(1, 0))
  const reply = kernel.receive() as Uint8Array
  const stopped = new DataView(reply.buffer).getUint32(Reply.STOPPED_AT, true)
  return { ...outcome, whole: stopped === b.count, status: Number(kernel.slot(HostSlot.STATUS)), log: kernel.log }
}

test('bytes go both ways, and the exit status is left', () => {
  const { stdout, master, status, whole } = relay([
    { program: 'hello' },
    { user: 'answer' },
    { program: ' world' },
    { exit: EXITED | 5 },
  ])
  assert.equal([stdout, master, status, whole], ['hello world', 'answer', 5, true])
})

test('what is written in pieces is written whole', () => {
  const text = 'abcdefghij'.repeat(100)
  const { stdout, master } = relay([{ program: text }, { user: text }, { program: 'z' }, { exit: EXITED }], null, 7)
  assert.is(stdout, `${text}z`)
  assert.is(master, text)
})

test('what the program wrote before its end is passed on after it', () => {
  const text = 'x'.repeat(10_000)
  assert.is(relay([{ exit: EXITED }], null).stdout, '')
  const late = relay([{ program: text }, { exit: EXITED }], null, 100)
  assert.is(late.stdout, text)
})

test('what others write after the end of the program is passed on for a while only', () => {
  const { stdout } = relay([{ exit: EXITED, others: 'y'.repeat(1_000_000) }])
  assert.ok(stdout.length >= 0x1_0000 && stdout.length < 0x2_0000, String(stdout.length))
})

test('signals are forwarded, but those of the terminal itself', () => {
  const events = [k.SIGWINCH, 15, k.SIGPIPE, 1].map((signal) => ({ signal }))
  const { kills, log, status } = relay([...events, { exit: 9 }])
  assert.equal(kills, [15, 1])
  assert.ok(log.some((line) => line.startsWith(`ioctl(${MASTER}, ${k.TIOCSWINSZ}`)))
  assert.is(status, 128 + 9)
})

test('the end of the input and a closed stdout do not end the program', () => {
  const { master, status } = relay([{ user: null }, { program: 'lost' }, { exit: EXITED | 3 }], null, Infinity, true)
  assert.equal([master, status], ['', 3])
})

test('the terminal of the caller is raw meanwhile', () => {
  const settings = new Uint8Array(36)
  const { log } = relay([{ exit: EXITED }], settings)
  assert.is(log.filter((line) => line.startsWith(`ioctl(0, ${k.TCSETS}`)).length, 2)
})

test('an interrupted poll is repeated', () => {
  const { stdout, status } = relay([{ program: 'x' }, { exit: EXITED | 3 }], null, Infinity, false, {
    ppoll: ['EINTR', 'EAGAIN', 'EINTR'],
  })
  assert.equal([stdout, status], ['x', 3])
})

for (const name of ['ppoll', 'waitid'])
  test(`where ${name} is refused, the terminal is restored and the batch says so`, () => {
    const settings = new Uint8Array(36)
    const errors = Array.from({ length: 9 }, () => 'EINVAL')
    const failing = { [name]: errors }
    const { log, whole } = relay([{ exit: EXITED }], settings, Infinity, false, failing)
    assert.is(whole, false)
    assert.ok(errors.length >= 7)
    assert.is(log.filter((line) => line.startsWith(`ioctl(0, ${k.TCSETS}`)).length, 2)
  })

test('a raw terminal passes every byte on as it is', () => {
  const cooked = new Uint8Array(36)
  const view = new DataView(cooked.buffer)
  view.setUint32(0, 0x6d02 | k.ICRNL | k.IXON, true)
  view.setUint32(4, 5, true)
  view.setUint32(8, 0xbf, true)
  view.setUint32(12, 0x8a3b, true)
  const raw = new DataView(makeRaw(cooked).buffer)
  assert.is(raw.getUint32(0, true) & (k.ICRNL | k.IXON), 0)
  assert.is(raw.getUint32(4, true), 4)
  assert.is(raw.getUint32(8, true), 0xbf)
  assert.is(raw.getUint32(12, true) & (k.ECHO | k.ICANON | k.ISIG | k.IEXTEN), 0)
  assert.is(raw.getUint8(17 + k.VMIN), 1)
  assert.is(view.getUint32(12, true), 0x8a3b, 'the original is not changed')
})

test.run()
