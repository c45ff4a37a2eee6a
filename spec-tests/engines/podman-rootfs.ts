/** A podman that needs no image, for guests: its containers run a root file system of the test's own. */
import { join } from 'node:path'
import { base, bundle, cgroupRoot, command, execute, marker, type Result, skip } from '../harness.ts'
import { processesOf } from '../host.ts'

/** Podman calls are slow where the machine is. */
const TIMEOUT = 50_000

export type Podman = (...words: string[]) => Result

/** Gives the body a podman with a store of its own, and a root file system. `manager`: of control groups. */
export function withPodman(manager: string, body: (podman: Podman, rootfs: string) => void): void {
  if (command.length > 1 || !command[0]!.includes('/')) skip('the runtime is not a file')
  if (execute(['podman', '--version']).status !== 0) skip('podman is not installed')
  const places = ['store', 'runroot', 'podman-tmp'].map((name) => join(base, name))
  const store = ['--root', places[0]!, '--runroot', places[1]!, '--tmpdir', places[2]!]
  const how = ['--storage-driver', 'vfs', '--cgroup-manager', manager, '--runtime', command[0]!]
  const podman: Podman = (...words) => execute(['podman', ...store, ...how, ...words], { timeout: TIMEOUT })
  const { rootfs } = bundle()
  try {
    body(podman, rootfs)
  } finally {
    podman('pod', 'rm', '--force', '--all', '--time', '0')
    podman('rm', '--force', '--all', '--time', '0')
    // Some of it belongs to other ids of the user.
    const remove = ['rm', '-rf', '--one-file-system', rootfs, ...places]
    if (process.getuid!() === 0) execute(remove)
    else podman('unshare', ...remove)
    // The process that keeps podman's user namespace.
    for (const { pid } of processesOf(marker, cgroupRoot, base)) process.kill(pid, 'SIGKILL')
  }
}
