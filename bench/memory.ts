/**
 * Memory by runtime: what a created container's parked init holds, what a foreground `run` holds while the container
 * lives, and the smallest memory limit under which /bin/true still runs. See `usage`.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from './statistics.ts'
import { describe, environment, inWorkshop, machine, type Runtime, sleep, type Workshop } from './workshop.ts'

const usage = `node --import tsx bench/memory.ts [options]
  --only LIST      runtimes, by name and separated by commas (all found)
  --part LIST      parked, foreground, limit (all)
  --json FILE      the numbers
Programs: as for bench/run.ts.`

const PAGE = 4096
/** Every runtime is expected to manage with this. */
const LARGEST_LIMIT = 256 << 20
const TRY_TIMEOUT_MS = 10_000
/** How often a limit must work to count: what a kernel charges varies a little from run to run. */
const CONFIRMATIONS = 5
const CONFIRMING_STEPS = 32
/** By how much a limit that failed once is raised: a page at least. */
const CONFIRMING_RAISE = 0.02

interface Held {
  readonly processes: number
  /** KiB. VmRSS counts shared pages in full, PSS divides them among those that share. */
  readonly rss: number
  readonly pss: number
}

function kib(path: string, field: string): number {
  const found = new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(readFileSync(path, 'utf8'))
  return found ? Number(found[1]) : 0
}

/** Sums over processes, from /proc/PID/status and /proc/PID/smaps_rollup (proc(5)). */
function held(pids: readonly number[]): Held {
  const sum = (file: string, field: string) =>
    pids.reduce((total, pid) => total + kib(`/proc/${pid}/${file}`, field), 0)
  return { processes: pids.length, rss: sum('status', 'VmRSS'), pss: sum('smaps_rollup', 'Pss') }
}

/** A process and its descendants, by the parent field of /proc/PID/stat. */
function tree(root: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
    } catch {
      // It ended meanwhile.
    }
  }
  const found = [root]
  for (const pid of found) for (const [child, parent] of parents) if (parent === pid) found.push(child)
  return found
}

/**
 * Runs a command to its end. Its stderr goes to a file: the container's init keeps what it inherits, and a pipe
 * would have the caller wait for that too.
 */
function invoke(
  workshop: Workshop,
  argv: readonly string[],
  timeout = 30_000,
): { status: number | null; text: string } {
  const log = join(workshop.folder, 'stderr')
  const fd = openSync(log, 'w')
  try {
    const { status } = spawnSync(argv[0]!, argv.slice(1), {
      env: environment(),
      timeout,
      killSignal: 'SIGKILL',
      stdio: ['ignore', 'ignore', fd],
    })
    return { status, text: readFileSync(log, 'utf8').trim() }
  } finally {
    closeSync(fd)
  }
}

function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It ended meanwhile.
    }
  }
}

function remove(workshop: Workshop, runtime: Runtime): void {
  killAll(workshop.pids(runtime))
  invoke(workshop, runtime.command('delete'), TRY_TIMEOUT_MS)
  workshop.clear(runtime)
}

/** pid of the container's init as the runtime's `state` tells it; the floor keeps no state. */
function initOf(workshop: Workshop, runtime: Runtime): number {
  if (runtime.name === 'floor') return workshop.pids(runtime)[0]!
  const [program, ...args] = runtime.command('start').map((word) => (word === 'start' ? 'state' : word))
  const { stdout } = spawnSync(program!, args, { env: environment(), encoding: 'utf8' })
  return (JSON.parse(stdout) as { pid: number }).pid
}

function parked(workshop: Workshop, runtime: Runtime): Held {
  workshop.configure(runtime, { args: ['/bin/true'] })
  try {
    const { status, text } = invoke(workshop, runtime.command('create'))
    if (status !== 0) throw new Error(`${runtime.name}: create ended with status ${status}: ${text}`)
    sleep(300)
    return held([initOf(workshop, runtime)])
  } finally {
    remove(workshop, runtime)
  }
}

/** Waits until the container executes its program, so that what is measured is the steady state. */
function waitForProgram(workshop: Workshop, runtime: Runtime): void {
  for (const until = Date.now() + TRY_TIMEOUT_MS; Date.now() < until; sleep(20)) {
    for (const pid of workshop.pids(runtime)) {
      try {
        if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('/bin/sleep')) return
      } catch {
        // It ended meanwhile.
      }
    }
  }
  throw new Error(`${runtime.name}: the container did not start`)
}

async function foreground(workshop: Workshop, runtime: Runtime): Promise<Held> {
  workshop.configure(runtime, { args: ['/bin/sleep', '60'] })
  const [program, ...args] = runtime.command('run')
  const child: ChildProcess = spawn(program!, args, { env: environment(), stdio: 'ignore' })
  workshop.track(child)
  const ended = new Promise((done) => child.once('close', done))
  try {
    waitForProgram(workshop, runtime)
    sleep(500)
    const inside = new Set(workshop.pids(runtime))
    return held(tree(child.pid!).filter((pid) => !inside.has(pid)))
  } finally {
    killAll(workshop.pids(runtime))
    const timer = setTimeout(() => child.kill('SIGKILL'), TRY_TIMEOUT_MS)
    await ended
    clearTimeout(timer)
    remove(workshop, runtime)
  }
}

/** null if /bin/true ran within the limit, otherwise what went wrong. */
function failureWithin(workshop: Workshop, runtime: Runtime, pages: number): string | null {
  workshop.configure(runtime, { args: ['/bin/true'], memoryLimit: pages * PAGE })
  const { status, text } = invoke(workshop, runtime.command('run', pages * PAGE), TRY_TIMEOUT_MS)
  if (status === 0) {
    workshop.clear(runtime)
    return null
  }
  remove(workshop, runtime)
  return `status ${status}: ${text}`
}

/** KiB. Bisection first, then upwards in small steps until a limit works `CONFIRMATIONS` times in a row. */
function smallestLimit(workshop: Workshop, runtime: Runtime): number {
  let fails = 0
  let works = LARGEST_LIMIT / PAGE
  const failure = failureWithin(workshop, runtime, works)
  if (failure !== null) throw new Error(`${runtime.name}: run with a limit of ${LARGEST_LIMIT} bytes: ${failure}`)
  while (works - fails > 1) {
    const middle = (works + fails) >> 1
    if (failureWithin(workshop, runtime, middle) === null) works = middle
    else fails = middle
  }
  for (let step = 0; step < CONFIRMING_STEPS; step++) {
    let confirmed = 0
    while (confirmed < CONFIRMATIONS && failureWithin(workshop, runtime, works) === null) confirmed++
    if (confirmed === CONFIRMATIONS) return (works * PAGE) / 1024
    works += Math.ceil(works * CONFIRMING_RAISE)
  }
  throw new Error(`${runtime.name}: no limit near ${(works * PAGE) >> 10} KiB works reliably`)
}

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    part: { type: 'string', default: 'parked,foreground,limit' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(usage)
} else {
  const parts = values.part.split(',')
  const unknown = parts.find((part) => !['parked', 'foreground', 'limit'].includes(part))
  if (unknown !== undefined) throw new Error(`--part: no such part: ${unknown}`)

  await inWorkshop(values.only?.split(','), async (workshop) => {
    console.log(describe(workshop))
    const results: Record<string, { parked?: Held; foreground?: Held; limit?: number }> = {}
    const failures: string[] = []
    for (const runtime of workshop.runtimes) {
      const result: { parked?: Held; foreground?: Held; limit?: number } = {}
      results[runtime.name] = result
      const attempt = async (part: string, measure: () => void | Promise<void>) => {
        try {
          if (parts.includes(part)) await measure()
        } catch (error) {
          failures.push((error as Error).message)
        }
      }
      await attempt('parked', () => {
        result.parked = parked(workshop, runtime)
      })
      await attempt('foreground', async () => {
        result.foreground = await foreground(workshop, runtime)
      })
      await attempt('limit', () => {
        result.limit = smallestLimit(workshop, runtime)
      })
    }
    const cell = (value: number | undefined) => (value === undefined ? '-' : String(value))
    const cells = (value: Held | undefined) => [cell(value?.rss), cell(value?.pss)]
    const rows = workshop.runtimes.map(({ name }) => {
      const { parked, foreground, limit } = results[name]!
      return [name, ...cells(parked), ...cells(foreground), cell(foreground?.processes), cell(limit)]
    })
    const head = ['KiB', 'parked RSS', 'PSS', 'run RSS', 'PSS', 'processes', 'smallest limit']
    console.log(
      `\nparked: the container's init after create. run: the runtime's own processes while the container lives.\n` +
        `smallest limit: linux.resources.memory.limit under which run of /bin/true works ${CONFIRMATIONS} times in a row.\n\n` +
        table([head, ...rows]),
    )
    for (const failure of failures) console.log(failure)
    if (failures.length > 0) process.exitCode = 1
    if (values.json) {
      const versions = Object.fromEntries(workshop.runtimes.map((runtime) => [runtime.name, runtime.version]))
      const all = { date: new Date().toISOString(), machine: machine(), versions, results }
      writeFileSync(values.json, `${JSON.stringify(all, null, 1)}\n`)
    }
  })
}
