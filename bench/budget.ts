/**
 * What commands cost, in numbers that no other load of the machine disturbs. The tests compare them with `budget.json`, so that a
 * change that makes a start slower is made on purpose or not at all. See `usage`.
 *
 * - Counts, on fake kernels that agree to everything: round trips (how often the brain waits for an executor), batches, their bytes,
 *   and the system calls of all executors, without those of the launcher's boot.
 * - Sizes of the production command. Most of the brain is the image of its heap: all modules as bytecode, evaluated.
 * - Faults: minor page faults of all processes of a real command, the container's too. Two brains are the same to this number, if one
 *   does not touch what it has more of. The programs lie in a tmpfs meanwhile: of a disk's file the page cache may have lost some pages,
 *   or have them in larger pieces, and at a fault the kernel maps what is there.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { release, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Platform } from '../src/base/platform.ts'
import { main } from '../src/cli/main.ts'
import { fakeHost } from '../src/container/testing/fake-host.ts'
import * as k from '../src/linux/constants.ts'
import { config, type Kind, makeRootfs, writeBundle } from './bundle.ts'
import { quantile } from './statistics.ts'

const usage = `npm run budget [-- --write]
Prints what commands cost. --write makes that the budget; what is within a tolerance of the budget stays as it is.`

const here = dirname(fileURLToPath(import.meta.url))
const budgetFile = join(here, 'budget.json')
const runt = join(here, '../dist/runt')

/** By what is measured (\`create, minimal, cgroup v1\`), then by unit. */
export type Costs = Record<string, Record<string, number>>

export interface Budget {
  /** Where it was measured: `6.18`. */
  readonly kernel: string
  readonly costs: Costs
}

/** How far a cost may be above its budget: compilers and the lengths of paths differ. */
const TOLERANCE: Record<string, number> = { bytes: 0.02, 'page faults': 0.08 }
/** Kernels map more or fewer pages at a fault. */
const OTHER_KERNEL: Record<string, number> = { ...TOLERANCE, 'page faults': 0.25 }

const ownKernel = (): string => release().split('.').slice(0, 2).join('.')

const kinds: readonly Kind[] = ['minimal', 'docker']

const layouts = {
  'cgroup v1': {},
  'cgroup v2': {
    '/proc/self/mountinfo': [
      '22 1 8:1 / / rw,relatime - ext4 /dev/root rw',
      '23 22 0:5 / /proc rw,relatime - proc proc rw',
      '30 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate',
    ].join('\n'),
    '/proc/self/cgroup': '0::/',
    '/proc/4711/cgroup': '0::/box',
    '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids',
    '/sys/fs/cgroup/cgroup.subtree_control': 'cpuset cpu io memory pids',
  },
}

/** Command lines, one after the other on the same container. */
const life: Record<string, readonly string[]> = {
  run: ['run', '--bundle', '/bundle', 'box'],
  create: ['create', '--bundle', '/bundle', 'box'],
  state: ['state', 'box'],
  start: ['start', 'box'],
  exec: ['exec', 'box', '/bin/true'],
  delete: ['delete', '--force', 'box'],
}

/** Performs a command on fake kernels; `files` gets the state that it leaves. */
function perform(args: readonly string[], files: Record<string, string>): Record<string, number> {
  const fake = fakeHost(files, (executor, { name, args, memory, text }) => {
    if (name === 'execve' && executor === 'init') fake.init.gone = true
    // Whoever is waited for has ended, with status 0: siginfo_t of waitid(2).
    if (name === 'ppoll') return 1
    if (name === 'waitid' && args[2]! > 0) {
      const info = memory(args[2]!, 32)
      info[8] = k.CLD_EXITED
      info[16] = 1
    }
    if (name === 'write' && text(args[1]!).startsWith('{"format":'))
      files['/run/runt/box/state.json'] = text(args[1]!).slice(0, args[2]!)
    return undefined
  })
  const platform: Platform = {
    ...fake.runtime.platform,
    args: ['--root', '/run/runt', ...args],
    stderr(text) {
      throw new Error(text)
    },
    handOver: () => new Promise<never>(() => {}),
  }
  const status = main(platform)
  for (const path of fake.written.keys()) if (path.endsWith('/filter')) files[path] = fake.written.get(path)!
  if (status !== 0 && typeof status === 'number') throw new Error(`${args.join(' ')}: status ${status}`)
  const kernels = [fake.host, fake.stage, fake.init]
  const sum = (of: (kernel: (typeof kernels)[number]) => number): number =>
    kernels.reduce((total, kernel) => total + of(kernel), 0)
  return {
    'round trips': sum((kernel) => kernel.answers),
    batches: sum((kernel) => kernel.batches),
    bytes: sum((kernel) => kernel.bytes),
    'system calls': sum((kernel) => kernel.log.length),
  }
}

/** Counts of all commands, by layout of the control groups. */
export function counts(): Costs {
  const all: Costs = {}
  for (const kind of kinds)
    for (const [layout, layoutFiles] of Object.entries(layouts)) {
      const cgroupNamespace = layout === 'cgroup v2'
      const options = { kind, args: ['/bin/true'], rootfs: '/rootfs', cgroupsPath: '/box', cgroupNamespace }
      const text = JSON.stringify(config(options))
      const files: Record<string, string> = {
        ...layoutFiles,
        '/bundle/config.json': text,
        '/run/runt/box/config.json': text,
        '/proc/4711/oom_score_adj': '',
      }
      for (const [verb, args] of Object.entries(life)) all[`${verb}, ${kind}, ${layout}`] = perform(args, files)
    }
  return all
}

/** Why sizes and faults cannot be measured here; null if they can. */
export function obstacle(): string | null {
  if (!existsSync(runt)) return 'npm run build:native makes the command'
  if (process.arch !== 'x64') return 'the budget of sizes and page faults is that of x86-64'
  if (process.getuid!() !== 0) return 'page faults are those of containers that root makes'
  for (const program of ['gcc', 'busybox'])
    if (spawnSync(program, ['--help'], { stdio: 'ignore' }).error) return `${program} is missing`
  return null
}

export function sizes(): Costs {
  return {
    'dist/runt': { bytes: statSync(runt).size },
    'dist/runt-brain': { bytes: statSync(`${runt}-brain`).size },
  }
}

/** Makes the first argument a tmpfs with a copy of the second, in a mount namespace of its own, and becomes the third. */
const IN_MEMORY = 'mount -t tmpfs tmpfs "$1" && cp -a "$2/." "$1" && exec "$3"'

/** Medians of a few rounds, measured by driver.c. */
export function faults(): Costs {
  const folder = mkdtempSync(join(tmpdir(), 'runt-budget-'))
  const memory = join(folder, 'memory')
  const files = join(folder, 'files')
  for (const made of [memory, files]) mkdirSync(made)
  const id = `runt-budget-${process.pid}`
  const command = (...args: string[]): string =>
    [join(memory, 'runt'), '--root', join(folder, 'state'), ...args].join('\t')
  const remove = (verb: string): string => `${verb}\t${command('delete', '--force', id)}`
  try {
    const driver = join(folder, 'driver')
    execFileSync('gcc', ['-O2', '-static', '-o', driver, join(here, 'driver.c')], { stdio: 'inherit' })
    const busybox = execFileSync('which', ['busybox'], { encoding: 'utf8' }).trim()
    makeRootfs(join(files, 'rootfs'), busybox)
    for (const name of ['runt', 'runt-brain']) copyFileSync(join(dirname(runt), name), join(files, name))
    const plan = [`log\t${join(folder, 'log')}`]
    for (const kind of kinds) {
      const options = { kind, args: ['/bin/sleep', '1000'], cgroupsPath: `/${id}`, cgroupNamespace: false }
      writeBundle(join(files, kind), { ...options, rootfs: join(memory, 'rootfs') })
      plan.push(
        `alternative\t${kind}`,
        `step\t${command('create', '--bundle', join(memory, kind), id)}`,
        `step\t${command('state', id)}`,
        `step\t${command('start', id)}`,
        `step\t${command('exec', id, '/bin/true')}`,
        remove('step'),
        remove('undo'),
      )
    }
    plan.push(...Array.from({ length: 5 }, () => 'order\t0\t1'))
    const shell = ['--mount', 'sh', '-c', IN_MEMORY, 'sh', memory, files, driver]
    const input = `${plan.join('\n')}\n`
    // The environment takes pages too, and npm adds a lot to it.
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }
    const { stdout, stderr, status } = spawnSync('unshare', shell, { input, env, encoding: 'utf8', timeout: 60_000 })
    if (status !== 0) throw new Error(`driver: status ${status}: ${stderr}`)
    const samples = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { name: string; error: string | null; steps: { faults: number }[] })
    const failed = samples.find(({ error }) => error !== null)
    if (failed) throw new Error(failed.error!)
    return Object.fromEntries(
      kinds.flatMap((kind) =>
        ['create', 'state', 'start', 'exec', 'delete'].map((verb, index) => {
          const all = samples.filter(({ name }) => name === kind).map(({ steps }) => steps[index]!.faults)
          return [`${verb}, ${kind}`, { 'page faults': quantile(all, 0.5) }]
        }),
      ),
    )
  } finally {
    // The driver has done so, unless it was ended itself.
    spawnSync(runt, ['--root', join(folder, 'state'), 'delete', '--force', id], { timeout: 20_000 })
    rmSync(folder, { recursive: true, force: true })
  }
}

export function readBudget(): Budget {
  return JSON.parse(readFileSync(budgetFile, 'utf8')) as Budget
}

/** A line for each cost that is above its budget, or has none. */
export function excesses(costs: Costs, budget: Budget, kernel = ownKernel()): string[] {
  const tolerance = kernel === budget.kernel ? TOLERANCE : OTHER_KERNEL
  return Object.entries(costs).flatMap(([what, units]) =>
    Object.entries(units).flatMap(([unit, cost]) => {
      const limit = budget.costs[what]?.[unit]
      if (limit === undefined) return [`${what}: ${cost} ${unit}, and there is no budget for it`]
      const most = Math.floor(limit * (1 + (tolerance[unit] ?? 0)))
      return cost <= most
        ? []
        : [`${what}: ${cost} ${unit}; the budget is ${limit}${most > limit ? `, and up to ${most} is tolerated` : ''}`]
    }),
  )
}

/**
 * The budget after these costs. Numbers within a tolerance stay, so that what is written tells of a change, and two branches
 * seldom change the same line. They cannot creep: it is the old number that they are compared with the next time.
 */
export function renewed(costs: Costs, budget: Budget, kernel = ownKernel()): Costs {
  const near = (unit: string, cost: number, limit: number | undefined): limit is number =>
    limit !== undefined && kernel === budget.kernel && Math.abs(cost - limit) <= limit * (TOLERANCE[unit] ?? 0)
  return Object.fromEntries(
    Object.entries(costs).map(([what, units]) => [
      what,
      Object.fromEntries(
        Object.entries(units).map(([unit, cost]) => {
          const limit = budget.costs[what]?.[unit]
          return [unit, near(unit, cost, limit) ? limit : cost]
        }),
      ),
    ]),
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2)
  const reason = obstacle()
  const measured: Costs = { ...counts(), ...(reason === null ? { ...sizes(), ...faults() } : {}) }
  const costs = args.length === 0 ? measured : renewed(measured, readBudget())
  const lines = Object.entries(costs).map(([what, units]) => {
    const all = Object.entries(units).map(([unit, cost]) => `"${unit}": ${cost}`)
    return `    "${what}": { ${all.join(', ')} }`
  })
  const text = `{\n  "kernel": "${ownKernel()}",\n  "costs": {\n${lines.join(',\n')}\n  }\n}\n`
  if (args.some((word) => word !== '--write')) console.log(usage)
  else if (args.length === 0) console.log(text.trim())
  else if (reason !== null) throw new Error(`the budget cannot be written here: ${reason}`)
  else writeFileSync(budgetFile, text)
}
