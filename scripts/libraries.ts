/**
 * Finds QuickJS and musl as Debian's packages libquickjs and musl-dev: installed (libquickjs: Debian 13 and later), or
 * unpacked below build/. What is missing is downloaded from Debian 13 by a private apt configuration: apt checks the
 * archive's signatures, nothing of the machine's own configuration changes, and root is not needed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from '../src/base/platform.ts'
import { BuildError, root, run } from './tools.ts'

export interface Libraries {
  /** Folders of headers. */
  quickjsInclude: string
  muslInclude: string
  /** libquickjs.a */
  quickjs: string
  /** Folder of libc.a, crt1.o, crti.o and crtn.o. */
  musl: string
}

const SUITE = 'trixie'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const APT = '/etc/apt'
const build = join(root, 'build')

export const architectures: Readonly<Record<Machine, string>> = { x86_64: 'amd64', aarch64: 'arm64' }

/** Files by which a package is recognized, from the root of the file system or of the unpacked package. */
function parts(machine: Machine) {
  return {
    libquickjs: ['usr/include/quickjs', `usr/lib/${machine}-linux-gnu/quickjs/libquickjs.a`],
    'musl-dev': [`usr/include/${machine}-linux-musl`, `usr/lib/${machine}-linux-musl`],
  } as const
}

type Package = keyof ReturnType<typeof parts>

/** The paths of a package's parts: installed or unpacked; undefined if it is neither. */
function find(name: Package, machine: Machine): [string, string] | undefined {
  const unpacked = existsSync(build) ? readdirSync(build).sort().reverse() : []
  const folders = unpacked.filter((folder) => folder.startsWith(`${name}_`) && folder.endsWith(architectures[machine]))
  for (const folder of ['/', ...folders.map((folder) => join(build, folder))]) {
    const [include, library] = parts(machine)[name].map((path) => join(folder, path)) as [string, string]
    if (existsSync(include) && existsSync(library)) return [include, library]
  }
  return undefined
}

/** The Debian mirror of the machine's own sources (sources.list(5), both formats). */
function mirror(): string {
  const folder = join(APT, 'sources.list.d')
  const more = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []
  for (const file of [join(APT, 'sources.list'), ...more]) {
    if (!/\.(list|sources)$/.test(file) || !existsSync(file)) continue
    const text = readFileSync(file, 'utf8').replace(/^\s*#.*$/gm, '')
    const uri = /^(?:deb(?:\s+\[[^\]]*\])?|URIs:)\s+(https?:\/\/\S+\/debian)\/?(?:\s|$)/m.exec(text)
    if (uri) return uri[1]!
  }
  return 'http://deb.debian.org/debian'
}

function download(names: readonly Package[], machine: Machine): void {
  if (!existsSync(KEYRING)) throw new BuildError(`${KEYRING} is missing: apt-get install debian-archive-keyring`)
  const architecture = architectures[machine]
  const apt = join(build, `apt.${process.pid}`)
  for (const folder of ['lists/partial', 'cache/archives/partial', 'debs'])
    mkdirSync(join(apt, folder), { recursive: true })
  writeFileSync(join(apt, 'status'), '')
  writeFileSync(join(apt, 'sources.list'), `deb [signed-by=${KEYRING}] ${mirror()} ${SUITE} main\n`)
  const configuration = join(apt, 'apt.conf')
  writeFileSync(
    configuration,
    `Dir::State "${apt}";
Dir::State::Lists "${apt}/lists";
Dir::State::Status "${apt}/status";
Dir::Cache "${apt}/cache";
Dir::Etc::SourceList "${apt}/sources.list";
Dir::Etc::SourceParts "-";
APT::Architecture "${architecture}";
APT::Architectures { "${architecture}"; };
Acquire::Languages "none";
${process.getuid?.() === 0 ? 'APT::Sandbox::User "root";' : ''}
`,
  )
  run('apt-get', ['-q', '-c', configuration, 'update'], 'apt')
  run('apt-get', ['-q', '-c', configuration, 'download', ...names], 'apt', join(apt, 'debs'))
  for (const name of readdirSync(join(apt, 'debs'))) {
    run('dpkg-deb', ['-x', join(apt, 'debs', name), join(apt, 'unpacked')], 'dpkg')
    const target = join(build, name.replace(/\.deb$/, ''))
    rmSync(target, { recursive: true, force: true })
    renameSync(join(apt, 'unpacked'), target)
  }
  rmSync(apt, { recursive: true })
}

/** QuickJS and musl for a machine. Throws a BuildError that says what to install. */
export function findLibraries(machine: Machine): Libraries {
  const names = Object.keys(parts(machine)) as Package[]
  const missing = names.filter((name) => !find(name, machine))
  if (missing.length > 0) download(missing, machine)
  const [quickjs, musl] = names.map((name) => {
    const found = find(name, machine)
    if (!found) throw new BuildError(`Debian's ${name} for ${machine} holds no ${parts(machine)[name].join(' or no ')}`)
    return found
  }) as [[string, string], [string, string]]
  return { quickjsInclude: quickjs[0], quickjs: quickjs[1], muslInclude: musl[0], musl: musl[1] }
}
