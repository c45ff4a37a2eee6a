/** Reads the files of a control group that tell what it has used. Nothing fails because of a file that is not there. */
import { decodeUtf8 } from '../base/bytes.ts'
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY } from '../linux/constants.ts'
import { ANY, Batch, type OutPointer, type Step } from '../session/batch.ts'
import { close, openat, read } from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { type CgroupFolder, type CgroupPaths, folderPath } from './layout.ts'
import { noStats, type Stats } from './stats.ts'
import { type Reader, v1, v2 } from './stats-files.ts'

/** The files of one folder. A controller on v1 has the last word: cgroup2 beside it counts some things too. */
function readersOf({ version, controllers }: CgroupFolder): readonly Reader[] {
  return version === 2 ? v2 : controllers.flatMap((controller) => v1[controller] ?? [])
}

/** Most that is read of one file, in bytes; the lines past it are lost. A disk takes some 200 in the files of blkio. */
const LONGEST = 0x1_c000

interface Reading {
  step: Step
  buffer: OutPointer
}

/** Null when the cgroup is gone. */
export function readStats(host: Session, machine: Machine, paths: CgroupPaths): Stats | null {
  const stats = noStats()
  const folders = [...paths.folders].sort((a, b) => b.version - a.version)
  const b = new Batch(machine)
  const plans = folders.map((folder) => {
    const gone = b.label()
    b.about(`statistics of the cgroup ${folderPath(folder)}`)
    const open = openat(b, AT_FDCWD, folderPath(folder), O_PATH | O_DIRECTORY).on(ANY, gone)
    const readings = readersOf(folder).map((reader) => ({ reader, ...planReading(b, open, reader.file, reader.size) }))
    close(b, open)
    b.place(gone)
    return { folder, open, readings }
  })
  const answer = host.run(b)
  let found = false
  for (const { folder, open, readings } of plans) {
    if (!answer.ok(open)) continue
    found = true
    for (const { reader, step, buffer } of readings) {
      const length = answer.value(step) ?? -1
      if (length < 0) continue
      const text =
        length < buffer.length
          ? decodeUtf8(answer.bytes(buffer, length))
          : readAgain(host, machine, `${folderPath(folder)}/${reader.file}`)
      if (text !== null) reader.take(stats, text)
    }
  }
  return found ? stats : null
}

/** What does not go well leaves no trace but a result that is missing or below zero. */
function planReading(b: Batch, folder: Step | number, path: string, size: number): Reading {
  const missing = b.label()
  const unread = b.label()
  const buffer = b.out(size)
  const fd = openat(b, folder, path, O_RDONLY).on(ANY, missing)
  const step = read(b, fd, buffer).on(ANY, unread)
  b.place(unread)
  close(b, fd)
  b.place(missing)
  return { step, buffer }
}

/** A file that is longer than was expected. */
function readAgain(host: Session, machine: Machine, path: string): string | null {
  const b = new Batch(machine).about(path)
  const { step, buffer } = planReading(b, AT_FDCWD, path, LONGEST)
  const answer = host.run(b)
  const length = answer.value(step) ?? -1
  if (length < 0) return null
  const text = decodeUtf8(answer.bytes(buffer, length))
  return length < LONGEST ? text : text.slice(0, text.lastIndexOf('\n') + 1)
}
