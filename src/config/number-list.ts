/** Lists of CPUs and NUMA nodes as cpuset(7) has them: `0-3,7`. */

/** The ranges of a list; undefined if it is none. */
export function rangesIn(list: string): [first: number, last: number][] | undefined {
  const ranges: [number, number][] = []
  for (const part of list.split(',')) {
    const found = /^\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*$/.exec(part)
    if (found === null) return undefined
    const first = Number(found[1])
    const last = Number(found[2] ?? found[1])
    if (last < first) return undefined
    ranges.push([first, last])
  }
  return ranges
}

/** The numbers of a list; none where it is empty, or no list. */
export function numbersIn(list: string): number[] {
  return (rangesIn(list) ?? []).flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, index) => first + index),
  )
}
