/** Lengths of time on the command line, as Go writes them (time.ParseDuration): `5s`, `1.5h`, `1m30s`, `100ms`. */

/** Nanoseconds. */
const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}

/** What 64 bits of nanoseconds hold: some 292 years. */
const LONGEST = 2 ** 63

/** Nanoseconds; null for what is no duration, or too long to be one. */
export function parseDuration(text: string): number | null {
  if (text === '0') return 0
  const [, sign, rest = ''] = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/.exec(text) ?? []
  if (rest === '') return null
  let sum = 0
  for (const [, value, unit] of rest.matchAll(/([\d.]+)([a-zµμ]+)/g)) sum += Math.floor(Number(value) * UNITS[unit!]!)
  if (sum >= LONGEST) return null
  return sign === '-' ? -sum : sum
}
