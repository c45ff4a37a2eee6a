/** Values as bytes and back (D-Bus Specification, "Message Format", "Marshaling"). */
import { decodeUtf8, encodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { ALIGNMENT, DEPTH_MAX, memberTypes, splitTypes } from './signature.ts'

/**
 * A value of a D-Bus type: `y n q i u h` and `d` are numbers, `x` and `t` bigints (safe numbers are taken too), `b` a boolean, `s o g`
 * strings; `ay` bytes, other arrays lists, structs and dict entries lists of their members.
 */
export type Value = number | bigint | boolean | string | Uint8Array | Variant | readonly Value[]

/** A value that carries its type. */
export interface Variant {
  readonly signature: string
  readonly value: Value
}

export const variant = (signature: string, value: Value): Variant => ({ signature, value })

/** Bytes of the types of fixed size. */
const SIZES: Readonly<Record<string, number>> = { y: 1, b: 4, n: 2, q: 2, i: 4, u: 4, x: 8, t: 8, d: 8, h: 4 }

/** Bytes of an array, at most (the specification's limit). */
const ARRAY_MAX = 0x400_0000

/** Little-endian. */
export class Writer {
  #bytes = new Uint8Array(1024)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  /** What was written, without a copy. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Padding up to a multiple of `alignment`. */
  align(alignment: number): this {
    this.#room((alignment - (this.#length % alignment)) % alignment)
    return this
  }

  /** Writes a value of one complete type. Throws a RuntError for one that the type cannot hold. */
  write(type: string, value: Value): this {
    const letter = type[0]!
    this.align(ALIGNMENT[letter]!)
    // Room comes first: it may move the bytes.
    const at = this.#room(SIZES[letter] ?? 0)
    switch (letter) {
      case 'y':
        this.#view.setUint8(at, whole(type, value, 0, 0xff))
        break
      case 'n':
        this.#view.setInt16(at, whole(type, value, -0x8000, 0x7fff), true)
        break
      case 'q':
        this.#view.setUint16(at, whole(type, value, 0, 0xffff), true)
        break
      case 'i':
        this.#view.setInt32(at, whole(type, value, -0x8000_0000, 0x7fff_ffff), true)
        break
      case 'u':
      case 'h':
        this.#view.setUint32(at, whole(type, value, 0, 0xffff_ffff), true)
        break
      case 'b':
        this.#view.setUint32(at, value ? 1 : 0, true)
        break
      case 'x':
        this.#long(at, wide(type, value, -(2n ** 63n), 2n ** 63n))
        break
      case 't':
        this.#long(at, wide(type, value, 0n, 2n ** 64n))
        break
      case 'd':
        this.#view.setFloat64(at, Number(value), true)
        break
      case 's':
      case 'o':
        this.#text(String(value))
        break
      case 'g':
        this.#signature(String(value))
        break
      case 'v': {
        const { signature, value: held } = value as Variant
        if (splitTypes(signature).length !== 1) throw new RuntError(`a D-Bus variant of type "${signature}"`)
        this.#signature(signature)
        this.write(signature, held)
        break
      }
      case 'a':
        this.#array(type.slice(1), value as Uint8Array | readonly Value[])
        break
      default: {
        const members = memberTypes(type)
        const values = value as readonly Value[]
        if (values.length !== members.length)
          throw new RuntError(`a D-Bus struct ${type} of ${values.length} members is to be sent`)
        members.forEach((member, index) => {
          this.write(member, values[index]!)
        })
      }
    }
    return this
  }

  /** Appends bytes as they are. */
  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  #text(text: string): void {
    const bytes = encodeUtf8(text)
    // The bus ends connections on which a NUL or what is no UTF-8 arrives.
    if (bytes.includes(0) || /[\ud800-\udfff]/u.test(text))
      throw new RuntError(`${JSON.stringify(text)} cannot be sent on D-Bus: it is not UTF-8, or has a NUL in it`)
    const at = this.#room(4)
    this.#view.setUint32(at, bytes.length, true)
    this.raw(bytes)
    this.#room(1)
  }

  #signature(text: string): void {
    const at = this.#room(1)
    this.#view.setUint8(at, text.length)
    this.raw(encodeUtf8(text))
    this.#room(1)
  }

  #array(type: string, values: Uint8Array | readonly Value[]): void {
    const at = this.#room(4)
    // The padding before the first element does not count, and is there without one too.
    this.align(ALIGNMENT[type[0]!]!)
    const start = this.#length
    if (type === 'y' && values instanceof Uint8Array) this.raw(values)
    else for (const value of values) this.write(type, value)
    if (this.#length - start > ARRAY_MAX) throw new RuntError('a D-Bus array is too long')
    this.#view.setUint32(at, this.#length - start, true)
  }

  /** In halves, because one of the engines gets bigints near 2^64 wrong. */
  #long(at: number, value: bigint): void {
    this.#view.setUint32(at, Number(value & 0xffff_ffffn), true)
    this.#view.setUint32(at + 4, Number((value >> 32n) & 0xffff_ffffn), true)
  }

  /** Makes room, zeroed, and gives its offset. */
  #room(size: number): number {
    const at = this.#length
    this.#length += size
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length))
      larger.set(this.#bytes)
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return at
  }
}

function whole(type: string, value: Value, least: number, most: number): number {
  const number = Number(value)
  if (!Number.isInteger(number) || number < least || number > most)
    throw new RuntError(`${value} does not fit the D-Bus type ${typeName(type)}`)
  return number
}

/** `end` is not part of the range. */
function wide(type: string, value: Value, least: bigint, end: bigint): bigint {
  const fits = typeof value === 'bigint' || Number.isSafeInteger(value)
  const number = fits ? BigInt(value as bigint | number) : end
  if (number < least || number >= end) throw new RuntError(`${value} does not fit the D-Bus type ${typeName(type)}`)
  return number
}

const NAMES: Readonly<Record<string, string>> = {
  y: 'byte',
  n: 'int16',
  q: 'uint16',
  i: 'int32',
  u: 'uint32',
  x: 'int64',
  t: 'uint64',
}
const typeName = (type: string): string => NAMES[type] ?? type

/** The bytes of a sequence of values. */
export function marshal(signature: string, values: readonly Value[]): Uint8Array {
  const writer = new Writer()
  const types = splitTypes(signature)
  types.forEach((type, index) => {
    writer.write(type, values[index]!)
  })
  return writer.bytes
}

/** Reads what somebody else has written: every length is checked. Throws a RuntError. */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #little: boolean
  #at: number

  constructor(bytes: Uint8Array, little = true, at = 0) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#little = little
    this.#at = at
  }

  get position(): number {
    return this.#at
  }

  align(alignment: number): void {
    this.#take((alignment - (this.#at % alignment)) % alignment)
  }

  /** Reads a value of one complete type. */
  read(type: string, depth = 0): Value {
    if (depth > DEPTH_MAX) throw malformed('nests too deeply')
    const letter = type[0]!
    this.align(ALIGNMENT[letter]!)
    const view = this.#view
    switch (letter) {
      case 'y':
        return view.getUint8(this.#take(1))
      case 'n':
        return view.getInt16(this.#take(2), this.#little)
      case 'q':
        return view.getUint16(this.#take(2), this.#little)
      case 'i':
        return view.getInt32(this.#take(4), this.#little)
      case 'u':
      case 'h':
        return view.getUint32(this.#take(4), this.#little)
      case 'b':
        return view.getUint32(this.#take(4), this.#little) !== 0
      case 'x':
        return view.getBigInt64(this.#take(8), this.#little)
      case 't':
        return view.getBigUint64(this.#take(8), this.#little)
      case 'd':
        return view.getFloat64(this.#take(8), this.#little)
      case 's':
      case 'o':
        return this.#text(view.getUint32(this.#take(4), this.#little))
      case 'g':
        return this.#text(view.getUint8(this.#take(1)))
      case 'v': {
        const signature = this.#text(view.getUint8(this.#take(1)))
        if (splitTypes(signature).length !== 1) throw malformed('has a variant without a type')
        return { signature, value: this.read(signature, depth + 1) }
      }
      case 'a':
        return this.#array(type.slice(1), depth)
      default:
        return memberTypes(type).map((member) => this.read(member, depth + 1))
    }
  }

  #array(type: string, depth: number): Value {
    const length = this.#view.getUint32(this.#take(4), this.#little)
    this.align(ALIGNMENT[type[0]!]!)
    const end = this.#at + length
    if (length > ARRAY_MAX || end > this.#bytes.length) throw malformed('has an array that is longer than itself')
    if (type === 'y') return this.#bytes.slice(this.#take(length), end)
    const values: Value[] = []
    while (this.#at < end) values.push(this.read(type, depth + 1))
    if (this.#at !== end) throw malformed('has an array that does not end with an element')
    return values
  }

  #text(length: number): string {
    const start = this.#take(length + 1)
    if (this.#bytes[start + length] !== 0) throw malformed('has a text without an end')
    return decodeUtf8(this.#bytes.subarray(start, start + length))
  }

  #take(size: number): number {
    const at = this.#at
    if (size > this.#bytes.length - at) throw malformed('ends early')
    this.#at += size
    return at
  }
}

const malformed = (what: string): RuntError => new RuntError(`a D-Bus message ${what}`)

/** The values of a body. */
export function unmarshal(signature: string, bytes: Uint8Array, little = true): Value[] {
  const reader = new Reader(bytes, little)
  return splitTypes(signature).map((type) => reader.read(type))
}
