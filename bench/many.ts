/** What a runtime takes when there are many containers already. Each has a program that sleeps, and the minimal config. */
import { readFileSync } from 'node:fs'
import { type Crowd, type Method, rounded, type Sample } from './results.ts'
import { sleep } from './sleep.ts'
import { spread } from './statistics.ts'
import { drive } from './times.ts'
import { invoke, type Runtime, removeContainers, type Workshop } from './workshop.ts'

/** Processes that the largest crowd may have beyond one for each container: what runtimes themselves need for a moment. */
const SPARE_PROCESSES = 500
/** KiB for each container, and for all together: ten times what is usual. */
const BYTES_EACH = 4 << 20
const BYTES_SPARE = 512 << 20
/** Fewer containers tell nothing about the memory of one. */
const ENOUGH = 50

/** MemAvailable of /proc/meminfo (proc(5)), in KiB. */
function available(): number {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))![1])
}

/** Instance 0 is the container that comes and goes; 1 and on stay. */
function plan(runtime: Runtime, rounds: number): string[] {
  const step = (word: string, verb: 'state' | 'list' | 'create' | 'delete', instance: number) =>
    [word, ...runtime.command(verb, { instance })].join('\t')
  return [
    `alternative\t${runtime.name}`,
    step('step', 'state', 1),
    step('step', 'list', 1),
    step('step', 'create', 0),
    step('step', 'delete', 0),
    step('undo', 'delete', 0),
    ...Array.from({ length: rounds }, () => 'order\t0'),
  ]
}

function summary(samples: readonly Sample[], kib: { charged: number; available: number } | null): Crowd {
  const good = samples.filter(({ error }) => error === null)
  const of = (...steps: number[]) =>
    rounded(spread(good.map((sample) => steps.reduce((sum, index) => sum + sample.steps[index]!.wall_ns / 1e6, 0))))
  const memory = (value: number | undefined) => (value === undefined || Number.isNaN(value) ? null : Math.round(value))
  return {
    state: of(0),
    list: of(1),
    createDelete: of(2, 3),
    charged: memory(kib?.charged),
    available: memory(kib?.available),
  }
}

/** By number of containers. Ends at the first that fails. */
export async function measureMany(
  workshop: Workshop,
  runtime: Runtime,
  counts: readonly number[],
  method: Method,
  failures: string[],
): Promise<Record<string, Crowd>> {
  const most = Math.max(...counts)
  const crowds: Record<string, Crowd> = {}
  let alive = 0
  workshop.configure(runtime, { sleeps: true, instances: most + 1 })
  workshop.bound({ pids: most + SPARE_PROCESSES, bytes: BYTES_SPARE + most * BYTES_EACH })
  const before = { charged: workshop.charged(), available: available() }
  try {
    for (const count of counts) {
      while (alive < count) {
        const { status, text } = invoke(workshop, runtime.command('run', { instance: alive + 1, detach: true }))
        if (status !== 0) throw new Error(`container ${alive + 1}: status ${status}: ${text}`)
        alive++
        // Signals are heard in between.
        await new Promise((done) => setImmediate(done))
      }
      // What is still being written or dismantled belongs to no container.
      sleep(500)
      const kib =
        count < ENOUGH
          ? null
          : {
              charged: (workshop.charged() - before.charged) / 1024 / count,
              available: (before.available - available()) / count,
            }
      const rounds = Math.ceil(method.rounds / 2)
      const samples = await drive(workshop, method.settle, plan(runtime, rounds))
      const failed = samples.find(({ error }) => error !== null)
      if (failed) throw new Error(`with ${count} containers: ${failed.error}`)
      crowds[count] = summary(samples, kib)
    }
  } catch (error) {
    failures.push(`many: ${runtime.name}: ${(error as Error).message}`)
  } finally {
    removeContainers(
      workshop,
      runtime,
      Array.from({ length: alive + 1 }, (_, index) => index + 1),
    )
    workshop.bound(null)
  }
  return crowds
}
