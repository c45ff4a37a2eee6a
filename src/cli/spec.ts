/** The example configuration that `spec` writes. */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import { SPEC_VERSION } from '../base/version.ts'
import type { Config } from '../config/types.ts'
import { AT_FDCWD, CGROUP2_SUPER_MAGIC, O_CREAT, O_EXCL, O_WRONLY } from '../linux/constants.ts'
import { describeErrno } from '../linux/errno.ts'
import { ANY, Batch } from '../session/batch.ts'
import { close, openat, unlinkat, write } from '../session/calls.ts'
import type { Session } from '../session/session.ts'

export interface SpecOptions {
  /** The host has cgroup v2 alone; the container then gets a cgroup namespace. */
  unified: boolean
  /** For an unprivileged user with these ids; null for root. */
  rootless: { uid: number; gid: number } | null
}

/** A configuration that runs `sh` from the folder rootfs with the rights and mounts that engines usually give. */
export function exampleSpec({ unified, rootless }: SpecOptions): Config {
  const capabilities = (): string[] => ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']
  const namespaces: NonNullable<Config['linux']>['namespaces'] = [{ type: 'pid' }]
  if (!rootless) namespaces.push({ type: 'network' })
  namespaces.push({ type: 'ipc' }, { type: 'uts' }, { type: 'mount' })
  if (unified) namespaces.push({ type: 'cgroup' })
  if (rootless) namespaces.push({ type: 'user' })
  return {
    ociVersion: SPEC_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: ['sh'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
      cwd: '/',
      capabilities: { bounding: capabilities(), effective: capabilities(), permitted: capabilities() },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'runt',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        // Group 5 (tty) is not mapped for an unprivileged user.
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', ...(rootless ? [] : ['gid=5'])],
      },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
      },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
      rootless
        ? // The kernel lets only the owner of the network namespace mount sysfs, and the host's is kept.
          { destination: '/sys', type: 'none', source: '/sys', options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'] }
        : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      {
        destination: '/sys/fs/cgroup',
        type: 'cgroup',
        source: 'cgroup',
        options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
      },
    ],
    linux: {
      ...(rootless
        ? {
            uidMappings: [{ containerID: 0, hostID: rootless.uid, size: 1 }],
            gidMappings: [{ containerID: 0, hostID: rootless.gid, size: 1 }],
          }
        : { resources: { devices: [{ allow: false, access: 'rwm' }] } }),
      namespaces,
      maskedPaths: [
        '/proc/acpi',
        '/proc/asound',
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/timer_list',
        '/proc/timer_stats',
        '/proc/sched_debug',
        '/sys/firmware',
        '/proc/scsi',
      ],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  }
}

/**
 * Writes an example configuration to a file, with the mode that the umask leaves of 0666. Throws a RuntError when there is
 * one already.
 */
export function writeSpec(host: Session, machine: Machine, path: string, rootless: boolean): void {
  const asked = new Batch(machine)
  const uid = asked.call('geteuid')
  const gid = asked.call('getegid')
  const none = asked.label()
  // statfs(2): f_type is the first word.
  const info = asked.out(120)
  const mounted = asked.call('statfs', '/sys/fs/cgroup', info).on(ANY, none)
  asked.place(none)
  const answer = host.run(asked)
  const spec = exampleSpec({
    unified: answer.ok(mounted) && answer.word(info) === CGROUP2_SUPER_MAGIC,
    rootless: rootless ? { uid: answer.value(uid)!, gid: answer.value(gid)! } : null,
  })
  const text = `${JSON.stringify(spec, null, '\t')}\n`

  const batch = new Batch(machine).about(path)
  const exists = batch.label()
  const cleanup = batch.label()
  const end = batch.label()
  const fd = openat(batch, AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0o666).on(['EEXIST'], exists)
  const written = write(batch, fd, text).on(ANY, cleanup)
  batch.branch(written, 'LESS', text.length, cleanup)
  close(batch, fd)
  batch.jump(end)
  batch.place(cleanup)
  unlinkat(batch, AT_FDCWD, path)
  batch.place(exists)
  batch.place(end)
  const done = host.run(batch)
  if (!done.ok(fd))
    throw new RuntError(`${path}: File ${path.slice(path.lastIndexOf('/') + 1)} exists. Remove it first`, 'EEXIST')
  const count = done.value(written)!
  if (count < 0) throw new RuntError(`${path}: write: ${describeErrno(-count)}`)
  if (count < text.length) throw new RuntError(`${path}: only ${count} of ${text.length} bytes could be written`)
}
