/**
 * Text and bytes. Linux paths, arguments and environment values are bytes, usually UTF-8. What is not UTF-8 survives
 * a round trip as lone surrogates U+DC80…U+DCFF, one a byte (the scheme of Python's PEP 383).
 */

/** Encodes text as UTF-8; surrogates that stand for a raw byte become that byte. */
export function encodeUtf8(text: string): Uint8Array {
  const ascii = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0x7f) return encodeSlowly(text)
    ascii[i] = code
  }
  return ascii
}

function encodeSlowly(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length * 3)
  let length = 0
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i)
    if (code >= 0xdc80 && code <= 0xdcff) {
      bytes[length++] = code - 0xdc00
      continue
    }
    if (code >= 0xd800 && code <= 0xdfff) {
      const low = text.charCodeAt(i + 1)
      if (code < 0xdc00 && low >= 0xdc00 && low <= 0xdfff) {
        code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00)
        i++
      } else code = 0xfffd
    }
    if (code < 0x80) bytes[length++] = code
    else if (code < 0x800) {
      bytes[length++] = 0xc0 | (code >> 6)
      bytes[length++] = 0x80 | (code & 0x3f)
    } else if (code < 0x1_0000) {
      bytes[length++] = 0xe0 | (code >> 12)
      bytes[length++] = 0x80 | ((code >> 6) & 0x3f)
      bytes[length++] = 0x80 | (code & 0x3f)
    } else {
      bytes[length++] = 0xf0 | (code >> 18)
      bytes[length++] = 0x80 | ((code >> 12) & 0x3f)
      bytes[length++] = 0x80 | ((code >> 6) & 0x3f)
      bytes[length++] = 0x80 | (code & 0x3f)
    }
  }
  return bytes.slice(0, length)
}

/** Encodes text as UTF-8 into `target` from `offset` on, which has room for it; gives the number of bytes, -1 if one of them is a NUL. */
export function encodeInto(text: string, target: Uint8Array, offset: number): number {
  const bytes = encodeUtf8(text)
  target.set(bytes, offset)
  return bytes.includes(0) ? -1 : bytes.length
}

/** Decodes UTF-8; each byte that is not part of a valid sequence becomes U+DC00 + byte. */
export function decodeUtf8(bytes: Uint8Array): string {
  let text = ''
  const pieces: number[] = []
  const end = bytes.length
  for (let i = 0; i < end; ) {
    const first = bytes[i]!
    let size = 1
    let code = first
    if (first >= 0x80) {
      code = 0xdc00 + first
      const wanted = first >= 0xf0 && first <= 0xf4 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 1
      if (wanted > 1 && first <= 0xf4 && i + wanted <= end) {
        let value = first & (0x7f >> wanted)
        let k = 1
        for (; k < wanted && (bytes[i + k]! & 0xc0) === 0x80; k++) value = (value << 6) | (bytes[i + k]! & 0x3f)
        const least = wanted === 2 ? 0x80 : wanted === 3 ? 0x800 : 0x1_0000
        if (k === wanted && value >= least && value <= 0x10_ffff && !(value >= 0xd800 && value <= 0xdfff)) {
          code = value
          size = wanted
        }
      }
    }
    if (code > 0xffff) {
      pieces.push(0xd800 + ((code - 0x1_0000) >> 10), 0xdc00 + ((code - 0x1_0000) & 0x3ff))
    } else pieces.push(code)
    i += size
    if (pieces.length >= 8000) {
      text += String.fromCharCode(...pieces)
      pieces.length = 0
    }
  }
  return text + String.fromCharCode(...pieces)
}

/** Little-endian writer for kernel structures of fixed size. */
export class Struct {
  readonly bytes: Uint8Array
  readonly #view: DataView

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
    this.#view = new DataView(this.bytes.buffer)
  }

  u8(offset: number, value: number): this {
    this.#view.setUint8(offset, value)
    return this
  }

  u16(offset: number, value: number): this {
    this.#view.setUint16(offset, value, true)
    return this
  }

  u32(offset: number, value: number): this {
    this.#view.setUint32(offset, value, true)
    return this
  }

  /** Negative numbers as two's complement. */
  u64(offset: number, value: number | bigint): this {
    if (typeof value === 'bigint') this.#view.setBigUint64(offset, value, true)
    else {
      this.#view.setUint32(offset, value, true)
      this.#view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true)
    }
    return this
  }
}
