/**
 * How long commands take, and what they cost, by runtime.
 *
 * The runtimes take turns: each round takes one sample of each, in a shuffled order, so that what disturbs the machine disturbs
 * all alike. Ratios are taken within a round and then summarised.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Kind } from './bundle.ts'
import { costsOf, type Method, type Sample, type Timing } from './results.ts'
import { shuffledOrders } from './statistics.ts'
import { environment, invoke, type Runtime, removeContainers, type Verb, type Workshop } from './workshop.ts'

export interface Measure {
  readonly name: string
  readonly title: string
  readonly kind: Kind
  /** What a sample does, in order; `end`: waits until the container's processes have ended. */
  readonly steps: readonly (Verb | 'end')[]
  /** What the report tells: some of the steps, together. */
  readonly tells: Readonly<Record<string, readonly number[]>>
  /** On a container that lives all the time. */
  readonly alive?: true
  /** The runtime's own files leave the page cache before each sample. */
  readonly cold?: true
  /** So many at the same time. */
  readonly together?: number
  /** One round of so many counts here: it takes long. */
  readonly every?: number
}

const run = { steps: ['run'], tells: { run: [0] } } as const
const life = {
  steps: ['create', 'start', 'end', 'delete'],
  tells: { 'create + start + delete': [0, 1, 3], create: [0], start: [1], delete: [3] },
} as const
const inside = { steps: ['state', 'exec'], tells: { exec: [1], state: [0] }, alive: true } as const
const cold = { kind: 'minimal', cold: true, every: 2 } as const

/** All that is timed. */
export const measures: readonly Measure[] = [
  ...(['minimal', 'docker'] as const).flatMap((kind): Measure[] => [
    { name: `run-${kind}`, title: `${kind}, warm`, kind, ...run },
    { name: `life-${kind}`, title: `${kind}, warm`, kind, ...life },
    { name: `inside-${kind}`, title: `${kind}, warm`, kind, ...inside },
  ]),
  { name: 'run-cold', title: 'minimal, cold page cache', ...cold, ...run },
  { name: 'life-cold', title: 'minimal, cold page cache', ...cold, ...life },
  { name: 'inside-cold', title: 'minimal, cold page cache', ...cold, ...inside },
  ...(['minimal', 'docker'] as const).map(
    (kind): Measure => ({
      name: `run-10-${kind}`,
      title: `${kind}, 10 at once, until all have ended`,
      kind,
      ...run,
      together: 10,
      every: 3,
    }),
  ),
]

/** Whether a runtime takes part: runt on Node.js only in what tells something about it. */
const takesPart = (measure: Measure, { name, files }: Runtime) =>
  name === 'runt-node'
    ? measure.kind === 'minimal' && !measure.together && !measure.cold
    : !measure.cold || files.length > 0

const instancesOf = ({ together = 1 }: Measure) => Array.from({ length: together }, (_, instance) => instance)

/** The driver's directives for one sample. */
function alternative(runtime: Runtime, measure: Measure): string[] {
  const instances = instancesOf(measure)
  const line = (word: string, verb: Verb, instance: number) => [word, ...runtime.command(verb, { instance })].join('\t')
  return [
    `alternative\t${runtime.name}`,
    ...measure.steps.flatMap((step) => [
      ...(measure.cold && step !== 'end' ? [['cold', ...runtime.files].join('\t')] : []),
      ...(step === 'end'
        ? ['drain']
        : instances.map((instance) => line(instance === 0 ? 'step' : 'with', step, instance))),
    ]),
    ...(measure.alive ? [] : instances.map((instance) => line('undo', 'delete', instance))),
  ]
}

/** Has driver.c carry out a plan. */
export async function drive(workshop: Workshop, settle: number, plan: readonly string[]): Promise<Sample[]> {
  const driver = spawn(workshop.driver, { env: environment(), stdio: ['pipe', 'pipe', 'inherit'] })
  workshop.track(driver)
  const status = new Promise<number | null>((done) => driver.once('close', done))
  driver.stdin.end([`settle\t${settle * 1000}`, `log\t${join(workshop.folder, 'stderr')}`, ...plan, ''].join('\n'))
  const samples: Sample[] = []
  for await (const line of createInterface({ input: driver.stdout })) samples.push(JSON.parse(line) as Sample)
  const code = await status
  if (code !== 0) throw new Error(`the driver ended with status ${code}`)
  return samples
}

/** All samples of a measure, those of the warm-up too if they failed. */
async function take(workshop: Workshop, measure: Measure, method: Method): Promise<Sample[]> {
  const runtimes = workshop.runtimes.filter((runtime) => takesPart(measure, runtime))
  const rounds = method.warm + Math.ceil(method.rounds / (measure.every ?? 1))
  for (const runtime of runtimes)
    workshop.configure(runtime, {
      kind: measure.kind,
      sleeps: measure.alive ?? false,
      instances: measure.together ?? 1,
    })
  const remove = (all: readonly Runtime[]) => {
    for (const runtime of all) removeContainers(workshop, runtime, instancesOf(measure))
  }
  try {
    for (const runtime of measure.alive ? runtimes : [])
      for (const verb of ['create', 'start'] as const) {
        const { status, text } = invoke(workshop, runtime.command(verb))
        if (status !== 0) throw new Error(`${runtime.name}: ${verb} ended with status ${status}: ${text}`)
      }
    const samples = await drive(workshop, method.settle, [
      ...runtimes.flatMap((runtime) => alternative(runtime, measure)),
      ...shuffledOrders(runtimes.length, rounds, method.seed).map((order) => ['order', ...order].join('\t')),
    ])
    if (measure.alive) remove(runtimes)
    return samples.filter(({ round, error }) => round >= method.warm || error !== null)
  } catch (error) {
    remove(runtimes)
    throw error
  }
}

/** `failures` gets a line for each runtime that failed. */
export async function measureTime(
  workshop: Workshop,
  measure: Measure,
  method: Method,
  failures: string[],
): Promise<{ timing: Timing; samples: Sample[] }> {
  const samples = await take(workshop, measure, method)
  for (const { name } of workshop.runtimes) {
    const errors = samples.filter((sample) => sample.name === name && sample.error !== null)
    if (errors.length > 0)
      failures.push(`${measure.name}: ${name}: ${errors.length} failed, first: ${errors[0]!.error}`)
  }
  const costs = Object.entries(measure.tells).map(([what, steps]) => [what, costsOf(samples, steps)])
  const { name, title } = measure
  const warmKib = Math.max(0, ...samples.map(({ warm_kib }) => warm_kib))
  return { timing: { measure: name, title, warmKib, costs: Object.fromEntries(costs) }, samples }
}
