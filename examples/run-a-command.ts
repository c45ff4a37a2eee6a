/**
 * Runs a command in a container, from Node.js, as root:
 *
 *     node --import tsx examples/run-a-command.ts ROOTFS COMMAND ARGUMENTS...
 *
 * ROOTFS is a folder with a root file system. With the package installed the import is `from 'runt'`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Config, Runt } from '../src/engine-node/index.ts'

const [rootfs, ...args] = process.argv.slice(2)
if (!rootfs || args.length === 0) throw new Error('usage: run-a-command.ts ROOTFS COMMAND ARGUMENTS...')

const config: Config = {
  ociVersion: '1.3.0',
  process: {
    cwd: '/',
    args,
    env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
    user: { uid: 0, gid: 0 },
    noNewPrivileges: true,
  },
  root: { path: resolve(rootfs), readonly: true },
  hostname: 'example',
  mounts: [{ destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] }],
  linux: {
    namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'uts' }, { type: 'ipc' }, { type: 'network' }],
    cgroupsPath: `/runt-example-${process.pid}`,
    resources: { memory: { limit: 64 << 20 }, pids: { limit: 32 } },
  },
}

const bundle = mkdtempSync(join(tmpdir(), 'runt-example-'))
try {
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config))
  const program = new Runt().run(`example-${process.pid}`, { bundle, stdio: ['inherit', 'pipe', 'inherit'] })
  for await (const chunk of program.stdout!.setEncoding('utf8')) process.stdout.write(chunk)
  process.exitCode = await program.status
} finally {
  rmSync(bundle, { recursive: true })
}
