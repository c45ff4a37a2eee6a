/** Strings for a loop of the executor: what is planned once is done for each row of them. */
import { encodeInto } from '../base/bytes.ts'
import type { Batch, DataPointer } from './batch.ts'

/** NUL-terminated strings: rows of equal length, with as many columns each, at the same offsets in all. */
export interface Rows {
  pointer: DataPointer
  stride: number
  offsets: number[]
}

export function planRows(b: Batch, ...columns: readonly (readonly string[])[]): Rows {
  const count = columns[0]!.length
  let stride = 0
  const offsets = columns.map((texts) => {
    let longest = 0
    for (const text of texts) if (text.length > longest) longest = text.length
    const offset = stride
    // UTF-8 has at most three bytes for a UTF-16 unit.
    stride += (3 * longest + 8) & ~7
    return offset
  })
  const bytes = new Uint8Array(stride * count)
  columns.forEach((texts, column) => {
    let offset = offsets[column]!
    for (const text of texts) {
      encodeInto(text, bytes, offset)
      offset += stride
    }
  })
  return { pointer: b.data(bytes, `[${count} rows]`), stride, offsets }
}
