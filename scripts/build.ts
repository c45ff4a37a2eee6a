/** Builds the package for Node.js into dist/node: runt.js (the command) and index.js (the library). */
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { forNode, root, run, script } from './tools.ts'

await script(async () => {
  const schema = join(root, 'scripts/build-schema.ts')
  if (existsSync(schema)) run(process.execPath, ['--import', 'tsx', schema], 'nodejs')
  const output = join(root, 'dist/node')
  rmSync(output, { recursive: true, force: true })
  await build({
    ...forNode,
    entryPoints: [join(root, 'src/engine-node/runt.ts'), join(root, 'src/engine-node/index.ts')],
    absWorkingDir: root,
    outdir: output,
    // The command and the library share most of their code.
    splitting: true,
    logLevel: 'warning',
  })
  chmodSync(join(output, 'runt.js'), 0o755)
  run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.types.json'], 'nodejs')
})
