import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { charts, documents, fill, guestDocument, losses, reportText, targets } from './report.ts'
import { costsOf, type Guests, type Results } from './results.ts'

const project = dirname(dirname(fileURLToPath(import.meta.url)))
const read = (path: string) => readFileSync(join(project, path), 'utf8')

/** Two rounds of `run`, as long as said. */
function results(walls: Record<string, number>, memory: Results['memory'] = {}): Results {
  const samples = Object.entries(walls).flatMap(([name, wall]) =>
    [0, 1].map((round) => ({
      round,
      name,
      steps: [{ wall_ns: wall * 1e6, cpu_us: wall * 1000, rss_kib: 1024, faults: 0 }],
      warm_kib: 0,
      error: null,
    })),
  )
  const machine = { kernel: '6.1', cpu: '2 × x', cgroups: 'v2', load: '0.00' }
  return {
    method: {
      date: '2026-01-02T03:04:05Z',
      machine,
      versions: { crun: 'crun version 1' },
      missing: [],
      rounds: 2,
      warm: 0,
      seed: 1,
      settle: 0,
    },
    timings: [{ measure: 'run-minimal', title: 'minimal, warm', warmKib: 0, costs: { run: costsOf(samples, [0]) } }],
    memory,
    many: {},
    failures: [],
  }
}

test('blocks are replaced and what is around them stays; an unknown one is an error', () => {
  const text =
    'a\n<!-- bench x -->\nold\n<!-- end -->\nb\n<!-- bench y --><!-- end -->\n<!-- bench y -->\n<!-- end -->\n'
  const filled = fill(text, { x: 'X $& $1', y: 'Y' })
  assert.is(filled.split('\n').slice(0, 6).join('\n'), 'a\n<!-- bench x -->\n\nX $& $1\n\n<!-- end -->')
  assert.is(fill(filled, { x: 'X $& $1', y: 'Y' }), filled)
  assert.throws(() => fill(text, { x: '' }), /bench y/)
})

test('whoever takes less than runt is named, and the floor is no rival', () => {
  assert.equal(losses(results({ runt: 10, crun: 20, floor: 1 })), [])
  assert.equal(
    losses(results({ runt: 10, crun: 8, runc: 9, youki: 11 }))[0],
    'time of run (minimal, warm): 10.0 ms, crun 8.0, runc 9.0',
  )
  const limits = { runt: { limit: 300 }, crun: { limit: 224 } }
  assert.equal(losses(results({ runt: 1 }, limits)), ['smallest memory limit: 300 KiB, crun 224'])
})

test('targets are judged by the ratios', () => {
  const found = targets(results({ runt: 10, crun: 20, runc: 40, floor: 2 })).filter(({ is }) => is !== undefined)
  assert.equal(
    found.map(({ is, most }) => [is, most]),
    [
      [0.5, 0.6],
      [0.25, 0.2],
      [5, 2.5],
      [0.5, 0.5],
      [1, 1],
    ],
  )
})

test('parts that were not measured leave no chart, and no text that is no number', () => {
  const part = results({ runt: 10, crun: 20 })
  assert.equal(Object.keys(charts(part)), ['docs/bench/minimal.svg'])
  const texts = [reportText(part), ...Object.values(charts(part)), ...Object.values(documents(part, read))]
  for (const text of texts) assert.not.match(text, /NaN|undefined|Infinity/)
})

test('documents and charts in the tree are those of the stored results', () => {
  const stored = JSON.parse(read('docs/bench/results.json')) as Results
  const files = { ...charts(stored), ...documents(stored, read) }
  files['docs/bench/vm.md'] = guestDocument(
    read('docs/bench/vm.md'),
    stored,
    JSON.parse(read('docs/bench/vm.json')) as Guests,
  )
  for (const [path, text] of Object.entries(files))
    assert.is(
      read(path),
      text,
      `${path} is not what docs/bench/results.json says: npm run bench -- --from docs/bench/results.json --write`,
    )
})

test.run()
