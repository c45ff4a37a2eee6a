/**
 * How a filter finds what is decided about a number: ranges of numbers with the same verdict, and a search tree over them. These are the
 * compiler's inner loops; on QuickJS, host.c has those of `decide`, `addCells` and `addTree`.
 */
import { INDEX } from './abis.ts'
import type { Program } from './emit.ts'
import { Bpf } from './kernel.ts'

/** The first `count` of both arrays; in order, the first starts at 0. Verdicts are as compile.ts has them. */
export interface Ranges {
  readonly starts: Uint32Array
  readonly verdicts: Int16Array
  count: number
}

/** Decides about the system calls of these names, unless that is done. Returns whether there are such, for all names. */
export function decide(decided: Int16Array, names: readonly string[], verdict: number): boolean {
  let known = true
  for (const name of names) {
    const index = INDEX.get(name)
    if (index === undefined) known = false
    else if (decided[index] === 0) decided[index] = verdict
  }
  return known
}

/** More than there are numbers of system calls with the same seccomp_data.arch. */
const RANGES_MAX = 2048

export const newRanges = (): Ranges => ({
  starts: new Uint32Array(RANGES_MAX),
  verdicts: new Int16Array(RANGES_MAX),
  count: 0,
})

/** From `start` on the verdict is this. */
export function addRange(ranges: Ranges, start: number, verdict: number): void {
  const { starts, verdicts, count } = ranges
  if (count > 0 && verdicts[count - 1] === verdict) return
  starts[count] = start
  verdicts[count] = verdict
  ranges.count = count + 1
}

/** Adds the ranges of the cells from `first` to before `end`; the first one's number is `base`. `names`: by cell, the index in `decided`. */
export function addCells(
  ranges: Ranges,
  decided: Int16Array,
  names: Int16Array,
  first: number,
  end: number,
  base: number,
): void {
  for (let cell = first; cell < end; cell++) addRange(ranges, base + cell - first, decided[names[cell]!]!)
}

/** Writes the search of the loaded number, by halves. Gives where that begins. */
export function addTree(program: Program, { starts, verdicts, count }: Ranges): number {
  const tree = (first: number, last: number): number => {
    if (first === last) return program.leaf(verdicts[first]!)
    // One number amid others.
    if (last === first + 2 && verdicts[first] === verdicts[last] && starts[last] === starts[first + 1]! + 1) {
      const around = program.leaf(verdicts[last]!)
      return program.jump(Bpf.JEQ, starts[first + 1]!, program.leaf(verdicts[first + 1]!), around)
    }
    const middle = (first + last + 1) >> 1
    const upper = tree(middle, last)
    const lower = tree(first, middle - 1)
    return program.jump(Bpf.JGE, starts[middle]!, upper, lower)
  }
  return tree(0, count - 1)
}
