/**
 * A batch under construction: operations for an executor, the data they point to, and what each of them is for.
 *
 * Some thousand operations are planned for a container, by an interpreter, while somebody waits for it to start. So
 * operations are written to their final form at once; only what depends on the batch's final size (addresses, jump
 * targets) is remembered, and filled in by `encode`. Objects are told apart by a number, not by their class.
 */
import { encodeInto } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import {
  ARENA,
  ARENA_SIZE,
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

/** What kind of argument an object is. */
export const Ref = { STEP: 1, SLOT: 2, DATA: 3, OUT: 4 } as const

/** The value of a slot when the operation runs. */
export interface SlotValue {
  readonly ref: typeof Ref.SLOT
  readonly slot: number
}

/** A pointer to bytes that travel with the batch; with `load`, the value found there when the operation runs. */
export interface DataPointer {
  readonly ref: typeof Ref.DATA
  readonly offset: number
  readonly length: number
  readonly load: 0 | 32 | 64
  /** What the bytes stand for, for rendering. */
  readonly text: string | (() => string) | undefined
}

/** A pointer to an output buffer, part of the answer; with `load`, the value found there when the operation runs. */
export interface OutPointer {
  readonly ref: typeof Ref.OUT
  readonly offset: number
  readonly length: number
  readonly load: 0 | 32 | 64
}

/** What an operation takes as an argument. A string is a pointer to its NUL-terminated bytes. */
export type Arg = number | bigint | string | Uint8Array | SlotValue | DataPointer | OutPointer | Step

/** A place in a batch to jump to. */
export interface Label {
  index: number
}

const slots: SlotValue[] = []

/** Refers to a slot as an argument. */
export function slot(number: number): SlotValue {
  let value = slots[number]
  if (!value) {
    value = { ref: Ref.SLOT, slot: number }
    slots[number] = value
  }
  return value
}

/** Any errno at all, for `Step.on`. */
export const ANY = 255

/**
 * One operation of a batch. As an argument of a later operation it stands for its result.
 * It holds two fields and no more: QuickJS allocates again for every two or three that a new object gets.
 */
export class Step {
  declare readonly ref: typeof Ref.STEP
  declare readonly batch: Batch
  declare readonly index: number

  constructor(batch: Batch, index: number) {
    this.batch = batch
    this.index = index
  }

  get kind(): number {
    return this.batch.describe(this.index).kind
  }

  get name(): SyscallName | null {
    return this.batch.describe(this.index).name
  }

  get args(): readonly Arg[] {
    return this.batch.describe(this.index).args
  }

  /** What the operation is part of: a config field, a path. Error messages start with it. */
  get about(): string {
    return this.batch.describe(this.index).about
  }

  /** Goes on at `label` when the call fails with one of up to four errnos (names, or ANY). */
  on(errnos: readonly string[] | typeof ANY, label: Label): this {
    this.batch.expect(this.index, errnos, label)
    return this
  }

  /** Keeps the result in a slot too. */
  keep(slotNumber: number): this {
    this.batch.keep(this.index, slotNumber)
    return this
  }
}

// On the prototype: the same for all.
Object.defineProperty(Step.prototype, 'ref', { value: Ref.STEP })

/** What an operation is, for messages. */
export interface Description {
  kind: number
  name: SyscallName | null
  args: readonly Arg[]
  about: string
}

const isStep = (arg: Arg): arg is Step => typeof arg === 'object' && 'ref' in arg && arg.ref === Ref.STEP

/** A piece of plan in its final form but for addresses: see `Batch.insert`. */
export interface Template {
  readonly ops: Uint32Array
  readonly data: Uint8Array
  readonly dataWords: readonly number[]
  readonly resultWords: readonly number[]
  readonly jumpWords: readonly number[]
  readonly jumpTargets: readonly number[]
  /** How many operations. */
  readonly count: number
  readonly describe: (index: number) => Description
}

/** 32-bit words of an operation record. */
const OP_WORDS = OP_SIZE / 4
const MODES_WORD = Op.MODES / 4
const TARGET_WORD = MODES_WORD + 1

export class Batch {
  readonly machine: Machine
  /** How many operations there are. */
  count = 0
  /** Milliseconds that the batch may wait on purpose, on top of the session's own patience. */
  patience = 0
  /** Structures for openat2 that operations share; see calls.ts. */
  readonly hows: { flags: number; mode: number; resolve: number; pointer: DataPointer }[] = []
  /** What is known of each operation planned here, those of templates left out: name, arguments, subject. */
  private readonly names: (SyscallName | null)[] = []
  private readonly argLists: Arg[][] = []
  private readonly subjects: string[] = []
  /** Templates, and the index of their first operation. */
  private readonly inserted: { base: number; template: Template }[] = []
  private subject = ''
  private ops = new Uint32Array(32 * OP_WORDS)
  private bytes = new Uint8Array(1024)
  private dataLength = 0
  private outBytes = 0
  /** Offsets of strings in the data. */
  private readonly strings_ = new Map<string, number>()
  /** Words of `ops` that hold an offset into data, results, or output. */
  private readonly dataWords: number[] = []
  private readonly resultWords: number[] = []
  private readonly outWords: number[] = []
  /** Words of `ops` and the labels whose indices go there: in the high half, or (forks) as a whole. */
  private readonly jumpWords: number[] = []
  private readonly jumpLabels: Label[] = []
  private readonly forkWords: number[] = []
  private readonly forkLabels: Label[] = []
  /** Offsets in the data where the address of a pointer goes. */
  private readonly patches: { offset: number; pointer: DataPointer | OutPointer }[] = []

  constructor(machine: Machine) {
    this.machine = machine
  }

  /** Names what the operations from here on are for. */
  about(text: string): this {
    this.subject = text
    return this
  }

  /** A system call. Arguments in the kernel's order. */
  call(name: SyscallName, ...args: Arg[]): Step {
    return this.push(Kind.SYSCALL, name, args)
  }

  /** clone or clone3; the child goes on at `child`. */
  fork(name: 'clone' | 'clone3', args: Arg[], child: Label): Step {
    const step = this.push(Kind.FORK, name, args)
    this.forkWords.push(step.index * OP_WORDS + (Op.ARGS + 5 * 8) / 4)
    this.forkLabels.push(child)
    return step
  }

  jump(label: Label): Step {
    const step = this.push(Kind.JUMP, null, [])
    this.target(step.index, label)
    return step
  }

  /** Goes on at `label` if the comparison holds. */
  branch(left: Arg, test: keyof typeof Test, right: Arg, label: Label): Step {
    const step = this.push(Kind.BRANCH, null, [left, right])
    this.ops[step.index * OP_WORDS + 1]! |= Test[test] << 8
    this.target(step.index, label)
    return step
  }

  store(width: 32 | 64, pointer: Arg, value: Arg): Step {
    return this.push(width === 32 ? Kind.STORE32 : Kind.STORE64, null, [pointer, value])
  }

  /** Copies a value into a slot. */
  set(slotNumber: number, value: Arg): Step {
    return this.push(Kind.ADD, null, [value, 0]).keep(slotNumber)
  }

  add(left: Arg, right: Arg): Step {
    return this.push(Kind.ADD, null, [left, right])
  }

  /** result = -value, for a value from 1 on: what an operation that fails with it gives. */
  negate(value: Arg): Step {
    const next = this.label()
    const step = this.push(Kind.FAIL, null, [value]).on(ANY, next)
    this.place(next)
    return step
  }

  /** The executor answers on descriptor `fd` from here on. */
  session(fd: Arg): Step {
    return this.push(Kind.SESSION, null, [fd])
  }

  /** Stops the batch as a failed system call with this errno would: its name, or a value from 1 on. */
  fail(errno: string | Step): Step {
    return this.push(Kind.FAIL, null, [typeof errno === 'string' ? Errno[errno]! : errno])
  }

  /** A place to jump to; `place` says where it is. */
  label(): Label {
    return { index: -1 }
  }

  place(label: Label): void {
    label.index = this.count
  }

  /** See Step.on. */
  expect(index: number, errnos: readonly string[] | typeof ANY, label: Label): void {
    const word = index * OP_WORDS + MODES_WORD
    if (errnos === ANY) this.ops[word]! |= ANY << 16
    else {
      if (errnos.length > 4) throw new RuntError('internal error: more than four expected errnos')
      for (let i = 0; i < errnos.length; i++)
        this.ops[word + (i >> 1)]! |= Errno[errnos[i]!]! << (i === 0 ? 16 : i === 1 ? 24 : 8 * (i - 2))
    }
    this.target(index, label)
  }

  /** Operations that expect no error go on at `label` if they fail. Not those of templates. */
  otherwise(label: Label): void {
    for (let index = 0; index < this.count; index++) {
      const kind = this.ops[index * OP_WORDS + 1]! & 0xff
      const word = index * OP_WORDS + MODES_WORD
      const expects = this.ops[word]! >>> 16 || this.ops[word + 1]! & 0xffff
      if ((kind === Kind.SYSCALL || kind === Kind.FORK) && !expects) this.expect(index, ANY, label)
    }
  }

  /** See Step.keep. */
  keep(index: number, slotNumber: number): void {
    this.ops[index * OP_WORDS + 1]! |= slotNumber << 16
  }

  /** Bytes that travel with the batch, at an address that is a multiple of 8. */
  data(bytes: Uint8Array, text?: string | (() => string)): DataPointer {
    const offset = this.room(bytes.length)
    this.bytes.set(bytes, offset)
    return { ref: Ref.DATA, offset, length: bytes.length, load: 0, text }
  }

  /** Memory of the batch's own for the kernel to write to that nobody reads from the answer. Shared by all who ask for it. */
  scratch(length: number): DataPointer {
    if (!this.scratch_ || this.scratch_.length < length) this.scratch_ = this.data(new Uint8Array(length))
    return this.scratch_
  }
  private scratch_: DataPointer | null = null

  /** A NUL-terminated string. Throws a RuntError when it holds a NUL itself. */
  string(text: string): DataPointer {
    const offset = this.stringAt(text)
    const end = this.bytes.indexOf(0, offset)
    return { ref: Ref.DATA, offset, length: end - offset + 1, load: 0, text }
  }

  /** Offset of a NUL-terminated string in the data. */
  private stringAt(text: string): number {
    const known = this.strings_.get(text)
    if (known !== undefined) return known
    if (text.includes('\0'))
      throw new RuntError(`${this.subject ? `${this.subject}: ` : ''}${JSON.stringify(text)} contains a NUL byte`)
    const offset = this.dataLength
    // At most three bytes of UTF-8 for a UTF-16 unit, and the NUL. Memory beyond the data is zero.
    this.grow(3 * text.length + 1)
    this.dataLength = (offset + encodeInto(text, this.bytes, offset) + 8) & ~7
    this.strings_.set(text, offset)
    return offset
  }

  /** An array of pointers to strings, ended by a null pointer, as execve(2) takes. */
  strings(texts: readonly string[]): DataPointer {
    const pointers = texts.map((text) => this.string(text))
    const array = this.data(new Uint8Array(8 * (texts.length + 1)), () => `[${texts.length} strings]`)
    pointers.forEach((pointer, index) => {
      this.patches.push({ offset: array.offset + 8 * index, pointer })
    })
    return array
  }

  /** A structure that holds pointers: at each offset the address of `arg` is filled in when the batch is laid out. */
  structure(bytes: Uint8Array, pointers: Record<number, DataPointer | OutPointer>, text?: string): DataPointer {
    const structure = this.data(bytes, text)
    for (const [offset, pointer] of Object.entries(pointers))
      this.patches.push({ offset: structure.offset + Number(offset), pointer })
    return structure
  }

  /** A buffer whose bytes come back with the answer; address a multiple of 8. */
  out(length: number): OutPointer {
    const pointer: OutPointer = { ref: Ref.OUT, offset: this.outBytes, length, load: 0 }
    this.outBytes += (length + 7) & ~7
    return pointer
  }

  /** Bytes that the message has so far; at most MESSAGE_MAX. */
  get size(): number {
    return HEADER_SIZE + this.count * OP_SIZE + this.dataLength
  }

  get outLength(): number {
    return this.outBytes
  }

  /** Offset of the output area within the answer. */
  get outAt(): number {
    return REPLY_SIZE + 8 * this.count
  }

  /** Appends a prepared piece of plan, as if it had been planned here. */
  insert(template: Template): void {
    const base = this.count
    const from = base * OP_WORDS
    while (from + template.ops.length > this.ops.length) this.growOps()
    this.ops.set(template.ops, from)
    const offset = this.room(template.data.length)
    this.bytes.set(template.data, offset)
    const { ops } = this
    for (const word of template.dataWords) {
      ops[from + word]! += offset
      this.dataWords.push(from + word)
    }
    for (const word of template.resultWords) {
      ops[from + word]! += 8 * base
      this.resultWords.push(from + word)
    }
    const { jumpWords, jumpTargets } = template
    for (let i = 0; i < jumpWords.length; i++) {
      this.jumpWords.push(from + jumpWords[i]!)
      this.jumpLabels.push({ index: base + jumpTargets[i]! })
    }
    this.inserted.push({ base, template })
    this.count += template.count
  }

  /** Makes a template of all that was planned here. Output buffers, forks and structures with pointers cannot be part of one. */
  template(): Template {
    if (this.outBytes > 0 || this.forkWords.length > 0 || this.patches.length > 0)
      throw new RuntError('internal error: this plan cannot be a template')
    return {
      ops: this.ops.slice(0, this.count * OP_WORDS),
      data: this.bytes.slice(0, this.dataLength),
      dataWords: this.dataWords,
      resultWords: this.resultWords,
      jumpWords: this.jumpWords,
      jumpTargets: this.jumpLabels.map((label) => resolve(label, this.count)),
      count: this.count,
      describe: (index) => this.describe(index),
    }
  }

  /** The operation at an index. */
  stepAt(index: number): Step {
    return new Step(this, index)
  }

  /** What the operation at an index is, also where it came with a template. */
  describe(index: number): Description {
    let own = index
    for (const { base, template } of this.inserted) {
      if (index < base) break
      if (index < base + template.count) {
        const description = template.describe(index - base)
        return {
          ...description,
          args: description.args.map((arg) => (isStep(arg) ? new Step(this, arg.index + base) : arg)),
        }
      }
      own -= template.count
    }
    const kind = this.ops[index * OP_WORDS + 1]! & 0xff
    return { kind, name: this.names[own]!, args: this.argLists[own]!, about: this.subjects[own]! }
  }

  private growOps(): void {
    const larger = new Uint32Array(2 * this.ops.length)
    larger.set(this.ops)
    this.ops = larger
  }

  private target(index: number, label: Label): void {
    append(this.jumpWords, index * OP_WORDS + TARGET_WORD)
    append(this.jumpLabels, label)
  }

  /** Makes room for `length` more bytes of data behind what is there; zeros. */
  private grow(length: number): void {
    const needed = this.dataLength + length + 8
    if (needed <= this.bytes.length) return
    const larger = new Uint8Array(Math.max(needed, 2 * this.bytes.length))
    larger.set(this.bytes)
    this.bytes = larger
  }

  private room(length: number): number {
    this.grow(length)
    const offset = this.dataLength
    this.dataLength = (offset + length + 7) & ~7
    return offset
  }

  private push(kind: number, name: SyscallName | null, args: Arg[]): Step {
    const index = this.count++
    const at = index * OP_WORDS
    if (at === this.ops.length) this.growOps()
    const ops = this.ops
    if (name !== null) ops[at] = syscallNumber(name, this.machine)
    ops[at + 1] = kind
    let modes = 0
    let word = at + Op.ARGS / 4
    const count = args.length
    for (let i = 0; i < count; i++, word += 2) {
      const arg = args[i]!
      if (typeof arg === 'number') {
        // Stored modulo 2^32; the sign or what is above goes to the other word.
        ops[word] = arg
        if (arg < 0 || arg > 0xffff_ffff) ops[word + 1] = Math.floor(arg / 0x1_0000_0000)
      } else if (typeof arg === 'string') {
        ops[word] = this.stringAt(arg)
        append(this.dataWords, word)
      } else if (typeof arg === 'bigint') {
        ops[word] = Number(arg & 0xffff_ffffn)
        ops[word + 1] = Number((arg >> 32n) & 0xffff_ffffn)
      } else {
        const ref = (arg as { ref?: number }).ref
        if (ref === Ref.SLOT) {
          ops[word] = SLOTS + 8 * (arg as SlotValue).slot
          modes |= Mode.LOAD64 << (2 * i)
        } else if (ref === Ref.STEP) {
          ops[word] = 8 * (arg as Step).index
          append(this.resultWords, word)
          modes |= Mode.LOAD64 << (2 * i)
        } else {
          const pointer = ref === undefined ? this.data(arg as Uint8Array) : (arg as DataPointer | OutPointer)
          if (ref === undefined) args[i] = pointer
          ops[word] = pointer.offset
          append(pointer.ref === Ref.DATA ? this.dataWords : this.outWords, word)
          if (pointer.load !== 0) modes |= (pointer.load === 64 ? Mode.LOAD64 : Mode.LOAD32_SIGNED) << (2 * i)
        }
      }
    }
    if (modes !== 0) ops[at + MODES_WORD] = modes
    append(this.names, name)
    append(this.argLists, args)
    append(this.subjects, this.subject)
    return new Step(this, index)
  }

  /** The message. `flags` are those of protocol.ts. */
  encode(sequence: number, flags: number): Uint8Array {
    const count = this.count
    const size = this.size
    const replyLength = this.outAt + this.outBytes
    if (size > MESSAGE_MAX || replyLength > MESSAGE_MAX || size + replyLength > ARENA_SIZE)
      throw new RuntError(`internal error: a batch of ${size} bytes with an answer of ${replyLength} is too large`)
    const message = new Uint8Array(size)
    const words = new Uint32Array(message.buffer)
    words[Header.SEQUENCE / 4] = sequence
    words[Header.COUNT / 4] = count
    words[Header.FLAGS / 4] = flags
    words[Header.REPLY_AT / 4] = size
    words[Header.REPLY_LENGTH / 4] = replyLength

    const dataAt = HEADER_SIZE + count * OP_SIZE
    words.set(this.ops.subarray(0, count * OP_WORDS), HEADER_SIZE / 4)
    message.set(this.bytes.subarray(0, this.dataLength), dataAt)
    const ops = words.subarray(HEADER_SIZE / 4)
    const dataBase = ARENA + dataAt
    const resultBase = ARENA + size + REPLY_SIZE
    const outBase = ARENA + size + this.outAt
    for (const word of this.dataWords) ops[word]! += dataBase
    for (const word of this.resultWords) ops[word]! += resultBase
    for (const word of this.outWords) ops[word]! += outBase
    const { jumpWords, jumpLabels, forkWords, forkLabels } = this
    for (let i = 0; i < jumpWords.length; i++) ops[jumpWords[i]!]! |= resolve(jumpLabels[i]!, count) << 16
    for (let i = 0; i < forkWords.length; i++) ops[forkWords[i]!] = resolve(forkLabels[i]!, count)
    for (const { offset, pointer } of this.patches)
      words[(dataAt + offset) / 4] = pointer.offset + (pointer.ref === Ref.DATA ? dataBase : outBase)
    return message
  }
}

/** What Array.push does, without the cost of calling a built-in function. */
function append<T>(list: T[], item: T): void {
  list[list.length] = item
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
