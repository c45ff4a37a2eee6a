/**
 * Memory by runtime: what a created container's parked init holds, what a foreground `run` holds while the container
 * lives, and the smallest memory limit under which /bin/true still runs.
 */
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { sleep } from './sleep.ts'
import { environment, invoke, killAll, type Runtime, removeContainers as remove, type Workshop } from './workshop.ts'

const PAGE = 4096
/** Every runtime is expected to manage with this. */
const LARGEST_LIMIT = 256 << 20
const TRY_TIMEOUT_MS = 10_000
/** How often a limit must work to count: what a kernel charges varies a little from run to run. */
export const CONFIRMATIONS = 5
const CONFIRMING_STEPS = 32
/** By how much a limit that failed once is raised: a page at least. */
const CONFIRMING_RAISE = 0.02

export interface Held {
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
export function held(pids: readonly number[]): Held {
  const sum = (file: string, field: string) =>
    pids.reduce((total, pid) => total + kib(`/proc/${pid}/${file}`, field), 0)
  return { processes: pids.length, rss: sum('status', 'VmRSS'), pss: sum('smaps_rollup', 'Pss') }
}

/** A process and its descendants, by the parent field of /proc/PID/stat. */
export function tree(root: number): number[] {
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

/** pid of the container's init as the runtime's `state` tells it; the floor keeps no state. */
function initOf(workshop: Workshop, runtime: Runtime): number {
  if (runtime.name === 'floor') return workshop.pids(runtime)[0]!
  const [program, ...args] = runtime.command('state')
  const { stdout } = spawnSync(program!, args, { env: environment(), encoding: 'utf8' })
  return (JSON.parse(stdout) as { pid: number }).pid
}

function parked(workshop: Workshop, runtime: Runtime): Held {
  workshop.configure(runtime, {})
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
  workshop.configure(runtime, { sleeps: true })
  const [program, ...args] = runtime.command('run')
  const child = spawn(program!, args, { env: environment(), stdio: 'ignore' })
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
  const memoryLimit = pages * PAGE
  workshop.configure(runtime, { memoryLimit })
  const { status, text } = invoke(workshop, runtime.command('run', { memoryLimit }), TRY_TIMEOUT_MS)
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

export interface Memory {
  parked?: Held
  foreground?: Held
  /** KiB. */
  limit?: number
}

/** What cannot be measured is left out, and told in `failures`. */
export async function measureMemory(workshop: Workshop, runtime: Runtime, failures: string[]): Promise<Memory> {
  const result: Memory = {}
  const parts = [
    () => (result.parked = parked(workshop, runtime)),
    async () => (result.foreground = await foreground(workshop, runtime)),
    () => (result.limit = smallestLimit(workshop, runtime)),
  ]
  for (const part of parts) {
    try {
      await part()
    } catch (error) {
      failures.push((error as Error).message)
    }
  }
  return result
}
