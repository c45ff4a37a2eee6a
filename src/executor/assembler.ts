/**
 * A small portable assembler: just the instructions that the executor's program (program.ts) needs, each of
 * which every supported machine can express in a few of its own. There is no register allocation: a virtual register is
 * one machine register, for ever. No instruction relies on flags that another one left behind.
 */

/**
 * `number` and `a0`…`a5` are where the machine's system call convention wants them. A system call keeps every register
 * but `number`, `a0`, `result`, `t0` and `t1`.
 */
const registers = [
  'number',
  'a0',
  'a1',
  'a2',
  'a3',
  'a4',
  'a5',
  'result',
  't0',
  't1',
  'op',
  'cell',
  'end',
  'reply',
  'base',
] as const
export type Register = (typeof registers)[number]

/** Bits of a load or store. Narrower loads are zero-extended; `-32` is a 32-bit load that is sign-extended. */
export type Width = 8 | 16 | 32 | 64

/** Comparisons of 64-bit values; `below` and `at-or-above` are unsigned, `less` is signed. */
export type Comparison = 'equal' | 'not-equal' | 'less' | 'below' | 'at-or-above'

export type Instruction =
  | { readonly name: 'label'; readonly label: string }
  | { readonly name: 'data'; readonly bytes: Uint8Array }
  | { readonly name: 'set'; readonly to: Register; readonly value: bigint }
  | { readonly name: 'address'; readonly to: Register; readonly label: string }
  | { readonly name: 'stack'; readonly to: Register }
  | { readonly name: 'move'; readonly to: Register; readonly from: Register }
  | ({ readonly name: 'load'; readonly width: Width | -32; readonly to: Register } & Memory)
  | ({ readonly name: 'store'; readonly width: Width; readonly from: Register } & Memory)
  | { readonly name: 'add' | 'subtract'; readonly to: Register; readonly by: Register | number }
  | { readonly name: 'and' | 'left' | 'right'; readonly to: Register; readonly by: number }
  | {
      readonly name: 'branch'
      readonly a: Register
      readonly comparison: Comparison
      readonly b: Register | number
      readonly label: string
    }
  | { readonly name: 'jump'; readonly label: string }
  | { readonly name: 'syscall' | 'return' }

interface Memory {
  readonly base: Register
  /** Bytes: 0…255, and further up to 4095 widths if it is a multiple of the width. */
  readonly offset: number
}

export const label = (name: string): Instruction => ({ name: 'label', label: name })
export const data = (bytes: Uint8Array): Instruction => ({ name: 'data', bytes })
/** to = value. */
export const set = (to: Register, value: number | bigint): Instruction => ({ name: 'set', to, value: BigInt(value) })
/** to = absolute address of a label. */
export const address = (to: Register, name: string): Instruction => ({ name: 'address', to, label: name })
/** to = stack pointer. */
export const stack = (to: Register): Instruction => ({ name: 'stack', to })
export const move = (to: Register, from: Register): Instruction => ({ name: 'move', to, from })
export const load = (width: Width | -32, to: Register, base: Register, offset = 0): Instruction => ({
  name: 'load',
  width,
  to,
  base,
  offset,
})
export const store = (width: Width, from: Register, base: Register, offset = 0): Instruction => ({
  name: 'store',
  width,
  from,
  base,
  offset,
})
/** to += by; a constant is 0…4095. */
export const add = (to: Register, by: Register | number): Instruction => ({ name: 'add', to, by })
/** to -= by; a constant is 0…4095. */
export const subtract = (to: Register, by: Register | number): Instruction => ({ name: 'subtract', to, by })
/** to &= mask, which is one run of ones. */
export const and = (to: Register, mask: number): Instruction => ({ name: 'and', to, by: mask })
export const left = (to: Register, bits: number): Instruction => ({ name: 'left', to, by: bits })
/** Logical: zeroes come in. */
export const right = (to: Register, bits: number): Instruction => ({ name: 'right', to, by: bits })
/** Goes to the label if `a comparison b`; a constant is -4095…4095. */
export const branch = (a: Register, comparison: Comparison, b: Register | number, name: string): Instruction => ({
  name: 'branch',
  a,
  comparison,
  b,
  label: name,
})
export const jump = (name: string): Instruction => ({ name: 'jump', label: name })
/** result = the system call `number`(a0…a5). */
export const syscall: Instruction = { name: 'syscall' }
/** Ends a function that was called as the machine calls functions: the stack pointer is what it was then. */
export const back: Instruction = { name: 'return' }

/** A machine the assembler can write for. */
export interface Encoder {
  /**
   * Machine code of one instruction (not of labels and data) at address `at`. The number of bytes must not
   * depend on what `addressOf` returns.
   */
  encode(instruction: Instruction, at: number, addressOf: (label: string) => number): readonly number[]
}

export interface Assembled {
  readonly bytes: Uint8Array
  readonly labels: ReadonlyMap<string, number>
  /** Every instruction with its address and its bytes, for `listing`. */
  readonly lines: readonly {
    readonly at: number
    readonly bytes: readonly number[]
    readonly instruction: Instruction
  }[]
}

/** Lays the program out from `origin` and resolves its labels. Throws on a label that is missing or there twice. */
export function assemble(program: readonly Instruction[], encoder: Encoder, origin: number): Assembled {
  const encode = (instruction: Instruction, at: number, addressOf: (label: string) => number) =>
    instruction.name === 'label'
      ? []
      : instruction.name === 'data'
        ? [...instruction.bytes]
        : encoder.encode(instruction, at, addressOf)

  const labels = new Map<string, number>()
  let at = origin
  for (const instruction of program) {
    if (instruction.name === 'label') {
      if (labels.has(instruction.label)) throw new Error(`label ${instruction.label} is there twice`)
      labels.set(instruction.label, at)
    }
    const here = at
    at += encode(instruction, here, () => here).length
  }

  const addressOf = (name: string) => {
    const found = labels.get(name)
    if (found === undefined) throw new Error(`label ${name} is missing`)
    return found
  }
  at = origin
  const lines = program.map((instruction) => {
    const line = { at, bytes: encode(instruction, at, addressOf), instruction }
    at += line.bytes.length
    return line
  })
  return { bytes: Uint8Array.from(lines.flatMap((line) => line.bytes)), labels, lines }
}

/** The program as text, one instruction a line: address, bytes in hex, instruction. */
export function listing(assembled: Assembled): string {
  const lines = assembled.lines.map(({ at, bytes, instruction }) => {
    if (instruction.name === 'label') return `${instruction.label}:`
    const hex = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    if (instruction.name === 'data') return `  ${at.toString(16)}  ${hex}`
    return `  ${at.toString(16)}  ${hex.padEnd(30)}  ${describe(instruction)}`
  })
  return `${lines.join('\n')}\n`
}

const symbols: Record<Comparison, string> = {
  equal: '==',
  'not-equal': '!=',
  less: '<',
  below: '<u',
  'at-or-above': '>=u',
}

function describe(instruction: Instruction): string {
  switch (instruction.name) {
    case 'label':
    case 'data':
    case 'syscall':
    case 'return':
      return instruction.name
    case 'set': {
      const { to, value } = instruction
      return `${to} = ${value >= -4096n && value < 4096n ? value : `0x${BigInt.asUintN(64, value).toString(16)}`}`
    }
    case 'address':
      return `${instruction.to} = &${instruction.label}`
    case 'stack':
      return `${instruction.to} = stack`
    case 'move':
      return `${instruction.to} = ${instruction.from}`
    case 'load': {
      const type = instruction.width < 0 ? `i${-instruction.width}` : `u${instruction.width}`
      return `${instruction.to} = ${type}[${instruction.base} + ${instruction.offset}]`
    }
    case 'store':
      return `u${instruction.width}[${instruction.base} + ${instruction.offset}] = ${instruction.from}`
    case 'add':
      return `${instruction.to} += ${instruction.by}`
    case 'subtract':
      return `${instruction.to} -= ${instruction.by}`
    case 'and':
      return `${instruction.to} &= ${instruction.by}`
    case 'left':
      return `${instruction.to} <<= ${instruction.by}`
    case 'right':
      return `${instruction.to} >>= ${instruction.by}`
    case 'branch':
      return `if ${instruction.a} ${symbols[instruction.comparison]} ${instruction.b} goto ${instruction.label}`
    case 'jump':
      return `goto ${instruction.label}`
  }
}
