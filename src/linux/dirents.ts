/** What getdents64(2) gives: struct linux_dirent64 (d_ino, d_off, d_reclen, d_type, d_name), one behind the other. */
import { decodeUtf8 } from '../base/bytes.ts'

/** d_type of a folder. */
export const DT_DIR = 4

export interface Dirents {
  /** Without `.` and `..`. */
  entries: { name: string; type: number }[]
  /** Where lseek(2) finds the next one. */
  position: bigint
}

/** Reads the bytes of one answer; there is at least one entry in it. */
export function readDirents(bytes: Uint8Array): Dirents {
  const entries: Dirents['entries'] = []
  let last = 0
  for (let at = 0; at < bytes.length; at += bytes[at + 16]! | (bytes[at + 17]! << 8)) {
    last = at
    const name = decodeUtf8(bytes.subarray(at + 19, bytes.indexOf(0, at + 19)))
    if (name !== '.' && name !== '..') entries.push({ name, type: bytes[at + 18]! })
  }
  return { entries, position: new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getBigUint64(last + 8, true) }
}
