/** Runs all tests of the project. See `usage`. The last line is `N passed, N failed, N skipped`. */
import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Summary } from '../spec-tests/run.ts'
import { prepare, vmStage } from '../spec-tests/vm/stage.ts'
import { FACTS, factsOfHost, mixed } from './conformance-facts.ts'
import { extendPath, install, isThere, missing } from './machine.ts'
import { root } from './tools.ts'

const usage = `npm test -- [--install] [stage ...]
  --install  install missing Debian packages first (as root)
Stages, all by default:
  build      npm run build, npm run build:native
  types      tsc with both configurations
  lint       biome
  unit       the *.test.ts in src, bench and scripts
  spec       the black-box tests on dist/runt
  spec-node  the black-box tests on node dist/node/runt.js
  spec-runc  the black-box tests on runc: tests the tests
  spec-crun  the same on crun
  vm         black-box tests in guests: cgroup v2, systemd, another kernel`

interface Counts {
  passed: number
  failed: number
  skipped: number
}

/** How long one unit test file may take, and one run of the black-box tests, in milliseconds. */
const UNIT_TIMEOUT = 600_000
const SPEC_TIMEOUT = 1_200_000

/** Runs a command; its output is the stage's. True when it succeeds. */
async function succeeds(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  timeout?: number,
): Promise<boolean> {
  const child = spawn(program, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
    timeout,
  })
  return new Promise((settle) => {
    child.on('error', (error) => {
      console.log(`${program}: ${error.message}`)
      settle(false)
    })
    child.on('exit', (status) => settle(status === 0))
  })
}

/** npm scripts as a stage: each counts as one test. */
async function scripts(...names: string[]): Promise<Counts> {
  const failed: string[] = []
  for (const name of names) if (!(await succeeds('npm', ['run', '--silent', name]))) failed.push(`npm run ${name}`)
  if (failed.length > 0) console.log(`failed: ${failed.join(', ')}`)
  return { passed: names.length - failed.length, failed: failed.length, skipped: 0 }
}

function testFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return testFiles(path)
      return entry.name.endsWith('.test.ts') ? [path] : []
    })
}

/** uvu's report ends with `Total:`, `Passed:` and `Skipped:`; the total is without the skipped ones. */
function readReport(text: string): Counts | null {
  const number = (word: string): number | null => {
    const found = [...text.matchAll(new RegExp(`^\\s*${word}:\\s+(\\d+)\\s*$`, 'gm'))].at(-1)
    return found ? Number(found[1]) : null
  }
  const [total, passed, skipped] = [number('Total'), number('Passed'), number('Skipped')]
  if (total === null || passed === null || skipped === null) return null
  return { passed, failed: total - passed, skipped }
}

/** Every file in a process of its own: a file that ends early, or runs no test, fails. */
function unitFile(path: string): Promise<Counts> {
  return new Promise((settle) => {
    const child = spawn(process.execPath, ['--import', 'tsx', path], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0', NODE_EXTRA_CA_CERTS: '' },
    })
    let text = ''
    let late = false
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk) => (text += chunk))
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, UNIT_TIMEOUT)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      const report = readReport(text)
      const counts = report ?? { passed: 0, failed: 0, skipped: 0 }
      let problem = ''
      if (late) problem = `no end within ${UNIT_TIMEOUT / 1000} s`
      else if (!report || counts.passed + counts.failed + counts.skipped === 0) problem = 'ran no test'
      else if (status !== 0 && counts.failed === 0) problem = `ended with ${signal ?? status}`
      if (problem) counts.failed++
      if (counts.failed > 0) console.log(`--- ${path}${problem && `: ${problem}`}\n${text.trim()}\n`)
      for (const [, reason] of text.matchAll(/^skipped: (.*)$/gm)) {
        console.log(`  skipped: ${path}: ${reason}`)
        counts.skipped++
      }
      if (report && report.skipped > 0)
        console.log(`  skipped: ${path}: ${report.skipped} tests for a machine that needs an emulator`)
      settle(counts)
    })
  })
}

async function unit(): Promise<Counts> {
  // The longest first: scripts/package.test.ts builds everything twice, for two machines.
  const files = [...testFiles('scripts').reverse(), ...testFiles('bench'), ...testFiles('src')]
  const all: Counts = { passed: 0, failed: 0, skipped: 0 }
  const times: { path: string; seconds: number }[] = []
  const worker = async (): Promise<void> => {
    for (let path = files.shift(); path !== undefined; path = files.shift()) {
      const begin = Date.now()
      const counts = await unitFile(path)
      times.push({ path, seconds: (Date.now() - begin) / 1000 })
      for (const key of ['passed', 'failed', 'skipped'] as const) all[key] += counts[key]
    }
  }
  await Promise.all([worker(), worker()])
  const slowest = times.sort((a, b) => b.seconds - a.seconds).slice(0, 8)
  console.log(
    `${times.length} files; the slowest: ${slowest.map(({ path, seconds }) => `${path} ${seconds.toFixed(0)} s`).join(', ')}`,
  )
  return all
}

/** What the last runs of the black-box tests gave, for `npm run conformance -- --from`. */
const conformance = join(root, 'build/conformance')
const columns = ['dist/runt', 'runc', 'crun']

/** The black-box tests on a runtime. */
async function spec(runtime: string, ...flags: string[]): Promise<Counts> {
  const folder = mkdtempSync(join(tmpdir(), 'runt-test-'))
  const json = join(folder, 'summary.json')
  try {
    const args = ['--import', 'tsx', 'spec-tests/run.ts', '--json', json, ...flags]
    const fine = await succeeds(process.execPath, args, { RUNTIME: runtime }, SPEC_TIMEOUT)
    let summary: Summary
    try {
      summary = JSON.parse(readFileSync(json, 'utf8'))
    } catch {
      console.log('the black-box tests did not come to their end')
      return { passed: 0, failed: 1, skipped: 0 }
    }
    if (columns.includes(runtime)) {
      mkdirSync(conformance, { recursive: true })
      copyFileSync(json, join(conformance, `${columns.indexOf(runtime)}.json`))
      writeFileSync(join(conformance, FACTS), JSON.stringify(factsOfHost()))
    }
    const { passed, failed, skipped } = summary
    return { passed, failed: fine ? failed : Math.max(1, failed), skipped }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** On a peer, where there is one. */
async function peer(name: string, ...flags: string[]): Promise<Counts> {
  if (isThere(name)) return spec(name, ...flags)
  console.log(`  skipped: ${name} is not installed`)
  return { passed: 0, failed: 0, skipped: 1 }
}

/** All folders but faults/, which runs runt's innards on Node.js in any case, and engines/, which is about runt. */
const blackBox = ['runtime/', 'config/', 'config-linux/', 'cli/', 'errors/']

const onNode = ['cli/exec', 'cli/log', 'cli/environment', 'cli/trace'].concat(
  ['hooks', 'process', 'terminal', 'user', 'mounts'].map((name) => `config/${name}`),
)

const stages: Record<string, () => Promise<Counts>> = {
  build: () => scripts('build', 'build:native'),
  types: () => scripts('types'),
  lint: () => scripts('lint'),
  unit,
  spec: () => spec('dist/runt'),
  // What is wrong with a config is found, and what the kernel is asked for planned, by the same code on both engines; streams,
  // terminals, signals and text are each engine's own.
  'spec-node': () => spec('node dist/node/runt.js', 'runtime/', ...onNode),
  'spec-runc': () => peer('runc'),
  'spec-crun': () => peer('crun', ...(mixed ? ['--hide-unified'] : []), ...blackBox),
  vm: vmStage,
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { install: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false } },
})
const unknown = positionals.find((name) => !(name in stages))
if (flags.help || unknown !== undefined) {
  console.log(unknown === undefined ? usage : `no stage ${JSON.stringify(unknown)}\n${usage}`)
  process.exit(unknown === undefined ? 0 : 1)
}

const isRoot = process.geteuid?.() === 0
extendPath()
if (flags.install && missing().length > 0) {
  if (isRoot) install(missing())
  else console.log('--install: only root can install packages')
}
const absent = missing()
if (absent.length > 0)
  console.log(`Missing Debian packages: apt-get install ${absent.map((need) => need.package).join(' ')}`)
const required = absent.filter((need) => !need.optional)
if (!isRoot) console.log('Not root: the black-box tests will fail, for most of them make containers as root.')

const results: (Counts & { name: string; seconds: number })[] = []
const chosen = positionals.length > 0 ? positionals : Object.keys(stages)
// The guests' image waits for the network and for one processor; the stages before have use for the other one.
if (chosen.includes('vm')) prepare()
for (const name of chosen) {
  console.log(`\n=== ${name}`)
  const begin = Date.now()
  const counts = await stages[name]!()
  if (counts.passed + counts.failed + counts.skipped === 0) {
    console.log(`${name} ran no test`)
    counts.failed = 1
  }
  const seconds = (Date.now() - begin) / 1000
  results.push({ name, ...counts, seconds })
  console.log(`${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
}

console.log('\n=== summary\nstage        passed  failed skipped    time')
const sum: Counts = { passed: 0, failed: 0, skipped: 0 }
for (const { name, seconds, ...counts } of results) {
  const cells = (['passed', 'failed', 'skipped'] as const).map((key) => {
    sum[key] += counts[key]
    return String(counts[key]).padStart(8)
  })
  console.log(`${name.padEnd(11)}${cells.join('')}${`${seconds.toFixed(0)}s`.padStart(8)}`)
}
if (required.length > 0) console.log(`Still missing: ${required.map((need) => need.package).join(', ')}`)
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
process.exitCode = sum.failed > 0 ? 1 : 0
