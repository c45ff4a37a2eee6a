/** Random numbers that a seed repeats, and mutations of JSON made with them. For the fuzz tests. */

/** The seed of this run: FUZZ_SEED, or the one that CI always uses. Printed, so that a failure can be repeated. */
export function seedOf(title: string): number {
  const seed = Number(process.env.FUZZ_SEED ?? 20_261_122)
  console.log(`${title}: FUZZ_SEED=${seed}`)
  return seed
}

/** How many cases: FUZZ_CASES, or the number given. */
export function caseCount(usual: number): number {
  return Number(process.env.FUZZ_CASES ?? usual)
}

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A number from 0 up to, and without, `end`. A linear congruence mixed as in PCG (output permutation of 32 bits). */
  below(end: number): number {
    this.#state = (Math.imul(this.#state, 747_796_405) + 2_891_336_453) >>> 0
    const word = Math.imul((this.#state >>> ((this.#state >>> 28) + 4)) ^ this.#state, 277_803_737) >>> 0
    return Math.floor(((((word >>> 22) ^ word) >>> 0) / 2 ** 32) * end)
  }

  chance(one: number, of: number): boolean {
    return this.below(of) < one
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256))
  }
}

/** Stands for text that JSON.stringify cannot make; `render` puts it in. */
const RAW = '\u0001raw:'
const raw = (text: string): string => RAW + text

const numbers: readonly unknown[] = [
  0,
  -0,
  1,
  -1,
  2,
  127,
  255,
  256,
  1023,
  4095,
  65_535,
  65_536,
  2 ** 31 - 1,
  2 ** 31,
  -(2 ** 31),
  2 ** 32 - 1,
  2 ** 32,
  Number.MAX_SAFE_INTEGER,
  0.5,
  -1.5,
  1e-300,
  1e300,
  raw('9007199254740993'),
  raw('18446744073709551615'),
  raw('18446744073709551616'),
  raw('-9223372036854775808'),
  raw('1e400'),
  raw('-1e400'),
  raw('0.1e1'),
  raw('1E2'),
  raw('123456789012345678901234567890123456789'),
  raw('01'),
  raw('-'),
  raw('+1'),
  raw('.5'),
  raw('NaN'),
  raw('Infinity'),
  raw('0x10'),
]

/** Texts that have broken programs before. */
export const strings: readonly string[] = [
  '',
  ' ',
  '/',
  '//',
  '.',
  '..',
  '../..',
  '/..',
  '../../../../etc/passwd',
  '/proc/self/exe',
  '/dev/null',
  '/proc',
  '/sys',
  'a\0b',
  '\0',
  '\n',
  'a\nb',
  '\r\n',
  '\t',
  '\u001b[2J',
  '%s%n',
  '$(id)',
  '`id`',
  "'",
  '"',
  '\\',
  '\u007f',
  '\u0080',
  '\u{1f480}',
  'e\u0301',
  '\u202e',
  '\ufeff',
  '\ud800',
  '\udfff',
  '__proto__',
  'constructor',
  'toString',
  'true',
  'null',
  '-1',
  '0',
  '4294967295',
  '4294967296',
  '18446744073709551615',
  'max',
  'a=b',
  '=',
  'a=',
  '=b',
  'bind',
  'rbind',
  'ro',
  'idmap',
  'CAP_SYS_ADMIN',
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_NOTIFY',
  'RLIMIT_NOFILE',
  'x'.repeat(255),
  'x'.repeat(4096),
  `/${'a/'.repeat(2100)}`,
  '\u00e9'.repeat(3000),
]

const wholes = (random: Random): readonly unknown[] => [
  null,
  true,
  false,
  {},
  [],
  [[]],
  [null],
  { '': '' },
  [1, 'a', {}],
  random.pick(numbers),
  random.pick(strings),
  nested(random.pick([1, 10, 200, 3000])),
  Array.from({ length: random.pick([1, 2, 100, 5000]) }, () => random.pick(strings)),
]

function nested(depth: number): unknown {
  return raw(`${'['.repeat(depth)}${']'.repeat(depth)}`)
}

type Holder = Record<string, unknown> | unknown[]

/** A JSON text with one to four changes. `keys`: words that may become keys. */
export function mutatedJson(random: Random, value: unknown, keys: readonly string[]): string {
  const whole = structuredClone(value)
  for (let changes = 1 + random.below(4); changes > 0; changes--) mutate(random, whole as Holder, keys)
  let text = render(whole)
  if (random.chance(1, 12)) text = mutatedText(random, text)
  return text
}

function mutate(random: Random, whole: Holder, keys: readonly string[]): void {
  let holder = whole
  for (;;) {
    const names = Object.keys(holder)
    if (names.length === 0) {
      add(random, holder, keys)
      return
    }
    const name = random.pick(names)
    const inner = (holder as Record<string, unknown>)[name]
    if (typeof inner === 'object' && inner !== null && !random.chance(1, 4)) {
      holder = inner as Holder
      continue
    }
    change(random, holder, name, keys)
    return
  }
}

function change(random: Random, holder: Holder, name: string, keys: readonly string[]): void {
  const object = holder as Record<string, unknown>
  const old = object[name]
  switch (random.below(8)) {
    case 0:
      if (Array.isArray(holder)) holder.splice(Number(name), 1)
      else delete object[name]
      break
    case 1:
      add(random, holder, keys)
      break
    case 2:
      if (Array.isArray(holder)) holder.splice(Number(name), 0, ...Array(random.pick([1, 2, 50, 2000])).fill(old))
      else object[raw(`${JSON.stringify(name)}:${render(old)},${JSON.stringify(name)}`)] = random.pick(wholes(random))
      break
    case 3:
      object[name] = random.pick(wholes(random))
      break
    case 4:
      object[name] = random.pick(numbers)
      break
    case 5:
      object[name] = random.pick(strings)
      break
    default:
      object[name] = nearby(random, old)
  }
}

/** Something of the same type. */
function nearby(random: Random, old: unknown): unknown {
  if (typeof old === 'number') return random.chance(1, 2) ? random.pick(numbers) : old + random.pick([-1, 1, 0.5, 1000])
  if (typeof old === 'boolean') return !old
  if (typeof old !== 'string') return Array.isArray(old) ? [...old].reverse() : random.pick(wholes(random))
  const at = random.below(old.length + 1)
  if (random.chance(1, 3)) return old.slice(0, at)
  return old.slice(0, at) + random.pick(strings) + old.slice(at)
}

function add(random: Random, holder: Holder, keys: readonly string[]): void {
  if (Array.isArray(holder)) holder.push(random.pick(wholes(random)))
  else holder[random.pick(random.chance(1, 5) ? strings : keys)] = random.pick(wholes(random))
}

/** JSON with the raw pieces in it. */
function render(value: unknown): string {
  const text = (piece: string): string => (piece.startsWith(RAW) ? piece.slice(RAW.length) : JSON.stringify(piece))
  if (typeof value === 'string') return text(value)
  if (Array.isArray(value)) return `[${value.map(render).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const entries = Object.entries(value).map(([key, inner]) => `${text(key)}:${render(inner)}`)
  return `{${entries.join(',')}}`
}

/** Text with a few characters lost, doubled or put in. */
export function mutatedText(random: Random, text: string): string {
  const at = random.below(text.length + 1)
  const to = Math.min(text.length, at + random.pick([0, 1, 1, 2, 10, 1000]))
  const middle = random.pick([
    '',
    text.slice(at, to).repeat(2),
    random.pick(strings),
    ',',
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\u',
    '//x\n',
  ])
  return text.slice(0, at) + middle + text.slice(to)
}
