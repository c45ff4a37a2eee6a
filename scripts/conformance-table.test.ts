import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { notes } from '../spec-tests/conformance-notes.ts'
import type { Outcome } from '../spec-tests/harness.ts'
import { differences } from '../spec-tests/known-differences.ts'
import { sections } from '../spec-tests/sections.ts'
import { type Facts, type Run, render } from './conformance-table.ts'
import { root } from './tools.ts'

const facts: Facts = {
  date: '2026-01-02',
  commit: 'abc1234',
  kernel: 'Linux 6.1.0',
  machine: 'x86-64, 2 CPUs',
  cgroups: 'v2',
}

/** Outcomes as `outcome: name: reason`. */
function runOf(name: string, headings: Record<string, string[]>, problems: Record<string, string> = {}): Run {
  return {
    version: [`${name} version 1.2.3`, 'spec: 1.0.2', 'go: go1.19'],
    headings: Object.entries(headings).map(([heading, lines]) => ({
      heading,
      problem: problems[heading] ?? '',
      outcomes: lines.map((line) => {
        const [outcome, test, reason = ''] = line.split(': ')
        return { heading, name: test!, outcome: outcome as Outcome['outcome'], reason }
      }),
    })),
  }
}

const lineWith = (text: string, part: string): string => text.split('\n').find((line) => line.includes(part)) ?? ''

test('headings stand in the order of the specification, with their sections and counts', () => {
  const { text } = render(facts, [
    runOf('runt', { 'errors/host': ['passed: a'], 'config/root': ['passed: a', 'passed: b', 'skipped: c: no disk'] }),
    runOf('runc', { 'config/root': ['passed: a', 'known: b: takes it', 'failed: c: boom\nat x'] }),
  ])
  assert.match(text, /\| `config\/root` \| config\.md: Root \| 2 \/ 0 \/ 1 \| 1 \/ 2 \/ 0 \|/)
  assert.ok(text.indexOf('| `config/root`') < text.indexOf('| `errors/host`'))
  assert.match(text, /\| \*\*all\*\* \| {2}\| 3 \/ 0 \/ 1 \| 1 \/ 2 \/ 0 \|/)
  assert.match(text, /^- `config\/root`: b: takes it$/m)
  assert.match(text, /^- `config\/root`: c: boom$/m)
  assert.match(text, /^- no disk\n {2}- `config\/root`: c$/m)
  assert.match(text, /^- Date: 2026-01-02, commit abc1234$/m)
  assert.match(text, /^- Kernel: Linux 6\.1\.0, x86-64, 2 CPUs$/m)
  assert.match(text, /^- runc: 1\.2\.3, spec: 1\.0\.2$/m)
})

test('what is skipped is told, what is about others is not counted', () => {
  const { text, failed } = render(facts, [
    runOf('runt', { 'config/root': ['skipped: a: no such host', 'skipped: b: only for runc crun', 'passed: c'] }),
    runOf('runc', { 'config/root': ['passed: a', 'passed: b', 'passed: c'] }),
  ])
  assert.match(lineWith(text, '`config/root`'), '1 / 0 / 1 | 3 / 0 / 0')
  assert.is(failed, 0)
})

test('a file that is bad as a whole is told, and counts', () => {
  const { text, failed } = render(facts, [runOf('runt', { 'config/root': [] }, { 'config/root': 'ran no test' })])
  assert.match(text, /^- `config\/root` as a whole: ran no test$/m)
  assert.is(failed, 1)
})

test('what all peers fail has a note, or is asked for', () => {
  const runs = [
    runOf('runt', { 'config/mounts': ['passed: no mounts at all is a valid configuration', 'passed: x', 'passed: y'] }),
    ...['runc', 'crun'].map((name) =>
      runOf(name, {
        'config/mounts': [
          'known: no mounts at all is a valid configuration: no',
          'failed: x: no',
          `known: y ${name}: no`,
        ],
      }),
    ),
  ]
  const { text, warnings } = render(facts, runs)
  const section = text.slice(text.indexOf('## What runc and crun both fail'))
  assert.match(section, 'no mounts at all is a valid configuration. config.md, Mounts: mounts is OPTIONAL.')
  assert.match(section, '`config/mounts`: x. Not looked at yet.')
  assert.not.match(section, '`config/mounts`: y')
  assert.equal(warnings, ['conformance-notes.ts has no word on config/mounts: x'])
})

test('a heading without a section comes last, and is asked for', () => {
  const { text, warnings } = render(facts, [runOf('runt', { 'a/new': ['passed: a'], 'faults/kill': ['passed: a'] })])
  assert.ok(text.indexOf('| `a/new`') > text.indexOf('| `faults/kill`'))
  assert.equal(warnings, ['sections.ts knows no a/new'])
})

test('paths and pids of one run do not get into the text', () => {
  const reason = 'cannot open /tmp/runt-spec-aB3xYz/c1 in /runt-test-4711/c1 <x> a|b'
  const run = runOf('runt', { 'config/root': [] })
  run.headings[0]!.outcomes.push({ heading: 'config/root', name: 'a_b', outcome: 'failed', reason })
  assert.match(render(facts, [run]).text, 'a\\_b: cannot open /tmp/…/c1 in /…/c1 \\<x\\> a\\|b')
})

test('the same results give the same text', () => {
  const run = (): Run => runOf('runt', { 'config/root': ['passed: a'] })
  assert.is(render(facts, [run()]).text, render(facts, [run()]).text)
})

/** Folders of spec-tests/ whose tests the document is about; see conformance.ts. */
const FOLDERS = ['cli', 'config', 'config-linux', 'engines', 'errors', 'runtime']

test('every test file that the document is about has one section, and every section a test file', () => {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, 'spec-tests', folder))
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => `${folder}/${name.replace('.test.ts', '')}`),
  )
  const listed = sections.map(([heading]) => heading)
  assert.equal(
    files.filter((heading) => !listed.includes(heading)),
    [],
  )
  assert.equal(
    listed.filter((heading) => !existsSync(join(root, 'spec-tests', `${heading}.test.ts`))),
    [],
  )
  assert.is(new Set(listed).size, listed.length)
})

test('where both peers are known to fail, a note says who is right', () => {
  const missing: string[] = []
  for (const folder of FOLDERS)
    for (const [heading, tests] of Object.entries(differences.runc!)) {
      if (!heading.startsWith(`${folder}/`)) continue
      for (const name of Object.keys(tests)) {
        if (differences.crun![heading]?.[name] === undefined) continue
        if (!(notes[heading]?.[name] ?? notes[heading]?.['*'])) missing.push(`${heading}: ${name}`)
      }
    }
  assert.equal(missing, [])
})

test.run()
