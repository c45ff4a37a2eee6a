/** What the benchmark finds out, as it is stored in docs/bench/results.json. */
import type { Memory } from './memory.ts'
import { type Spread, spread } from './statistics.ts'

export interface Method {
  readonly date: string
  /** What the numbers depend on besides the runtimes: kernel, processors, load at the start. */
  readonly machine: Readonly<Record<string, string>>
  /** By runtime. */
  readonly versions: Readonly<Record<string, string>>
  readonly missing: readonly string[]
  readonly rounds: number
  readonly warm: number
  readonly seed: number
  readonly settle: number
}

/** What one runtime takes for one thing. */
export interface Cost {
  readonly samples: number
  /** Milliseconds. */
  readonly wall: Spread
  /** User and system time of all processes, in milliseconds. */
  readonly cpu: Spread
  /** Largest resident set of a process, in MiB: median. */
  readonly peak: number
  /** What runt takes of it, round by round; absent for runt itself. */
  readonly runt?: { readonly wall: Spread; readonly cpu: Spread }
}

/** One measure: what is done (`create`, by runtime), and under which circumstances. */
export interface Timing {
  readonly measure: string
  readonly title: string
  /** KiB of the programs that stayed in memory although the cache was to be cold; largest. */
  readonly warmKib: number
  /** By step, then by runtime. */
  readonly costs: Readonly<Record<string, Readonly<Record<string, Cost>>>>
}

/** One runtime with a number of containers alive. Milliseconds. */
export interface Crowd {
  readonly state: Spread
  readonly list: Spread
  readonly createDelete: Spread
  /** What a container takes of memory, in KiB: as charged by the memory controller, and by what less was available. Null for few. */
  readonly charged: number | null
  readonly available: number | null
}

export interface Results {
  readonly method: Method
  readonly timings: readonly Timing[]
  readonly memory: Readonly<Record<string, Memory>>
  /** By runtime, then by the number of containers. */
  readonly many: Readonly<Record<string, Readonly<Record<string, Crowd>>>>
  readonly failures: readonly string[]
}

/** A virtual machine that has nothing but a kernel and a busybox. */
export interface Guest {
  readonly title: string
  readonly rounds: number
  /** Milliseconds from the start of its process to its end; it executes /bin/true and powers itself off. */
  readonly wall: Spread
  /** KiB, PSS of its processes while a program sleeps in it, with so much memory (MiB) as its own. */
  readonly held: number
  readonly memory: number
  /** MiB with which it still starts. */
  readonly smallest: number
}

/** docs/bench/vm.json. */
export interface Guests {
  readonly date: string
  readonly machine: Readonly<Record<string, string>>
  readonly guests: readonly Guest[]
}

/** One line of driver.c. */
export interface Sample {
  readonly round: number
  readonly name: string
  readonly steps: readonly {
    readonly wall_ns: number
    readonly cpu_us: number
    readonly rss_kib: number
    readonly faults: number
  }[]
  readonly warm_kib: number
  readonly error: string | null
}

/** Some steps of a sample as one. */
interface Sum {
  readonly wall: number
  readonly cpu: number
  readonly peak: number
}

function sumOf(sample: Sample, steps: readonly number[]): Sum {
  const chosen = steps.map((index) => sample.steps[index]!)
  return {
    wall: chosen.reduce((total, { wall_ns }) => total + wall_ns / 1e6, 0),
    cpu: chosen.reduce((total, { cpu_us }) => total + cpu_us / 1e3, 0),
    peak: Math.max(...chosen.map(({ rss_kib }) => rss_kib / 1024)),
  }
}

/** The costs of some steps together, by runtime. Samples that failed do not count. */
export function costsOf(samples: readonly Sample[], steps: readonly number[]): Record<string, Cost> {
  const good = samples.filter(({ error }) => error === null)
  const runt = new Map(good.filter(({ name }) => name === 'runt').map((sample) => [sample.round, sumOf(sample, steps)]))
  const names = [...new Set(good.map(({ name }) => name))]
  return Object.fromEntries(
    names.map((name): [string, Cost] => {
      const own = good.filter((sample) => sample.name === name)
      const sums = own.map((sample) => sumOf(sample, steps))
      const ratio = (key: 'wall' | 'cpu') =>
        rounded(
          spread(
            own.flatMap(({ round }, index) => {
              const other = runt.get(round)
              return other && sums[index]![key] > 0 ? [other[key] / sums[index]![key]] : []
            }),
          ),
        )
      const cost: Cost = {
        samples: own.length,
        wall: rounded(spread(sums.map(({ wall }) => wall))),
        cpu: rounded(spread(sums.map(({ cpu }) => cpu))),
        peak: round(spread(sums.map(({ peak }) => peak)).median),
      }
      return [
        name,
        name === 'runt' || runt.size === 0 ? cost : { ...cost, runt: { wall: ratio('wall'), cpu: ratio('cpu') } },
      ]
    }),
  )
}

/** Microseconds are enough, and the file stays readable. */
const round = (value: number) => Math.round(value * 1000) / 1000

export function rounded({ median, p5, p95 }: Spread): Spread {
  return { median: round(median), p5: round(p5), p95: round(p95) }
}
