/**
 * What guests are started from: a root file system of Debian 12 with systemd, and kernels. All comes from Debian's archive,
 * without questions, and needs root. As a program, makes it all in the folder of its argument; image.ts runs it.
 */
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { source, unpackPackages } from '../../scripts/debian.ts'
import { BuildError, run, script } from '../../scripts/tools.ts'

/**
 * The kernels, and where Debian has them. `uml` is user-mode Linux: a kernel that runs as a process of the host. It starts in two
 * seconds and needs no virtualization, but has one CPU and lacks cpusets, PSI, time namespaces and checkpoints.
 */
export const kernels = {
  uml: { suite: 'bookworm', name: 'user-mode-linux' },
  '6.1': { suite: 'bookworm', name: 'linux-image-cloud-amd64*' },
  '6.12': { suite: 'bookworm-backports', name: 'linux-image-cloud-amd64*' },
} as const

export type Kernel = keyof typeof kernels

const SUITE = 'bookworm'
const PACKAGES =
  'systemd-sysv,dbus,dbus-user-session,libpam-systemd,busybox-static,runc,crun,podman,uidmap,slirp4netns,' +
  'fuse-overlayfs,apparmor,iproute2,procps,util-linux,kmod,libstdc++6,python3,strace,checkpolicy'

/** Modules that the kernels need to get at their disks and channels; see guest/initramfs. */
const EARLY = ['virtio_pci', 'virtio_blk', 'virtio_console', 'ext4']

/** Scripts for the inside. */
export const guest = join(dirname(fileURLToPath(import.meta.url)), 'guest')

/** As /proc/meminfo has it, in bytes; see proc(5). */
function availableMemory(): number {
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024
}

function debootstrap(folder: string): void {
  const hooks = [
    // The user has subordinate ids; `other` has none.
    'chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash tester',
    'chroot "$1" useradd --create-home --uid 1001 --shell /bin/bash other',
    'sed -i /^other:/d "$1/etc/subuid" "$1/etc/subgid"',
    'echo vm >"$1/etc/hostname"',
    'echo 127.0.0.1 localhost vm >"$1/etc/hosts"',
    'echo 0123456789abcdef0123456789abcdef >"$1/etc/machine-id"',
  ]
  const noDocuments = ['doc', 'man', 'locale', 'info'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`)
  run(
    'mmdebstrap',
    [
      '--variant=minbase',
      '--dpkgopt=force-unsafe-io',
      ...noDocuments,
      `--include=${PACKAGES}`,
      ...hooks.map((hook) => `--customize-hook=${hook}`),
      SUITE,
      folder,
      source(SUITE),
    ],
    'mmdebstrap',
  )
}

/** An archive for the kernel with the modules that it needs first. */
function initramfs(root: string, version: string, target: string): void {
  const folder = `${target}.folder`
  const modules = join(root, 'usr/lib/modules', version)
  const needs = new Map(
    readFileSync(join(modules, 'modules.dep'), 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .map(([path, others]) => [path!, (others ?? '').split(' ').filter((word) => word !== '')]),
  )
  const order = new Set<string>()
  for (const name of EARLY) {
    const path = [...needs.keys()].find((one) => basename(one).split('.')[0] === name)
    // Otherwise it is part of the kernel. modules.dep has what is needed in reverse order.
    if (path) for (const one of [path, ...needs.get(path)!].reverse()) order.add(one)
  }
  for (const name of ['bin', 'modules', 'proc', 'sys', 'dev', 'root'])
    mkdirSync(join(folder, name), { recursive: true })
  copyFileSync(join(root, 'bin/busybox'), join(folder, 'bin/busybox'))
  run('chroot', [folder, '/bin/busybox', '--install', '-s', '/bin'], 'coreutils')
  for (const path of order) {
    const copy = join(folder, 'modules', basename(path))
    copyFileSync(join(modules, path), copy)
    if (copy.endsWith('.xz')) run('xz', ['-d', copy], 'xz-utils')
  }
  const names = [...order].map((path) => basename(path).replace(/\.xz$/, ''))
  writeFileSync(join(folder, 'modules/order'), `${names.join('\n')}\n`)
  copyFileSync(join(guest, 'initramfs'), join(folder, 'init'))
  run('sh', ['-c', 'cd "$0" && find . | /bin/busybox cpio -o -H newc >"$1"', folder, target], 'busybox-static')
  rmSync(folder, { recursive: true })
}

/** Adds a kernel's modules to the root file system, and makes its folder: `linux` and, but for user-mode Linux, `initramfs`. */
function addKernel(root: string, name: Kernel, folder: string): void {
  mkdirSync(folder)
  const { suite, name: debian } = kernels[name]
  const keep = (_: string, unpacked: string): void => {
    const uml = name === 'uml'
    const modules = [uml ? 'usr/lib/uml/modules' : 'lib/modules', 'usr/lib/modules']
      .map((path) => join(unpacked, path))
      .find(existsSync)
    if (!modules) throw new BuildError(`Debian's ${debian} of ${suite} holds no modules`)
    const version = readdirSync(modules)[0]!
    const target = join(root, 'usr/lib/modules', version)
    cpSync(join(modules, version), target, { recursive: true, verbatimSymlinks: true })
    for (const link of ['build', 'source']) rmSync(join(target, link), { force: true })
    run('chroot', [root, 'depmod', version], 'coreutils')
    copyFileSync(join(unpacked, uml ? 'usr/bin/linux.uml' : `boot/vmlinuz-${version}`), join(folder, 'linux'))
    if (!uml) initramfs(root, version, join(folder, 'initramfs'))
  }
  unpackPackages([debian], suite, 'x86_64', keep, `${folder}.apt`)
}

/** Memory that has to be free for the tree to lie there, in bytes: it takes a quarter of it. */
const ROOM = 4 * 2 ** 30

function make(folder: string): void {
  const root = join(folder, 'root')
  mkdirSync(root)
  // Tens of thousands of files for a minute, in a mount namespace that ends with this process: a disk takes longer.
  const inMemory = availableMemory() > ROOM
  if (inMemory) run('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'root', root], 'mount')
  debootstrap(root)
  for (const name of Object.keys(kernels) as Kernel[]) addKernel(root, name, join(folder, name))
  copyFileSync(process.execPath, join(root, 'usr/local/bin/node'))
  mkdirSync(join(root, 'vm'))
  copyFileSync(join(guest, 'init'), join(root, 'vm/init'))
  const options = ['-q', '-t', 'ext4', '-O', '^has_journal', '-d', root]
  run('mke2fs', [...options, join(folder, 'root.img'), '4G'], 'e2fsprogs')
  if (inMemory) run('umount', [root], 'mount')
  rmSync(root, { recursive: true })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await script(() => make(process.argv[2]!))
