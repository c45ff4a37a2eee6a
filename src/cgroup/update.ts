/** New limits for a cgroup that exists: all of them, or none. */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { Int64, Resources } from '../config/types.ts'
import { AT_FDCWD, O_RDONLY, O_WRONLY } from '../linux/constants.ts'
import { ANY, Batch, type OutPointer, type Step } from '../session/batch.ts'
import { close, openat, read, write } from '../session/calls.ts'
import { CallError, type Session } from '../session/session.ts'
import { Train } from '../session/train.ts'
import { deviceList, planDeviceChange, readDeviceList } from './devices.ts'
import { type CgroupFolder, type CgroupPaths, folderOf, folderPath } from './layout.ts'
import { planDeviceRules, planLimits, writesFor } from './limits.ts'
import type { Write } from './table.ts'

/** `Driver.update` on files alone. Devices are changed only if there are rules in `change`. */
export function updateLimits(
  host: Session,
  machine: Machine,
  paths: CgroupPaths,
  change: Resources,
  whole: Resources,
): readonly string[] {
  const ignored: string[] = []
  const writes = writesFor(paths, change, ignored, whole)
  const devices = change.devices?.length ? folderOf(paths, 'devices') : undefined
  if (change.devices?.length && !devices)
    throw new RuntError('linux.resources.devices: no devices hierarchy is mounted')

  const usage = memoryUsage(paths, change)
  const files = writes.flatMap((item) => item.files.map(({ name }) => pathOf(paths, item, name)))
  const before = readFiles(host, machine, usage === null ? files : [...files, usage])
  const used = usage === null ? undefined : before.get(usage)
  checkUsage(paths, change, whole, used)
  // On v1 only the differences are written: in between nothing is denied that is allowed before and after.
  const list = devices?.version === 1 ? readDeviceList(host, machine, devices) : null
  const wanted = list && deviceList(change.devices!)

  const train = new Train(host, machine)
  planLimits(train, paths, writes)
  if (list && wanted) planDeviceChange(train, devices!, list, wanted)
  else if (devices) planDeviceRules(train, paths, change.devices!, 'rules')
  try {
    host.wait(train.depart())
  } catch (error) {
    if (!(error instanceof RuntError)) throw error
    const left = restore(host, machine, paths, writes, before)
    if (list) restoreDevices(host, machine, devices!, list)
    throw explain(error, whole, used, left)
  }
  return ignored
}

const pathOf = (paths: CgroupPaths, { controller }: Write, name: string): string =>
  `${folderPath(folderOf(paths, controller)!)}/${name}`

/** The file that says how much memory is used, where that matters: the limit is changed to something. */
function memoryUsage(paths: CgroupPaths, { memory }: Resources): string | null {
  const folder = folderOf(paths, 'memory')
  if (!folder || !memory?.limit || memory.limit < 0) return null
  return `${folderPath(folder)}/${folder.version === 1 ? 'memory.usage_in_bytes' : 'memory.current'}`
}

/** memory.checkBeforeUpdate. A v1 kernel refuses such a limit by itself; v2 ends processes until it fits (cgroup-v2.rst, memory.max). */
function checkUsage(paths: CgroupPaths, change: Resources, whole: Resources, used: string | undefined): void {
  const limit = change.memory?.limit
  if (!whole.memory?.checkBeforeUpdate || !limit || used === undefined || paths.mode !== 'v2') return
  if (BigInt(used) > BigInt(limit))
    throw new RuntError(
      `linux.resources.memory.limit: ${limit} is less than the ${used.trim()} bytes in use, and checkBeforeUpdate is set`,
    )
}

/** Bytes read of a file: some hundred devices. And how many files one batch reads. */
const LENGTH = 0x1000
const CHUNK = 16

/** The content of files; those that are missing or cannot be read are left out. */
function readFiles(host: Session, machine: Machine, paths: readonly string[]): Map<string, string> {
  const found = new Map<string, string>()
  for (let start = 0; start < paths.length; start += CHUNK) {
    const b = new Batch(machine)
    const looks: { path: string; count: Step; buffer: OutPointer }[] = []
    for (const path of paths.slice(start, start + CHUNK)) {
      b.about(`looking at ${path}`)
      const next = b.label()
      const closed = b.label()
      const fd = openat(b, AT_FDCWD, path, O_RDONLY).on(ANY, next)
      const buffer = b.out(LENGTH)
      const count = read(b, fd, buffer).on(ANY, closed)
      b.place(closed)
      close(b, fd)
      b.place(next)
      looks.push({ path, count, buffer })
    }
    const answer = host.run(b)
    for (const { path, count, buffer } of looks)
      if (answer.ok(count)) found.set(path, decodeUtf8(answer.bytes(buffer, answer.value(count))))
  }
  return found
}

/**
 * Puts the old contents back, the last write first. Twice, for the kernel checks some limits against others. Gives the files whose old
 * content could not be put back.
 */
function restore(
  host: Session,
  machine: Machine,
  paths: CgroupPaths,
  writes: readonly Write[],
  before: ReadonlyMap<string, string>,
): string[] {
  const items = writes.flatMap((item) =>
    item.files.flatMap(({ name, content }) => {
      const path = pathOf(paths, item, name)
      const old = before.get(path)
      const text = old === undefined ? null : oldContent(name, content, old)
      return text === null ? [] : [{ path, text }]
    }),
  )
  let left: string[] = []
  for (let round = 0; round < 2; round++) {
    left = []
    for (const { path, text } of items.toReversed()) {
      const b = new Batch(machine).about(`changing ${path} back`)
      const end = b.label()
      const closed = b.label()
      const fd = openat(b, AT_FDCWD, path, O_WRONLY).on(ANY, end)
      const written = write(b, fd, text).on(ANY, closed)
      b.place(closed)
      close(b, fd)
      b.place(end)
      if (!host.recover(b).ok(written)) left.push(path)
    }
  }
  return left
}

function restoreDevices(host: Session, machine: Machine, folder: CgroupFolder, before: readonly string[]): void {
  const train = new Train(host, machine)
  planDeviceChange(train, folder, readDeviceList(host, machine, folder), before)
  host.wait(train.depart())
}

/**
 * What to write to a file so that it is as before `content` was written: its old text, or the line of it that is about the same device.
 * Null where the file does not read as it is written.
 */
export function oldContent(name: string, content: string, old: string): string | null {
  if (name === 'memory.oom_control') return /^oom_kill_disable (\d)/.exec(old)?.[1] ?? null
  const lines = old.split('\n').filter((line) => line !== '')
  const word = content.split(' ', 1)[0]!
  // cpu.max alone has two values that are not the value of a device, interface or the like.
  if (word !== content && name !== 'cpu.max') {
    const line = lines.find((entry) => entry.startsWith(`${word} `))
    if (line !== undefined) return line
    if (name === 'io.max') return `${word} rbps=max wbps=max riops=max wiops=max`
    if (name.startsWith('blkio.throttle.')) return `${word} 0`
    return name.includes('weight') ? `${word} default` : null
  }
  // io.weight and io.bfq.weight, which take the bare number too.
  const common = lines.find((line) => line.startsWith('default '))
  if (common !== undefined) return common.slice('default '.length)
  return lines.length > 1 ? null : (lines[0] ?? '\n')
}

/** Adds what the errno does not say. */
function explain(
  error: RuntError,
  { memory }: Resources,
  used: string | undefined,
  left: readonly string[],
): RuntError {
  const failed = error instanceof CallError ? error.step.about : ''
  const reasons: string[] = []
  if (failed.startsWith('linux.resources.memory.limit:')) {
    if (error.errno === 'EBUSY' && used !== undefined)
      reasons.push(`the container uses ${used.trim()} bytes, and the kernel could not reclaim enough of them`)
    if (error.errno === 'EINVAL' && isSet(memory?.swap))
      reasons.push('memory.swap, which counts memory and swap together, is less than that: change both')
  }
  if (failed.startsWith('linux.resources.memory.swap:') && error.errno === 'EINVAL')
    reasons.push('it counts memory and swap together, and is less than memory.limit: change both')
  if (left.length > 0) reasons.push(`could not be changed back: ${left.join(', ')}`)
  if (reasons.length === 0) return error
  return new RuntError(`${error.message}; ${reasons.join('; ')}`, error.errno)
}

const isSet = (value: Int64 | undefined): boolean => value !== undefined && value > 0
