/** Rules about `linux.sysctl` (config-linux.md, "Sysctl"; namespaces(7)). */
import { join, namespace, withArticle } from './checks.ts'
import type { Config, NamespaceType } from './types.ts'

/**
 * A sysctl's key as a path below /proc/sys, or undefined if it is none. As sysctl(8): the first separator decides;
 * after a slash, dots belong to the name (`net/ipv4/conf/eth0.100/forwarding`), after a dot it is the other way round.
 */
export function sysctlPath(key: string): string | undefined {
  const separator = /[./]/.exec(key)?.[0]
  if (separator === undefined) return undefined
  const path = separator === '/' ? key : key.replace(/[./]/g, (char) => (char === '.' ? '/' : '.'))
  return path.split('/').some((part) => part === '' || part === '.' || part === '..') ? undefined : path
}

/** Which namespace a sysctl belongs to; undefined: to none, so that it would change the host. */
function sysctlNamespace(path: string): NamespaceType | undefined {
  if (path.startsWith('net/')) return 'network'
  // Limits of the namespace and those below it; Linux 4.9.
  if (path.startsWith('user/')) return 'user'
  if (path === 'kernel/hostname' || path === 'kernel/domainname') return 'uts'
  if (path.startsWith('fs/mqueue/') || /^kernel\/(?:sem$|shm|msg)/.test(path)) return 'ipc'
  return undefined
}

/** Each key has to be of a namespace that the container has, and not what another field sets. */
export function sysctls(config: Config): string | undefined {
  for (const key of Object.keys(config.linux?.sysctl ?? {})) {
    const field = join('linux.sysctl', key)
    const path = sysctlPath(key)
    if (path === undefined) return `${field}: not the name of a sysctl`
    const type = sysctlNamespace(path)
    if (type === undefined) return `${field}: belongs to no namespace, it would change the host`
    if (namespace(config, type) === undefined)
      return `${field}: needs ${withArticle(type)} namespace in linux.namespaces`
    if (path === 'kernel/hostname' && config.hostname) return `${field}: conflicts with hostname`
    if (path === 'kernel/domainname' && config.domainname) return `${field}: conflicts with domainname`
  }
  return undefined
}
