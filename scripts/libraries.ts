/**
 * Finds QuickJS and musl as Debian's packages libquickjs and musl-dev: installed (libquickjs: Debian 13 and later), or
 * unpacked below build/. What is missing is downloaded from Debian 13.
 */
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from '../src/base/platform.ts'
import { architectures, unpackPackages } from './debian.ts'
import { BuildError, root } from './tools.ts'

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
const build = join(root, 'build')

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

function download(names: readonly Package[], machine: Machine): void {
  unpackPackages(names, SUITE, machine, (name, folder) => {
    const target = join(build, name)
    rmSync(target, { recursive: true, force: true })
    renameSync(folder, target)
  })
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
