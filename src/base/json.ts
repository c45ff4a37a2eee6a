/**
 * JSON for files that others write and 64-bit numbers: errors say where and what, integers keep their value.
 *
 * The engine's own parser does the work. The reader below runs only when that parser refused the text or
 * when a number is too large for it.
 */
import { RuntError } from './errors.ts'

/** How deep arrays and objects may nest. */
export const DEPTH_MAX = 200

/**
 * Parses JSON. Integers beyond ±(2^53 - 1) become bigints.
 * `name` names the text in errors: `name:line:column: expected …, found …`; the column counts characters from 1.
 * Of duplicate keys the last wins. Throws a RuntError.
 */
export function parseJson(text: string, name: string): unknown {
  const value = parseJsonRoughly(text, name)
  return hasUnsafeInteger(value, name, 0) ? parseJsonExactly(text, name) : value
}

/** As `parseJson`, but large integers become the nearest number. For callers that find those out themselves. */
export function parseJsonRoughly(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Read again, for an error that names the place.
    return parseJsonExactly(text, name)
  }
}

/** As `parseJson`, but without the engine's help: slower. */
export function parseJsonExactly(text: string, name: string): unknown {
  return new Reader(text, name).read()
}

function hasUnsafeInteger(value: unknown, name: string, depth: number): boolean {
  if (typeof value === 'number') return Number.isInteger(value) && !Number.isSafeInteger(value)
  if (typeof value !== 'object' || value === null) return false
  if (depth >= DEPTH_MAX) throw new RuntError(`${name}: nested more than ${DEPTH_MAX} levels deep`)
  for (const key in value) {
    if (hasUnsafeInteger((value as Record<string, unknown>)[key], name, depth + 1)) return true
  }
  return false
}

/** Writes JSON as JSON.stringify does, bigints as integers. `indent` is the number of spaces a level. */
export function stringifyJson(value: unknown, indent = 0): string {
  try {
    return JSON.stringify(value, undefined, indent)
  } catch {
    return write(value, ' '.repeat(indent), '\n', 0) ?? 'null'
  }
}

function write(value: unknown, indent: string, newline: string, depth: number): string | undefined {
  if (typeof value === 'bigint') return String(value)
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (depth >= DEPTH_MAX) throw new RuntError(`nested more than ${DEPTH_MAX} levels deep`)
  const inner = indent === '' ? '' : newline + indent
  const outer = indent === '' ? '' : newline
  const parts: string[] = []
  if (Array.isArray(value)) {
    for (const item of value) parts.push(write(item, indent, newline + indent, depth + 1) ?? 'null')
    return parts.length === 0 ? '[]' : `[${inner}${parts.join(`,${inner}`)}${outer}]`
  }
  const colon = indent === '' ? ':' : ': '
  for (const [key, item] of Object.entries(value)) {
    const written = write(item, indent, newline + indent, depth + 1)
    if (written !== undefined) parts.push(JSON.stringify(key) + colon + written)
  }
  return parts.length === 0 ? '{}' : `{${inner}${parts.join(`,${inner}`)}${outer}}`
}

/** RFC 8259, section 6. */
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
/** What stands in a string up to a quote, an escape or something that is not allowed. */
const CREATE_DEFAULTS = /[^"\\\u0000-\u001f]*/y
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y
const SPACE = /[ \t\r\n]*/y
const WORD = /[A-Za-z_$][\w$]*/y
/** What a sentence calls a run of text that is no JSON. */
const RUN = /[^\s,:[\]{}"]{1,20}/y
const QUOTED = /"[^"\\\s]{0,20}"/y

class Reader {
  readonly #text: string
  readonly #name: string
  #at = 0

  constructor(text: string, name: string) {
    this.#text = text
    this.#name = name
  }

  read(): unknown {
    if (this.#text.charCodeAt(0) === 0xfeff) {
      this.#fail(0, 'starts with a byte order mark; JSON must be UTF-8 without one')
    }
    this.#space()
    if (this.#at === this.#text.length) this.#fail(this.#at, 'expected JSON, found nothing: the file is empty')
    const value = this.#value(0, 'a value')
    this.#space()
    if (this.#at < this.#text.length) this.#expected('the end of the file')
    return value
  }

  #value(depth: number, expected: string): unknown {
    const char = this.#text[this.#at]
    if (char === '"') return this.#string()
    if (char === '{' || char === '[') {
      if (depth >= DEPTH_MAX) this.#fail(this.#at, `nested more than ${DEPTH_MAX} levels deep`)
      return char === '{' ? this.#object(depth + 1) : this.#array(depth + 1)
    }
    if (char === '-' || (char !== undefined && char >= '0' && char <= '9')) return this.#number()
    switch (match(WORD, this.#text, this.#at)) {
      case 'true':
        this.#at += 4
        return true
      case 'false':
        this.#at += 5
        return false
      case 'null':
        this.#at += 4
        return null
    }
    return this.#expected(expected)
  }

  #object(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {}
    this.#at++
    this.#space()
    if (this.#text[this.#at] === '}') {
      this.#at++
      return object
    }
    for (let expected = "a name in double quotes or '}'"; ; expected = 'a name in double quotes') {
      if (this.#text[this.#at] !== '"') this.#expected(expected, true)
      const key = this.#string()
      const owner = JSON.stringify(key)
      this.#space()
      if (this.#text[this.#at] !== ':') this.#expected(`':' after ${owner}`)
      this.#at++
      this.#space()
      const value = this.#value(depth, `a value for ${owner}`)
      // Assignment would set the prototype where JSON.parse makes a property.
      if (key === '__proto__')
        Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
      else object[key] = value
      this.#space()
      const next = this.#text[this.#at]
      if (next !== ',' && next !== '}') this.#expected(`',' or '}' after the value of ${owner}`)
      this.#at++
      if (next === '}') return object
      this.#space()
    }
  }

  #array(depth: number): unknown[] {
    const array: unknown[] = []
    this.#at++
    this.#space()
    if (this.#text[this.#at] === ']') {
      this.#at++
      return array
    }
    for (let expected = "a value or ']'"; ; expected = "a value after ','") {
      array.push(this.#value(depth, expected))
      this.#space()
      const next = this.#text[this.#at]
      if (next !== ',' && next !== ']') this.#expected("',' or ']' after a value of the array")
      this.#at++
      if (next === ']') return array
      this.#space()
    }
  }

  #string(): string {
    const start = this.#at
    let escaped = false
    this.#at++
    for (;;) {
      this.#at += match(CREATE_DEFAULTS, this.#text, this.#at).length
      const char = this.#text[this.#at]
      if (char === '"') break
      if (char === '\\') {
        const sequence = match(ESCAPE, this.#text, this.#at)
        if (sequence === '') {
          const shown = JSON.stringify(this.#text.slice(this.#at, this.#at + 2))
          this.#fail(this.#at, `expected an escape such as \\n, \\" or \\u0041, found ${shown}`)
        }
        escaped = true
        this.#at += sequence.length
      } else if (char === undefined) {
        this.#fail(start, 'this string has no closing quote: the file ends within it')
      } else {
        const what = char === '\n' || char === '\r' ? 'a line break' : controlCharacter(char)
        this.#fail(this.#at, `expected the closing quote of a string, found ${what}`)
      }
    }
    this.#at++
    return escaped ? JSON.parse(this.#text.slice(start, this.#at)) : this.#text.slice(start + 1, this.#at - 1)
  }

  #number(): number | bigint {
    NUMBER.lastIndex = this.#at
    const found = NUMBER.exec(this.#text)
    const literal = found?.[0] ?? ''
    const end = this.#at + literal.length
    if (found === null || /[\w.+-]/.test(this.#text[end] ?? '')) {
      this.#fail(this.#at, `${JSON.stringify(match(RUN, this.#text, this.#at))} is not a number that JSON knows`)
    }
    this.#at = end
    const value = Number(literal)
    const integer = found[1] === undefined && found[2] === undefined
    return integer && !Number.isSafeInteger(value) ? BigInt(literal) : value
  }

  #space(): void {
    this.#at += match(SPACE, this.#text, this.#at).length
  }

  /** Fails with what should stand here; adds advice on the usual mistakes. */
  #expected(expected: string, inObject = false): never {
    const char = this.#text[this.#at]
    if (char === undefined) this.#fail(this.#at, `expected ${expected}, found the end of the file`)
    let found = match(QUOTED, this.#text, this.#at) || JSON.stringify(match(RUN, this.#text, this.#at) || char)
    let advice = ''
    if (char === '/' || char === '#') advice = ': JSON has no comments'
    else if (char === "'") advice = ': JSON has double quotes only'
    else if (inObject ? char === '}' : char === ']') {
      found = JSON.stringify(char)
      advice = ": a ',' may not follow the last item"
    } else if (char < ' ' || char === '\u007f' || char === '\ufeff') found = controlCharacter(char)
    this.#fail(this.#at, `expected ${expected}, found ${found}${advice}`)
  }

  #fail(at: number, message: string): never {
    const before = this.#text.slice(0, at)
    const line = before.split('\n').length
    throw new RuntError(`${this.#name}:${line}:${at - before.lastIndexOf('\n')}: ${message}`)
  }
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0] ?? ''
}

function controlCharacter(char: string): string {
  return char === '\0'
    ? 'a NUL byte'
    : `the control character U+${char.charCodeAt(0).toString(16).padStart(4, '0').toUpperCase()}`
}
