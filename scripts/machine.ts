/** What the tests need of the machine besides npm's packages. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

interface Need {
  /** Debian's name. */
  readonly package: string
  /** Any of these is enough: a program, or an absolute path. */
  readonly proof: readonly string[]
  /** Tests that need it are skipped without it. */
  readonly optional?: boolean
}

const needs: readonly Need[] = [
  { package: 'busybox-static', proof: [process.env.RUNT_SPEC_BUSYBOX || '/bin/busybox'] },
  { package: 'gcc', proof: ['gcc'] },
  { package: 'util-linux', proof: ['unshare'] },
  {
    package: 'qemu-user-static',
    proof: [`qemu-${process.arch === 'arm64' ? 'x86_64' : 'aarch64'}-static`],
    optional: true,
  },
  {
    package: 'golang-github-opencontainers-specs-dev',
    proof: ['/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema'],
    optional: true,
  },
  { package: 'gcc-aarch64-linux-gnu', proof: ['aarch64-linux-gnu-gcc'], optional: true },
  { package: 'mandoc', proof: ['mandoc'], optional: true },
  { package: 'zsh', proof: ['zsh'], optional: true },
  { package: 'fish', proof: ['fish'], optional: true },
  { package: 'mmdebstrap', proof: ['mmdebstrap'] },
  { package: 'e2fsprogs', proof: ['mke2fs'] },
  { package: 'xz-utils', proof: ['xz'] },
  { package: 'qemu-system-x86', proof: ['qemu-system-x86_64'] },
  { package: 'runc', proof: ['runc'], optional: true },
  { package: 'crun', proof: ['crun'], optional: true },
  { package: 'python3', proof: ['python3'], optional: true },
  { package: 'iproute2', proof: ['ip'], optional: true },
  { package: 'podman', proof: ['podman'], optional: true },
  // With containerd and ctr.
  { package: 'docker.io', proof: ['dockerd'], optional: true },
  { package: 'buildah', proof: ['buildah'], optional: true },
]

/** Folders of programs; the PATH of cron and of some CI services lacks those of root. */
export function extendPath(): void {
  const folders = (process.env.PATH ?? '').split(delimiter)
  process.env.PATH = [...new Set([...folders, '/usr/local/sbin', '/usr/sbin', '/sbin'])].join(delimiter)
}

/** Whether PATH has a program, or an absolute path is there. */
export function isThere(proof: string): boolean {
  if (proof.startsWith('/')) return existsSync(proof)
  return (process.env.PATH ?? '').split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, proof)))
}

export function missing(): Need[] {
  return needs.filter(({ proof }) => !proof.some(isThere))
}

/** Installs what is missing with apt-get, without questions. What cannot be installed is still missing afterwards. */
export function install(wanted: readonly Need[]): void {
  const apt = (...args: string[]): boolean =>
    spawnSync('apt-get', args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    }).status === 0
  apt('-q', 'update')
  const installing = ['-q', '-y', '--no-install-recommends', 'install']
  // All at once is quicker; one by one, a package that this release of Debian lacks does not take the others with it.
  if (!apt(...installing, ...wanted.map((need) => need.package)))
    for (const need of wanted) apt(...installing, need.package)
}
