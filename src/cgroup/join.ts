/** How a process gets into a cgroup. */
import { AT_FDCWD, O_DIRECTORY, O_PATH } from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import { close, openat, writeFile } from '../session/calls.ts'
import { planPrepared } from '../session/templates.ts'
import { type CgroupPaths, folderPath } from './layout.ts'

/** Moves a process into the container's cgroup; with `version`, only in the hierarchies of that version. */
export function join(b: Batch, paths: CgroupPaths, pid: number, version?: 1 | 2): void {
  for (const folder of paths.folders)
    if (version === undefined || folder.version === version) writePid(b, `${folderPath(folder)}/cgroup.procs`, pid)
  b.about('')
}

/**
 * Plans that the executor that performs the batch moves itself. So a child can join before the brain knows its pid. It must
 * still see the host's mounts and, in a user namespace, be allowed to open the files.
 *
 * On v1 it moves as a thread, through `tasks`; it has only the one. For a whole process (cgroup.procs) the kernel would stop all
 * forks of the system and wait for an RCU grace period, which takes milliseconds (cgroup_procs_write_start, Linux 5.15). On v2
 * only CLONE_INTO_CGROUP avoids that.
 */
export function joinSelf(b: Batch, paths: CgroupPaths, version: 1 | 2, scratch: number): void {
  for (const folder of paths.folders) {
    if (folder.version !== version) continue
    const name = folder.controllers.join(',')
    b.about('joining the cgroup')
    openat(b, AT_FDCWD, folderPath(folder), O_PATH | O_DIRECTORY).keep(scratch)
    const key = joinKey(version, name, scratch)
    planPrepared(b, key, () => planJoining(b, version, name, scratch))
  }
  b.about('')
}

/** Key of the template of `planJoining`. */
export const joinKey = (version: 1 | 2, name: string, scratch: number): string => `join ${version} ${name} ${scratch}`

/** Joins the cgroup whose folder is open in slot `scratch`, and closes it. */
export function planJoining(b: Batch, version: 1 | 2, name: string, scratch: number): void {
  b.about(`joining the cgroup${name ? ` (${name})` : ''}`)
  writeFile(b, slot(scratch), version === 1 ? 'tasks' : 'cgroup.procs', '0')
  close(b, slot(scratch))
}

function writePid(b: Batch, path: string, pid: number): void {
  b.about('joining the cgroup')
  writeFile(b, AT_FDCWD, path, String(pid))
}
