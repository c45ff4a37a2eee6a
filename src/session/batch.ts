/**
 * A batch under construction: operations for an executor, the data they point to, and what each of them is for.
 * `encode` lays it out as protocol.ts says.
 */
import { encodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import {
  ARENA,
  ARENA_SIZE,
  Flag,
  HEADER_SIZE,
  Header,
  Kind,
  MESSAGE_MAX,
  Mode,
  OP_SIZE,
  Op,
  REPLY_SIZE,
  SLOTS,
  Test,
} from '../executor/protocol.ts'
import { Errno } from '../linux/errno.ts'
import { type SyscallName, syscallNumber } from '../linux/syscalls.ts'

export type Machine = 'x86_64' | 'aarch64'

/** The value of a slot when the operation runs. */
export interface SlotValue {
  readonly kind: 'slot'
  readonly slot: number
}

/** A pointer to bytes that travel with the batch; with `load`, the value found there when the operation runs. */
export interface DataPointer {
  readonly kind: 'data'
  readonly offset: number
  readonly length: number
  readonly load?: 32 | 64
  /** What the bytes stand for, for rendering. */
  readonly text?: string
}

/** A pointer to an output buffer, part of the answer; with `load`, the value found there when the operation runs. */
export interface OutPointer {
  readonly kind: 'out'
  readonly offset: number
  readonly length: number
  readonly load?: 32 | 64
}

/** What an operation takes as an argument. A string is a pointer to its NUL-terminated bytes. */
export type Arg = number | bigint | string | Uint8Array | SlotValue | DataPointer | OutPointer | Step

/** A place in a batch to jump to. */
export interface Label {
  index: number
}

/** Refers to a slot as an argument. */
export function slot(number: number): SlotValue {
  return { kind: 'slot', slot: number }
}

/** Any errno at all, for `Step.on`. */
export const ANY = 255

/** One operation of a batch. As an argument of a later operation it stands for its result. */
export class Step {
  readonly index: number
  readonly kind: number
  readonly name: SyscallName | null
  readonly args: readonly Arg[]
  /** What the operation is part of: a config field, a path. Error messages start with it. */
  readonly about: string
  test = 0
  dst = 0
  target: Label | null = null
  errnos: number[] = []

  constructor(index: number, kind: number, name: SyscallName | null, args: readonly Arg[], about: string) {
    this.index = index
    this.kind = kind
    this.name = name
    this.args = args
    this.about = about
  }

  /** Goes on at `label` when the call fails with one of up to four errnos (names, or ANY). */
  on(errnos: readonly string[] | typeof ANY, label: Label): this {
    this.errnos = errnos === ANY ? [ANY] : errnos.map((name) => Errno[name]!)
    this.target = label
    return this
  }

  /** Keeps the result in a slot too. */
  keep(slotNumber: number): this {
    this.dst = slotNumber
    return this
  }
}

export class Batch {
  readonly machine: Machine
  readonly steps: Step[] = []
  /** Milliseconds that the batch may wait on purpose, on top of the session's own patience. */
  patience = 0
  #about = ''
  #data: Uint8Array[] = []
  #dataLength = 0
  #outLength = 0
  #strings = new Map<string, DataPointer>()
  #patches: { offset: number; arg: Arg }[] = []

  constructor(machine: Machine) {
    this.machine = machine
  }

  /** Names what the operations from here on are for. */
  about(text: string): this {
    this.#about = text
    return this
  }

  /** A system call. Arguments in the kernel's order. */
  call(name: SyscallName, ...args: Arg[]): Step {
    return this.#push(Kind.SYSCALL, name, args)
  }

  /** clone or clone3; the child goes on at `child`. */
  fork(name: 'clone' | 'clone3', args: Arg[], child: Label): Step {
    const step = this.#push(Kind.FORK, name, args)
    this.#forks.push({ step, child })
    return step
  }
  #forks: { step: Step; child: Label }[] = []

  jump(label: Label): Step {
    const step = this.#push(Kind.JUMP, null, [])
    step.target = label
    return step
  }

  /** Goes on at `label` if the comparison holds. */
  branch(left: Arg, test: keyof typeof Test, right: Arg, label: Label): Step {
    const step = this.#push(Kind.BRANCH, null, [left, right])
    step.test = Test[test]
    step.target = label
    return step
  }

  store(width: 32 | 64, pointer: Arg, value: Arg): Step {
    return this.#push(width === 32 ? Kind.STORE32 : Kind.STORE64, null, [pointer, value])
  }

  /** Copies a value into a slot. */
  set(slotNumber: number, value: Arg): Step {
    return this.#push(Kind.ADD, null, [value, 0]).keep(slotNumber)
  }

  add(left: Arg, right: Arg): Step {
    return this.#push(Kind.ADD, null, [left, right])
  }

  /** The executor answers on descriptor `fd` from here on. */
  session(fd: Arg): Step {
    return this.#push(Kind.SESSION, null, [fd])
  }

  /** Stops the batch as a failed system call with this errno would. */
  fail(errno: string): Step {
    return this.#push(Kind.FAIL, null, [Errno[errno]!])
  }

  /** A place to jump to; `place` says where it is. */
  label(): Label {
    return { index: -1 }
  }

  place(label: Label): void {
    label.index = this.steps.length
  }

  /** Bytes that travel with the batch, at an address that is a multiple of 8. */
  data(bytes: Uint8Array, text?: string): DataPointer {
    const pointer: DataPointer = {
      kind: 'data',
      offset: this.#dataLength,
      length: bytes.length,
      ...(text === undefined ? {} : { text }),
    }
    this.#data.push(bytes)
    this.#dataLength += (bytes.length + 7) & ~7
    return pointer
  }

  /** A NUL-terminated string. Throws a RuntError when it holds a NUL itself. */
  string(text: string): DataPointer {
    const known = this.#strings.get(text)
    if (known) return known
    if (text.includes('\0'))
      throw new RuntError(`${this.#about ? `${this.#about}: ` : ''}${JSON.stringify(text)} contains a NUL byte`)
    const bytes = encodeUtf8(text)
    const terminated = new Uint8Array(bytes.length + 1)
    terminated.set(bytes)
    const pointer = this.data(terminated, text)
    this.#strings.set(text, pointer)
    return pointer
  }

  /** An array of pointers to strings, ended by a null pointer, as execve(2) takes. */
  strings(texts: readonly string[]): DataPointer {
    const pointers = texts.map((text) => this.string(text))
    const array = this.data(new Uint8Array(8 * (texts.length + 1)), `[${texts.length} strings]`)
    pointers.forEach((pointer, index) => {
      this.#patches.push({ offset: array.offset + 8 * index, arg: pointer })
    })
    return array
  }

  /** A structure that holds pointers: at each offset the address of `arg` is filled in when the batch is laid out. */
  structure(bytes: Uint8Array, pointers: Record<number, DataPointer | OutPointer>, text?: string): DataPointer {
    const pointer = this.data(bytes, text)
    for (const [offset, arg] of Object.entries(pointers))
      this.#patches.push({ offset: pointer.offset + Number(offset), arg })
    return pointer
  }

  /** A buffer whose bytes come back with the answer; address a multiple of 8. */
  out(length: number): OutPointer {
    const pointer: OutPointer = { kind: 'out', offset: this.#outLength, length }
    this.#outLength += (length + 7) & ~7
    return pointer
  }

  /** Bytes that the message has so far; at most MESSAGE_MAX. */
  get size(): number {
    return HEADER_SIZE + this.steps.length * OP_SIZE + this.#dataLength
  }

  get outLength(): number {
    return this.#outLength
  }

  /** Offset of the output area within the answer. */
  get outAt(): number {
    return REPLY_SIZE + 8 * this.steps.length
  }

  #push(kind: number, name: SyscallName | null, args: Arg[]): Step {
    for (let i = 0; i < args.length; i++) {
      const arg = args[i]
      if (typeof arg === 'string') args[i] = this.string(arg)
      else if (arg instanceof Uint8Array) args[i] = this.data(arg)
    }
    const step = new Step(this.steps.length, kind, name, args, this.#about)
    this.steps.push(step)
    return step
  }

  /** The message. `flags` are those of protocol.ts. */
  encode(sequence: number, flags: number): Uint8Array {
    const count = this.steps.length
    const size = this.size
    const replyAt = size
    const replyLength = this.outAt + this.#outLength
    if (size > MESSAGE_MAX || replyLength > MESSAGE_MAX || replyAt + replyLength > ARENA_SIZE)
      throw new RuntError(`internal error: a batch of ${size} bytes with an answer of ${replyLength} is too large`)
    const message = new Uint8Array(size)
    const words = new Uint32Array(message.buffer)
    words[Header.SEQUENCE / 4] = sequence
    words[Header.COUNT / 4] = count
    words[Header.FLAGS / 4] = flags
    words[Header.REPLY_AT / 4] = replyAt
    words[Header.REPLY_LENGTH / 4] = replyLength

    const dataAt = HEADER_SIZE + count * OP_SIZE
    let offset = dataAt
    for (const bytes of this.#data) {
      message.set(bytes, offset)
      offset += (bytes.length + 7) & ~7
    }
    const resultsAt = ARENA + replyAt + REPLY_SIZE
    const address = (arg: DataPointer | OutPointer): number =>
      arg.kind === 'data' ? ARENA + dataAt + arg.offset : ARENA + replyAt + this.outAt + arg.offset
    for (const patch of this.#patches) words[(dataAt + patch.offset) / 4] = address(patch.arg as DataPointer)

    const forks = new Map(this.#forks.map(({ step, child }) => [step, child]))
    for (const step of this.steps) {
      const at = (HEADER_SIZE + step.index * OP_SIZE) / 4
      words[at] = step.name === null ? 0 : syscallNumber(step.name, this.machine)
      words[at + 1] = step.kind | (step.test << 8) | (step.dst << 16)
      let modes = 0
      let word = at + Op.ARGS / 4
      for (let i = 0; i < step.args.length; i++, word += 2) {
        const arg = step.args[i]!
        if (typeof arg === 'number') {
          words[word] = arg
          words[word + 1] = Math.floor(arg / 0x1_0000_0000)
        } else if (typeof arg === 'bigint') {
          words[word] = Number(BigInt.asUintN(32, arg))
          words[word + 1] = Number(BigInt.asUintN(32, arg >> 32n))
        } else if (arg instanceof Step) {
          words[word] = resultsAt + 8 * arg.index
          modes |= Mode.LOAD64 << (2 * i)
        } else if (typeof arg === 'object' && 'kind' in arg) {
          if (arg.kind === 'slot') {
            words[word] = SLOTS + 8 * arg.slot
            modes |= Mode.LOAD64 << (2 * i)
          } else {
            words[word] = address(arg)
            if (arg.load) modes |= (arg.load === 64 ? Mode.LOAD64 : Mode.LOAD32_SIGNED) << (2 * i)
          }
        }
      }
      const child = forks.get(step)
      if (child) words[at + (Op.ARGS + 40) / 4] = resolve(child, count)
      const [e0 = 0, e1 = 0, e2 = 0, e3 = 0] = step.errnos
      words[at + Op.MODES / 4] = modes | (e0 << 16) | (e1 << 24)
      words[at + Op.MODES / 4 + 1] = e2 | (e3 << 8) | (step.target ? resolve(step.target, count) << 16 : 0)
    }
    return message
  }
}

function resolve(label: Label, count: number): number {
  if (label.index < 0 || label.index > count) throw new RuntError('internal error: a jump to a label that has no place')
  return label.index
}

/** The value behind a pointer, when the operation runs. */
export function load(pointer: DataPointer | OutPointer, width: 32 | 64, offset = 0): DataPointer | OutPointer {
  return { ...pointer, offset: pointer.offset + offset, load: width }
}

/** A pointer into a buffer. */
export function at<P extends DataPointer | OutPointer>(pointer: P, offset: number): P {
  return { ...pointer, offset: pointer.offset + offset, length: pointer.length - offset }
}

export { Flag }
