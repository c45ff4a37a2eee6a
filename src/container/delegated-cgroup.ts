/**
 * The annotation `run.oci.delegate-cgroup` of crun's: a cgroup2 below the container's own, which the program begins in and has for itself.
 * The limits are those of the container's own, above it. A cgroup namespace has that as its root, for it was made before.
 */
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { DELEGATE_CGROUP, delegatedCgroup, fieldOf } from './annotations.ts'
import { cgroupOwner } from './cgroup-owner.ts'
import { finishReading, planReading } from './files.ts'
import type { Runtime } from './runtime.ts'

const FIELD = fieldOf(DELEGATE_CGROUP)

/** Throws a RuntError for a name that is none, and where cgroups cannot be handed on safely: cgroups(7), "Cgroups delegation". */
export function checkDelegated({ annotations }: Config, cgroup: cgroups.CgroupPaths | null): void {
  const name = delegatedCgroup(annotations)
  if (name === undefined) return
  if (!/^[^/\s]+$/.test(name) || name === '.' || name === '..' || name.startsWith('cgroup.'))
    throw new RuntError(`${FIELD}: ${JSON.stringify(name)} is not the name of a folder`)
  if (cgroup?.mode !== 'v2')
    throw new RuntError(`${FIELD}: it takes a cgroup of the container's own, on a host with cgroup v2 only`)
}

/** Makes the cgroup, hands on the controllers, and moves the init there. After its cgroup namespace has been made. */
export function delegateBelow(
  { host, platform }: Runtime,
  config: Config,
  cgroup: cgroups.CgroupPaths | null,
  pid: number,
): void {
  const name = delegatedCgroup(config.annotations)
  if (name === undefined) return
  const own = cgroup?.folders.find(({ version }) => version === 2)
  if (own === undefined) throw new RuntError(`${FIELD}: the container got no cgroup of its own`)
  const below = { ...own, path: `${own.path}/${name}` }
  const path = cgroups.folderPath(own)
  const b = new Batch(platform.machine).about(FIELD)
  c.mkdirat(b, k.AT_FDCWD, cgroups.folderPath(below), 0o755)
  c.writeFile(b, k.AT_FDCWD, `${cgroups.folderPath(below)}/cgroup.procs`, String(pid))
  const reading = planReading(b, `${path}/cgroup.controllers`, 1024)
  const found = finishReading(host, platform.machine, host.run(b), reading)
  const handing = new Batch(platform.machine).about(FIELD)
  for (const controller of 'text' in found ? found.text.split(/\s+/).filter(Boolean) : []) {
    // One that cannot be handed on (cpu, beside realtime processes) is missing below; the limits hold all the same.
    const next = handing.label()
    const fd = c.openat(handing, k.AT_FDCWD, `${path}/cgroup.subtree_control`, k.O_WRONLY).on(ANY, next)
    const closing = handing.label()
    c.write(handing, fd, `+${controller}`).on(ANY, closing)
    handing.place(closing)
    c.close(handing, fd)
    handing.place(next)
  }
  host.run(handing)
  const owner = cgroupOwner(config)
  if (owner !== null) cgroups.delegate(host, platform.machine, { mode: 'v2', folders: [below] }, owner)
}
