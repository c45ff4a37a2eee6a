/** How an operation becomes a record: the innermost loop of planning. */
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

/** The parts of a batch that adding an operation changes. */
interface Target {
  count: number
  ops: Uint32Array
  growOps(): void
  readonly argLists: Arg[][]
  /** Words of `ops` that hold an offset into the output. */
  readonly outWords: number[]
  stringAt(text: string): number
  data(bytes: Uint8Array): DataPointer
}

/**
 * Adds an operation to a batch and returns the object that stands for it: the properties `batch` and `index`, with the given prototype.
 * Bytes among the arguments are moved to the data of the batch, and a pointer takes their place. On QuickJS host.c does the same, in a
 * fraction of the time (src/engine-quickjs/operation.ts).
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
    } else if (typeof arg === 'string') ops[word] = DATA + b.stringAt(arg)
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
  return Object.assign(Object.create(prototype), { batch: b, index })
}
