/** Makes real containers, as root, of a static busybox. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Config, Runt, RuntError } from './index.ts'

const test = suite('library')
const busybox = process.env.RUNT_SPEC_BUSYBOX || '/bin/busybox'
const base = mkdtempSync(join(tmpdir(), 'runt-library-'))
const root = join(base, 'state')
const runt = new Runt({ root })
let bundles = 0

/** A bundle whose program is a shell script. */
function bundle(script: string): string {
  const folder = join(base, `bundle${++bundles}`)
  mkdirSync(join(folder, 'rootfs/bin'), { recursive: true })
  mkdirSync(join(folder, 'rootfs/proc'))
  copyFileSync(busybox, join(folder, 'rootfs/bin/busybox'))
  chmodSync(join(folder, 'rootfs/bin/busybox'), 0o755)
  for (const name of ['sh', 'sleep', 'cat', 'echo', 'id']) symlinkSync('busybox', join(folder, 'rootfs/bin', name))
  const config: Config = {
    ociVersion: '1.3.0',
    process: { cwd: '/', args: ['sh', '-c', script], env: ['PATH=/bin', 'A=1'], user: { uid: 0, gid: 0 } },
    root: { path: 'rootfs', readonly: true },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: {
      namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }],
      cgroupsPath: `/runt-unit-${process.pid}/${bundles}`,
    },
  }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  return folder
}

async function text(stream: Readable | null): Promise<string> {
  let all = ''
  for await (const chunk of stream!.setEncoding('utf8')) all += chunk
  return all
}

test.after(() => {
  for (const { id } of runt.list()) runt.delete(id, { force: true })
  for (const parent of readdirSync('/sys/fs/cgroup').map((name) => `/sys/fs/cgroup/${name}/runt-unit-${process.pid}`))
    if (existsSync(parent)) rmdirSync(parent)
  rmSync(base, { recursive: true })
})

test('run gives the output and the exit status, and leaves nothing', async () => {
  const program = runt.run('one', { bundle: bundle('cat; echo err >&2; exit 7') })
  program.stdin!.end('from stdin\n')
  const [out, err, status] = await Promise.all([text(program.stdout), text(program.stderr), program.status])
  assert.equal([out, err, status], ['from stdin\n', 'err\n', 7])
  assert.equal(runt.list(), [])
})

test('a program that a signal ends has the status 128 + n', async () => {
  const program = runt.run('one', { bundle: bundle('echo ready; sleep 60') })
  program.stdout!.once('data', () => runt.kill('one', 'SIGKILL'))
  assert.is(await program.status, 137)
})

test('create, start, exec, processes, pause, resume, kill, wait and delete', async () => {
  runt.create('two', { bundle: bundle('sleep 60') })
  assert.is(runt.state('two').status, 'created')
  runt.start('two')
  assert.is(runt.state('two').status, 'running')
  const program = runt.exec('two', { args: ['sh', '-c', 'echo $A$B; id -u; exit 3'], env: ['B=2'], user: { uid: 5 } })
  assert.equal([await text(program.stdout), await program.status], ['12\n5\n', 3])
  assert.ok(runt.processes('two').includes(runt.state('two').pid))
  runt.pause('two')
  assert.is(runt.state('two').status, 'paused')
  runt.resume('two')
  const ended = runt.wait('two')
  runt.kill('two', 'SIGKILL')
  await ended
  assert.is(runt.state('two').status, 'stopped')
  await runt.wait('two')
  runt.delete('two')
  assert.equal(runt.list(), [])
})

test('what fails is an error of one line, and calls go on working', async () => {
  const refuses = (action: () => unknown, message: RegExp): void => {
    assert.throws(action, (error: unknown) => error instanceof RuntError && message.test(error.message))
  }
  refuses(() => runt.state('nobody'), /does not exist/)
  refuses(() => runt.state('../x'), /id/)
  refuses(() => runt.create('three', { bundle: join(base, 'none') }), /config\.json/)
  refuses(() => runt.kill('nobody', 'SIGNOPE' as NodeJS.Signals), /SIGNOPE/)
  const folder = bundle('true')
  refuses(() => runt.run('three', { bundle: `${folder}/rootfs` }), /config\.json/)
  runt.create('three', { bundle: folder })
  refuses(() => runt.exec('three', { args: ['/no/such'] }), /no such file/)
  let rejected = ''
  await runt.wait('nobody').catch((error: RuntError) => (rejected = error.message))
  assert.match(rejected, /does not exist/)
  runt.delete('three', { force: true })
  runt.delete('three', { force: true })
})

if (process.geteuid?.() !== 0) console.log('skipped: containers are made as root here')
else if (!existsSync(busybox)) console.log(`skipped: ${busybox} is missing`)
else test.run()
