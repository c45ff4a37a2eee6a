/** What most containers ask for: the mounts and paths that engines put into every config.json. Templates are made of it. */

import type { Machine } from '../base/platform.ts'
import { joinKey, planJoining } from '../cgroup/manager.ts'
import type { Mount } from '../config/types.ts'
import { prepare } from '../session/templates.ts'
import { DEFAULT_DEVICES, planDefaultDevices } from './devices.ts'
import { planMask, planReadonlyPath } from './masked-paths.ts'
import { prepareBinding } from './mount-bind.ts'
import { keyOfCgroupFolder, planCgroupFolder } from './mount-cgroup.ts'
import { readMountOptions } from './mount-options.ts'
import { keyOfMount, planPlainMount } from './mounts.ts'
import { InitSlot } from './slots.ts'

const proc: Mount = { destination: '/proc', type: 'proc', source: 'proc' }
const procSafe: Mount = { ...proc, options: ['nosuid', 'noexec', 'nodev'] }
const dev: Mount = {
  destination: '/dev',
  type: 'tmpfs',
  source: 'tmpfs',
  options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
}
const devPodman: Mount = { ...dev, options: ['nosuid', 'noexec', 'strictatime', 'mode=755', 'size=65536k'] }
const pts: Mount = {
  destination: '/dev/pts',
  type: 'devpts',
  source: 'devpts',
  options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
}
const shm: Mount = {
  destination: '/dev/shm',
  type: 'tmpfs',
  source: 'shm',
  options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
}
const mqueue: Mount = {
  destination: '/dev/mqueue',
  type: 'mqueue',
  source: 'mqueue',
  options: ['nosuid', 'noexec', 'nodev'],
}
const sysfs: Mount = {
  destination: '/sys',
  type: 'sysfs',
  source: 'sysfs',
  options: ['nosuid', 'noexec', 'nodev', 'ro'],
}

/** The first mounts of each engine's configs, in its order. */
const orders: Mount[][] = [
  // runc spec, runt spec, ctr
  [proc, dev, pts, shm, mqueue, sysfs],
  // containerd's CRI plugin
  [procSafe, dev, pts, mqueue, sysfs],
  // dockerd
  [procSafe, dev, pts, sysfs],
  // podman, CRI-O
  [procSafe, devPodman, sysfs, pts, mqueue],
]

const masked =
  '/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware /sys/fs/selinux /sys/devices/virtual/powercap'

const readonly = '/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger'

/** Controllers of v1 hierarchies: each on a mount of its own, or together as systemd mounts them. */
const hierarchies =
  'cpu cpuacct cpuset memory devices freezer blkio pids name=systemd net_cls net_prio hugetlb perf_event rdma misc cpu,cpuacct net_cls,net_prio'

/** Options of the cgroup mount in every engine's configs. */
const cgroupOptions = ['nosuid', 'noexec', 'nodev', 'relatime', 'ro']

/** Components of the destinations of usual bind mounts, at most: `/var/run/secrets/kubernetes.io/serviceaccount` has five. */
const DEEPEST = 6

/** Options of bind mounts that engines write for files and volumes of theirs. */
const bindOptions = [
  'rbind rprivate',
  'rbind rprivate rw',
  'rbind rprivate ro',
  'rbind ro rprivate',
  'rbind rw rprivate',
  'bind rprivate',
  'bind rprivate rw',
  'bind rprivate ro',
]

/** Makes the templates for a machine. */
export function prepareUsual(machine: Machine): void {
  for (const mounts of orders)
    mounts.forEach((mount, index) => {
      prepare(machine, keyOfMount(mount, index), (b) => planPlainMount(b, mount, index))
    })
  for (const path of masked.split(' ')) prepare(machine, `linux.maskedPaths (${path})`, (b) => planMask(b, path, null))
  for (const path of readonly.split(' '))
    prepare(machine, `linux.readonlyPaths (${path})`, (b) => planReadonlyPath(b, path))
  for (let depth = 1; depth <= DEEPEST; depth++) prepareBinding(machine, depth)
  for (const words of bindOptions) readMountOptions(words.split(' '))
  prepare(machine, DEFAULT_DEVICES, planDefaultDevices)
  const { set, clear } = readMountOptions(cgroupOptions)
  for (const name of hierarchies.split(' ')) {
    prepare(machine, joinKey(1, name, InitSlot.CGROUP), (b) => planJoining(b, 1, name, InitSlot.CGROUP))
    const folder = name.replace('name=', '')
    prepare(machine, keyOfCgroupFolder(folder, set, clear), (b) => planCgroupFolder(b, folder, set, clear))
  }
}
