/**
 * Makes the packages in dist/packages, for this machine or with `--machine NAME` (may be given several times) for others:
 * a .deb, and a .tar.gz to be unpacked into a prefix such as /usr/local. Two runs give the same bytes: names are sorted,
 * owners are root, times are SOURCE_DATE_EPOCH or else the commit's.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import type { Machine } from '../src/base/platform.ts'
import { VERSION } from '../src/base/version.ts'
import { buildProductionBrain, ownMachine } from './brain.ts'
import { architectures } from './debian.ts'
import { buildLauncher } from './launcher.ts'
import { findLibraries } from './libraries.ts'
import { bashCompletion, fishCompletion, zshCompletion } from './package/completions.ts'
import { manualPages } from './package/manual.ts'
import { BuildError, root, run, script } from './tools.ts'

await script(async () => {
  const { values } = parseArgs({ options: { machine: { type: 'string', multiple: true, default: [ownMachine] } } })
  for (const machine of values.machine) {
    if (machine !== 'x86_64' && machine !== 'aarch64')
      throw new BuildError(`--machine ${machine}: runt runs on x86_64 and aarch64`)
    for (const path of await makePackages(machine)) console.log(relative(root, path))
  }
})

/** Paths of what was made. */
async function makePackages(machine: Machine): Promise<string[]> {
  const architecture = architectures[machine]
  const output = join(root, 'dist/packages')
  mkdirSync(output, { recursive: true })
  mkdirSync(join(root, 'build'), { recursive: true })
  const work = mkdtempSync(join(root, 'build', 'package.'))
  try {
    const tree = join(work, 'tree')
    await fill(join(tree, 'usr'), machine)
    const installedSize = sizeOf(tree)
    mkdirSync(join(tree, 'DEBIAN'))
    writeFileSync(join(tree, 'DEBIAN/control'), control(architecture, installedSize))
    const epoch = sourceDate()
    settle(tree, epoch)

    const deb = join(output, `runt_${VERSION}_${architecture}.deb`)
    const building = ['--root-owner-group', '-Zxz', '--threads-max=1', '--build', tree, deb]
    pack('dpkg-deb', building, 'dpkg', epoch)
    const name = `runt-${VERSION}-linux-${architecture}`
    const tarball = join(output, `${name}.tar.gz`)
    const uncompressed = join(work, 'tar')
    const order = ['--sort=name', '--format=ustar', '--owner=0', '--group=0', '--numeric-owner', `--mtime=@${epoch}`]
    pack('tar', [...order, `--transform=s,^usr,${name},S`, '-C', tree, '-cf', uncompressed, 'usr'], 'tar', epoch)
    // Node's gzip writes no time and no name.
    writeFileSync(tarball, gzipSync(readFileSync(uncompressed), { level: 9 }))
    return [deb, tarball]
  } finally {
    rmSync(work, { recursive: true })
  }
}

/** All files below a prefix. */
async function fill(prefix: string, machine: Machine): Promise<void> {
  const at = (path: string): string => {
    mkdirSync(dirname(join(prefix, path)), { recursive: true })
    return join(prefix, path)
  }
  await buildProductionBrain(at('libexec/runt/runt-brain'), machine)
  buildLauncher(at('libexec/runt/runt'), machine)
  mkdirSync(join(prefix, 'bin'))
  symlinkSync('../libexec/runt/runt', at('bin/runt'))

  for (const [name, text] of manualPages()) writeFileSync(at(`share/man/man8/${name}.gz`), gzipped(text))
  writeFileSync(at('share/bash-completion/completions/runt'), bashCompletion())
  writeFileSync(at('share/zsh/vendor-completions/_runt'), zshCompletion())
  writeFileSync(at('share/fish/vendor_completions.d/runt.fish'), fishCompletion())

  const documents = 'share/doc/runt'
  writeFileSync(at(`${documents}/changelog.gz`), gzipped(readFileSync(join(root, 'CHANGELOG.md'))))
  for (const name of ['README.md', 'SECURITY.md', 'NOTICE', 'LICENSE'])
    copyFileSync(join(root, name), at(`${documents}/${name}`))
  for (const path of documentsBelow('docs')) copyFileSync(join(root, path), at(`${documents}/${path}`))
  writeFileSync(at(`${documents}/copyright`), copyright(machine))
}

/** Markdown and pictures. */
function documentsBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return documentsBelow(path)
    return /\.(md|svg)$/.test(entry.name) ? [path] : []
  })
}

function gzipped(content: string | Buffer): Buffer {
  return gzipSync(content, { level: 9 })
}

/** Licences of all that is in the package: runt's, and those of what is linked into runt-brain. */
function copyright(machine: Machine): string {
  const { quickjs, musl } = findLibraries(machine)
  const debian = (library: string, name: string): string => {
    // .../usr/lib/MACHINE/... of a system or of an unpacked package.
    const usr = library.slice(0, library.lastIndexOf('/usr/lib/') + '/usr'.length)
    const path = join(usr, 'share/doc', name, 'copyright')
    if (!existsSync(path)) throw new BuildError(`${path} is missing: a package has to carry the licence of ${name}`)
    return readFileSync(path, 'utf8')
  }
  const parts: [string, string][] = [
    ['runt', readFileSync(join(root, 'NOTICE'), 'utf8')],
    ['QuickJS (Debian package libquickjs)', debian(quickjs, 'libquickjs')],
    ['musl (Debian package musl-dev)', debian(`${musl}/`, 'musl-dev')],
    ['commander', readFileSync(join(root, 'node_modules/commander/LICENSE'), 'utf8')],
  ]
  return parts.map(([name, text]) => `==== ${name} ====\n\n${text.trim()}\n`).join('\n')
}

function control(architecture: string, kibibytes: number): string {
  return `Package: runt
Version: ${VERSION}
Architecture: ${architecture}
Maintainer: The runt authors <maintainers@runt.invalid>
Section: admin
Priority: optional
Installed-Size: ${kibibytes}
Description: OCI container runtime
 runt makes containers from OCI bundles. It takes the place of runc, crun or
 youki below containerd, docker, podman, CRI-O and buildah, or is used by hand.
 .
 It is two static programs and needs no other package.
`
}

/** Size of a tree in KiB. */
function sizeOf(folder: string): number {
  const bytes = (path: string): number =>
    readdirSync(path, { withFileTypes: true }).reduce((sum, entry) => {
      const inner = join(path, entry.name)
      return sum + (entry.isDirectory() ? bytes(inner) : entry.isFile() ? statSync(inner).size : 0)
    }, 0)
  return Math.ceil(bytes(folder) / 1024)
}

/** Sets modes and times: neither the umask nor the clock of the build shows. */
function settle(path: string, epoch: number): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name)
    if (entry.isDirectory()) settle(inner, epoch)
    else if (entry.isFile()) {
      chmodSync(inner, dirname(inner).endsWith('/libexec/runt') ? 0o755 : 0o644)
      lutimesSync(inner, epoch, epoch)
    } else lutimesSync(inner, epoch, epoch)
  }
  chmodSync(path, 0o755)
  lutimesSync(path, epoch, epoch)
}

/** Seconds since 1970. Outside of git, without the variable: 0. */
function sourceDate(): number {
  const given = process.env.SOURCE_DATE_EPOCH
  if (given !== undefined && given !== '') {
    if (!/^\d{1,12}$/.test(given)) throw new BuildError(`SOURCE_DATE_EPOCH=${given}: must be seconds since 1970`)
    return Number(given)
  }
  const commit = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' })
  return commit.status === 0 ? Number(commit.stdout) : 0
}

function pack(program: string, args: readonly string[], debianPackage: string, epoch: number): void {
  process.env.SOURCE_DATE_EPOCH = String(epoch)
  run(program, args, debianPackage)
}
