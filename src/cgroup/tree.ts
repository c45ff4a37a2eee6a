/** The folders below a cgroup. */
import { decodeUtf8 } from '../base/bytes.ts'
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import { close, openat } from '../session/calls.ts'
import type { Session } from '../session/session.ts'

/** Bytes of one getdents64(2): some 400 entries of cgroupfs. */
const ENTRIES = 0x4000
const DT_DIR = 4

/** Names of the sub-folders; none if the folder is gone. */
function subfolders(host: Session, machine: Machine, path: string): string[] {
  const names: string[] = []
  let position: bigint | null = 0n
  while (position !== null) {
    const b = new Batch(machine)
    const end = b.label()
    b.about(`listing the cgroup ${path}`)
    const fd = openat(b, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).on(['ENOENT', 'ENODEV'], end)
    if (position !== 0n) b.call('lseek', fd, position, 0)
    const reads = [b.out(ENTRIES), b.out(ENTRIES)].map((buffer) => ({
      buffer,
      step: b.call('getdents64', fd, buffer, ENTRIES).on(['ENOENT'], end),
    }))
    close(b, fd)
    b.place(end)
    const answer = host.recover(b)
    position = null
    for (const { buffer, step } of reads) {
      const count = answer.value(step) ?? 0
      if (count <= 0) return names
      // struct linux_dirent64: d_ino, d_off, d_reclen, d_type, d_name.
      const bytes = answer.bytes(buffer, count)
      const view = new DataView(bytes.buffer, bytes.byteOffset, count)
      for (let entry = 0; entry < count; entry += view.getUint16(entry + 16, true)) {
        position = view.getBigUint64(entry + 8, true)
        if (bytes[entry + 18] !== DT_DIR) continue
        const name = decodeUtf8(bytes.subarray(entry + 19, bytes.indexOf(0, entry + 19)))
        if (name !== '.' && name !== '..') names.push(name)
      }
    }
  }
  return names
}

/** All folders below a cgroup, deepest first. */
export function descendants(host: Session, machine: Machine, path: string): string[] {
  const found: string[] = []
  const open = [path]
  for (let folder = open.pop(); folder !== undefined; folder = open.pop())
    for (const name of subfolders(host, machine, folder)) {
      found.push(`${folder}/${name}`)
      open.push(`${folder}/${name}`)
    }
  // A folder is always found before those in it.
  return found.reverse()
}
