/**
 * Where the image of the guests is kept: below build/vm (or `RUNT_VM_CACHE`), in a folder that is named by a hash of what went
 * into it. It is made when it is needed first; recipe.ts tells of what.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BuildError, root as repository } from '../../scripts/tools.ts'
import { make, removeStale } from './making.ts'
import { guest, type Kernel } from './recipe.ts'

const recipe = join(dirname(fileURLToPath(import.meta.url)), 'recipe.ts')

/** Everything that the image depends on. */
function key(): string {
  const hash = createHash('sha256')
  for (const file of [recipe, join(guest, 'initramfs'), join(guest, 'init')]) hash.update(readFileSync(file))
  return hash.update(process.version).digest('hex').slice(0, 16)
}

export interface Image {
  /** The root file system, for ext4. */
  root: string
  /** The folder of a kernel: `linux` and, but for user-mode Linux, `initramfs`. */
  kernel(name: Kernel): string
}

/** The image; builds it where there is none. */
export async function image(): Promise<Image> {
  const cache = process.env.RUNT_VM_CACHE || join(repository, 'build/vm')
  const folder = join(cache, key())
  const isRoot = process.getuid?.() === 0
  mkdirSync(cache, { recursive: true })
  if (isRoot) removeStale(cache)
  if (!existsSync(folder)) {
    if (!isRoot) throw new BuildError('only root can build the image of the guests')
    console.error(`vm: building ${folder}, once, for about a minute`)
    await make(folder, [process.execPath, ...process.execArgv, recipe])
  }
  return { root: join(folder, 'root.img'), kernel: (name) => join(folder, name) }
}
