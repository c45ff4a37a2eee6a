/**
 * Values written as text: `uint64 5`, `'text'`, `@as []`, `[('/dev/null', 'rw')]`. The syntax is GVariant's
 * (https://docs.gtk.org/glib/gvariant-text-format.html), without `just` and `nothing`.
 */
import { encodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { type Value, type Variant, variant } from './marshal.ts'
import { DEPTH_MAX, memberTypes, splitTypes } from './signature.ts'

const KEYWORDS: Readonly<Record<string, string>> = {
  boolean: 'b',
  byte: 'y',
  int16: 'n',
  uint16: 'q',
  int32: 'i',
  uint32: 'u',
  handle: 'h',
  int64: 'x',
  uint64: 't',
  double: 'd',
  string: 's',
  objectpath: 'o',
  signature: 'g',
}

const ESCAPES: Readonly<Record<string, string>> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }

/** Reads one value; a whole number without a type is an int32. Throws a RuntError that says what was expected, and where. */
export function parseVariant(text: string): Variant {
  const parser = new Parser(text)
  const value = parser.value(null, 0)
  parser.end()
  return value
}

class Parser {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** `type`: the one that the value has to have; null takes any. */
  value(type: string | null, depth: number): Variant {
    this.#blanks()
    if (depth > DEPTH_MAX) throw this.#expected('fewer brackets')
    const next = this.#text[this.#at]
    if (next === "'" || next === '"') return this.#string(type)
    if (next === '[') return this.#array(type, depth)
    if (next === '{') return this.#dictionary(type, depth)
    if (next === '(') return this.#tuple(type, depth)
    if (next === '<') return this.#variant(type, depth)
    if (next === '@') {
      const signature = this.#match(/@[a-z(){}]+/y)?.slice(1) ?? ''
      if (splitTypes(signature).length !== 1) throw this.#expected('one type after @')
      return this.#typed(signature, type, depth)
    }
    const bytes = /b(['"])/y
    bytes.lastIndex = this.#at
    if (bytes.test(this.#text)) return this.#bytes(type)
    const word = this.#match(/[a-z][a-z0-9]*(?![\w.])/y)
    if (word === 'true' || word === 'false') return this.#checked('b', word === 'true', type)
    if (word === 'inf' || word === 'nan') return this.#checked('d', word === 'inf' ? Infinity : NaN, type)
    const keyword = word === undefined ? undefined : KEYWORDS[word]
    if (keyword !== undefined) return this.#typed(keyword, type, depth)
    if (word !== undefined) {
      this.#at -= word.length
      throw this.#expected('a value')
    }
    return this.#number(type)
  }

  end(): void {
    this.#blanks()
    if (this.#at < this.#text.length) throw this.#expected('the end')
  }

  #typed(own: string, type: string | null, depth: number): Variant {
    if (type !== null && type !== own) throw this.#expected(`a value of type ${type}`)
    return this.value(own, depth + 1)
  }

  #checked(own: string, value: Value, type: string | null): Variant {
    if (type !== null && type !== own) throw this.#expected(`a value of type ${type}`)
    return variant(own, value)
  }

  #number(type: string | null): Variant {
    const start = this.#at
    const word = this.#match(/[-+]?(0[xX][0-9a-fA-F]+|(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf(inity)?\b|nan\b)/y)
    if (word === undefined || /[\w.]/.test(this.#text[this.#at] ?? '')) {
      this.#at = start
      throw this.#expected('a value')
    }
    const isWhole = /^[-+]?(0[xX][0-9a-fA-F]+|\d+)$/.test(word)
    const own = type ?? (isWhole ? 'i' : 'd')
    if (own === 'd') return variant('d', Number(word.replace(/^([-+]?)inf.*/, '$1Infinity').replace('nan', 'NaN')))
    if (!isWhole || !'ynqiuxth'.includes(own)) {
      this.#at = start
      throw this.#expected(`a value of type ${own}`)
    }
    const digits = word.replace(/^[-+]/, '')
    const octal = /^0[0-7]+$/.test(digits)
    const size = BigInt(octal ? `0o${digits.slice(1)}` : digits.replace(/^0+(?=[89\d])/, ''))
    const number = word.startsWith('-') ? -size : size
    return variant(own, own === 'x' || own === 't' ? number : Number(number))
  }

  #string(type: string | null): Variant {
    const text = this.#quoted()
    return this.#checked(type === 'o' || type === 'g' ? type : 's', text, type)
  }

  /** `b'text'`: its bytes and a NUL. */
  #bytes(type: string | null): Variant {
    this.#at++
    return this.#checked('ay', encodeUtf8(`${this.#quoted()}\0`), type)
  }

  #quoted(): string {
    const quote = this.#text[this.#at++]
    let text = ''
    for (;;) {
      const next = this.#text[this.#at++]
      if (next === undefined) throw this.#expected(`the end of a string, ${quote}`)
      if (next === quote) return text
      if (next !== '\\') {
        text += next
        continue
      }
      const unicode = this.#match(/u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}/y)
      if (unicode !== undefined) {
        const code = Number.parseInt(unicode.slice(1), 16)
        if (code > 0x10_ffff) throw this.#expected('a character of Unicode')
        text += String.fromCodePoint(code)
        continue
      }
      const escaped = this.#text[this.#at++]
      if (escaped === undefined) throw this.#expected(`the end of a string, ${quote}`)
      text += ESCAPES[escaped] ?? escaped
    }
  }

  #array(type: string | null, depth: number): Variant {
    if (type !== null && !type.startsWith('a')) throw this.#expected(`a value of type ${type}`)
    let element = type === null ? null : type.slice(1)
    this.#at++
    const values: Value[] = []
    this.#list(']', () => {
      const { signature, value } = this.value(element, depth + 1)
      element = signature
      values.push(value)
    })
    if (element === null) throw this.#expected('a type for the empty array, such as @as []')
    return variant(`a${element}`, values)
  }

  #dictionary(type: string | null, depth: number): Variant {
    if (type !== null && !type.startsWith('a{')) throw this.#expected(`a value of type ${type}`)
    let [key, member]: (string | null)[] = type === null ? [null, null] : memberTypes(type.slice(1))
    this.#at++
    const values: Value[] = []
    this.#list('}', () => {
      const name = this.value(key!, depth + 1)
      this.#symbol(':')
      const held = this.value(member!, depth + 1)
      key = name.signature
      member = held.signature
      values.push([name.value, held.value])
    })
    if (!key) throw this.#expected('a type for the empty dictionary, such as @a{sv} {}')
    const signature = `a{${key}${member}}`
    splitTypes(signature)
    return variant(signature, values)
  }

  #tuple(type: string | null, depth: number): Variant {
    if (type !== null && !type.startsWith('(')) throw this.#expected(`a value of type ${type}`)
    const members = type === null ? null : memberTypes(type)
    this.#at++
    const found: Variant[] = []
    this.#list(')', () => {
      if (members && found.length === members.length) throw this.#expected(`a value of type ${type}`)
      found.push(this.value(members?.[found.length] ?? null, depth + 1))
    })
    if (found.length === 0 || (members && found.length !== members.length))
      throw this.#expected(`a value of type ${type ?? '(…)'}`)
    return variant(
      `(${found.map(({ signature }) => signature).join('')})`,
      found.map(({ value }) => value),
    )
  }

  #variant(type: string | null, depth: number): Variant {
    this.#at++
    const held = this.value(null, depth + 1)
    this.#symbol('>')
    return this.#checked('v', held, type)
  }

  /** Members with commas between them, one after the last is allowed, up to `close`. */
  #list(close: string, member: () => void): void {
    for (;;) {
      this.#blanks()
      if (this.#text[this.#at] === close) break
      member()
      this.#blanks()
      if (this.#text[this.#at] === close) break
      this.#symbol(',')
    }
    this.#at++
  }

  #symbol(symbol: string): void {
    this.#blanks()
    if (this.#text[this.#at] !== symbol) throw this.#expected(symbol)
    this.#at++
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    this.#at += found?.length ?? 0
    return found
  }

  #blanks(): void {
    this.#match(/\s*/y)
  }

  #expected(what: string): RuntError {
    return new RuntError(`expected ${what} at character ${this.#at + 1}`)
  }
}
