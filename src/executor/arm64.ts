/**
 * Machine code of arm64: one 32-bit word an instruction. Encodings: Arm Architecture Reference Manual for A-profile
 * (DDI 0487), chapter C6.
 */
import type { Comparison, Encoder, Instruction, Register } from './assembler.ts'

/** System call convention: syscall(2). The kernel returns in x0 (a0) and keeps every other register. */
const registers: Record<Register, number> = {
  number: 8,
  a0: 0,
  a1: 1,
  a2: 2,
  a3: 3,
  a4: 4,
  a5: 5,
  result: 6,
  t0: 9,
  t1: 10,
  op: 19,
  cell: 20,
  end: 21,
  reply: 22,
  base: 23,
}
const X0 = 0
const SP = 31
const XZR = 31

const conditions: Record<Comparison, number> = { equal: 0, 'not-equal': 1, less: 11, below: 3, 'at-or-above': 2 }

const loads = { 8: 0x39400000, 16: 0x79400000, 32: 0xb9400000, 64: 0xf9400000, [-32]: 0xb9800000 }
const stores = { 8: 0x39000000, 16: 0x79000000, 32: 0xb9000000, 64: 0xf9000000 }

function unsigned12(value: number): number {
  if (value < 0 || value > 4095 || !Number.isInteger(value))
    throw new Error(`arm64 cannot encode the constant ${value}`)
  return value << 10
}

const move = (to: number, from: number) => 0xaa000000 | (from << 16) | (XZR << 5) | to

/** movz or movn for the first 16-bit piece that matters, movk for the others. */
function constant(to: number, value: bigint): number[] {
  const pieces = [0, 1, 2, 3].map((index) => Number((BigInt.asUintN(64, value) >> BigInt(index * 16)) & 0xffffn))
  const inverted = pieces.filter((piece) => piece === 0xffff).length > pieces.filter((piece) => piece === 0).length
  const filler = inverted ? 0xffff : 0
  const needed = [0, 1, 2, 3].filter((index) => pieces[index] !== filler)
  return (needed.length === 0 ? [0] : needed).map((index, position) => {
    const [opcode, piece] =
      position > 0
        ? [0xf2800000, pieces[index]!]
        : inverted
          ? [0x92800000, pieces[index]! ^ 0xffff]
          : [0xd2800000, pieces[index]!]
    return opcode | (index << 21) | (piece << 5) | to
  })
}

/** Offsets are scaled by the width; an offset that is no multiple of it takes the unscaled form (LDUR, STUR). */
function memory(
  opcode: number,
  value: Register,
  instruction: { base: Register; offset: number },
  bits: number,
): number {
  const size = Math.abs(bits) / 8
  const rest = (registers[instruction.base] << 5) | registers[value]
  if (instruction.offset % size === 0) return opcode | unsigned12(instruction.offset / size) | rest
  if (instruction.offset > 255) throw new Error(`arm64 cannot encode the offset ${instruction.offset}`)
  return (opcode ^ 0x01000000) | (instruction.offset << 12) | rest
}

/** N, immr and imms of a bitmask that is one run of ones. */
function bitmask(mask: number): number {
  const start = 31 - Math.clz32(mask & -mask)
  const ones = 32 - Math.clz32(mask) - start
  if (mask <= 0 || mask !== 2 ** start * (2 ** ones - 1)) throw new Error(`arm64 cannot encode the mask ${mask}`)
  return (1 << 22) | (((64 - start) & 63) << 16) | ((ones - 1) << 10)
}

const bitfield = (to: number, immr: number, imms: number) => 0xd3400000 | (immr << 16) | (imms << 10) | (to << 5) | to

function compare(a: Register, b: Register | number): number {
  const rest = (registers[a] << 5) | XZR
  if (typeof b !== 'number') return 0xeb000000 | (registers[b] << 16) | rest
  return b < 0 ? 0xb1000000 | unsigned12(-b) | rest : 0xf1000000 | unsigned12(b) | rest
}

function words(instruction: Instruction, at: number, addressOf: (label: string) => number): number[] {
  switch (instruction.name) {
    case 'label':
    case 'data':
      return []
    case 'set':
      return constant(registers[instruction.to], instruction.value)
    case 'address': {
      const distance = addressOf(instruction.label) - at
      return [0x10000000 | ((distance & 3) << 29) | (((distance >> 2) & 0x7ffff) << 5) | registers[instruction.to]]
    }
    case 'stack':
      return [0x91000000 | (SP << 5) | registers[instruction.to]]
    case 'move':
      return [move(registers[instruction.to], registers[instruction.from])]
    case 'load':
      return [memory(loads[instruction.width], instruction.to, instruction, instruction.width)]
    case 'store':
      return [memory(stores[instruction.width], instruction.from, instruction, instruction.width)]
    case 'add':
    case 'subtract': {
      const to = registers[instruction.to]
      const isAdd = instruction.name === 'add'
      if (typeof instruction.by === 'number') {
        return [(isAdd ? 0x91000000 : 0xd1000000) | unsigned12(instruction.by) | (to << 5) | to]
      }
      return [(isAdd ? 0x8b000000 : 0xcb000000) | (registers[instruction.by] << 16) | (to << 5) | to]
    }
    case 'and': {
      const to = registers[instruction.to]
      return [0x92000000 | bitmask(instruction.by) | (to << 5) | to]
    }
    case 'left':
      return [bitfield(registers[instruction.to], 64 - instruction.by, 63 - instruction.by)]
    case 'right':
      return [bitfield(registers[instruction.to], instruction.by, 63)]
    case 'branch': {
      const distance = (addressOf(instruction.label) - (at + 4)) >> 2
      return [
        compare(instruction.a, instruction.b),
        0x54000000 | ((distance & 0x7ffff) << 5) | conditions[instruction.comparison],
      ]
    }
    case 'jump':
      return [0x14000000 | (((addressOf(instruction.label) - at) >> 2) & 0x3ffffff)]
    case 'return':
      return [0xd65f03c0]
    case 'syscall':
      return [0xd4000001, move(registers.result, X0)]
  }
}

export const arm64: Encoder = {
  encode: (instruction, at, addressOf) =>
    words(instruction, at, addressOf).flatMap((word) => [
      word & 255,
      (word >> 8) & 255,
      (word >> 16) & 255,
      (word >>> 24) & 255,
    ]),
}
