/** The processes of a cgroup: who they are, and their end. */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, O_RDONLY, O_WRONLY, SIGNALS } from '../linux/constants.ts'
import { ANY, at, Batch, load, type OutPointer } from '../session/batch.ts'
import { close, kill, openat, sleep, write } from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { type CgroupPaths, folderOf, folderPath } from './layout.ts'
import { descendants } from './tree.ts'

/** Bytes of pids read at once at first, and if that is not enough. */
const FEW_PIDS = 0x2000
const MANY_PIDS = 0x1_c000
/** The kernel hands out cgroup.procs by pages. */
const PAGE = 4096

/** The pids of one cgroup; some 16,000 at most. None if it is gone or, threaded, has no list. */
function pidsOf(host: Session, machine: Machine, path: string, size = FEW_PIDS): number[] {
  const b = new Batch(machine).about(`listing the processes of the cgroup ${path}`)
  const buffer: OutPointer = b.out(size)
  const start = b.out(8)
  const cursor = b.out(8)
  const loop = b.label()
  const done = b.label()
  const end = b.label()
  const fd = openat(b, AT_FDCWD, `${path}/cgroup.procs`, O_RDONLY).on(ANY, end)
  b.store(64, start, buffer)
  b.store(64, cursor, buffer)
  b.place(loop)
  const count = b.call('read', fd, load(cursor, 64), PAGE).on(ANY, done)
  b.branch(count, 'LESS', 1, done)
  b.store(64, cursor, b.add(load(cursor, 64), count))
  b.branch(load(cursor, 64), 'LESS', at(buffer, size - PAGE + 1), loop)
  b.place(done)
  close(b, fd)
  b.place(end)
  const answer = host.recover(b)
  if (!answer.ok(fd)) return []
  if (answer.value(count)! > 0 && size < MANY_PIDS) return pidsOf(host, machine, path, MANY_PIDS)
  const bytes = answer.bytes(buffer)
  const pids: number[] = []
  let pid = 0
  const length = Number(answer.long(cursor) - answer.long(start))
  for (let i = 0; i < length; i++) {
    const digit = bytes[i]! - 48
    if (digit >= 0) pid = pid * 10 + digit
    else {
      // 0 stands for a process outside of the runtime's pid namespace.
      if (pid > 0) pids.push(pid)
      pid = 0
    }
  }
  return pids
}

export function processesBelow(host: Session, machine: Machine, path: string): number[] {
  return [path, ...descendants(host, machine, path)].flatMap((folder) => pidsOf(host, machine, folder))
}

/** The hierarchies in which a process is looked for, best first: those that a container can hardly do without. */
const LOOKED_AT = ['pids', 'devices', 'freezer', 'memory']

/** Pids of the container's processes in the runtime's pid namespace, those in sub-cgroups included. */
export function processes(host: Session, machine: Machine, paths: CgroupPaths): number[] {
  const folder =
    LOOKED_AT.map((name) => folderOf(paths, name)).find((found) => found?.version === 1) ??
    paths.folders.find(({ version }) => version === 2) ??
    paths.folders[0]
  return folder ? processesBelow(host, machine, folderPath(folder)) : []
}

/** Milliseconds that `killAll` waits for processes to end, and its longest pause. */
const KILL_PATIENCE = 10_000
const LONGEST_WAIT = 100
/** Signals of one batch, to keep messages small. */
const CHUNK = 200

/**
 * SIGKILL to every process of the cgroup until none is left; a frozen v1 cgroup is thawed, for it takes no signals.
 * Throws a RuntError when some are left after some seconds.
 */
export function killAll(host: Session, machine: Machine, paths: CgroupPaths): void {
  const b = new Batch(machine).about('ending the processes of the cgroup')
  for (const folder of paths.folders) {
    // cgroup.kill: Linux 5.14.
    const file = folder.version === 2 ? 'cgroup.kill' : folder.controllers.includes('freezer') ? 'freezer.state' : null
    if (file === null) continue
    const next = b.label()
    const fd = openat(b, AT_FDCWD, `${folderPath(folder)}/${file}`, O_WRONLY).on(ANY, next)
    const written = b.label()
    write(b, fd, folder.version === 2 ? '1' : 'THAWED').on(ANY, written)
    b.place(written)
    close(b, fd)
    b.place(next)
  }
  if (b.count > 0) host.recover(b)
  let wait = 0
  for (let waited = 0; ; waited += wait) {
    const pids = processes(host, machine, paths)
    if (pids.length === 0) return
    if (waited > KILL_PATIENCE)
      throw new RuntError(`processes of the cgroup do not end after SIGKILL: ${pids.slice(0, 20).join(', ')}`)
    wait = Math.min(Math.max(1, 2 * wait), LONGEST_WAIT)
    for (let start = 0; start < pids.length; start += CHUNK) {
      const batch = new Batch(machine).about('ending the processes of the cgroup')
      for (const pid of pids.slice(start, start + CHUNK)) {
        const next = batch.label()
        kill(batch, pid, SIGNALS.KILL!).on(ANY, next)
        batch.place(next)
      }
      if (start + CHUNK >= pids.length) sleep(batch, wait)
      host.recover(batch)
    }
  }
}
