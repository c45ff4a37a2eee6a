/**
 * Debian packages without installing them: downloaded by a private apt configuration and unpacked. apt checks the
 * archive's signatures, nothing of the machine's own configuration changes, and root is not needed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from '../src/base/platform.ts'
import { BuildError, root, run } from './tools.ts'

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const APT = '/etc/apt'

export const architectures: Readonly<Record<Machine, string>> = { x86_64: 'amd64', aarch64: 'arm64' }

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

/** A line of sources.list(5). */
export function source(suite: string): string {
  if (!existsSync(KEYRING)) throw new BuildError(`${KEYRING} is missing: apt-get install debian-archive-keyring`)
  return `deb [signed-by=${KEYRING}] ${mirror()} ${suite} main`
}

/**
 * Downloads packages of a suite and unpacks each: `keep` is called with the package's file name, without `.deb`, and
 * the folder that holds its files, and moves what it wants. A name that ends with `*` stands for the package that the
 * one of this name depends on: `linux-image-cloud-amd64*` for the newest kernel. `apt` is a folder to work in.
 */
export function unpackPackages(
  names: readonly string[],
  suite: string,
  machine: Machine,
  keep: (name: string, folder: string) => void,
  apt = join(root, 'build', `apt.${process.pid}`),
): void {
  try {
    for (const folder of ['lists/partial', 'cache/archives/partial', 'debs'])
      mkdirSync(join(apt, folder), { recursive: true })
    writeFileSync(join(apt, 'status'), '')
    writeFileSync(join(apt, 'sources.list'), `${source(suite)}\n`)
    const configuration = join(apt, 'apt.conf')
    writeFileSync(
      configuration,
      `Dir::State "${apt}";
Dir::State::Lists "${apt}/lists";
Dir::State::Status "${apt}/status";
Dir::Cache "${apt}/cache";
Dir::Etc::SourceList "${apt}/sources.list";
Dir::Etc::SourceParts "-";
APT::Architecture "${architectures[machine]}";
APT::Architectures { "${architectures[machine]}"; };
Acquire::Languages "none";
${process.getuid?.() === 0 ? 'APT::Sandbox::User "root";' : ''}
`,
    )
    run('apt-get', ['-q', '-c', configuration, 'update'], 'apt')
    const wanted = names.map((name) => {
      if (!name.endsWith('*')) return name
      const text = run('apt-cache', ['-c', configuration, 'depends', '--important', name.slice(0, -1)], 'apt')
      const depends = /^\s*Depends: (\S+)/m.exec(text)
      if (!depends) throw new BuildError(`Debian ${suite}: ${name.slice(0, -1)} depends on nothing`)
      return depends[1]!
    })
    run('apt-get', ['-q', '-c', configuration, 'download', ...wanted], 'apt', join(apt, 'debs'))
    for (const name of readdirSync(join(apt, 'debs'))) {
      const unpacked = join(apt, 'unpacked')
      run('dpkg-deb', ['-x', join(apt, 'debs', name), unpacked], 'dpkg')
      keep(name.replace(/\.deb$/, ''), unpacked)
      rmSync(unpacked, { recursive: true, force: true })
    }
  } finally {
    rmSync(apt, { recursive: true, force: true })
  }
}
