/** What the build scripts share: running programs, and errors of one line. */
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BuildOptions } from 'esbuild'

export const root = resolve(fileURLToPath(import.meta.url), '../..')

/** How esbuild makes what runs on Node.js. */
export const forNode: BuildOptions = {
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['koffi'],
  // Commander is CommonJS and requires Node.js's own modules.
  banner: {
    js: "import { createRequire as runtRequire } from 'node:module'; const require = runtRequire(import.meta.url);",
  },
}

/** Something missing or wrong on the machine, in one line. */
export class BuildError extends Error {}

/** Runs a program and returns its stdout. `debianPackage` names what to install when the program does not exist. */
export function run(program: string, args: readonly string[], debianPackage: string, cwd = root): string {
  const result = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 26 })
  if (result.error && 'code' in result.error && result.error.code === 'ENOENT')
    throw new BuildError(`${program} is missing: apt-get install ${debianPackage}`)
  if (result.error) throw new BuildError(`${program}: ${result.error.message}`)
  if (result.status !== 0)
    throw new BuildError(`${program} ${args.join(' ')}: status ${result.status ?? result.signal}\n${result.stderr}`)
  return result.stdout
}

/** Runs the script's work and turns a BuildError into a line on stderr and status 1. */
export async function script(work: () => unknown): Promise<void> {
  try {
    await work()
  } catch (error) {
    // esbuild has told its errors itself.
    const told = error instanceof Error && 'errors' in error
    if (!(error instanceof BuildError || told)) throw error
    if (!told) console.error(`build: ${error.message}`)
    process.exitCode = 1
  }
}
