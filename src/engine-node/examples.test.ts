/** The programs in examples/ do what they say; as root, with a static busybox. */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const test = suite('examples')
const project = join(dirname(fileURLToPath(import.meta.url)), '../..')
const busybox = process.env.RUNT_SPEC_BUSYBOX || '/bin/busybox'
const rootfs = mkdtempSync(join(tmpdir(), 'runt-examples-'))

function example(name: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const words = ['--import', 'tsx', join(project, 'examples', name), rootfs, ...args]
  return spawnSync(process.execPath, words, { cwd: project, encoding: 'utf8', timeout: 60_000, killSignal: 'SIGKILL' })
}

test.before(() => {
  // For the user 1000, too.
  chmodSync(rootfs, 0o755)
  for (const folder of ['bin', 'proc']) mkdirSync(join(rootfs, folder))
  copyFileSync(busybox, join(rootfs, 'bin/busybox'))
  for (const name of ['sh', 'sleep', 'id']) symlinkSync('busybox', join(rootfs, 'bin', name))
})

test.after(() => rmSync(rootfs, { recursive: true }))

test('run-a-command passes on the output and the exit status of its command', () => {
  const { status, stdout, stderr } = example('run-a-command.ts', 'sh', '-c', 'echo $$; exit 3')
  assert.equal([stderr, stdout, status], ['', '1\n', 3])
})

test('life-of-a-container goes through all of it and leaves nothing', () => {
  const { status, stdout, stderr } = example('life-of-a-container.ts')
  assert.equal([stderr, status], ['', 0])
  assert.is(
    stdout,
    [
      'after create: created',
      'after start: running',
      'user of an exec: 1000',
      'its exit status: 0',
      'after pause: paused',
      'processes: 1',
      'after kill: stopped',
      '',
    ].join('\n'),
  )
})

if (process.geteuid?.() !== 0) console.log('skipped: containers are made as root here')
else if (!existsSync(busybox)) console.log(`skipped: ${busybox} is missing`)
else test.run()
