/** Stands in for src/seccomp/search.ts in the QuickJS build: the same, with the loops in host.c. */
import { INDEX } from '../seccomp/abis.ts'
import { type Program, tooLong } from '../seccomp/emit.ts'
import type { Ranges } from '../seccomp/search.ts'
import { host } from './host.ts'

export * from '../seccomp/search.ts'

/** All names in order, each in as many bytes as CALL_NAME of host.c, the rest zeros. */
const CALL_NAMES = new Uint8Array(32 * INDEX.size)
for (const [name, index] of INDEX)
  for (let at = 0; at < name.length; at++) CALL_NAMES[32 * index + at] = name.charCodeAt(at)

export const decide = (decided: Int16Array, names: readonly string[], verdict: number): boolean =>
  host.decide(decided, names, verdict, CALL_NAMES)

export function addCells(
  ranges: Ranges,
  decided: Int16Array,
  names: Int16Array,
  first: number,
  end: number,
  base: number,
): void {
  ranges.count = host.addCells(ranges.starts, ranges.verdicts, ranges.count, decided, names, first, end, base)
}

export function addTree(program: Program, { starts, verdicts, count }: Ranges): number {
  if (count === 1) return program.leaf(verdicts[0]!)
  const { words, length, returns, places } = program
  const end = host.addTree(words, length, returns, places, starts, verdicts, count)
  if (end < 0) throw tooLong()
  program.length = end
  return end - 1
}
