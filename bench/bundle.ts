/**
 * The containers that are measured, on a root file system of one static busybox. `floor.c` makes the same by hand.
 *
 * - minimal: the config that `runc spec` writes (default namespaces, mounts, masked paths), without a terminal.
 * - docker: what dockerd writes for `docker run` (src/config/testing/engines/docker-limits.json), with its default seccomp profile,
 *   capabilities and limits, and ten volumes: 20 mounts. Without its hook, which is for a network that only dockerd has.
 */
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const capabilities = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']

export type Kind = 'minimal' | 'docker'

export interface BundleOptions {
  readonly kind: Kind
  readonly args: readonly string[]
  /** Absolute. */
  readonly rootfs: string
  /** Absolute, below the mount point of each hierarchy. */
  readonly cgroupsPath: string
  /** cgroup2 only: `runc spec` asks for a cgroup namespace there. */
  readonly cgroupNamespace: boolean
  /** Bytes. */
  readonly memoryLimit?: number
}

/** config.json as an object (runtime-spec, "Configuration"). */
export function config(options: BundleOptions): object {
  return options.kind === 'docker' ? docker(options) : minimal(options)
}

function minimal(options: BundleOptions): object {
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
    root: { path: options.rootfs, readonly: true },
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

/** What of docker's config the functions below touch. */
interface DockerConfig {
  readonly process: object
  readonly mounts: { readonly destination: string; readonly type: string; readonly source: string }[]
  readonly linux: {
    readonly namespaces: object[]
    readonly seccomp: object
    readonly resources: { readonly memory: object; readonly cpu: object }
  }
}

const dockerFile = join(dirname(fileURLToPath(import.meta.url)), '../src/config/testing/engines/docker-limits.json')
/** Files that dockerd makes for a container, and volumes. */
const files = ['resolv.conf', 'hostname', 'hosts']
const volumes = Array.from({ length: 10 }, (_, index) => `volume${index}`)

function docker(options: BundleOptions): object {
  const { hooks: _, ...written } = JSON.parse(readFileSync(dockerFile, 'utf8')) as DockerConfig & { hooks: unknown }
  const { resources } = written.linux
  const sources = join(dirname(options.rootfs), 'sources')
  const arm = process.arch === 'arm64' ? { architectures: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'] } : {}
  return {
    ...written,
    process: { ...written.process, args: options.args },
    root: { path: options.rootfs },
    mounts: [
      ...written.mounts.map((mount) =>
        mount.type === 'bind' ? { ...mount, source: join(sources, mount.destination.slice('/etc/'.length)) } : mount,
      ),
      ...volumes.map((name, index) => ({
        destination: `/${name}`,
        type: 'bind',
        source: join(sources, name),
        options: ['rbind', 'rprivate', index % 2 === 0 ? 'rw' : 'ro'],
      })),
    ],
    linux: {
      ...written.linux,
      cgroupsPath: options.cgroupsPath,
      namespaces: [...written.linux.namespaces, ...(options.cgroupNamespace ? [{ type: 'cgroup' }] : [])],
      seccomp: { ...written.linux.seccomp, ...arm },
      resources: {
        ...resources,
        // Not all kernels account for swap, and half a CPU would be a measure of how the kernel throttles.
        memory: { limit: options.memoryLimit ?? 64 << 20 },
        cpu: { shares: 512, quota: 200_000, period: 100_000 },
      },
    },
  }
}

/** Makes the root file system of all containers, and beside it the sources of docker's bind mounts. */
export function makeRootfs(rootfs: string, busybox: string): void {
  const sources = join(dirname(rootfs), 'sources')
  for (const folder of ['bin', 'proc', 'dev', 'sys', 'etc', ...volumes])
    mkdirSync(join(rootfs, folder), { recursive: true })
  for (const name of volumes) mkdirSync(join(sources, name), { recursive: true })
  for (const name of files) for (const folder of [sources, join(rootfs, 'etc')]) writeFileSync(join(folder, name), '')
  copyFileSync(busybox, join(rootfs, 'bin/busybox'))
  for (const applet of ['true', 'sleep', 'sh']) symlinkSync('busybox', join(rootfs, 'bin', applet))
}

/** Makes or changes a bundle. `rootfs` in it is for the floor. */
export function writeBundle(path: string, options: BundleOptions): void {
  if (mkdirSync(path, { recursive: true })) symlinkSync(options.rootfs, join(path, 'rootfs'))
  writeFileSync(join(path, 'config.json'), `${JSON.stringify(config(options), null, 2)}\n`)
}
