import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mountsBelow, waitFor } from '../spec-tests/host.ts'
import { removeStale } from '../spec-tests/vm/making.ts'
import { run } from './tools.ts'

const making = join(fileURLToPath(import.meta.url), '../../spec-tests/vm/making.ts')
const NAME = '0123456789abcdef'
const rest = process.getuid?.() === 0 ? '' : 'making images of guests takes root'
if (rest) console.log(`skipped: ${rest}`)

/** A pid that no process has. */
const NOBODY = 2 ** 22 + 1

/** A program that mounts something in the folder, says so with a file, and stays, with a child. */
const STAYS = 'mkdir "$0/m" && mount --bind /dev "$0/m" && { sleep 1234567 & }; touch "$0/ready"; sleep 1234567'

interface Place {
  cache: string
  /** A process that makes the folder NAME in the cache. */
  maker(script: string): ChildProcess
}

async function inPlace(body: (place: Place) => void | Promise<void>): Promise<void> {
  if (rest) return
  const cache = mkdtempSync(join(tmpdir(), 'runt-making-'))
  const makers: ChildProcess[] = []
  try {
    await body({
      cache,
      maker(script) {
        const code = `import { make } from '${making}'\nawait make('${join(cache, NAME)}', ['sh', '-c', process.env.SCRIPT])`
        const words = ['--import', 'tsx', '--input-type=module', '-e', code]
        const maker = spawn(process.execPath, words, {
          stdio: ['ignore', 'ignore', 'pipe'],
          env: { ...process.env, SCRIPT: script },
        })
        makers.push(maker)
        return maker
      },
    })
  } finally {
    for (const maker of makers) maker.kill('SIGKILL')
    for (const target of mountsBelow(cache).reverse()) run('umount', [target], 'mount')
    run('rm', ['-rf', '--one-file-system', cache], 'coreutils')
  }
}

const end = (child: ChildProcess): Promise<number | string> =>
  new Promise((settle) => child.once('exit', (code, signal) => settle(code ?? signal!)))

/** Living processes that work in the folder. */
const workers = (folder: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${folder}.`)
    } catch {
      return false
    }
  })

test('a folder that is made gets its name', () =>
  inPlace(async ({ cache, maker }) => {
    assert.is(await end(maker('mkdir "$0/m" && mount --bind /dev "$0/m" && echo 1 > "$0/file"')), 0)
    assert.equal(readdirSync(cache), [NAME])
    assert.equal(readdirSync(join(cache, NAME)).sort(), ['file', 'm'])
    assert.equal(readdirSync(join(cache, NAME, 'm')), [], 'what was mounted in it is gone')
  }))

test('a program that fails leaves nothing, and its words are the error', () =>
  inPlace(async ({ cache, maker }) => {
    const child = maker('mkdir "$0/m" && mount --bind /dev "$0/m"; echo no space >&2; exit 3')
    let said = ''
    child.stderr!.on('data', (text) => {
      said += text
    })
    assert.is(await end(child), 1)
    assert.match(said, /BuildError: no space/)
    assert.equal(readdirSync(cache), [])
  }))

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  test(`${signal} ends the program, and nothing is left`, () =>
    inPlace(async ({ cache, maker }) => {
      const child = maker(STAYS)
      const folder = `${NAME}.${child.pid}`
      assert.ok(waitFor(() => existsSync(join(cache, folder, 'ready'))))
      assert.equal(mountsBelow(cache), [], 'nothing is mounted on the host')
      const ended = end(child)
      child.kill(signal)
      assert.is(await ended, { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal])
      assert.equal(readdirSync(cache), [])
      assert.equal(workers(join(cache, NAME)), [])
      assert.ok(existsSync('/dev/null'))
    }))

test('a maker that is killed takes its program with it, and the next start removes the rest', () =>
  inPlace(async ({ cache, maker }) => {
    const child = maker(STAYS)
    assert.ok(waitFor(() => existsSync(join(cache, `${NAME}.${child.pid}`, 'ready'))))
    removeStale(cache)
    assert.equal(readdirSync(cache), [`${NAME}.${child.pid}`], 'a maker that lives keeps its folder')
    const ended = end(child)
    child.kill('SIGKILL')
    await ended
    assert.ok(waitFor(() => workers(join(cache, NAME)).length === 0))
    removeStale(cache)
    assert.equal(readdirSync(cache), [])
  }))

test('stale mounts are taken away, and what is mounted stays', () =>
  inPlace(({ cache }) => {
    const kept = join(cache, 'kept')
    mkdirSync(join(kept, 'below'), { recursive: true })
    writeFileSync(join(kept, 'file'), '')
    const folder = join(cache, `${NAME}.${NOBODY}`)
    mkdirSync(join(folder, 'root/a b'), { recursive: true })
    // Shared, as mounts are under systemd: the copy's mount point appears in the original.
    run('mount', ['--bind', '--make-shared', kept, kept], 'mount')
    run('mount', ['-t', 'tmpfs', 'kept', join(kept, 'below')], 'mount')
    writeFileSync(join(kept, 'below/file'), '')
    run('mount', ['--rbind', kept, join(folder, 'root/a b')], 'mount')
    removeStale(cache)
    assert.equal(readdirSync(cache), ['kept'])
    assert.equal(mountsBelow(cache), [kept, join(kept, 'below')])
    assert.ok(existsSync(join(kept, 'file')) && existsSync(join(kept, 'below/file')))
  }))

test.run()
