/** What else is different in the cgroups of a caller without rights; what it may not make at all is the driver's matter. */
import type { Resources } from '../config/types.ts'
import { CallError } from '../session/session.ts'
import type { CgroupPaths, Layout } from './layout.ts'

/** Device rules are left out, as with the peers: without rights there are no devices but those that the host gives to all. */
export const withoutDevices = (resources: Resources = {}): Resources => ({
  ...resources,
  devices: [{ allow: true, access: 'rwm' }],
})

/** The sentence about it for the log. runc (libcontainer/cgroups/fs2) does without, too, and does not tell. */
export const DEVICES_LEFT_OUT = 'linux.resources.devices: not enforced, for this user has no rights over devices'

/** Whether an error is that the caller may not load the program for device rules. */
export const isDeniedDevices = (error: unknown): error is CallError =>
  error instanceof CallError &&
  error.errno === 'EPERM' &&
  error.step.about.startsWith('linux.resources.devices') &&
  error.step.about.endsWith('bpf(BPF_PROG_LOAD)')

/** The cgroup that the caller is in, of each hierarchy. */
export const cgroupOfCaller = ({ mode, hierarchies }: Layout): CgroupPaths => ({
  mode,
  folders: hierarchies.map(({ own, ...hierarchy }) => ({ ...hierarchy, path: own })),
})
