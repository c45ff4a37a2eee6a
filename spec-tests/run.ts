/**
 * Runs the black-box tests and prints a table of headings and results.
 *
 *     node --import tsx spec-tests/run.ts [--hide-unified] [--jobs N] [--json FILE] [--verbose] [part of a heading ...]
 *
 * RUNTIME="path [arguments]" names the runtime; the default is dist/runt. `--hide-unified` runs in a mount
 * namespace of its own without /sys/fs/cgroup/unified, for runtimes that refuse the hybrid layout (crun). `--json` writes
 * the counts and all outcomes to a file too (`Summary`).
 * The tests in systemd/, rootless/, hardening/ and selinux/ run only when they are named; docs/testing.md says how.
 * The exit status is 1 if a test failed, a file did not end by itself, or a file ran no test.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findStale } from '../scripts/stale.ts'
import type { Claim, Outcome } from './harness.ts'
import { patience, sweep } from './host.ts'
import { SECOND_ATTEMPT } from './known-differences.ts'

const here = dirname(fileURLToPath(import.meta.url))
/** In a guest the tests are JavaScript; see spec-tests/vm/guest.ts. */
const compiled = import.meta.url.endsWith('.js')
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'hide-unified': { type: 'boolean', default: false },
    jobs: { type: 'string', short: 'j', default: '2' },
    json: { type: 'string' },
    verbose: { type: 'boolean', short: 'v', default: false },
  },
})

const running = new Set<ChildProcess>()
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    interrupted = true
    for (const child of running) child.kill('SIGKILL')
  })
}

/** What `--json` writes. Known differences count as passed; a file that is bad as a whole counts as one failure. */
export interface Summary {
  passed: number
  failed: number
  skipped: number
  known: number
  /** What the runtime says to `--version`. */
  version: string
  headings: HeadingSummary[]
}

export interface HeadingSummary {
  heading: string
  outcomes: Outcome[]
  /** Why the file as a whole is bad; empty if it is not. */
  problem: string
}

/** How many tests of a run may need a second attempt. */
const SECOND_ATTEMPTS = 8

/** How long one file may take, in milliseconds. */
const FILE_TIMEOUT = 300_000 * patience

if (flags['hide-unified']) {
  const again = process.argv.slice(2).filter((word) => word !== '--hide-unified')
  // crun 1.8 gives its standard streams to the container's root, /dev/null included: it gets one of its own.
  const folder = mkdtempSync(join(tmpdir(), 'runt-null-'))
  const script = `umount /sys/fs/cgroup/unified && mknod -m 666 "$0" c 1 3 && mount --bind "$0" /dev/null && exec "$@"`
  const node = [process.execPath, ...process.execArgv, fileURLToPath(import.meta.url), ...again]
  const done = spawnSync('unshare', ['-m', 'sh', '-c', script, join(folder, 'null'), ...node], { stdio: 'inherit' })
  rmSync(folder, { recursive: true })
  process.exit(done.status ?? 1)
}

function testFiles(directory: string): string[] {
  return readdirSync(directory)
    .sort()
    .flatMap((name) => {
      const path = join(directory, name)
      if (statSync(path).isDirectory()) return testFiles(path)
      return name.endsWith(`.test${compiled ? '.js' : '.ts'}`) ? [path] : []
    })
}

const command = (process.env.RUNTIME || 'dist/runt').trim().split(/\s+/)
// A guest has the programs that were built outside, and all its files are of the same time.
const stale = compiled ? null : findStale(command)
const sayStale = (): void => {
  if (stale) console.log(`${stale.missing ? '' : 'These tests are not of your sources: '}${stale.sentence}`)
}
sayStale()
if (stale?.missing) process.exit(1)

interface Row extends HeadingSummary {
  seconds: number
}

function runFile(path: string, results: string): Promise<Row> {
  const title = relative(here, path).replace(/\.test\.[jt]s$/, '')
  const begin = Date.now()
  return new Promise((settle) => {
    const child = spawn(process.execPath, compiled ? [path] : ['--import', 'tsx', path], {
      cwd: resolve(here, '..'),
      env: { ...process.env, RUNT_SPEC_RESULTS: results, NODE_EXTRA_CA_CERTS: '' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    running.add(child)
    let text = ''
    let problem = ''
    const add = (chunk: Buffer): void => {
      text += chunk.toString()
    }
    child.stdout.on('data', add)
    child.stderr.on('data', add)
    const timer = setTimeout(() => {
      problem = `no end within ${FILE_TIMEOUT / 1000} s`
      child.kill('SIGKILL')
    }, FILE_TIMEOUT)
    child.on('exit', (status) => {
      clearTimeout(timer)
      running.delete(child)
      child.stdout.destroy()
      child.stderr.destroy()
      let lines: (Outcome | Claim)[] = []
      try {
        lines = readFileSync(results, 'utf8')
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line))
      } catch {}
      for (const line of lines) {
        if ('claim' in line) sweep(line.claim.marker, line.claim.cgroup, line.claim.directory)
      }
      const outcomes = lines.filter((line) => 'outcome' in line)
      if (!problem && outcomes.length === 0) problem = 'ran no test'
      const failed = outcomes.some((one) => one.outcome === 'failed')
      if (!problem && status !== 0 && !failed) problem = `exit status ${status}`
      if (flags.verbose || problem || failed) process.stdout.write(`--- ${title}\n${text}\n`)
      settle({ heading: title, outcomes, problem, seconds: (Date.now() - begin) / 1000 })
    })
  })
}

/** What takes long with some runtime comes first, so that at the end no job waits for another one. */
const LONG = [
  'faults/',
  'engines/',
  'config-linux/seccomp-notify',
  'config-linux/cgroups',
  'runtime/lifecycle',
  'runtime/kill',
  'cli/exec',
]

/** Folders of tests for a guest of spec-tests/vm: they run only when they are named. */
const GUESTS = ['systemd/', 'rootless/', 'hardening/', 'selinux/']

const files = testFiles(here).filter((path) => {
  const title = relative(here, path)
  const elsewhere = GUESTS.some((folder) => title.startsWith(folder))
  return elsewhere
    ? positionals.some((part) => GUESTS.some((folder) => part.startsWith(folder)) && title.includes(part))
    : positionals.length === 0 || positionals.some((part) => title.includes(part))
})
if (files.length === 0) console.log(`no heading contains ${positionals.join(' or ')}; they are the paths of test files`)
const results = mkdtempSync(join(tmpdir(), 'runt-spec-results-'))
const rows: Row[] = []
const isLong = (path: string): boolean => LONG.some((part) => relative(here, path).startsWith(part))
const waiting = [...files.keys()].sort((a, b) => Number(isLong(files[b]!)) - Number(isLong(files[a]!)))
const worker = async (): Promise<void> => {
  for (let number = waiting.shift(); number !== undefined && !interrupted; number = waiting.shift()) {
    rows[number] = await runFile(files[number]!, join(results, String(number)))
  }
}
await Promise.all(Array.from({ length: Math.max(1, Number(flags.jobs)) }, worker))
rmSync(results, { recursive: true })

function runtimeVersion(): string {
  const [program = '', ...words] = command
  return spawnSync(program, [...words, '--version'], { cwd: resolve(here, '..'), encoding: 'utf8' }).stdout.trim()
}

const count = (outcomes: Outcome[], what: Outcome['outcome']) => outcomes.filter((one) => one.outcome === what).length
const width = Math.max(7, ...rows.map((row) => row.heading.length))
const cell = (value: number) => (value === 0 ? '-' : String(value)).padStart(8)
console.log(`${'heading'.padEnd(width)}  passed  failed skipped   known    time`)
for (const { heading, outcomes, problem, seconds } of rows) {
  const cells = (['passed', 'failed', 'skipped', 'known'] as const).map((what) => cell(count(outcomes, what))).join('')
  console.log(`${heading.padEnd(width)}${cells}${`${seconds.toFixed(1)}s`.padStart(8)}${problem && `  ${problem}`}`)
}
const all = rows.flatMap((row) => row.outcomes)
for (const [what, title] of [
  ['skipped', 'Skipped'],
  ['known', 'Known differences'],
  ['failed', 'Failed'],
] as const) {
  const some = all.filter((one) => one.outcome === what)
  if (some.length > 0) console.log(`\n${title}:`)
  for (const one of some) console.log(`  ${one.heading}: ${one.name}: ${one.reason.split('\n')[0]}`)
}
const again = all.filter(({ outcome, reason }) => outcome === 'passed' && reason.startsWith(SECOND_ATTEMPT))
if (again.length > 0) console.log('\nPassed at the second attempt only; look into it:')
for (const { heading, name, reason } of again)
  console.log(`  ${heading}: ${name}: ${reason.trim().split('\n').slice(0, 12).join('\n    ')}`)
const flaky = again.length > SECOND_ATTEMPTS
if (flaky) console.log(`These are more than ${SECOND_ATTEMPTS}, which counts as a failure.`)

const known = count(all, 'known')
const summary: Summary = {
  passed: count(all, 'passed') + known,
  failed: count(all, 'failed') + rows.filter((row) => row.problem !== '').length + Number(flaky),
  skipped: count(all, 'skipped'),
  known,
  version: runtimeVersion(),
  headings: rows.map(({ heading, outcomes, problem }) => ({ heading, outcomes, problem })),
}
const { passed, failed, skipped } = summary
// Once more, where it is read.
sayStale()
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped (${known} of the passed are known differences)`)
if (flags.json !== undefined && !interrupted) writeFileSync(flags.json, JSON.stringify(summary))
process.exitCode = interrupted || failed > 0 || all.length === 0 ? 1 : 0
