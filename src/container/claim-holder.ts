/** Who has the lock on a container's folder (claim.ts), where that decides whether to wait for it. */

import * as k from '../linux/constants.ts'
import { Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { finishReading, planLongReading, planReading } from './files.ts'
import type { Runtime } from './runtime.ts'
import { HostSlot } from './slots.ts'

/** How far up the ancestors are looked at. */
const GENERATIONS = 50

/** Processes that have a lock by flock(2) on a file with this inode number; `locks`: /proc/locks (proc_locks(5)). */
export function holders(locks: string, inode: number): number[] {
  return locks.split('\n').flatMap((line) => {
    // `2: FLOCK  ADVISORY  WRITE 1234 00:1c:5678 0 EOF`; who waits for a lock has `->` behind the number.
    const [, pid, number] = /^\d+: FLOCK +\S+ +\S+ +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? []
    return Number(number) === inode ? [Number(pid)] : []
  })
}

/** The parent of a process; proc_pid_stat(5). */
const parentIn = (stat: string): number => Number(/^ \S (\d+)/.exec(stat.slice(stat.lastIndexOf(')') + 1))?.[1] ?? 0)

/**
 * Whether the command with the lock on the folder in slot CLAIM waits for us: we are a hook of its, or called by one. Then it will not let
 * go of the lock however long we wait. False where that cannot be found out.
 */
export function waitsForUs({ host, platform }: Runtime): boolean {
  const read = (path: string): string => {
    const b = new Batch(platform.machine)
    const reading = planReading(b, path, 1024)
    const found = finishReading(host, platform.machine, host.run(b), reading)
    return 'text' in found ? found.text : ''
  }
  const b = new Batch(platform.machine)
  const status = b.out(256)
  c.statx(b, slot(HostSlot.CLAIM), '', k.AT_EMPTY_PATH, status)
  const reading = planLongReading(b, '/proc/locks', 0x4000)
  const answer = host.run(b)
  const locks = finishReading(host, platform.machine, answer, reading)
  if ('errno' in locks) return false
  const pids = holders(locks.text, Number(answer.long(status, k.STX_INO)))
  let pid = pids.length === 0 ? 0 : parentIn(read('/proc/self/stat'))
  for (let generation = 0; pid > 1 && generation < GENERATIONS; generation++) {
    if (pids.includes(pid)) return true
    pid = parentIn(read(`/proc/${pid}/stat`))
  }
  return false
}
