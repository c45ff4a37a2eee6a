/** The benchmark: see `usage`. What is timed stands in times.ts; how the results are shown in report.ts. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { measureMany } from './many.ts'
import { type Memory, measureMemory } from './memory.ts'
import { charts, documents, guestDocument, methodText, reportText } from './report.ts'
import type { Crowd, Method, Results, Sample, Timing } from './results.ts'
import { measures, measureTime } from './times.ts'
import { inWorkshop, machine, type Workshop } from './workshop.ts'

const parts = ['time', 'memory', 'many'] as const

const usage = `npm run bench -- [options]
  --part LIST      ${parts.join(', ')} (all)
  --measure LIST   of the part time: names, or beginnings of names (all): ${measures.map(({ name }) => name).join(', ')}
  --only LIST      runtimes (all found)
  --quick          a few rounds, and 100 containers instead of 1,000: to see that it works
  --rounds N       rounds that count (30); some measures take a half or a third of them
  --seed N         of the shuffled order (1)
  --settle MS      pause before each sample: the kernel dismantles namespaces in the background (20)
  --samples FILE   all samples, as JSON
  --write          results, charts and tables into docs/bench and README.md; otherwise into build/bench
  --from FILE      measures nothing: takes the results of that file
Programs: RUNT (dist/runt), RUNT_NODE (dist/node/runt.js), RUNC, CRUN, YOUKI, BUSYBOX.`

const project = dirname(dirname(fileURLToPath(import.meta.url)))

const { values } = parseArgs({
  options: {
    part: { type: 'string', default: parts.join() },
    measure: { type: 'string' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seed: { type: 'string', default: '1' },
    settle: { type: 'string', default: '20' },
    samples: { type: 'string' },
    write: { type: 'boolean', default: false },
    from: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

function count(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name}: not a number of 0 or more`)
  return value
}

/** The words of a list, each of which must fit. */
function words(name: string, text: string, fits: (word: string) => boolean): string[] {
  const all = text.split(',')
  const unknown = all.find((word) => !fits(word))
  if (unknown !== undefined) throw new Error(`--${name}: ${unknown}: no such thing; --help lists what there is`)
  return all
}

async function measure(workshop: Workshop, wanted: readonly string[], counts: readonly number[]): Promise<Results> {
  const method: Method = {
    date: new Date().toISOString(),
    machine: machine(),
    versions: Object.fromEntries(workshop.runtimes.map(({ name, version }) => [name, version])),
    missing: workshop.missing,
    rounds: count('rounds', values.rounds ?? (values.quick ? '4' : '30')),
    warm: values.quick ? 1 : 3,
    seed: count('seed', values.seed),
    settle: count('settle', values.settle),
  }
  console.log(methodText(method))
  const timings: Timing[] = []
  const memory: Record<string, Memory> = {}
  const many: Record<string, Record<string, Crowd>> = {}
  const failures: string[] = []
  const samples: Record<string, Sample[]> = {}
  const begins = (name: string) => values.measure?.split(',').some((word) => name.startsWith(word)) ?? true
  const told = (what: string) => process.stderr.isTTY && process.stderr.write(`\r\x1b[K${what}`)
  for (const one of wanted.includes('time') ? measures : []) {
    if (!begins(one.name)) continue
    told(one.name)
    try {
      const taken = await measureTime(workshop, one, method, failures)
      timings.push(taken.timing)
      samples[one.name] = taken.samples
    } catch (error) {
      failures.push(`${one.name}: ${(error as Error).message}`)
    }
  }
  for (const runtime of workshop.runtimes) {
    told(`memory and many: ${runtime.name}`)
    if (wanted.includes('memory')) memory[runtime.name] = await measureMemory(workshop, runtime, failures)
    // The floor keeps no state that could be listed, and what runt does on Node.js is the same.
    if (wanted.includes('many') && runtime.name !== 'floor' && runtime.name !== 'runt-node')
      many[runtime.name] = await measureMany(workshop, runtime, counts, method, failures)
  }
  told('')
  if (values.samples) writeFileSync(values.samples, `${JSON.stringify({ method, samples })}\n`)
  return { method, timings, memory, many, failures }
}

/** Results with failures are kept out of the documents. */
function store(results: Results): void {
  const written = values.write && results.failures.length === 0
  const folder = written ? project : join(project, 'build/bench')
  const files = { ...charts(results), ...documents(results, (path) => readFileSync(join(project, path), 'utf8')) }
  files['docs/bench/vm.md'] = guestDocument(
    readFileSync(join(project, 'docs/bench/vm.md'), 'utf8'),
    results,
    JSON.parse(readFileSync(join(project, 'docs/bench/vm.json'), 'utf8')),
  )
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  console.log(`\nresults, charts and documents are in ${folder}`)
}

async function main(): Promise<void> {
  if (values.help) return console.log(usage)
  if (values.from) {
    const results = JSON.parse(readFileSync(values.from, 'utf8')) as Results
    console.log(`${methodText(results.method)}\n${reportText(results)}`)
    store(results)
  } else {
    const wanted = words('part', values.part, (word) => (parts as readonly string[]).includes(word))
    words('measure', values.measure ?? '', (word) => measures.some(({ name }) => name.startsWith(word)))
    if (values.write && (wanted.length < parts.length || values.measure || values.only))
      throw new Error('--write: the documents are written from all parts, measures and runtimes')
    const begin = Date.now()
    await inWorkshop(values.only?.split(','), async (workshop) => {
      const results = await measure(workshop, wanted, values.quick ? [1, 20, 100] : [1, 100, 1000])
      console.log(`${reportText(results)}\n${((Date.now() - begin) / 60_000).toFixed(1)} minutes`)
      for (const failure of results.failures) console.log(failure)
      if (results.failures.length > 0) process.exitCode = 1
      store(results)
    })
  }
}

try {
  await main()
} catch (error) {
  // What the machine lacks, or the command line asks for; anything else is a bug and shows where.
  if ((error as Error).constructor !== Error) throw error
  console.error(`bench: ${(error as Error).message}`)
  process.exitCode = 1
}
