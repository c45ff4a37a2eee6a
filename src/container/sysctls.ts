/** `linux.sysctl` (config-linux.md, "Sysctl"). Which keys belong to a namespace is checked in config/sysctl-rules.ts. */
import { RuntError } from '../base/errors.ts'
import { sysctlPath } from '../config/sysctl-rules.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Batch, type OutPointer, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Train } from '../session/train.ts'
import { planProcfs } from './labels.ts'
import { joinsNamespace } from './namespaces.ts'
import type { Runtime } from './runtime.ts'
import { InitSlot } from './slots.ts'

/**
 * Plans to write `linux.sysctl`, through the host's /proc, whose sysctls are those of the namespaces of the process that writes. In a mount
 * namespace that is joined /proc may be anything: there it has to be a procfs, without other mounts on the way (compare CVE-2025-52881).
 */
export function planSysctls(train: Train, config: Config): void {
  const joins = joinsNamespace(config, 'mount')
  const proc = slot(InitSlot.PROC)
  for (const [key, value] of Object.entries(config.linux?.sysctl ?? {})) {
    const b = train.next(`linux.sysctl "${key}"`)
    const path = `sys/${sysctlPath(key)}`
    if (!joins) {
      c.writeFile(b, k.AT_FDCWD, `/proc/${path}`, value)
      continue
    }
    planProcfs(b)
    const file = c.openat2(b, proc, path, k.O_WRONLY, k.RESOLVE_NO_XDEV | k.RESOLVE_NO_SYMLINKS)
    c.write(b, file, value)
    c.close(b, file)
    c.close(b, proc)
  }
}

/** Namespaces that a config may join though they are the runtime's own: type, where its sysctls lie, its file in /proc/PID/ns. */
const PERHAPS_OURS = [
  ['network', 'net/', 'net'],
  ['user', 'user/', 'user'],
] as const

/** Refuses sysctls of the network, and of users, where the namespace's path leads to the runtime's own: they would change the host. */
export function checkSysctls({ host, platform }: Runtime, { linux }: Config): void {
  for (const [type, folder, file] of PERHAPS_OURS) {
    const path = linux?.namespaces?.find((namespace) => namespace.type === type)?.path
    const key = Object.keys(linux?.sysctl ?? {}).find((name) => sysctlPath(name)?.startsWith(folder))
    if (path === undefined || key === undefined) continue
    const b = new Batch(platform.machine).about(`linux.namespaces (${type}): path ${path}`)
    const [own, joined] = [`/proc/self/ns/${file}`, path].map((name) => {
      const status = b.out(256)
      c.statx(b, k.AT_FDCWD, name, 0, status)
      return status
    }) as [OutPointer, OutPointer]
    const answer = host.run(b)
    // Namespaces are files of one file system.
    if (answer.long(own, k.STX_INO) === answer.long(joined, k.STX_INO))
      throw new RuntError(`linux.sysctl "${key}": the ${type} namespace ${path} is the host's`)
  }
}
