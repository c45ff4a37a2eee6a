/** The control groups of the benchmark: one in each hierarchy of this machine, in which all its containers are. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sleep } from './sleep.ts'

/** The cgroup of all containers of the benchmark. */
export const CGROUP = '/runt-bench'

interface CgroupMount {
  readonly path: string
  readonly type: string
}

/** Mounts of cgroup hierarchies in this mount namespace, from /proc/self/mountinfo (proc(5)). */
export function cgroupMounts(): CgroupMount[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [mount, filesystem] = line.split(' - ')
      const type = filesystem?.split(' ')[0]
      return type === 'cgroup' || type === 'cgroup2' ? [{ path: mount!.split(' ')[4]!, type }] : []
    })
}

/** Where cgroups are mounted here, and whether that is cgroup v2 alone. */
export interface Hierarchies {
  readonly mountpoints: readonly string[]
  readonly unified: boolean
}

export function findHierarchies(): Hierarchies {
  const mounts = cgroupMounts()
  return {
    mountpoints: [...new Set(mounts.map(({ path }) => path))],
    unified: mounts.every(({ type }) => type === 'cgroup2'),
  }
}

/** Throws if somebody uses the cgroup of the benchmark already. */
export function demandUnused({ mountpoints }: Hierarchies): void {
  for (const mount of mountpoints) {
    const parent = mount + CGROUP
    const names = existsSync(parent) ? readdirSync(parent) : []
    for (const name of names)
      if (membersOf(join(parent, name)).length > 0)
        throw new Error(`${mount}${CGROUP} has processes: another benchmark is running, or one was killed`)
  }
}

/** Makes the cgroup anew, with what containers below it need: CPUs and memory nodes on v1, controllers on v2. */
export function makeCgroups({ mountpoints, unified }: Hierarchies): void {
  removeCgroups({ mountpoints, unified })
  for (const mount of mountpoints) {
    const parent = mount + CGROUP
    mkdirSync(parent)
    for (const file of ['cpuset.cpus', 'cpuset.mems'])
      if (!unified && existsSync(join(parent, file))) writeFileSync(join(parent, file), readFileSync(join(mount, file)))
    // A second child keeps runtimes that tidy up empty parents from removing the shared one.
    mkdirSync(join(parent, 'keep'))
  }
  if (!unified) return
  const parent = mountpoints[0]! + CGROUP
  const offered = readFileSync(join(parent, 'cgroup.controllers'), 'utf8').split(/\s+/)
  for (const controller of ['cpu', 'memory', 'pids'])
    if (offered.includes(controller)) writeFileSync(join(parent, 'cgroup.subtree_control'), `+${controller}`)
}

export function removeCgroups({ mountpoints }: Hierarchies): void {
  for (const mount of mountpoints) removeCgroup(mount + CGROUP)
}

/** Removes a cgroup and all below it, and kills what runs there. */
export function removeCgroup(path: string): void {
  if (!existsSync(path)) return
  for (const name of readdirSync(path, { withFileTypes: true }))
    if (name.isDirectory()) removeCgroup(join(path, name.name))
  const until = Date.now() + 2000
  for (;;) {
    try {
      for (const pid of membersOf(path)) process.kill(pid, 'SIGKILL')
      rmdirSync(path)
      return
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT') return
      // A killed process is a member until it has been reaped, and is then no longer there to be killed.
      if ((code !== 'EBUSY' && code !== 'ESRCH') || Date.now() > until) throw error
      sleep(10)
    }
  }
}

/** Pids of the processes in a cgroup; none if it is gone. */
export function membersOf(path: string): number[] {
  try {
    return readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number)
  } catch {
    return []
  }
}
