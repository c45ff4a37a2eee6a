/**
 * The harness of the black-box tests. A test file names its heading, adds tests, and runs:
 *
 *     const { test, run } = heading('config/hostname')
 *     test('the hostname is set', () => { ... })
 *     run()
 *
 * The runtime comes from the environment: RUNTIME="path [arguments]", by default dist/runt. After each test
 * its containers are deleted, and the test fails if anything is left behind: state, processes, mounts,
 * control groups, units of systemd, temporary files. CGROUP_MANAGER=systemd has systemd make the control groups.
 */
import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Config, defaultConfig, makeRootfs, makeStore } from './bundle.ts'
import {
  cgroupDirectories,
  mountsBelow,
  patience,
  processesOf,
  removeCgroups,
  removeTree,
  sweep,
  unitsNamed,
  waitFor,
  waitForPart,
} from './host.ts'
import { differences, SECOND_ATTEMPT } from './known-differences.ts'
import { watch } from './watchdog.ts'

export type { Config } from './bundle.ts'
export { makeRootless, set, withoutNamespaces } from './bundle.ts'

export const repository = resolve(dirname(fileURLToPath(import.meta.url)), '..')

/** The runtime's command line. A first word with a slash is relative to the repository. */
export const command: readonly string[] = (process.env.RUNTIME || 'dist/runt')
  .trim()
  .split(/\s+/)
  .map((word) =>
    !isAbsolute(word) && word.includes('/') && existsSync(join(repository, word)) ? join(repository, word) : word,
  )

/**
 * How long one command may take, in milliseconds, and one test. Ample: a command of some milliseconds that gets a twentieth of a CPU, as
 * on a machine that builds something meanwhile, takes seconds.
 */
const COMMAND_TIMEOUT = 25_000
/** The same where a test is known to fail, with some peers because the command hangs; and what part of other waits remains there. */
const KNOWN_TIMEOUT = 5000
const KNOWN_PART = 0.4
let commandTimeout = COMMAND_TIMEOUT
const TEST_TIMEOUT = 60_000 * patience

const managers = ['cgroupfs', 'systemd'] as const
const wanted = process.env.CGROUP_MANAGER || 'cgroupfs'
/** Who makes control groups. Runtimes get `--systemd-cgroup` and a cgroupsPath of that form. */
export const manager = managers.find((name) => name === wanted)
if (!manager) throw new Error(`CGROUP_MANAGER=${wanted}: neither ${managers.join(' nor ')}`)
const bySystemd = manager === 'systemd'
if (bySystemd && !existsSync('/run/systemd/private')) throw new Error('CGROUP_MANAGER=systemd: no systemd runs here')

/** Everything of this test file lies in `base`; processes carry `marker`, control groups lie below `cgroupRoot`. */
export const base = realpathSync(mkdtempSync(join(tmpdir(), 'runt-spec-')))
export const marker = `RUNT_SPEC=${base}`
/** With systemd the units of this file, and the slice that they lie in, begin so. */
const unitPrefix = `runttest${process.pid}`
export const cgroupRoot = bySystemd ? `/${unitPrefix}.slice` : `/runt-test-${process.pid}`
/** The private state directory, given as --root. */
export const stateRoot = join(base, 'root')
/** TMPDIR of the runtime; must be empty after each test. */
const temporary = join(base, 'tmp')
const store = join(base, 'busybox')

/** What the runner needs to clean up after a file that it had to end. */
export interface Claim {
  claim: { marker: string; cgroup: string; directory: string }
}
/** One line of the results file; see run.ts. */
export interface Outcome {
  heading: string
  name: string
  outcome: 'passed' | 'failed' | 'skipped' | 'known'
  reason: string
}

function report(line: Outcome | Claim): void {
  if (process.env.RUNT_SPEC_RESULTS) appendFileSync(process.env.RUNT_SPEC_RESULTS, `${JSON.stringify(line)}\n`)
}

report({ claim: { marker, cgroup: cgroupRoot, directory: base } })
// A mapped root must be able to reach its root file system.
chmodSync(base, 0o711)
mkdirSync(temporary)
makeStore(store)

export interface Result {
  /** Exit status; null if the command was killed. */
  status: number | null
  signal: string | null
  stdout: string
  stderr: string
  /** The files that hold stdout and stderr: a container that outlives the command goes on writing there. */
  stdoutPath: string
  stderrPath: string
}

export interface RunOptions {
  /** Text for stdin, through a pipe. /dev/null otherwise. */
  stdin?: string
  /** Changes to the environment. */
  env?: Record<string, string | undefined>
  cwd?: string
  /** In milliseconds. */
  timeout?: number
  /** File descriptors for 3 and on. */
  descriptors?: number[]
}

export function environment(changes: Record<string, string | undefined> = {}): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: _certs, RUNTIME: _runtime, RUNT_SPEC_RESULTS: _results, ...rest } = process.env
  return { ...rest, RUNT_SPEC: base, TMPDIR: temporary, ...changes }
}

/** Milliseconds before its time-out at which a command's processes are looked at. */
const LAST_LOOK = 1000

/** Global flags: who makes control groups. */
const managerFlags: readonly string[] = bySystemd ? ['--systemd-cgroup'] : []

/** Ends the test as skipped where systemd makes the control groups. */
export function withoutSystemd(reason: string): void {
  if (bySystemd) skip(`with systemd ${reason}`)
}

let outputs = 0

/** Runs any program. Output goes to files, so that a container that keeps them open does not keep the caller waiting. */
export function execute(words: readonly string[], options: RunOptions = {}): Result {
  const timeout = (options.timeout ?? commandTimeout) * patience
  const number = ++outputs
  const stdoutPath = join(base, `${number}.out`)
  const stderrPath = join(base, `${number}.err`)
  const out = openSync(stdoutPath, 'a')
  const err = openSync(stderrPath, 'a')
  const stdio: StdioOptions = ['ignore', out, err, ...(options.descriptors ?? [])]
  let full = [...words]
  if (options.stdin !== undefined) {
    // Node's own pipes are sockets, which cannot be opened as /dev/stdin; a shell makes a real one.
    const input = join(base, `${number}.in`)
    writeFileSync(input, options.stdin)
    full = ['sh', '-c', 'cat "$0" | "$@"', input, ...words]
  }
  const watched = watch(timeout - LAST_LOOK)
  const done = spawnSync(full[0]!, full.slice(1), {
    stdio,
    env: environment(options.env),
    cwd: options.cwd ?? base,
    timeout,
    killSignal: 'SIGKILL',
  })
  const seen = watched()
  closeSync(out)
  closeSync(err)
  if (done.error && (done.error as NodeJS.ErrnoException).code === 'ETIMEDOUT') {
    throw new Error([`no end within ${timeout} ms: ${words.join(' ')}`, ...seen].join('\n  '))
  }
  if (done.error) throw done.error
  return {
    status: done.status,
    signal: done.signal,
    stdout: readFileSync(stdoutPath, 'utf8'),
    stderr: readFileSync(stderrPath, 'utf8'),
    stdoutPath,
    stderrPath,
  }
}

let inUse = command

/** Runs the body with another runtime, or with more words before those of the present one. */
export function withRuntime<T>(
  other: readonly string[] | ((words: readonly string[]) => readonly string[]),
  body: () => T,
): T {
  const before = inUse
  inUse = typeof other === 'function' ? other(before) : other
  try {
    return body()
  } finally {
    inUse = before
  }
}

/** The runtime's words for these arguments, with the private --root. */
export function words(args: readonly string[]): string[] {
  return [...inUse, '--root', stateRoot, ...managerFlags, ...args]
}

/** Runs the runtime with the private --root. */
export function run(args: readonly string[], options?: RunOptions): Result {
  return execute(words(args), options)
}

/** Runs the runtime with these arguments and no others. */
export function runBare(args: readonly string[], options?: RunOptions): Result {
  return execute([...inUse, ...args], options)
}

/** Starts the runtime and goes on. The caller awaits its end; what is still there after the test is killed. */
export function start(args: readonly string[], stdio: StdioOptions = 'ignore'): ChildProcess {
  const [program, ...rest] = words(args)
  return spawn(program!, rest, { stdio, env: environment(), cwd: base })
}

/** The end of a child process: its exit status, or the name of the signal. */
export function ended(child: ChildProcess): Promise<number | string> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode ?? child.signalCode!)
  return new Promise((settle) => child.once('exit', (status, signal) => settle(status ?? signal!)))
}

/** Asserts that a command succeeded, with its own words otherwise. */
export function ok(result: Result, what = 'the command'): Result {
  assert.ok(result.status === 0, `${what}: status ${result.status ?? result.signal}, stderr: ${result.stderr.trim()}`)
  return result
}

/** Asserts that a command failed by itself, and said why. */
export function fails(result: Result, message?: RegExp): Result {
  assert.ok(result.status !== null, `killed by ${result.signal}`)
  assert.is.not(result.status, 0, `expected a failure; stdout: ${result.stdout.trim()}`)
  assert.match(result.stderr, /\S/, 'a failure must say why on stderr')
  if (message) assert.match(result.stderr, message)
  return result
}

/** Asserts that stderr holds one line. */
export function oneLine(result: Result): void {
  const lines = result.stderr.split('\n').filter((line) => line.trim() !== '')
  assert.is(lines.length, 1, `expected one line, got:\n${result.stderr}`)
}

export interface Bundle {
  directory: string
  rootfs: string
  config: Config
  /** The name that its control group and, by default, its container have. */
  name: string
  /** Writes config.json again after a change. */
  write(): void
  /** Makes a file in the root file system. */
  file(path: string, content: string, mode?: number): void
}

let bundles = 0

/** Makes a bundle. */
export function bundle(configure?: (config: Config) => void): Bundle {
  const name = `c${++bundles}`
  const directory = join(base, name)
  const rootfs = join(directory, 'rootfs')
  makeRootfs(rootfs, store)
  const config = defaultConfig(bySystemd ? `${unitPrefix}.slice:${unitPrefix}:${name}` : `${cgroupRoot}/${name}`)
  configure?.(config)
  const made: Bundle = {
    directory,
    rootfs,
    config,
    name,
    write: () => writeFileSync(join(directory, 'config.json'), JSON.stringify(config, null, 2)),
    file: (path, content, mode = 0o755) => {
      mkdirSync(dirname(join(rootfs, path)), { recursive: true })
      writeFileSync(join(rootfs, path), content, { mode })
    },
  }
  made.write()
  return made
}

/** What `state` prints; runtime-spec, "State". */
export interface State {
  ociVersion: string
  id: string
  status: string
  pid?: number
  bundle: string
  annotations?: Record<string, string>
}

export interface Container {
  id: string
  bundle: Bundle
  create(...flags: string[]): Result
  start(): Result
  /** `run` in the foreground, or with flags. */
  run(flags?: string[], options?: RunOptions): Result
  state(): State
  status(): string
  /** Flags go before the id, the signal behind it. */
  kill(...words: string[]): Result
  delete(...flags: string[]): Result
  /** Waits for a status. */
  until(status: string): void
  /** What the container has written to stdout since `create` or `run`. */
  output(): string
  errorOutput(): string
  /** Waits until stdout matches. */
  says(pattern: RegExp): void
}

const known = new Set<string>()

/** A container that has not been created yet; it is deleted after the test, whatever becomes of it. `globals`: flags before `create`. */
export function container(
  what: Bundle | ((config: Config) => void) = () => {},
  id?: string,
  globals: readonly string[] = [],
): Container {
  const made = typeof what === 'function' ? bundle(what) : what
  const name = id ?? made.name
  known.add(name)
  let last: Result | undefined
  const keep = (result: Result): Result => {
    last = result
    return result
  }
  const self: Container = {
    id: name,
    bundle: made,
    create: (...flags) => keep(run([...globals, 'create', '--bundle', made.directory, ...flags, name])),
    start: () => run(['start', name]),
    run: (flags = [], options) => keep(run([...globals, 'run', '--bundle', made.directory, ...flags, name], options)),
    state: () => JSON.parse(ok(run(['state', name]), 'state').stdout),
    status: () => self.state().status,
    kill: (...rest) => {
      const isFlag = (word: string) => /^-[a-z-]/.test(word)
      return run(['kill', ...rest.filter(isFlag), name, ...rest.filter((word) => !isFlag(word))])
    },
    delete: (...flags) => run(['delete', ...flags, name]),
    until: (status) =>
      assert.ok(
        waitFor(() => self.status() === status),
        `still not ${status}`,
      ),
    output: () => (last ? readFileSync(last.stdoutPath, 'utf8') : ''),
    errorOutput: () => (last ? readFileSync(last.stderrPath, 'utf8') : ''),
    says: (pattern) =>
      assert.ok(
        waitFor(() => pattern.test(self.output())),
        `no ${pattern} in: ${self.output()}`,
      ),
  }
  return self
}

/** Remembers an id that a test uses without `container`, for the clean-up. */
export function remember(id: string): string {
  known.add(id)
  return id
}

/** A container that has been created and started. */
export function started(configure?: (config: Config) => void): Container {
  const made = container(configure)
  ok(made.create(), 'create')
  ok(made.start(), 'start')
  return made
}

/** The process ids that `ps` lists, as the host sees them. */
export const pidsIn = (id: string): number[] => JSON.parse(ok(run(['ps', '--format', 'json', id])).stdout) ?? []

/** The stdout of a shell script run as the container's process, in the foreground. It must succeed. */
export function inside(script: string, what: Bundle | ((config: Config) => void) = () => {}): string {
  const made = typeof what === 'function' ? bundle(what) : what
  made.config.process.args = ['sh', '-c', script]
  made.write()
  return ok(container(made).run(), 'run').stdout
}

/** A shell script for pid 1 that stays until SIGTERM, and says so. */
export const STAYS =
  'trap "echo got TERM; exit 7" TERM; trap "echo got INT; exit 8" INT; trap "echo got USR1" USR1; echo ready; while :; do sleep 60 & wait $!; done'

/** What is left behind: one line a thing. */
export function leftovers(): string[] {
  const left: string[] = []
  const entries = existsSync(stateRoot) ? readdirSync(stateRoot) : []
  left.push(...entries.map((name) => `state: ${name}`))
  left.push(
    ...cgroupDirectories(cgroupRoot).flatMap((directory) => groupsBelow(directory).map((group) => `cgroup: ${group}`)),
  )
  left.push(...mountsBelow(base).map((target) => `mount: ${target}`))
  left.push(...readdirSync(temporary).map((name) => `temporary file: ${name}`))
  for (const name of readdirSync(base).filter((entry) => /^c\d+$/.test(entry))) {
    const extra = readdirSync(join(base, name)).filter((entry) => !['config.json', 'rootfs', 'extra'].includes(entry))
    left.push(...extra.map((entry) => `in the bundle: ${name}/${entry}`))
  }
  left.push(...processesOf(marker, cgroupRoot, base).map(({ pid, command }) => `process: ${pid} ${command}`))
  if (bySystemd && left.length === 0) left.push(...unitsNamed(`${unitPrefix}-`).map((unit) => `unit: ${unit}`))
  return left
}

function groupsBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(directory, entry.name))
}

/** Asserts that nothing is left, now; a moment is given to processes on their way out. */
export function leavesNothing(): void {
  let left: string[] = []
  waitFor(() => {
    left = leftovers()
    return left.length === 0
  }, 1500)
  assert.equal(left, [])
}

/** Deletes the test's containers, then says what is still there and removes that too. */
function cleanUp(): string[] {
  for (const id of known) if (existsSync(join(stateRoot, id))) run(['delete', '--force', id])
  known.clear()
  let left: string[] = []
  waitFor(() => {
    left = leftovers()
    return left.length === 0
  }, 2000)
  if (left.length > 0) {
    for (const name of ['root', 'tmp']) removeTree(join(base, name))
    for (const entry of readdirSync(base)) if (/^c\d+$/.test(entry)) removeTree(join(base, entry))
    const keep = { store: readFileSync(store) }
    sweep(marker, cgroupRoot, base)
    mkdirSync(temporary, { recursive: true })
    writeFileSync(store, keep.store, { mode: 0o755 })
  }
  for (const entry of readdirSync(base)) {
    if (/^c\d+$/.test(entry)) removeTree(join(base, entry))
    else if (/\.(out|err|in)$/.test(entry)) unlinkSync(join(base, entry))
  }
  // A slice is systemd's own, and stays until the end.
  if (!bySystemd) removeCgroups(cgroupRoot)
  return left
}

class Skip extends Error {}

/** Ends the test as skipped. */
export function skip(reason: string): never {
  throw new Skip(reason)
}

let announced: Record<string, unknown> | undefined

/** Ends the test as skipped where the runtime's `features` do not know a field of linux that is younger than runtime-spec 1.1. */
export function needsFeature(name: 'memoryPolicy' | 'intelRdt' | 'netDevices'): void {
  if (announced === undefined) {
    const { status, stdout } = execute([...command, 'features'])
    announced = status === 0 ? (JSON.parse(stdout).linux ?? {}) : {}
  }
  const feature = announced![name] as { enabled?: boolean } | undefined
  if (feature === undefined || feature.enabled === false) skip(`${runtime} does not announce linux.${name}`)
}

const version = spawnSync(command[0]!, [...command.slice(1), '--version'], { encoding: 'utf8', env: environment() })
if (version.error) throw new Error(`${command.join(' ')}: ${version.error.message}`)
/** What the runtime calls itself: runt, runc, crun, ... */
export const runtime: string = /^(\S+) version/.exec(version.stdout)?.[1] ?? 'unknown'

type Body = () => void | Promise<void>

export interface Heading {
  test(name: string, body: Body): void
  /** A test for these runtimes only: it is about their own words. */
  only(runtimes: string, name: string, body: Body): void
  run(): void
}

async function withTimeout(body: Body): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  try {
    await Promise.race([
      body(),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no end within ${TEST_TIMEOUT} ms`)), TEST_TIMEOUT)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
}

/** What the body threw, or what it left behind; undefined if all went well. */
async function outcomeOf(body: Body): Promise<unknown> {
  let error: unknown
  try {
    await withTimeout(body)
  } catch (caught) {
    error = caught
  }
  const left = cleanUp()
  if (!error && left.length > 0) return new Error(`left behind: ${left.join('; ')}`)
  return error
}

/** The tests under one heading: the test file's path without `.test.ts`. */
export function heading(title: string): Heading {
  const tests = suite(title)
  const names = new Set<string>()
  const expected = differences[runtime]?.[title] ?? {}

  const judge = async (name: string, body: Body): Promise<void> => {
    const say = (outcome: Outcome['outcome'], reason: string) => report({ heading: title, name, outcome, reason })
    const isKnown = expected[name] !== undefined
    commandTimeout = isKnown ? KNOWN_TIMEOUT : COMMAND_TIMEOUT
    waitForPart(isKnown ? KNOWN_PART : 1)
    let error = await outcomeOf(body)
    const unexpected = error && !(error instanceof Skip) && !isKnown
    let first = ''
    if (unexpected) {
      // Peers have races that are not ours to fix, and machines moments without time. The runner lists what needed it.
      first = (error as Error).message
      console.log(`AGAIN ${name}: ${first}`)
      error = await outcomeOf(body)
    }
    if (error instanceof Skip) {
      console.log(`SKIP ${name}: ${error.message}`)
      return say('skipped', error.message)
    }
    const reason = expected[name]
    if (error && reason !== undefined) {
      console.log(`KNOWN ${name}: ${reason}`)
      return say('known', reason)
    }
    if (!error && reason !== undefined) console.log(`NOTE ${name}: passed, though listed in known-differences.ts`)
    if (!error && first !== '') return say('passed', `${SECOND_ATTEMPT}${first}`)
    if (!error) return say('passed', reason === undefined ? '' : 'listed as a known difference')
    say('failed', String((error as Error).message))
    throw error
  }
  const test = (name: string, body: Body): void => {
    if (names.has(name)) throw new Error(`two tests are called ${JSON.stringify(name)}`)
    names.add(name)
    tests(name, () => judge(name, body))
  }
  tests.after(() => {
    sweep(marker, cgroupRoot, base)
  })
  return {
    test,
    only: (runtimes, name, body) =>
      test(name, () => (runtimes.split(' ').includes(runtime) ? body() : skip(`only for ${runtimes}`))),
    run: () => {
      const stale = Object.keys(expected).filter((name) => !names.has(name))
      if (stale.length > 0) throw new Error(`known-differences.ts: no such test under ${title}: ${stale.join('; ')}`)
      tests.run()
    },
  }
}
