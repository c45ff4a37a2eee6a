/** `linux.sysctl` (config-linux.md, "Sysctl"). Which keys belong to a namespace is checked in config/rules.ts. */
import { RuntError } from '../base/errors.ts'
import { sysctlPath } from '../config/rules.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Batch, type OutPointer } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Train } from '../session/train.ts'
import type { Runtime } from './runtime.ts'

/** `linux.sysctl`, through the host's /proc, which shows the namespaces of the process that writes. */
export function planSysctls(train: Train, sysctl: Record<string, string>): void {
  for (const [key, value] of Object.entries(sysctl)) {
    const b = train.next(`linux.sysctl "${key}"`)
    c.writeFile(b, k.AT_FDCWD, `/proc/sys/${sysctlPath(key)}`, value)
  }
}

/** Refuses sysctls of the network where the namespace's path leads to the runtime's own: they would change the host. */
export function checkSysctls({ host, platform }: Runtime, { linux }: Config): void {
  const path = linux?.namespaces?.find(({ type }) => type === 'network')?.path
  const key = Object.keys(linux?.sysctl ?? {}).find((name) => sysctlPath(name)?.startsWith('net/'))
  if (path === undefined || key === undefined) return
  const b = new Batch(platform.machine).about(`linux.namespaces (network): path ${path}`)
  const [own, joined] = ['/proc/self/ns/net', path].map((name) => {
    const status = b.out(256)
    c.statx(b, k.AT_FDCWD, name, 0, status)
    return status
  }) as [OutPointer, OutPointer]
  const answer = host.run(b)
  // stx_ino; namespaces are all of one file system.
  if (answer.long(own, 32) === answer.long(joined, 32))
    throw new RuntError(`linux.sysctl "${key}": the network namespace ${path} is the host's`)
}
