/** The value below which the share `p` (0…1) of the values lies, interpolated between neighbours. NaN without values. */
export function quantile(values: readonly number[], p: number): number {
  if (values.length === 0) return Number.NaN
  const sorted = values.toSorted((a, b) => a - b)
  const position = (sorted.length - 1) * p
  const low = Math.floor(position)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (position - low)
}

export interface Spread {
  readonly median: number
  readonly p5: number
  readonly p95: number
}

export function spread(values: readonly number[]): Spread {
  return { median: quantile(values, 0.5), p5: quantile(values, 0.05), p95: quantile(values, 0.95) }
}

/** A permutation of 0…count-1 for each of `rounds` rounds; the same seed gives the same orders. */
export function shuffledOrders(count: number, rounds: number, seed: number): number[][] {
  let state = seed | 0
  // xorshift32 (Marsaglia 2003): any quality of randomness is enough to break ties with the machine's rhythm.
  const next = (below: number) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
  if (state === 0) state = 1
  return Array.from({ length: rounds }, () => {
    const order = Array.from({ length: count }, (_, index) => index)
    for (let last = count - 1; last > 0; last--) {
      const other = next(last + 1)
      const kept = order[last]!
      order[last] = order[other]!
      order[other] = kept
    }
    return order
  })
}

/** Lines of text with the columns aligned: the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd()
  return [line(rows[0]!), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.slice(1).map(line)].join('\n')
}
