/**
 * A batch under construction: operations for an executor, the data they point to, and what each of them is for.
 *
 * This is written for speed: an interpreter plans about a thousand operations for a container while somebody waits for it
 * to start. So each operation is written in its final form at once. Only what is not known yet (jump targets, and addresses
 * of output buffers, which lie behind all results) is remembered and filled in by `encode`. For the same reason objects are
 * told apart by a number instead of `instanceof`, and `list[list.length] = item` stands for Array.push, which is a call.
 */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import {
  DATA,
  HEADER_SIZE,
  Header,
  Kind,
  MESSAGE_MAX,
  OP_SIZE,
  Op,
  REPLY_AT,
  REPLY_SIZE,
  RESULTS,
  Test,
} from '../executor/protocol.ts'
import { Errno } from '../linux/errno.ts'
import { type SyscallName, syscallName, syscallNumbers } from '../linux/syscalls.ts'
import {
  addOperation,
  addToWords,
  type DataPointer,
  type Jumps,
  OP_WORDS,
  type OutPointer,
  placeJumps,
  putString,
  Ref,
  type SlotValue,
} from './operation.ts'

export type { DataPointer, OutPointer } from './operation.ts'

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

/** One operation of a batch. As an argument of a later operation it stands for its result. */
export class Step {
  declare readonly ref: typeof Ref.STEP
  declare readonly batch: Batch
  declare readonly index: number

  /** Those of new operations are made by `addOperation`: objects with an index only, whose prototype is their batch's. */
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

  /** Also stores the result in a slot, which outlives the batch. */
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

const refOf = (arg: Arg): number | undefined => (typeof arg === 'object' && 'ref' in arg ? arg.ref : undefined)
const isStep = (arg: Arg): arg is Step => refOf(arg) === Ref.STEP

/** First of the characters that stand for texts to be filled in: Unicode's private use area. */
const BLANK = 0xe000

/** Placeholder in a template for a text that is filled in when the template is inserted. May be part of a longer text. */
export const blank = (index: number): string => String.fromCharCode(BLANK + index)

/** A text cut into pieces: every second one is a blank. */
const cut = (text: string): string[] => text.split(/([\ue000-\ue0ff])/)

/** A text with its blanks filled in. */
function fill(pieces: readonly string[], fillings: readonly string[]): string {
  let text = pieces[0]!
  for (let i = 1; i < pieces.length; i += 2) text += fillings[pieces[i]!.charCodeAt(0) - BLANK]! + pieces[i + 1]!
  return text
}

const hasBlank = (text: string): boolean => /[\ue000-\ue0ff]/.test(text)

/** A piece of plan, complete except for addresses and for the texts that fill its blanks: see `Batch.insert`. */
export interface Template {
  readonly ops: Uint32Array
  readonly data: Uint8Array
  /** Offsets in `ops` of words that depend on where the template's data, results and operations come to lie. */
  readonly dataWords: Uint32Array
  readonly resultWords: Uint32Array
  /** The high half of these says where to go on: an operation of the template. */
  readonly jumpWords: Uint32Array
  /** Texts with blanks, each with the words that hold its address; zero here. */
  readonly patterns: readonly { readonly pieces: readonly string[]; readonly words: Uint32Array }[]
  /** How many operations. */
  readonly count: number
  readonly describe: (index: number) => Description
}

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
  private readonly numbers: Readonly<Record<SyscallName, number>>
  /** Arguments of each operation planned here, those of templates left out. */
  readonly argLists: Arg[][] = []
  /** What operations are for, each followed by the index of the first such operation. */
  private readonly subjects: (string | number)[] = []
  /** Templates, and the index of their first operation. */
  private readonly inserted: { base: number; template: Template; fillings: readonly string[] }[] = []
  private subject = ''
  ops = new Uint32Array(64 * OP_WORDS)
  bytes = new Uint8Array(1024)
  dataLength = 0
  /** How long the data may become before `bytes` has to grow. */
  capacity = 1024 - 8
  private outBytes = 0
  /** Words of `ops` that hold an offset into the output. See operation.ts. */
  readonly outWords: number[] = []
  private readonly jumps: Jumps = []
  /** Forks, and where their children go on. */
  private readonly forks: { index: number; child: Label }[] = []
  /** Offsets in the data where the address of an output buffer goes. */
  private readonly patches: { offset: number; pointer: OutPointer }[] = []
  /** Whether structures in the data hold addresses, which a template could not move. */
  private pointed = false

  /** The prototype of this batch's steps. */
  private readonly steps: Step = Object.create(Step.prototype)

  constructor(machine: Machine) {
    ;(this.steps as { batch: Batch }).batch = this
    this.machine = machine
    this.numbers = syscallNumbers[machine]
  }

  /** Says what the operations from here on are for: a config field, a path. Errors of these operations begin with it. */
  about(text: string): this {
    if (text !== this.subject) {
      this.subject = text
      this.subjects.push(text, this.count)
    }
    return this
  }

  /** A system call. Arguments in the kernel's order. */
  call(name: SyscallName, ...args: Arg[]): Step {
    return addOperation(this, Kind.SYSCALL, this.numbers[name], args, this.steps)
  }

  /** clone or clone3; the child goes on at `child`. */
  fork(name: 'clone' | 'clone3', args: Arg[], child: Label): Step {
    const step = this.push(Kind.FORK, this.numbers[name], args)
    this.forks.push({ index: step.index, child })
    return step
  }

  jump(label: Label): Step {
    const step = this.push(Kind.JUMP, 0, [])
    this.target(step.index, label)
    return step
  }

  /** Goes on at `label` if the comparison holds. */
  branch(left: Arg, test: keyof typeof Test, right: Arg, label: Label): Step {
    const step = this.push(Kind.BRANCH, 0, [left, right])
    this.ops[step.index * OP_WORDS + 1]! |= Test[test] << 8
    this.target(step.index, label)
    return step
  }

  store(width: 32 | 64, pointer: Arg, value: Arg): Step {
    return this.push(width === 32 ? Kind.STORE32 : Kind.STORE64, 0, [pointer, value])
  }

  /** Copies a value into a slot. */
  set(slotNumber: number, value: Arg): Step {
    return this.push(Kind.ADD, 0, [value, 0]).keep(slotNumber)
  }

  add(left: Arg, right: Arg): Step {
    return this.push(Kind.ADD, 0, [left, right])
  }

  /** result = -value. FAIL is the one operation that negates; its error is expected and goes on at the next one. */
  negate(value: Arg): Step {
    const next = this.label()
    const step = this.push(Kind.FAIL, 0, [value]).on(ANY, next)
    this.place(next)
    return step
  }

  /** The executor answers on descriptor `fd` from here on. */
  session(fd: Arg): Step {
    return this.push(Kind.SESSION, 0, [fd])
  }

  /** Stops the batch as a failed system call with this errno would: its name, or a value from 1 on. */
  fail(errno: string | Step): Step {
    return this.push(Kind.FAIL, 0, [typeof errno === 'string' ? Errno[errno]! : errno])
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
    const { ops } = this
    const word = index * OP_WORDS + MODES_WORD
    if (errnos === ANY) ops[word]! |= ANY << 16
    else {
      if (errnos.length > 4) throw new RuntError('internal error: more than four expected errnos')
      ops[word]! |= Errno[errnos[0]!]! << 16
      for (let i = 1; i < errnos.length; i++)
        ops[word + (i >> 1)]! |= Errno[errnos[i]!]! << (i === 1 ? 24 : 8 * (i - 2))
    }
    this.jumps.push(word + 1, label)
  }

  /** Makes all operations so far that expect no error go on at `label` if they fail. Does not reach into templates. */
  otherwise(label: Label): void {
    for (let index = 0; index < this.count; index++) {
      const kind = this.ops[index * OP_WORDS + 1]! & 0xff
      const word = index * OP_WORDS + MODES_WORD
      const expects = this.ops[word]! >>> 16 || this.ops[word + 1]! & 0xffff
      if ((kind === Kind.SYSCALL || kind === Kind.FORK || kind === Kind.FAIL) && !expects)
        this.expect(index, ANY, label)
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

  /** Memory for results that only operations of this batch look at. All callers share it, so it holds until the next one uses it. */
  scratch(length: number): DataPointer {
    if (!this.scratch_ || this.scratch_.length < length) this.scratch_ = this.data(new Uint8Array(length))
    return this.scratch_
  }
  private scratch_: DataPointer | null = null

  /** A NUL-terminated string. Throws a RuntError when it holds a NUL itself. */
  string(text: string): DataPointer {
    const offset = putString(this, text)
    const end = this.bytes.indexOf(0, offset)
    return { ref: Ref.DATA, offset, length: end - offset + 1, load: 0, text }
  }

  /** See operation.ts. */
  refuse(text: string): never {
    throw new RuntError(`${this.subject ? `${this.subject}: ` : ''}${JSON.stringify(text)} contains a NUL byte`)
  }

  /** An array of pointers to strings, ended by a null pointer, as execve(2) takes. */
  strings(texts: readonly string[]): DataPointer {
    const pointers = texts.map((text) => this.string(text))
    const array = this.data(new Uint8Array(8 * (texts.length + 1)), () => `[${texts.length} strings]`)
    pointers.forEach((pointer, index) => {
      this.point(array.offset + 8 * index, pointer)
    })
    return array
  }

  /** A structure that holds pointers: at each offset the address of `arg` is filled in when the batch is laid out. */
  structure(bytes: Uint8Array, pointers: Record<number, DataPointer | OutPointer>, text?: string): DataPointer {
    const structure = this.data(bytes, text)
    for (const [offset, pointer] of Object.entries(pointers)) this.point(structure.offset + Number(offset), pointer)
    return structure
  }

  /** Writes the address of a pointer into the data. */
  private point(offset: number, pointer: DataPointer | OutPointer): void {
    this.pointed = true
    if (pointer.ref === Ref.OUT) this.patches.push({ offset, pointer })
    else new DataView(this.bytes.buffer).setUint32(offset, DATA + pointer.offset, true)
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

  /** Appends a prepared piece of plan, as if it had been planned here with these texts in place of the blanks. */
  insert(template: Template, fillings: readonly string[] = []): void {
    const base = this.count
    const from = base * OP_WORDS
    while (from + template.ops.length > this.ops.length) this.growOps()
    this.ops.set(template.ops, from)
    const offset = this.room(template.data.length)
    this.bytes.set(template.data, offset)
    const { ops } = this
    addToWords(ops, from, template.dataWords, offset)
    addToWords(ops, from, template.resultWords, 8 * base)
    addToWords(ops, from, template.jumpWords, base << 16)
    const { patterns } = template
    for (let i = 0; i < patterns.length; i++)
      addToWords(ops, from, patterns[i]!.words, DATA + putString(this, fill(patterns[i]!.pieces, fillings)))
    this.inserted.push({ base, template, fillings })
    this.count += template.count
  }

  /** Makes a template of all that was planned here. Output buffers, forks and structures with pointers cannot be part of one. */
  template(): Template {
    if (this.outBytes > 0 || this.forks.length > 0 || this.inserted.length > 0 || this.pointed)
      throw new RuntError('internal error: this plan cannot be a template')
    const wordsOf = (refers: (arg: Arg) => boolean): number[] =>
      this.argLists.flatMap((args, index) =>
        args.flatMap((arg, i) => (refers(arg) ? [index * OP_WORDS + Op.ARGS / 4 + 2 * i] : [])),
      )
    const patterns = [...new Set(this.argLists.flat())]
      .filter((arg) => typeof arg === 'string' && hasBlank(arg))
      .map((text) => ({ pieces: cut(text as string), words: Uint32Array.from(wordsOf((arg) => arg === text)) }))
    for (const { words } of patterns) for (const word of words) this.ops[word] = 0
    const ops = this.ops.slice(0, this.count * OP_WORDS)
    this.placeJumps(ops)
    const data = this.bytes.slice(0, this.dataLength)
    // The batch lives on in `describe`.
    this.ops = ops
    this.bytes = data
    return {
      ops,
      data,
      dataWords: Uint32Array.from(
        wordsOf((arg) => (typeof arg === 'string' ? !hasBlank(arg) : refOf(arg) === Ref.DATA)),
      ),
      patterns,
      resultWords: Uint32Array.from(wordsOf(isStep)),
      jumpWords: Uint32Array.from(this.jumps.filter((item) => typeof item === 'number')),
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
    for (const { base, template, fillings } of this.inserted) {
      if (index < base) break
      if (index < base + template.count) {
        const description = template.describe(index - base)
        return {
          ...description,
          args: description.args.map((arg) =>
            isStep(arg) ? new Step(this, arg.index + base) : typeof arg === 'string' ? fill(cut(arg), fillings) : arg,
          ),
          about: fill(cut(description.about), fillings),
        }
      }
      own -= template.count
    }
    const at = index * OP_WORDS
    const kind = this.ops[at + 1]! & 0xff
    const calls = kind === Kind.SYSCALL || kind === Kind.FORK
    const name = calls ? (syscallName(this.ops[at]!, this.machine) ?? null) : null
    const from = this.subjects.findLastIndex((item) => typeof item === 'number' && item <= index)
    return { kind, name, args: this.argLists[own]!, about: (this.subjects[from - 1] as string | undefined) ?? '' }
  }

  /** See operation.ts. */
  growOps(): void {
    const larger = new Uint32Array(2 * this.ops.length)
    larger.set(this.ops)
    this.ops = larger
  }

  private target(index: number, label: Label): void {
    this.jumps.push(index * OP_WORDS + TARGET_WORD, label)
  }

  /** Makes room for so many bytes of data; new ones are zero. */
  grow(length: number): void {
    const larger = new Uint8Array(Math.max(length + 8, 2 * this.bytes.length))
    larger.set(this.bytes)
    this.bytes = larger
    this.capacity = larger.length - 8
  }

  private room(length: number): number {
    const offset = this.dataLength
    if (offset + length > this.capacity) this.grow(offset + length)
    this.dataLength = (offset + length + 7) & ~7
    return offset
  }

  private push(kind: number, number: number, args: Arg[]): Step {
    return addOperation(this, kind, number, args, this.steps)
  }

  /** The message. `flags` are those of protocol.ts. `memory`: where it may be made. */
  encode(sequence: number, flags: number, memory?: ArrayBuffer): Uint8Array {
    const count = this.count
    const size = this.size
    const replyLength = this.outAt + this.outBytes
    if (size > MESSAGE_MAX || replyLength > MESSAGE_MAX)
      throw new RuntError(`internal error: a batch of ${size} bytes with an answer of ${replyLength} is too large`)
    const message = memory ? new Uint8Array(memory, 0, size) : new Uint8Array(size)
    const words = new Uint32Array(message.buffer, 0, size / 4)
    const operationsAt = HEADER_SIZE + this.dataLength
    words.fill(0, 0, HEADER_SIZE / 4)
    words[Header.SEQUENCE / 4] = sequence
    words[Header.COUNT / 4] = count
    words[Header.FLAGS / 4] = flags
    words[Header.REPLY_AT / 4] = REPLY_AT
    words[Header.REPLY_LENGTH / 4] = replyLength
    words[Header.OPERATIONS_AT / 4] = operationsAt

    message.set(this.bytes.subarray(0, this.dataLength), HEADER_SIZE)
    const ops = words.subarray(operationsAt / 4)
    ops.set(this.ops.subarray(0, count * OP_WORDS))
    const outputs = RESULTS + 8 * count
    const { outWords } = this
    for (let i = 0; i < outWords.length; i++) ops[outWords[i]!]! += outputs
    for (const { offset, pointer } of this.patches) words[(HEADER_SIZE + offset) / 4] = outputs + pointer.offset
    this.placeJumps(ops)
    return message
  }

  /** Fills in where jumps and forks of these operations go on. */
  private placeJumps(ops: Uint32Array): void {
    for (const { index, child } of this.forks) ops[index * OP_WORDS + (Op.ARGS + 5 * 8) / 4] = child.index
    if (!placeJumps(ops, this.jumps, this.count))
      throw new RuntError('internal error: a jump to a label that has no place')
  }
}

/** The value behind a pointer, when the operation runs. */
export function load(pointer: DataPointer | OutPointer, width: 32 | 64, offset = 0): DataPointer | OutPointer {
  return { ...pointer, offset: pointer.offset + offset, load: width }
}

/** A pointer into a buffer. */
export function at<P extends DataPointer | OutPointer>(pointer: P, offset: number): P {
  return { ...pointer, offset: pointer.offset + offset, length: pointer.length - offset }
}
