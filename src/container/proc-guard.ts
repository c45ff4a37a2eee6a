/**
 * What may be mounted over procfs. A mount there could show the runtime a false procfs, so that it writes a label or a sysctl to a file of
 * the image (CVE-2019-16884).
 */
import { RuntError } from '../base/errors.ts'
import * as k from '../linux/constants.ts'
import { type Batch, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { InitSlot } from './slots.ts'

const MOUNT = slot(InitSlot.MOUNT)
const TARGET = slot(InitSlot.TARGET)

/** Files of procfs that lxcfs and engines cover on purpose. */
const procTargets = new Set(
  'cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo net/dev sys/kernel/ns_last_pid sys/crypto/fips_enabled pressure/cpu pressure/io pressure/memory'
    .split(' ')
    .map((name) => `/proc/${name}`),
)

/** Throws a RuntError for a destination at or below /proc that may not be covered. `proc`: it is a procfs, as far as the entry says. */
export function refuseProc(about: string, destination: string, proc: boolean): void {
  if (destination === '/proc') {
    if (proc) return
    throw new RuntError(`${about}: only a mount of type proc, or a bind of one, may cover /proc`)
  }
  if (destination.startsWith('/proc/') && !procTargets.has(destination))
    throw new RuntError(`${about}: a destination inside /proc is refused`)
}

/** The same rule for a destination that leads into /proc by a link of the image. */
export function planRefuseProc(b: Batch, about: string, destination: string): void {
  if (destination === '/proc' || destination.startsWith('/proc/')) return
  const buffer = b.scratch(120)
  const fine = b.label()
  c.fstatfs(b, TARGET, buffer)
  b.branch(load(buffer, 64), 'NOT_EQUAL', k.PROC_SUPER_MAGIC, fine)
  b.about(`${about}: the destination leads into /proc by a symbolic link`)
  b.fail('EPERM')
  b.place(fine)
  b.about(about)
}

/** A bind mount that is to cover /proc: MOUNT has to be of procfs. */
export function planDemandProc(b: Batch, about: string, source: string): void {
  const buffer = b.scratch(120)
  const fine = b.label()
  c.fstatfs(b, MOUNT, buffer)
  b.branch(load(buffer, 64), 'EQUAL', k.PROC_SUPER_MAGIC, fine)
  b.about(`${about}: only procfs may cover /proc, and source ${source} is none`)
  b.fail('EPERM')
  b.place(fine)
}

/**
 * Further RESOLVE_ flags for a target: procfs and sysfs are mounted on real folders. By a link the image could have them somewhere else
 * (CVE-2023-27561).
 */
export function resolveFor(destination: string, type = ''): number {
  return type === 'proc' || type === 'sysfs' || destination === '/proc' ? k.RESOLVE_NO_SYMLINKS : 0
}
