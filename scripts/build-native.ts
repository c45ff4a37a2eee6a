/**
 * Builds the production command: dist/runt (the launcher) and dist/runt-brain. Both must lie in the same folder.
 * For another machine: `--machine aarch64` builds into dist/aarch64.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Machine } from '../src/base/platform.ts'
import { buildProductionBrain, ownMachine } from './brain.ts'
import { buildLauncher } from './launcher.ts'
import { BuildError, root, script } from './tools.ts'

await script(async () => {
  const { values } = parseArgs({ options: { machine: { type: 'string', default: ownMachine } } })
  if (values.machine !== 'x86_64' && values.machine !== 'aarch64')
    throw new BuildError(`--machine ${values.machine}: runt runs on x86_64 and aarch64`)
  const machine: Machine = values.machine
  const output = join(root, 'dist', machine === ownMachine ? '' : machine)
  await buildProductionBrain(join(output, 'runt-brain'), machine)
  buildLauncher(join(output, 'runt'), machine)
})
