/** Handing a cgroup2 over to the user who runs in it (config-linux.md, "Cgroup ownership"; cgroups(7), "Cgroups delegation"). */
import { decodeUtf8 } from '../base/bytes.ts'
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, O_RDONLY } from '../linux/constants.ts'
import { ANY, Batch } from '../session/batch.ts'
import { close, fchownat, openat, read } from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { type CgroupPaths, folderPath } from './layout.ts'

/** The files that may be handed over, one a line; Linux 4.15. */
const LIST = '/sys/kernel/cgroup/delegate'
/** Those of a kernel without the list. */
const USUAL = ['cgroup.procs', 'cgroup.subtree_control', 'cgroup.threads']
/** chown(2): leaves the group as it is. */
const SAME = -1

/** Makes `uid`, a user of the host's, the owner of the container's cgroup2; of v1 cgroups nothing is handed over. */
export function delegate(host: Session, machine: Machine, paths: CgroupPaths, uid: number): void {
  const folder = paths.folders.find(({ version }) => version === 2)
  if (!folder || paths.mode !== 'v2') return
  const b = new Batch(machine)
  const end = b.label()
  const closed = b.label()
  const fd = openat(b, AT_FDCWD, LIST, O_RDONLY).on(ANY, end)
  const buffer = b.out(0x1000)
  const count = read(b, fd, buffer).on(ANY, closed)
  b.place(closed)
  close(b, fd)
  b.place(end)
  const answer = host.run(b)
  const names = answer.ok(count) ? decodeUtf8(answer.bytes(buffer, answer.value(count))).split('\n') : USUAL

  const path = folderPath(folder)
  const giving = new Batch(machine).about(`linux.cgroupsPath: handing ${path} over to user ${uid}`)
  fchownat(giving, AT_FDCWD, path, uid, SAME)
  for (const name of names) {
    if (name === '' || name.includes('/')) continue
    // Files of controllers that the cgroup does not have.
    const missing = giving.label()
    fchownat(giving, AT_FDCWD, `${path}/${name}`, uid, SAME).on(['ENOENT'], missing)
    giving.place(missing)
  }
  host.run(giving)
}
