import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { findStale } from './stale.ts'

const test = suite<{ folder: string }>('stale builds')

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'runt-stale-'))
  for (const path of ['src/base/a.ts', 'schema/b.json', 'scripts/brain.ts']) write(context.folder, path, 100)
  for (const path of ['dist/runt', 'dist/runt-brain', 'dist/node/runt.js']) write(context.folder, path, 200)
})
test.after.each(({ folder }) => rmSync(folder, { recursive: true }))

/** A file of a project, written at that second. */
function write(folder: string, path: string, second: number): void {
  const full = join(folder, path)
  mkdirSync(dirname(full), { recursive: true })
  writeFileSync(full, '')
  utimesSync(full, second, second)
}

test('programs that are younger than all sources are fine', ({ folder }) => {
  assert.is(findStale(['dist/runt'], folder), null)
  assert.is(findStale(['node', 'dist/node/runt.js'], folder), null)
})

test('a source that was changed later is named, with the command that helps', ({ folder }) => {
  write(folder, 'src/container/new.ts', 300)
  const native = 'dist/runt is older than src/container/new.ts: npm run build:native makes it anew'
  assert.equal(findStale([join(folder, 'dist/runt'), '--debug'], folder), { missing: false, sentence: native })
  const node = 'dist/node/runt.js is older than src/container/new.ts: npm run build makes it anew'
  assert.is(findStale(['node', 'dist/node/runt.js'], folder)?.sentence, node)
})

test('a launcher of today does not make up for a brain of yesterday', ({ folder }) => {
  write(folder, 'schema/b.json', 300)
  write(folder, 'dist/runt', 400)
  assert.match(findStale(['dist/runt'], folder)!.sentence, /^dist\/runt-brain is older than schema\/b.json: /)
})

test('a program that was not built is told apart', ({ folder }) => {
  rmSync(join(folder, 'dist/runt-brain'))
  write(folder, 'src/base/a.ts', 300)
  const sentence = 'dist/runt-brain is missing: npm run build:native makes it'
  assert.equal(findStale(['dist/runt'], folder), { missing: true, sentence })
})

test('tests, generated files and other programs do not matter', ({ folder }) => {
  for (const path of ['src/base/a.test.ts', 'src/base/testing/t.ts', 'src/config/generated/c.js'])
    write(folder, path, 300)
  assert.is(findStale(['dist/runt'], folder), null)
  write(folder, 'src/base/a.ts', 300)
  assert.is(findStale(['runc'], folder), null)
  assert.is(findStale(['/usr/bin/runt'], folder), null)
})

test.run()
