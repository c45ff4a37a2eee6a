/**
 * Machine code of x86-64. Encodings: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
 * Jumps always have a 32-bit displacement, so that an instruction's length depends on nothing but itself.
 */
import type { Comparison, Encoder, Instruction, Register } from './assembler.ts'

/** System call convention: syscall(2). The instruction overwrites rcx (t0) and r11 (t1). rsp stays unused. */
const registers: Record<Register, number> = {
  number: 0, // rax
  a0: 7, // rdi
  a1: 6, // rsi
  a2: 2, // rdx
  a3: 10, // r10
  a4: 8, // r8
  a5: 9, // r9
  result: 3, // rbx
  t0: 1, // rcx
  t1: 11, // r11
  op: 5, // rbp
  cell: 12,
  end: 13,
  reply: 14,
  base: 15,
}
const RAX = 0
const RSP = 4

/** Low four bits of the opcode 0F 8x. */
const conditions: Record<Comparison, number> = { equal: 4, 'not-equal': 5, less: 12, below: 2, 'at-or-above': 3 }

const little32 = (value: number) => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >>> 24) & 255]
const little64 = (value: bigint) => [
  ...little32(Number(BigInt.asIntN(32, value))),
  ...little32(Number(BigInt.asIntN(32, value >> 32n))),
]
const isByte = (value: number) => value >= -128 && value < 128

/** REX prefix; left out where it says nothing, unless `always`. */
function rex(wide: boolean, reg: number, rm: number, always = false): number[] {
  const prefix = 0x40 | (wide ? 8 : 0) | ((reg >> 3) << 2) | (rm >> 3)
  return prefix === 0x40 && !always ? [] : [prefix]
}

/** 64-bit operation on two registers. `reg` may be an opcode extension. */
const onRegisters = (opcode: number, reg: number, rm: number) => [
  ...rex(true, reg, rm),
  opcode,
  0xc0 | ((reg & 7) << 3) | (rm & 7),
]

/** ModRM, SIB and displacement of `[base + offset]`. */
function memory(reg: number, base: number, offset: number): number[] {
  const short = isByte(offset)
  const mod = offset === 0 && (base & 7) !== 5 ? 0 : short ? 1 : 2
  const head = [(mod << 6) | ((reg & 7) << 3) | (base & 7), ...((base & 7) === RSP ? [0x24] : [])]
  return mod === 0 ? head : [...head, ...(short ? [offset & 255] : little32(offset))]
}

function constant(to: number, value: bigint): number[] {
  if (value >= 0n && value < 1n << 32n) {
    return [...rex(false, 0, to), 0xb8 | (to & 7), ...little32(Number(BigInt.asIntN(32, value)))]
  }
  if (value === BigInt.asIntN(32, value)) return [...onRegisters(0xc7, 0, to), ...little32(Number(value))]
  return [...rex(true, 0, to), 0xb8 | (to & 7), ...little64(value)]
}

/** /0 add, /4 and, /5 sub, /7 cmp: the opcode extension with a constant, three bits of the opcode with a register. */
function arithmetic(extension: number, to: number, by: Register | number): number[] {
  if (typeof by !== 'number') return onRegisters((extension << 3) | 1, registers[by], to)
  return isByte(by)
    ? [...onRegisters(0x83, extension, to), by & 255]
    : [...onRegisters(0x81, extension, to), ...little32(by)]
}

function encode(instruction: Instruction, at: number, addressOf: (label: string) => number): readonly number[] {
  /** `code`, the last bytes of which are the opcode of a jump, with its displacement. */
  const jumping = (code: readonly number[], label: string) => [
    ...code,
    ...little32(addressOf(label) - (at + code.length + 4)),
  ]
  switch (instruction.name) {
    case 'label':
    case 'data':
      return []
    case 'set':
      return constant(registers[instruction.to], instruction.value)
    case 'address':
      return constant(registers[instruction.to], BigInt(addressOf(instruction.label)))
    case 'stack':
      return onRegisters(0x89, RSP, registers[instruction.to])
    case 'move':
      return onRegisters(0x89, registers[instruction.from], registers[instruction.to])
    case 'load': {
      const to = registers[instruction.to]
      const base = registers[instruction.base]
      const wide = instruction.width === 64 || instruction.width === -32
      const opcode = { 8: [0x0f, 0xb6], 16: [0x0f, 0xb7], 32: [0x8b], 64: [0x8b], [-32]: [0x63] }[instruction.width]
      return [...rex(wide, to, base), ...opcode, ...memory(to, base, instruction.offset)]
    }
    case 'store': {
      const from = registers[instruction.from]
      const base = registers[instruction.base]
      const { width, offset } = instruction
      return [
        ...(width === 16 ? [0x66] : []),
        ...rex(width === 64, from, base, width === 8),
        width === 8 ? 0x88 : 0x89,
        ...memory(from, base, offset),
      ]
    }
    case 'add':
      return arithmetic(0, registers[instruction.to], instruction.by)
    case 'subtract':
      return arithmetic(5, registers[instruction.to], instruction.by)
    case 'and':
      return arithmetic(4, registers[instruction.to], instruction.by)
    case 'left':
      return [...onRegisters(0xc1, 4, registers[instruction.to]), instruction.by]
    case 'right':
      return [...onRegisters(0xc1, 5, registers[instruction.to]), instruction.by]
    case 'branch':
      return jumping(
        [...arithmetic(7, registers[instruction.a], instruction.b), 0x0f, 0x80 | conditions[instruction.comparison]],
        instruction.label,
      )
    case 'jump':
      return jumping([0xe9], instruction.label)
    case 'return':
      return [0xc3]
    case 'syscall':
      return [0x0f, 0x05, ...onRegisters(0x89, RAX, registers.result)]
  }
}

export const x86_64: Encoder = { encode }
