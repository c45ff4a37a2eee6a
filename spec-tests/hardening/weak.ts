/**
 * Weakened builds: runt on Node.js with one of its defences taken out, to show that the attack on it would be noticed. The switch is
 * in here, not in the product: pieces of the source (weakenings.ts) are replaced while it is bundled, in the guest.
 */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { forNode } from '../../scripts/tools.ts'
import { repository } from '../harness.ts'
import { weaken, weakenings } from './weakenings.ts'

/** In the work tree, from which koffi is found. */
const BUNDLE = join(repository, 'dist/weakened')

/** Command line of the runtime without one of its defences; the bundle is built once a guest. */
export async function weakened(): Promise<readonly string[]> {
  if (!existsSync(BUNDLE)) await bundle()
  return [process.execPath, join(BUNDLE, 'runt.mjs')]
}

async function bundle(): Promise<void> {
  const source = join(repository, 'src')
  const folder = mkdtempSync(`${BUNDLE}-`)
  const files = new Set(Object.values(weakenings).flatMap((pieces) => pieces.map(({ file }) => join(source, file))))
  await build({
    ...forNode,
    entryPoints: [join(source, 'engine-node/runt.ts')],
    outfile: join(folder, 'runt.mjs'),
    logLevel: 'error',
    plugins: [
      {
        name: 'weaken',
        setup: (plugin) => {
          plugin.onLoad({ filter: /\.ts$/ }, ({ path }) =>
            files.has(path)
              ? { contents: weaken(path.slice(source.length + 1), readFileSync(path, 'utf8')), loader: 'ts' }
              : undefined,
          )
        },
      },
    ],
  })
  try {
    renameSync(folder, BUNDLE)
  } catch {
    // Another test file was faster.
    rmSync(folder, { recursive: true })
  }
}
