/**
 * The container that is measured: the config that `runc spec` writes (default namespaces, mounts, masked paths), without a
 * terminal, on a root file system of one static busybox. `floor.c` makes the same container by hand.
 */
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const capabilities = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']

export interface BundleOptions {
  readonly args: readonly string[]
  /** Absolute, below the mount point of each hierarchy. */
  readonly cgroupsPath: string
  /** cgroup2 only: `runc spec` asks for a cgroup namespace there. */
  readonly cgroupNamespace: boolean
  /** Bytes. */
  readonly memoryLimit?: number
}

/** config.json as an object (runtime-spec, "Configuration"). */
export function config(options: BundleOptions): object {
  const namespaces = ['pid', 'network', 'ipc', 'uts', 'mount', ...(options.cgroupNamespace ? ['cgroup'] : [])]
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: options.args,
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
      cwd: '/',
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
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
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
      },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
      },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      {
        destination: '/sys/fs/cgroup',
        type: 'cgroup',
        source: 'cgroup',
        options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
      },
    ],
    linux: {
      cgroupsPath: options.cgroupsPath,
      resources: {
        devices: [{ allow: false, access: 'rwm' }],
        ...(options.memoryLimit === undefined ? {} : { memory: { limit: options.memoryLimit } }),
      },
      namespaces: namespaces.map((type) => ({ type })),
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

/** Makes a bundle in the new folder `path`, with the static busybox at `busybox`. */
export function makeBundle(path: string, busybox: string, options: BundleOptions): void {
  for (const folder of ['bin', 'proc', 'dev', 'sys']) mkdirSync(join(path, 'rootfs', folder), { recursive: true })
  copyFileSync(busybox, join(path, 'rootfs/bin/busybox'))
  for (const applet of ['true', 'sleep', 'sh']) symlinkSync('busybox', join(path, 'rootfs/bin', applet))
  writeConfig(path, options)
}

/** (Re)writes the config of a bundle. */
export function writeConfig(path: string, options: BundleOptions): void {
  writeFileSync(join(path, 'config.json'), `${JSON.stringify(config(options), null, 2)}\n`)
}
