/** Numbers and lines as the files of control groups have them. */

/** An unsigned 64-bit number, exact: a bigint where a number would not be. */
export type Count = number | bigint

/** "No limit", the word `max` of cgroup v2, as v1 and engines have it: the largest number. */
export const UNLIMITED: Count = 0xffff_ffff_ffff_ffffn

export const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '')
export const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '')

/**
 * A number as the kernel writes it. Below zero, as some counters of memory are for a moment, it is zero; undefined for what is no number.
 */
export function count(text: string): Count | undefined {
  const [word = ''] = words(text)
  if (/^\d+$/.test(word)) return exact(BigInt(word))
  if (word === 'max') return UNLIMITED
  return /^-\d+$/.test(word) ? 0 : undefined
}

function exact(value: bigint): Count {
  return value <= 0x1f_ffff_ffff_ffffn ? Number(value) : value
}

/** Products and sums stay exact; a sum ends at "no limit". */
export const times = (value: Count, factor: number): Count => exact(BigInt(value) * BigInt(factor))

export function plus(a: Count, b: Count): Count {
  const sum = BigInt(a) + BigInt(b)
  return sum > BigInt(UNLIMITED) ? UNLIMITED : exact(sum)
}

/** Lines of a key and a number; others are passed over. */
export function keyValues(text: string): Record<string, Count> {
  const values: Record<string, Count> = {}
  for (const line of lines(text)) {
    const [key = '', word = ''] = line.split(' ')
    const value = count(word)
    if (value !== undefined) values[key] = value
  }
  return values
}
