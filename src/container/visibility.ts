/**
 * Who may look into the init before the user's program runs: read its descriptors, memory and program in /proc, or attach to it with
 * ptrace(2) (CVE-2016-9962).
 *
 * Usually nobody: it is not dumpable (PR_SET_DUMPABLE). But for a user who is not root that has a price. A process that is not dumpable is
 * root's business, so its namespaces cannot be entered by the user whose process it is, and where /proc is mounted with `hidepid` the user
 * does not even see it. So a user's init stays dumpable if nobody else can reach it, because one of these namespaces is new:
 *
 * - pid: nobody else is in it, and who is in another one cannot name the init; only who is in one above can, such as the user.
 * - user: who wants to look needs rights over it (CAP_SYS_PTRACE). Those come from being in it, as nobody else is, or in one above; a
 *   container beside this one has none, even with the same ids.
 *
 * Once the program is executed, its memory belongs to the container's user namespace, whose owner may look (ptrace(2), "Ptrace access mode
 * checking"; bprm_mm_init in the kernel).
 */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { finishReading, planReading } from './files.ts'
import { createsNamespace } from './namespaces.ts'

/** Milliseconds between looks at an init that is hidden, and how many there are. */
const PAUSE = 5
const LOOKS = 400

/** Whether nobody but its caller can reach the init of a container that is being set up. */
export const isOutOfReach = (config: Config): boolean =>
  createsNamespace(config, 'pid') || createsNamespace(config, 'user')

/** Plans to be looked into by the caller, or by nobody. To be repeated after each change of ids, for that resets it (PR_SET_DUMPABLE(2const)). */
export function planVisibility(b: Batch, visible: boolean): void {
  if (visible) c.prctl(b, k.PR_SET_DUMPABLE, 1)
  else c.prctl(b, k.PR_SET_DUMPABLE, 0)
}

/**
 * Reads a file of an init that is visible but for the moments between a change of its ids and `planVisibility`. One that has ended is
 * visible too, until it is waited for.
 */
export function lookAgain(host: Session, machine: Machine, path: string): ReturnType<typeof finishReading> {
  for (let look = 1; ; look++) {
    const b = new Batch(machine)
    c.sleep(b, PAUSE)
    const reading = planReading(b, path, 1024)
    const found = finishReading(host, machine, host.run(b), reading)
    if ('text' in found || look === LOOKS) return found
  }
}

/** What to say of an init whose files in /proc are not there. `mountinfo`: that of a caller who is not root. */
export function unseen(path: string, errno: string, mountinfo: string): RuntError {
  const option = / \/proc \S+ .*(hidepid=[^,\s]+)/.exec(mountinfo)?.[1]
  return new RuntError(
    option === undefined || /=(0|off)$/.test(option)
      ? `the container's init ended during its set-up (${path}: ${errno})`
      : `/proc is mounted with ${option}, which hides the container's init from you, for it joins a pid and a user namespace that others are in: have one of them new, be root, or in the group that the mount option gid= names`,
  )
}

/** Makes sure that a user who may not look into the init at least sees it (proc(5), `hidepid`); commands could not tell it from a stopped one. */
export function demandSight(host: Session, machine: Machine, path: string, mountinfo: string): void {
  const b = new Batch(machine)
  const reading = planReading(b, path, 1024)
  const found = finishReading(host, machine, host.run(b), reading)
  if ('errno' in found) throw unseen(path, found.errno, mountinfo)
}
