/**
 * Bundles for the tests: a root file system of a static busybox, and the configuration that `runc spec`
 * writes, as plain data that a test changes before it is written.
 */
import { copyFileSync, existsSync, linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Mount {
  destination: string
  type?: string
  source?: string
  options?: string[]
}

export interface Namespace {
  type: string
  path?: string
}

/** The part of config.json that tests touch by name. Anything else goes through `set`. */
export interface Config {
  ociVersion: string
  process: {
    terminal?: boolean
    user: { uid: number; gid: number; umask?: number; additionalGids?: number[] }
    args: string[]
    env?: string[]
    cwd: string
    capabilities?: Record<string, string[]>
    rlimits?: { type: string; hard: number; soft: number }[]
    noNewPrivileges?: boolean
    oomScoreAdj?: number
    [name: string]: unknown
  }
  root: { path: string; readonly?: boolean }
  hostname?: string
  mounts: Mount[]
  hooks?: Record<string, { path: string; args?: string[]; env?: string[]; timeout?: number }[]>
  annotations?: Record<string, string>
  linux: {
    namespaces: Namespace[]
    cgroupsPath: string
    maskedPaths?: string[]
    readonlyPaths?: string[]
    resources?: Record<string, unknown>
    sysctl?: Record<string, string>
    devices?: Record<string, unknown>[]
    [name: string]: unknown
  }
  [name: string]: unknown
}

const DEFAULT_CAPABILITIES = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']

/** What `runc spec` writes, without a terminal and with a control group of the test's own. */
export function defaultConfig(cgroupsPath: string): Config {
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: ['sleep', '60'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
      cwd: '/',
      capabilities: {
        bounding: [...DEFAULT_CAPABILITIES],
        effective: [...DEFAULT_CAPABILITIES],
        permitted: [...DEFAULT_CAPABILITIES],
        ambient: [...DEFAULT_CAPABILITIES],
      },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'runc',
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
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      namespaces: [{ type: 'pid' }, { type: 'network' }, { type: 'ipc' }, { type: 'uts' }, { type: 'mount' }],
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
      cgroupsPath,
    },
  }
}

/**
 * Sets one value of a configuration by its path, of any type: `set(config, 'process.user.uid', -1)`.
 * `undefined` removes the field. Numbers index arrays.
 */
export function set(config: Config, path: string, value: unknown): void {
  const names = path.split('.')
  const last = names.pop()!
  let target = config as Record<string, unknown>
  for (const name of names) {
    if (target[name] === undefined) target[name] = {}
    target = target[name] as Record<string, unknown>
  }
  if (value === undefined) delete target[last]
  else target[last] = value
}

/** Removes the namespaces of these types from the configuration. */
export function withoutNamespaces(config: Config, ...types: string[]): void {
  config.linux.namespaces = config.linux.namespaces.filter((namespace) => !types.includes(namespace.type))
}

/** Changes a configuration into one that is usual for users without rights: `runc spec --rootless`, with the host's network. */
export function makeRootless(config: Config, uid: number, gid: number): void {
  config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'network')
  config.linux.namespaces.push({ type: 'user' })
  config.linux.uidMappings = [{ containerID: 0, hostID: uid, size: 1 }]
  config.linux.gidMappings = [{ containerID: 0, hostID: gid, size: 1 }]
  config.mounts = config.mounts.map((mount) => {
    if (mount.type === 'devpts') return { ...mount, options: mount.options!.filter((word) => word !== 'gid=5') }
    if (mount.type !== 'sysfs') return mount
    return { ...mount, type: 'none', source: '/sys', options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'] }
  })
}

const APPLETS =
  'awk basename cat chmod chown cp cut date dd df dirname echo env expr false find grep head hostname id ifconfig ip ipcs kill ' +
  'ln ls mkdir mkfifo mknod mount mv nproc od ping printf ps pwd readlink realpath rm rmdir sed seq sh sleep sort stat ' +
  'stty sync tail tee test touch tr true tty umount uname unshare usleep wc which'

/** Where a static busybox lies; Debian's busybox-static puts it into /bin. */
export const BUSYBOX = process.env.RUNT_SPEC_BUSYBOX ?? '/bin/busybox'

/** Makes `store`, a copy of busybox from which root file systems of the same file system are linked. */
export function makeStore(store: string): void {
  if (!existsSync(BUSYBOX)) throw new Error(`${BUSYBOX} is missing: install busybox-static or set RUNT_SPEC_BUSYBOX`)
  copyFileSync(BUSYBOX, store)
}

/** Makes a root file system: /bin with busybox and its applets, and nothing else but /etc and /tmp. */
export function makeRootfs(rootfs: string, store: string): void {
  mkdirSync(join(rootfs, 'bin'), { recursive: true })
  mkdirSync(join(rootfs, 'etc'))
  mkdirSync(join(rootfs, 'tmp'))
  // No symbolic links: each is an inode, and ext4 takes long to find free ones where many have just been freed.
  for (const name of ['busybox', ...APPLETS.split(' ')]) linkSync(store, join(rootfs, 'bin', name))
  writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
}
