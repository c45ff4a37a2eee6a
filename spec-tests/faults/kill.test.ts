/**
 * SIGKILL of every process of runt's at every step: what is left then, `delete --force` removes; and where there is
 * somebody left to clean up, nothing is left. The brain is that of Node.js (victim.ts); the runtime under test cleans up.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import * as assert from 'uvu/assert'
import { base, environment, heading, ok, repository, run as runtime, stateRoot, words } from '../harness.ts'
import { waitFor } from '../host.ts'
import { random } from '../random.ts'
import { faultsOfMessage, forceDelete, leftOf, makeScene, processes, type Scene } from './scene.ts'
import type { Report } from './victim.ts'

const { only, run } = heading('faults/kill')

const bundled = join(base, 'victim.mjs')

/** Bundled once, each start costs a third. */
async function buildVictim(): Promise<void> {
  if (existsSync(bundled)) return
  await build({
    entryPoints: [join(repository, 'spec-tests/faults/victim.ts')],
    outfile: bundled,
    bundle: true,
    format: 'esm',
    platform: 'node',
    external: ['koffi'],
    banner: {
      js: "import { createRequire as runtRequire } from 'node:module'; const require = runtRequire(import.meta.url);",
    },
    logLevel: 'error',
  })
}

interface Fault {
  target: string
  at: number
  pause: number
}

interface Outcome extends Report {
  /** Exit status, or the signal that ended it. */
  status: number | string
  stderr: string
}

/** How long a command with a fault may take, in milliseconds. */
const TIMEOUT = 10_000

async function commandWithFault(scene: Scene, args: readonly string[], fault: Fault): Promise<Outcome> {
  const report = join(base, `${scene.id}.report`)
  const child = spawn(process.execPath, [bundled, '--root', stateRoot, ...args], {
    cwd: scene.bundle.directory,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: environment({
      NODE_PATH: join(repository, 'node_modules'),
      FAULT_TARGET: fault.target,
      FAULT_AT: String(fault.at),
      FAULT_PAUSE: String(fault.pause),
      FAULT_REPORT: report,
    }),
  })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    stderr += chunk
  })
  const timer = setTimeout(() => {
    stderr += `no end within ${TIMEOUT} ms\n`
    child.kill('SIGKILL')
  }, TIMEOUT)
  const status = await new Promise<number | string>((settle) =>
    child.once('exit', (code, signal) => settle(code ?? signal!)),
  )
  clearTimeout(timer)
  // The container may hold it open.
  await new Promise((settle) => setImmediate(settle))
  child.stderr.destroy()
  assert.ok(existsSync(report), `the victim did not come to its first batch: ${status}: ${stderr}`)
  const told: Report = JSON.parse(readFileSync(report, 'utf8'))
  rmSync(report)
  return { status, stderr, ...told }
}

interface Story {
  command: string
  args: readonly string[]
  /** Behind the id. */
  program?: readonly string[]
  /** The container is to be there afterwards, and no process of the command in it. */
  stays?: boolean
  /** What comes before. */
  prepare: (scene: Scene) => void
  targets: readonly string[]
  /** Kills after its last batches only, where the others are another story's. */
  lastOnly?: number
  /** Both pauses after each batch; otherwise they take turns. */
  thorough?: boolean
}

const create = (scene: Scene): void => void ok(runtime(['create', ...scene.words]), 'create')
const start = (scene: Scene): void => {
  create(scene)
  ok(runtime(['start', scene.id]), 'start')
}

const launching = ['brain', 'executor', 'both', 'stage', 'init']
const stories: Story[] = [
  { command: 'create', args: ['create'], prepare: () => {}, targets: launching, thorough: true },
  { command: 'run', args: ['run'], prepare: () => {}, targets: launching },
  {
    command: 'run --detach',
    args: ['run', '--detach'],
    prepare: () => {},
    targets: ['brain', 'executor', 'both', 'init'],
    lastOnly: 4,
  },
  { command: 'start', args: ['start'], prepare: create, targets: ['brain', 'executor', 'both', 'init'] },
  {
    command: 'exec',
    args: ['exec'],
    program: ['true'],
    prepare: start,
    targets: ['brain', 'executor', 'both', 'stage', 'process', 'init'],
    stays: true,
  },
  {
    command: 'delete of a created container',
    args: ['delete'],
    prepare: create,
    targets: ['brain', 'executor', 'both'],
  },
  { command: 'delete --force', args: ['delete', '--force'], prepare: start, targets: ['brain', 'executor', 'both'] },
]

/** Milliseconds between batch and kill: in the middle of what the batch does, and after it. */
const PAUSES = [0, 4]

/** One case: what is wrong afterwards. */
async function tryFault(scene: Scene, story: Story, fault: Fault): Promise<{ hit: boolean; problems: string[] }> {
  story.prepare(scene)
  const launches = /^(create|run)/.test(story.command)
  let { target } = fault
  if (target === 'init' && !launches) target = readFileSync(scene.pidFile, 'utf8')
  const args = [...story.args, ...(launches ? scene.words : [scene.id, ...(story.program ?? [])])]
  const outcome = await commandWithFault(scene, args, { ...fault, target })
  const problems: string[] = []
  // Nobody is left to say anything.
  const mute = target === 'brain' || target === 'both'
  if (mute ? outcome.stderr !== '' : /internal error|no end|^\s+at /m.test(outcome.stderr))
    problems.push(`stderr: ${outcome.stderr}`)
  const failed = outcome.status !== 0 && !mute
  // The container's own end by SIGKILL is no failure of a foreground run.
  const passedOn = /^(run|exec)$/.test(story.command) && outcome.status === 137
  if (failed && !passedOn) {
    problems.push(...faultsOfMessage(outcome.stderr, story.args[0]!, target === 'executor'))
    if (launches && target !== 'executor') problems.push(...leftOf(scene).map((what) => `after the failure: ${what}`))
  }
  // A foreground run waits for its container; all others have nothing left to do.
  if (story.command !== 'run' && !waitFor(() => processes(scene, 'outside').length === 0, 2000))
    problems.push(`still there: ${processes(scene, 'outside').join(', ')}`)
  const alone = (): boolean => processes(scene).length <= 1
  // What was being executed goes on without those who started it.
  if (story.stays && !waitFor(alone, 2000)) problems.push(`still in the container: ${processes(scene).join(', ')}`)
  for (const looking of [['list'], ['state', scene.id]]) {
    const { status, stderr } = runtime(looking)
    const words = stderr.trim().split('\n')
    if (status === null || words.length > 1 || /internal error/.test(stderr) || (looking[0] === 'list' && status !== 0))
      problems.push(`${looking.join(' ')}: ${status}: ${stderr}`)
  }
  problems.push(...forceDelete(scene))
  return { hit: outcome.hit, problems }
}

for (const story of stories)
  for (const target of story.targets) {
    only(
      'runt',
      `${story.command}: ${target === 'init' ? 'the' : 'its'} ${target} is killed after each batch`,
      async () => {
        await buildVictim()
        const place = () =>
          makeScene((config) => {
            if (story.stays) config.process.args = ['sleep', '1000']
          })
        const first = place()
        story.prepare(first)
        const launches = /^(create|run)/.test(story.command)
        const dry = await commandWithFault(
          first,
          [...story.args, ...(launches ? first.words : [first.id, ...(story.program ?? [])])],
          {
            target: 'nobody',
            at: 0,
            pause: 0,
          },
        )
        assert.is(dry.status, 0, dry.stderr)
        assert.equal(forceDelete(first), [])

        const cases: Fault[] = []
        for (let at = Math.max(1, dry.batches - (story.lastOnly ?? Infinity) + 1); at <= dry.batches; at++)
          for (const pause of PAUSES)
            if (story.thorough || PAUSES.indexOf(pause) === at % 2) cases.push({ target, at, pause })
        const all: string[] = []
        let hits = 0
        const next = cases.values()
        const lane = async (scene: Scene): Promise<void> => {
          for (const fault of next) {
            const { hit, problems } = await tryFault(scene, story, fault)
            if (hit) hits++
            all.push(
              ...problems.map((problem) => `batch ${fault.at} of ${dry.batches} + ${fault.pause} ms: ${problem}`),
            )
          }
        }
        await Promise.all([lane(first), lane(place())])
        console.log(
          `${story.command}, ${target}: ${dry.batches} batches, killed ${hits} times in ${cases.length} cases`,
        )
        assert.equal(all, [])
        assert.ok(hits > 0, 'never killed')
      },
    )
  }

for (const command of ['create', 'run'])
  only('runt', `${command}: the command is killed at random moments`, async () => {
    const scene = makeScene()
    const seed = Number(process.env.RUNT_SPEC_SEED ?? Date.now() % 1_000_000)
    const next = random(seed)
    const begin = performance.now()
    ok(runtime(['create', ...scene.words]), 'create')
    const usual = performance.now() - begin
    assert.equal(forceDelete(scene), [])
    const all: string[] = []
    for (let i = 0; i < 30; i++) {
      const moment = next() * usual * 1.3
      const [program, ...rest] = words([command, ...scene.words])
      const child = spawn(program!, rest, { stdio: 'ignore', env: environment(), cwd: scene.bundle.directory })
      const gone = new Promise((settle) => child.once('exit', settle))
      await new Promise((settle) => setTimeout(settle, moment))
      child.kill('SIGKILL')
      await gone
      if (!waitFor(() => processes(scene, 'outside').length === 0, 2000)) all.push(`${moment} ms: processes are left`)
      all.push(...forceDelete(scene).map((problem) => `${moment} ms: ${problem}`))
    }
    console.log(`${command}: seed ${seed}, 30 kills within ${(usual * 1.3).toFixed(0)} ms`)
    assert.equal(all, [])
  })

run()
