/** Signatures of D-Bus types (D-Bus Specification, "Type System"). */
import { RuntError } from '../base/errors.ts'

/** How deep arrays and structs may nest; the specification allows 32 of each. */
export const DEPTH_MAX = 32
/** Bytes of a signature. */
const LENGTH_MAX = 255

/** Alignment of each type, by the first letter of its signature. */
export const ALIGNMENT: Readonly<Record<string, number>> = {
  y: 1,
  b: 4,
  n: 2,
  q: 2,
  i: 4,
  u: 4,
  x: 8,
  t: 8,
  d: 8,
  s: 4,
  o: 4,
  g: 1,
  a: 4,
  v: 1,
  h: 4,
  '(': 8,
  '{': 8,
}

/** The complete types that a signature is a sequence of: `sa(sv)u` is `s`, `a(sv)`, `u`. Throws a RuntError. */
export function splitTypes(signature: string): string[] {
  if (signature.length > LENGTH_MAX) throw new RuntError(`a D-Bus signature of ${signature.length} bytes`)
  const types: string[] = []
  for (let at = 0; at < signature.length; ) {
    const end = endOfType(signature, at, 0)
    types.push(signature.slice(at, end))
    at = end
  }
  return types
}

/** The types of a struct or dict entry. */
export const memberTypes = (type: string): string[] => splitTypes(type.slice(1, -1))

function endOfType(signature: string, start: number, depth: number): number {
  const letter = signature[start]
  const wrong = (): RuntError => new RuntError(`${JSON.stringify(signature)} is not a D-Bus signature`)
  if (letter === undefined || !(letter in ALIGNMENT) || depth > DEPTH_MAX) throw wrong()
  if (letter === 'a') return endOfType(signature, start + 1, depth + 1)
  if (letter !== '(' && letter !== '{') return start + 1
  const close = letter === '(' ? ')' : '}'
  let at = start + 1
  let count = 0
  for (; signature[at] !== close; count++) at = endOfType(signature, at, depth + 1)
  // A dict entry stands in an array, has two members, and the first is no container.
  const isEntry = signature[start - 1] === 'a' && count === 2 && !'av({'.includes(signature[start + 1]!)
  if (letter === '(' ? count === 0 : !isEntry) throw wrong()
  return at + 1
}
