/** The folders below a cgroup. */
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from '../linux/constants.ts'
import { DT_DIR, readDirents } from '../linux/dirents.ts'
import { Batch } from '../session/batch.ts'
import { close, openat } from '../session/calls.ts'
import type { Session } from '../session/session.ts'

/** Bytes of one getdents64(2): some 400 entries of cgroupfs. */
const ENTRIES = 0x4000

/** Names of the sub-folders; none if the folder is gone, or lies deeper than a path can say (deep.ts). `from`: an open folder. */
export function subfolders(host: Session, machine: Machine, path: string, from = AT_FDCWD): string[] {
  const names: string[] = []
  let position: bigint | null = 0n
  while (position !== null) {
    const b = new Batch(machine)
    const end = b.label()
    b.about(`listing the cgroup ${path}`)
    const fd = openat(b, from, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).on(['ENOENT', 'ENODEV', 'ENAMETOOLONG'], end)
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
      const dirents = readDirents(answer.bytes(buffer, count))
      position = dirents.position
      for (const { name, type } of dirents.entries) if (type === DT_DIR) names.push(name)
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
