/**
 * A container step by step, from Node.js, as root:
 *
 *     node --import tsx examples/life-of-a-container.ts ROOTFS
 *
 * ROOTFS is a folder with a root file system that has `sleep` and `id`. With the package installed the import is `from 'runt'`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Config, Runt } from '../src/engine-node/index.ts'

const [rootfs] = process.argv.slice(2)
if (!rootfs) throw new Error('usage: life-of-a-container.ts ROOTFS')

const config: Config = {
  ociVersion: '1.3.0',
  process: { cwd: '/', args: ['sleep', '1000'], env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'], user: { uid: 0, gid: 0 } },
  root: { path: resolve(rootfs), readonly: true },
  mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
  linux: {
    namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }],
    cgroupsPath: `/runt-example-${process.pid}`,
  },
}

const id = `example-${process.pid}`
const bundle = mkdtempSync(join(tmpdir(), 'runt-example-'))
const runt = new Runt()
const say = (what: string) => console.log(`${what}: ${runt.state(id).status}`)
try {
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config))
  runt.create(id, { bundle })
  say('after create')
  runt.start(id)
  say('after start')

  const program = runt.exec(id, { args: ['id', '-u'], user: { uid: 1000 } })
  for await (const chunk of program.stdout.setEncoding('utf8')) console.log(`user of an exec: ${chunk.trim()}`)
  console.log(`its exit status: ${await program.status}`)

  runt.pause(id)
  say('after pause')
  runt.resume(id)
  runt.update(id, { pids: { limit: 64 } })
  console.log(`processes: ${runt.processes(id).length}`)

  const end = runt.wait(id)
  runt.kill(id, 'SIGKILL')
  await end
  say('after kill')
} finally {
  runt.delete(id, { force: true })
  rmSync(bundle, { recursive: true })
}
