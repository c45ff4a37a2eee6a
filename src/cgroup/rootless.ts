/** What else is different in the cgroups of a caller without rights; what it may not make at all is the driver's matter. */
import { RuntError } from '../base/errors.ts'
import type { Resources } from '../config/types.ts'
import { describeErrno } from '../linux/errno.ts'
import { CallError } from '../session/session.ts'
import { type CgroupPaths, folderPath, type Layout } from './layout.ts'

/** Device rules are left out, as with the peers: without rights there are no devices but those that the host gives to all. */
export const withoutDevices = (resources: Resources = {}): Resources => ({
  ...resources,
  devices: [{ allow: true, access: 'rwm' }],
})

/** The sentence about it for the log. runc (libcontainer/cgroups/fs, fs2) does without, too, and does not tell. */
export const DEVICES_LEFT_OUT = 'linux.resources.devices: not enforced, for this user has no rights over devices'

/**
 * Whether an error is that the caller may not load the program for device rules, or (cgroup v1) not write to devices.deny and
 * devices.allow: that takes CAP_SYS_ADMIN on the host, whoever the files belong to.
 */
export const isDeniedDevices = (error: unknown): error is CallError =>
  error instanceof CallError &&
  error.errno === 'EPERM' &&
  error.step.about.startsWith('linux.resources.devices') &&
  (error.step.name === 'write' || error.step.about.endsWith('bpf(BPF_PROG_LOAD)'))

/** Says what helps where the kernel refuses a cgroup to a caller that has all rights but one, or is in a container itself. */
export function explainRefusal(error: unknown, cgroup: CgroupPaths | null): unknown {
  if (!(error instanceof CallError)) return error
  const { name, about, args } = error.step
  if (error.errno === 'EACCES' && about.startsWith('joining the cgroup')) return explainJoin(error, cgroup)
  if (error.errno === 'EROFS' && name === 'mkdirat' && about.startsWith('linux.cgroupsPath'))
    return new RuntError(
      `${about}: ${args[1]} cannot be made: ${describeErrno('EROFS')}: cgroups are read-only here, as in most containers: mount them writable, or leave the container in the cgroup of its caller (--cgroup-manager disabled)`,
      error.errno,
    )
  if (isDeniedDevices(error))
    return new RuntError(`${error.message}: rules for devices take CAP_SYS_ADMIN on the host`, error.errno)
  return error
}

/** Where a process may not be moved to: cgroups(7), "cgroups v2 delegation: containment rules". */
function explainJoin(error: CallError, cgroup: CgroupPaths | null): CallError | RuntError {
  const folder = cgroup?.folders.find(({ version }) => version === 2)
  if (!folder) return error
  return new RuntError(
    `linux.cgroupsPath: joining the cgroup ${folderPath(folder)}: ${error.detail}: it takes the right to write to cgroup.procs there and in the cgroup above it that we are in, too: call runt inside of what systemd has delegated (systemd-run --user --scope -p Delegate=yes), or let systemd make the cgroup (--systemd-cgroup)`,
    error.errno,
  )
}

/** The cgroup that the caller is in, of each hierarchy. */
export const cgroupOfCaller = ({ mode, hierarchies }: Layout): CgroupPaths => ({
  mode,
  folders: hierarchies.map(({ own, ...hierarchy }) => ({ ...hierarchy, path: own })),
})
