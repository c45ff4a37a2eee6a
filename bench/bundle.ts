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
import { exampleSpec } from '../src/cli/spec.ts'

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

function minimal({ args, rootfs, cgroupsPath, cgroupNamespace, memoryLimit }: BundleOptions): object {
  const spec = exampleSpec({ unified: cgroupNamespace, rootless: null })
  const memory = memoryLimit === undefined ? {} : { memory: { limit: memoryLimit } }
  return {
    ...spec,
    ociVersion: '1.0.2',
    process: { ...spec.process, terminal: false, args },
    root: { ...spec.root, path: rootfs },
    linux: { ...spec.linux, cgroupsPath, resources: { ...spec.linux!.resources, ...memory } },
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
