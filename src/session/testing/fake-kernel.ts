/**
 * An executor without a kernel: interprets batches as the real one does, and asks a function of the test's what each system call
 * returns. For unit tests of everything that plans or sends batches.
 */
import { decodeUtf8 } from '../../base/bytes.ts'
import type { Channel } from '../../base/platform.ts'
import {
  ARENA,
  DATA_END,
  Flag,
  Header,
  Kind,
  Mode,
  NOT_RUN,
  OP_SIZE,
  Op,
  REPLY_SIZE,
  Reply,
  SKIPPED,
  SLOTS,
  Slot,
  Test,
} from '../../executor/protocol.ts'
import { Errno } from '../../linux/errno.ts'
import { type SyscallName, syscallName } from '../../linux/syscalls.ts'

/** One system call as the fake kernel sees it. */
export interface Call {
  name: SyscallName
  args: number[]
  /** The NUL-terminated string at an address. */
  text(address: number): string
  /** Bytes of the executor's memory, to read or to fill in. */
  memory(address: number, length: number): Uint8Array
}

/** Answers a call: a result, or the name of an errno. */
export type Kernel = (call: Call) => number | string

/** Succeeds at everything: descriptors count up from 100, anything else is 0. */
export function agreeableKernel(): Kernel {
  let fd = 100
  const opening = new Set<SyscallName>([
    'openat',
    'openat2',
    'open_tree',
    'fsopen',
    'fsmount',
    'socket',
    'accept4',
    'memfd_create',
    'pidfd_open',
    'signalfd4',
  ])
  return ({ name, args, memory }) => {
    // As many descriptors as there is room for: struct msghdr, struct cmsghdr.
    if (name === 'recvmsg') {
      const header = new DataView(memory(args[1]!, 56).slice().buffer)
      const [control, length] = [header.getUint32(32, true), header.getUint32(40, true)]
      const bytes = memory(control, length)
      const view = new DataView(bytes.buffer, bytes.byteOffset, length)
      view.setUint32(0, length, true)
      for (let at = 16; at + 4 <= length; at += 4) view.setInt32(at, fd++, true)
      return 1
    }
    if (opening.has(name)) return fd++
    if (name === 'write') return args[2]!
    return name === 'clone' || name === 'clone3' ? 4711 : 0
  }
}

export class FakeKernel implements Channel {
  /** Every call in order, rendered `name(arg, …)` with strings where an argument points to printable text. */
  readonly log: string[] = []
  /** Batches received, and their bytes. */
  batches = 0
  bytes = 0
  /** Answers that were taken: how often the brain has waited. */
  answers = 0
  readonly #kernel: Kernel
  readonly #memory = new Uint8Array(DATA_END - ARENA)
  readonly #view = new DataView(this.#memory.buffer)
  readonly #replies: Uint8Array[] = []
  /** Set to end the session: `receive` gives null once the replies are taken. */
  gone = false

  constructor(kernel: Kernel = agreeableKernel()) {
    this.#kernel = kernel
  }

  send(message: Uint8Array): void {
    if (this.gone) return
    this.batches++
    this.bytes += message.length
    this.#memory.set(message, 0)
    this.#run()
  }

  receive(): Uint8Array | null | 'timeout' {
    const reply = this.#replies.shift()
    if (reply) this.answers++
    return reply ?? (this.gone ? null : 'timeout')
  }

  close(): void {
    this.gone = true
  }

  slot(number: number): bigint {
    return this.#view.getBigInt64(SLOTS - ARENA + 8 * number, true)
  }

  #setSlot(number: number, value: bigint): void {
    this.#view.setBigInt64(SLOTS - ARENA + 8 * number, value, true)
  }

  #run(): void {
    const view = this.#view
    const sequence = view.getUint32(Header.SEQUENCE, true)
    const count = view.getUint32(Header.COUNT, true)
    const flags = view.getUint32(Header.FLAGS, true)
    const replyAt = view.getUint32(Header.REPLY_AT, true)
    const replyLength = view.getUint32(Header.REPLY_LENGTH, true)
    view.setUint32(replyAt + Reply.SEQUENCE, sequence, true)
    view.setBigUint64(replyAt + 8, 0n, true)
    if (flags & Flag.FRESH) this.#setSlot(Slot.FAILED, 0n)
    if (this.slot(Slot.FAILED) !== 0n) {
      if (flags & Flag.SILENT) return
      view.setUint32(replyAt + Reply.STOPPED_AT, SKIPPED, true)
      this.#replies.push(this.#memory.slice(replyAt, replyAt + REPLY_SIZE))
      return
    }
    for (let i = 0; i < count; i++) view.setBigInt64(replyAt + REPLY_SIZE + 8 * i, NOT_RUN, true)
    let index = 0
    let failed = false
    // A loop that a test's kernel never ends would hang the test.
    for (let steps = 0; index < count; steps++) {
      if (steps > 100_000) throw new Error('the batch does not end')
      const next = this.#perform(index, replyAt)
      if (next === null) {
        failed = true
        break
      }
      index = next
    }
    if (failed) this.#setSlot(Slot.FAILED, 1n)
    else if (flags & Flag.SILENT) return
    view.setUint32(replyAt + Reply.STOPPED_AT, index, true)
    this.#replies.push(this.#memory.slice(replyAt, replyAt + replyLength))
  }

  /** Performs one operation; gives the next one's index, or null when the batch stops here. */
  #perform(index: number, replyAt: number): number | null {
    const view = this.#view
    const at = view.getUint32(Header.OPERATIONS_AT, true) + index * OP_SIZE
    const kind = view.getUint8(at + Op.KIND)
    const modes = view.getUint16(at + Op.MODES, true)
    const target = view.getUint16(at + Op.TARGET, true)
    const args: bigint[] = []
    for (let i = 0; i < 6; i++) {
      const word = view.getBigInt64(at + Op.ARGS + 8 * i, true)
      const mode = (modes >> (2 * i)) & 3
      const offset = Number(word) - ARENA
      if (mode === Mode.IMMEDIATE) args.push(word)
      else if (mode === Mode.LOAD64) args.push(view.getBigInt64(offset, true))
      else if (mode === Mode.LOAD32) args.push(BigInt(view.getUint32(offset, true)))
      else args.push(BigInt(view.getInt32(offset, true)))
    }
    const [a, b] = args as [bigint, bigint]
    let result = 0n
    let next = index + 1
    switch (kind) {
      case Kind.JUMP:
        next = target
        break
      case Kind.BRANCH: {
        const test = view.getUint8(at + Op.TEST)
        const taken = test === Test.EQUAL ? a === b : test === Test.NOT_EQUAL ? a !== b : a < b
        result = taken ? 1n : 0n
        if (taken) next = target
        break
      }
      case Kind.STORE32:
        view.setUint32(Number(a) - ARENA, Number(BigInt.asUintN(32, b)), true)
        break
      case Kind.STORE64:
        view.setBigInt64(Number(a) - ARENA, b, true)
        break
      case Kind.ADD:
        result = BigInt.asIntN(64, a + b)
        break
      case Kind.SESSION:
        this.#setSlot(Slot.SESSION, a)
        this.#setSlot(Slot.FAILED, 0n)
        break
      case Kind.FAIL:
        result = -a
        break
      default:
        result = this.#call(view.getUint32(at + Op.NUMBER, true), args)
    }
    // A test's kernel that answers 0 wants to see what the child does.
    if (kind === Kind.FORK && result === 0n) next = Number(args[5])
    view.setBigInt64(replyAt + REPLY_SIZE + 8 * index, result, true)
    const dst = view.getUint16(at + Op.DST, true)
    if (dst) this.#setSlot(dst, result)
    const canFail = kind === Kind.SYSCALL || kind === Kind.FORK || kind === Kind.FAIL
    if (!canFail || result >= 0n || result < -4095n) return next
    for (let i = 0; i < 4; i++) {
      const errno = view.getUint8(at + Op.ERRNOS + i)
      if (errno === 255 || (errno !== 0 && BigInt(errno) === -result)) return target
    }
    return null
  }

  #call(number: number, words: bigint[]): bigint {
    const name = syscallName(number, 'x86_64')
    if (!name) throw new Error(`no system call has the number ${number}`)
    const args = words.map(Number)
    const text = (address: number): string => {
      const start = address - ARENA
      return decodeUtf8(this.#memory.subarray(start, this.#memory.indexOf(0, start)))
    }
    const inArena = (arg: number): boolean => arg >= ARENA && arg < SLOTS
    this.log.push(
      `${name}(${args.map((arg) => (inArena(arg) && /^[ -~]+$/.test(text(arg)) ? `"${text(arg)}"` : arg)).join(', ')})`,
    )
    const result = this.#kernel({
      name,
      args,
      text,
      memory: (address, length) => this.#memory.subarray(address - ARENA, address - ARENA + length),
    })
    return typeof result === 'string' ? BigInt(-Errno[result]!) : BigInt(result)
  }
}
