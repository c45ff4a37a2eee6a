/**
 * How long a container takes, and what it costs, by runtime. See `usage`.
 *
 * The runtimes take turns: each round takes one sample of each, in a shuffled order, so that what disturbs the machine disturbs
 * all alike. Ratios are taken within a round and then summarised.
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { type Spread, shuffledOrders, spread, table } from './statistics.ts'
import { describe, environment, inWorkshop, machine, type Runtime, type Workshop } from './workshop.ts'

const usage = `node --import tsx bench/run.ts [options]
  --rounds N       rounds that count (40)
  --warm N         rounds before them that do not (3)
  --seed N         of the shuffled order (1)
  --settle MS      pause before each sample: the kernel dismantles namespaces in the background (20)
  --only LIST      runtimes, by name and separated by commas (all found)
  --scenario LIST  run, lifecycle (both)
  --against NAME   whom the ratios compare with (crun)
  --json FILE      all samples
Programs: RUNT (dist/runt), RUNT_NODE (dist/node/runt.js), RUNC, CRUN, YOUKI, BUSYBOX.`

/** One line of driver.c. */
interface Sample {
  readonly round: number
  readonly name: string
  readonly wall_ns: number
  readonly steps_ns: readonly number[]
  readonly cpu_us: number
  readonly rss_kib: number
  readonly error: string | null
}

const scenarios = {
  run: { title: 'run: a container of /bin/true', steps: ['run'] },
  lifecycle: {
    title: 'create + start + end of /bin/true + delete --force',
    steps: ['create', 'start', 'end', 'delete'],
  },
} as const
type Scenario = keyof typeof scenarios

/** The driver's directives for one sample. */
function alternative(runtime: Runtime, scenario: Scenario): string[] {
  const step = (verb: 'run' | 'create' | 'start' | 'delete') => ['step', ...runtime.command(verb)].join('\t')
  const steps = scenario === 'run' ? [step('run')] : [step('create'), step('start'), 'drain', step('delete')]
  return [`alternative\t${runtime.name}`, ...steps, ['undo', ...runtime.command('delete')].join('\t')]
}

interface Settings {
  readonly rounds: number
  readonly warm: number
  readonly seed: number
  readonly settle: number
}

async function measure(workshop: Workshop, scenario: Scenario, settings: Settings): Promise<Sample[]> {
  const orders = shuffledOrders(workshop.runtimes.length + 1, settings.warm + settings.rounds, settings.seed)
  const plan = [
    `settle\t${settings.settle * 1000}`,
    `log\t${join(workshop.folder, 'stderr')}`,
    ...workshop.runtimes.flatMap((runtime) => alternative(runtime, scenario)),
    'alternative\tnothing',
    `step\t${workshop.driver}\tnothing`,
    ...orders.map((order) => ['order', ...order].join('\t')),
  ]
  const driver = spawn(workshop.driver, { env: environment(), stdio: ['pipe', 'pipe', 'inherit'] })
  workshop.track(driver)
  const status = new Promise<number | null>((done) => driver.once('close', done))
  driver.stdin.end(`${plan.join('\n')}\n`)
  const samples: Sample[] = []
  for await (const line of createInterface({ input: driver.stdout })) samples.push(JSON.parse(line) as Sample)
  const code = await status
  if (code !== 0) throw new Error(`the driver ended with status ${code}`)
  return samples.filter((sample) => sample.round >= settings.warm || sample.error !== null)
}

const ms = (nanoseconds: number) => (Number.isNaN(nanoseconds) ? '-' : (nanoseconds / 1e6).toFixed(2))
const times = (ratio: number) => (Number.isNaN(ratio) ? '-' : ratio.toFixed(2))

const range = (format: (value: number) => string, { p5, p95 }: Spread) =>
  Number.isNaN(p5) ? '-' : `${format(p5)}–${format(p95)}`

/** Rows of one scenario's table, and the failures beneath. */
function report(names: readonly string[], scenario: Scenario, samples: readonly Sample[], against: string): string {
  const good = (name: string) => samples.filter((sample) => sample.name === name && sample.error === null)
  const reference = new Map(good(against).map((sample) => [sample.round, sample.wall_ns]))
  const steps = scenarios[scenario].steps
  const rows = names.map((name) => {
    const own = good(name)
    const wall = spread(own.map((sample) => sample.wall_ns))
    const ratio = spread(
      own.flatMap((sample) => {
        const other = reference.get(sample.round)
        return other === undefined ? [] : [sample.wall_ns / other]
      }),
    )
    const median = (of: (sample: Sample) => number) => spread(own.map(of)).median
    const rss = own.length === 0 ? '-' : (Math.max(...own.map((sample) => sample.rss_kib)) / 1024).toFixed(1)
    return [
      name,
      ms(wall.median),
      range(ms, wall),
      times(ratio.median),
      range(times, ratio),
      ...(steps.length > 1
        ? steps.map((_, index) => (name === 'nothing' ? '-' : ms(median((sample) => sample.steps_ns[index]!))))
        : []),
      ms(median((sample) => sample.cpu_us * 1000)),
      rss,
    ]
  })
  const head = [
    ...['', 'wall ms', 'p5–p95', `× ${against}`, 'p5–p95'],
    ...(steps.length > 1 ? steps : []),
    ...['cpu ms', 'peak MiB'],
  ]
  const failures = names.flatMap((name) => {
    const errors = samples.filter((sample) => sample.name === name && sample.error !== null)
    return errors.length === 0 ? [] : [`${name}: ${errors.length} failed, first: ${errors[0]!.error}`]
  })
  return [scenarios[scenario].title, table([head, ...rows]), ...failures].join('\n')
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '40' },
    warm: { type: 'string', default: '3' },
    seed: { type: 'string', default: '1' },
    settle: { type: 'string', default: '20' },
    only: { type: 'string' },
    scenario: { type: 'string', default: 'run,lifecycle' },
    against: { type: 'string', default: 'crun' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(usage)
} else {
  const settings = {
    rounds: Number(values.rounds),
    warm: Number(values.warm),
    seed: Number(values.seed),
    settle: Number(values.settle),
  }
  for (const [name, value] of Object.entries(settings))
    if (!Number.isInteger(value) || value < 0) throw new Error(`--${name}: not a number of 0 or more`)
  const wanted = values.scenario.split(',')
  const unknown = wanted.find((name) => !(name in scenarios))
  if (unknown !== undefined) throw new Error(`--scenario: no such scenario: ${unknown}`)

  await inWorkshop(values.only?.split(','), async (workshop) => {
    console.log(describe(workshop))
    console.log(
      `${settings.rounds} rounds after ${settings.warm} warm ones, shuffled with seed ${settings.seed}, ` +
        `${settings.settle} ms pause before a sample. cpu: user + system time of all processes, median. ` +
        'peak: largest ru_maxrss. nothing: a program that only ends.',
    )
    const names = [...workshop.runtimes.map((runtime) => runtime.name), 'nothing']
    const results: Partial<Record<Scenario, Sample[]>> = {}
    for (const scenario of wanted as Scenario[]) {
      const samples = await measure(workshop, scenario, settings)
      results[scenario] = samples
      console.log(`\n${report(names, scenario, samples, values.against)}`)
      if (samples.some((sample) => sample.error !== null)) process.exitCode = 1
    }
    if (values.json) {
      const versions = Object.fromEntries(workshop.runtimes.map((runtime) => [runtime.name, runtime.version]))
      const all = { date: new Date().toISOString(), machine: machine(), settings, versions, results }
      writeFileSync(values.json, `${JSON.stringify(all, null, 1)}\n`)
    }
  })
}
