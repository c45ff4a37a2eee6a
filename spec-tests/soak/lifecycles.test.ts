/**
 * Many lifecycles, many at a time: nothing of them stays. A round has 200 of them, 20 at a time; `npm run soak` does ten rounds,
 * 50 at a time. RUNT_SOAK=ROUNDS,AT_A_TIME sets both, RUNT_SPEC_SEED makes a run again.
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Bundle, base, bundle, cgroupRoot, heading, leavesNothing, ok, run as runtime, start } from '../harness.ts'
import { cgroupDirectory, patience, pids, waitFor } from '../host.ts'
import { random } from '../random.ts'

const { only, run } = heading('soak/lifecycles')

const [rounds = 1, lanes = 20] = (process.env.RUNT_SOAK || '1,20').split(',').map(Number)
const LIFECYCLES = 200
/** Processes that all containers may have together. */
const PROCESSES = 40 * lanes
/** How long one command may take, in milliseconds. It takes some; fifty at a time on two CPUs, some hundred. */
const LONGEST = 20_000 * patience
/**
 * What the kernel may use more afterwards, in KiB: cgroups that are gone drain when they like. In ten rounds a leak of 17 KiB a lifecycle
 * is more.
 */
const TOLERANCE = 32 * 1024 + 8 * LIFECYCLES

const seed = Number(process.env.RUNT_SPEC_SEED ?? Date.now() % 1_000_000)
const next = random(seed)

const times: number[] = []
const problems: string[] = []

interface Lane {
  bundle: Bundle
  id: string
  log: string
}

/** Carries a command out. `kill`: after so many milliseconds it is killed. */
async function command(lane: Lane, args: string[], kill = 0, program: string[] = []): Promise<number | string> {
  const out = openSync(lane.log, 'w')
  const begin = performance.now()
  const child = start([...args, lane.id, ...program], ['ignore', out, out])
  closeSync(out)
  let late = false
  const timer = setTimeout(() => {
    late = kill === 0
    child.kill('SIGKILL')
  }, kill || LONGEST)
  const status = await new Promise<number | string>((settle) =>
    child.once('exit', (code, signal) => settle(code ?? signal!)),
  )
  clearTimeout(timer)
  times.push(performance.now() - begin)
  if (late) problems.push(`${args.join(' ')}: no end within ${LONGEST} ms`)
  return status
}

async function must(lane: Lane, args: string[]): Promise<void> {
  const status = await command(lane, args)
  if (status !== 0) problems.push(`${args.join(' ')}: ${status}: ${readFileSync(lane.log, 'utf8').trim()}`)
}

const lives: Record<string, (lane: Lane, bundleFlags: string[]) => Promise<void>> = {
  async 'run in the foreground'(lane, flags) {
    await must(lane, ['run', ...flags])
  },
  async 'create, start, delete'(lane, flags) {
    await must(lane, ['create', ...flags])
    await must(lane, ['start'])
    await must(lane, ['delete', '--force'])
  },
  async 'create, delete'(lane, flags) {
    await must(lane, ['create', ...flags])
    await must(lane, ['delete'])
  },
  async 'detached, with exec'(lane, flags) {
    await must(lane, ['run', '--detach', ...flags])
    // The program may have ended by then.
    await command(lane, ['exec'], 0, ['true'])
    await must(lane, ['delete', '--force'])
  },
  async 'killed in between'(lane, flags) {
    await command(lane, [next() < 0.5 ? 'create' : 'run', ...flags], 1 + next() * 60)
    await must(lane, ['delete', '--force'])
  },
}

/** Zombies of the runtime's, but for those that are the host's init's to wait for; and how many descriptors this process has. */
function residue(): { zombies: number; descriptors: number } {
  const zombies = pids().filter((pid) => {
    try {
      return /^\d+ \(runt[^)]*\) Z (?!1 )/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    } catch {
      return false
    }
  })
  return { zombies: zombies.length, descriptors: readdirSync('/proc/self/fd').length }
}

/**
 * KiB that the kernel uses for itself: with no process, mount or file left, a leak can be nowhere else. What it can give back counts as
 * free. All memory in use would be of no use: others work on this machine too.
 */
function memory(): number {
  const text = readFileSync('/proc/meminfo', 'utf8')
  const value = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1] ?? 0)
  return value('SUnreclaim') + value('KernelStack') + value('PageTables') + value('Percpu')
}

let before: number | undefined

for (let round = 1; round <= rounds; round++)
  only('runt', `${LIFECYCLES} lifecycles, ${lanes} at a time, leave nothing (round ${round})`, async () => {
    problems.length = 0
    const all: Lane[] = Array.from({ length: lanes }, (_, index) => {
      const made = bundle((config) => {
        config.process.args = ['sleep', '0.02']
        config.linux.resources = { memory: { limit: 1 << 26 }, pids: { limit: 20 } }
      })
      return { bundle: made, id: made.name, log: join(base, `${index}.out`) }
    })
    // The first container makes the parent of all cgroups; that gets the limit.
    ok(runtime(['run', '--bundle', all[0]!.bundle.directory, all[0]!.id]), 'run')
    const parent = cgroupDirectory('pids', cgroupRoot)
    const limit = parent && join(parent, 'pids.max')
    if (limit && existsSync(limit)) writeFileSync(limit, String(PROCESSES))
    const open = residue()
    before ??= memory()

    const kinds = Object.entries(lives)
    const counts: Record<string, number> = {}
    times.length = 0
    let left = LIFECYCLES
    const begin = performance.now()
    await Promise.all(
      all.map(async (lane) => {
        while (left-- > 0 && problems.length < 5) {
          const [name, live] = kinds[Math.floor(next() * kinds.length)]!
          counts[name] = (counts[name] ?? 0) + 1
          await live(lane, ['--bundle', lane.bundle.directory])
        }
      }),
    )
    const seconds = (performance.now() - begin) / 1000
    assert.equal(problems, [])
    leavesNothing()
    let now = residue()
    waitFor(() => {
      now = residue()
      return now.zombies <= open.zombies && now.descriptors <= open.descriptors
    }, 2000)
    assert.ok(now.zombies <= open.zombies, `${now.zombies - open.zombies} zombies`)
    assert.ok(now.descriptors <= open.descriptors, `${now.descriptors - open.descriptors} descriptors`)
    let after = memory()
    waitFor(() => {
      after = memory()
      return after - before! < TOLERANCE
    }, 15_000)
    times.sort((a, b) => a - b)
    const at = (part: number) => times[Math.floor((times.length - 1) * part)]!.toFixed(0)
    console.log(
      `seed ${seed}: ${JSON.stringify(counts)}; ${times.length} commands in ${seconds.toFixed(1)} s, median ${at(0.5)} ms, ` +
        `99 % ${at(0.99)} ms, longest ${at(1)} ms; memory of the kernel ${after - before} KiB more`,
    )
    assert.ok(after - before < TOLERANCE, `the kernel uses ${after - before} KiB more`)
  })

run()
