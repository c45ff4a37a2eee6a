/** How operations become records: the innermost loops of planning. On QuickJS host.c does the same (src/engine-quickjs/operation.ts). */
import { encodeInto } from '../base/bytes.ts'
import { DATA, Mode, OP_SIZE, Op, RESULTS, SLOTS } from '../executor/protocol.ts'
import type { Arg } from './batch.ts'

/** 32-bit words of an operation record. */
export const OP_WORDS = OP_SIZE / 4

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

/** Adds a number to some words: to those whose indices are `from` and one of `offsets`. */
export function addToWords(words: Uint32Array, from: number, offsets: Uint32Array, value: number): void {
  for (let i = 0; i < offsets.length; i++) words[from + offsets[i]!]! += value
}

/** Words, each followed by the label whose index it gets. */
export type Jumps = (number | { readonly index: number })[]

/** Fills in where jumps go, in the high half of the words. False if a label's index is not between 0 and `count`. */
export function placeJumps(words: Uint32Array, jumps: Jumps, count: number): boolean {
  for (let i = 0; i < jumps.length; i += 2) {
    const { index } = jumps[i + 1] as { index: number }
    if (index < 0 || index > count) return false
    words[jumps[i] as number]! |= index << 16
  }
  return true
}

/** The parts of a batch that adding an operation changes. */
interface Target {
  count: number
  ops: Uint32Array
  growOps(): void
  readonly argLists: Arg[][]
  /** Words of `ops` that hold an offset into the output. */
  readonly outWords: number[]
  data(bytes: Uint8Array): DataPointer
  /** The data, which ends at `dataLength` and may become `capacity` long before `bytes` has to grow. */
  bytes: Uint8Array
  dataLength: number
  capacity: number
  grow(length: number): void
  /** Throws because of a NUL in a string. */
  refuse(text: string): never
}

/** Puts a NUL-terminated string into the data of a batch; gives its offset. */
export function putString(b: Target, text: string): number {
  const offset = b.dataLength
  // At most three bytes of UTF-8 for a UTF-16 unit, and the NUL. Memory beyond the data is zero.
  const end = offset + 3 * text.length + 1
  if (end > b.capacity) b.grow(end)
  const length = encodeInto(text, b.bytes, offset)
  if (length < 0) b.refuse(text)
  b.dataLength = (offset + length + 8) & ~7
  return offset
}

/**
 * Adds an operation to a batch and returns the object that stands for it: the property `index`, with the given prototype.
 * Bytes among the arguments are moved to the data of the batch, and a pointer takes their place.
 */
export function addOperation<S extends object>(b: Target, kind: number, number: number, args: Arg[], prototype: S): S {
  const index = b.count++
  const at = index * OP_WORDS
  if (at === b.ops.length) b.growOps()
  const { ops } = b
  ops[at] = number
  ops[at + 1] = kind
  let modes = 0
  let word = at + Op.ARGS / 4
  for (let i = 0; i < args.length; i++, word += 2) {
    const arg = args[i]!
    if (typeof arg === 'number') {
      // Stored modulo 2^32; the sign or what is above goes to the other word.
      ops[word] = arg
      ops[word + 1] = Math.floor(arg / 0x1_0000_0000)
    } else if (typeof arg === 'string') ops[word] = DATA + putString(b, arg)
    else if (typeof arg === 'bigint') {
      ops[word] = Number(arg & 0xffff_ffffn)
      ops[word + 1] = Number((arg >> 32n) & 0xffff_ffffn)
    } else if (arg instanceof Uint8Array) {
      const pointer = b.data(arg)
      args[i] = pointer
      ops[word] = DATA + pointer.offset
    } else {
      const load = arg.ref === Ref.SLOT || arg.ref === Ref.STEP ? 64 : arg.load
      if (arg.ref === Ref.SLOT) ops[word] = SLOTS + 8 * arg.slot
      else if (arg.ref === Ref.STEP) ops[word] = RESULTS + 8 * arg.index
      else if (arg.ref === Ref.DATA) ops[word] = DATA + arg.offset
      else {
        ops[word] = arg.offset
        b.outWords.push(word)
      }
      if (load !== 0) modes |= (load === 64 ? Mode.LOAD64 : Mode.LOAD32_SIGNED) << (2 * i)
    }
  }
  if (modes !== 0) ops[at + Op.MODES / 4] = modes
  b.argLists.push(args)
  return Object.assign(Object.create(prototype), { index })
}
