/**
 * What all parts of the benchmark need around the measuring: the runtimes found on this machine, their bundles, the control groups, and
 * the clean-up of all that.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findStale } from '../scripts/stale.ts'
import type { Seccomp } from '../src/config/types.ts'
import { compile as compileFilter } from '../src/seccomp/compile.ts'
import { type BundleOptions, config, type Kind, makeRootfs, writeBundle } from './bundle.ts'
import {
  CGROUP,
  cgroupMounts,
  demandUnused,
  findHierarchies,
  type Hierarchies,
  makeCgroups,
  membersOf,
  removeCgroup,
  removeCgroups,
} from './cgroups.ts'
import { sleep } from './sleep.ts'

const here = dirname(fileURLToPath(import.meta.url))
const project = dirname(here)

export type Verb = 'run' | 'create' | 'start' | 'state' | 'exec' | 'delete' | 'list'

/** Each runtime has as many containers as are needed, counted from 0. */
export interface Target {
  readonly instance?: number
  /** For `run`: return once the container runs. */
  readonly detach?: boolean
  /** Bytes. It matters to the floor only, which reads no config. */
  readonly memoryLimit?: number
}

export interface Runtime {
  readonly name: string
  /** First line of `--version`; for the floor the compiler. */
  readonly version: string
  /** The files of its own that it is loaded from. Empty where that cannot be said, as with Node.js, which runs the benchmark too. */
  readonly files: readonly string[]
  /** The command line a user would type; `exec` is of /bin/true. */
  command(verb: Verb, target?: Target): string[]
}

/** What the containers are to be. */
export interface Setting {
  readonly kind?: Kind
  /** `/bin/true`, or `/bin/sleep 100000`. */
  readonly sleeps?: boolean
  readonly memoryLimit?: number
  /** How many bundles there are to be, of instance 0 and on. */
  readonly instances?: number
}

export interface Workshop {
  readonly folder: string
  readonly driver: string
  readonly runtimes: readonly Runtime[]
  /** What was left out, and why. */
  readonly missing: readonly string[]
  /** Writes the bundles of the runtime. */
  configure(runtime: Runtime, setting: Setting): void
  /** Has `close` kill the child if it still runs then. */
  track(child: ChildProcess): void
  /** Processes in all containers of the runtime. */
  pids(runtime: Runtime): number[]
  /** Kills what runs in the runtime's containers and removes their cgroups. */
  clear(runtime: Runtime): void
  /** Limits for all containers together; none if null. */
  bound(limits: { pids: number; bytes: number } | null): void
  /** Bytes that all containers together are charged with, by the memory controller. */
  charged(): number
  close(): void
}

/** The environment of every measured command: NODE_EXTRA_CA_CERTS makes each start of Node read certificates. */
export function environment(): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: _, ...rest } = process.env
  return rest
}

/**
 * On a machine with the hybrid layout (cgroup v1 and a cgroup2 beside it), starts this program again in a mount
 * namespace of its own without the cgroup2, since crun refuses the hybrid layout and all runtimes shall meet the same. Does not return
 * then. Does nothing elsewhere.
 */
async function leaveHybridLayout(): Promise<void> {
  const mounts = cgroupMounts()
  const beside = mounts.filter((mount) => mount.type === 'cgroup2').map((mount) => mount.path)
  if (beside.length === 0 || beside.length === mounts.length) return
  const program = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const script = `${beside.map((path) => `umount '${path}'`).join(' && ')} && exec "$@"`
  const child = spawn('unshare', ['-m', 'sh', '-c', script, 'sh', ...program], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  process.exit(await ended(child))
}

/** Exit status of a child, 1 for a signal. */
function ended(child: ChildProcess): Promise<number> {
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('exit', (status) => done(status ?? 1))
  })
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function findProgram(name: string): string | undefined {
  if (name.includes('/')) return isExecutable(name) ? resolve(name) : undefined
  const folders = (process.env.PATH ?? '').split(delimiter)
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

function firstLine(program: readonly string[]): string {
  try {
    return execFileSync(program[0]!, [...program.slice(1), '--version'], {
      env: environment(),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5000,
      killSignal: 'SIGKILL',
    }).split('\n')[0]!
  } catch {
    return 'version unknown'
  }
}

function compile(source: string, folder: string): string {
  const program = join(folder, source.replace(/\.c$/, ''))
  execFileSync('gcc', ['-O2', '-static', '-o', program, join(here, source)], { stdio: 'inherit' })
  return program
}

/** What the floor has instead of a config. */
function writeFlags(bundle: string, options: BundleOptions, sleeps: boolean): void {
  const { linux } = config(options) as { linux: { seccomp?: Seccomp } }
  const flags: [string, Uint8Array | string | null][] = [
    ['sleep', sleeps ? '' : null],
    [
      'filter',
      linux.seccomp ? compileFilter(linux.seccomp, process.arch === 'arm64' ? 'aarch64' : 'x86_64').program : null,
    ],
  ]
  for (const [name, content] of flags) {
    if (content === null) rmSync(join(bundle, name), { force: true })
    else writeFileSync(join(bundle, name), content)
  }
}

/** Files that an ELF program is loaded from: itself and its libraries, by ldd(1). */
function loadedFrom(program: string): string[] {
  const { stdout } = spawnSync('ldd', [program], { encoding: 'utf8' })
  return [program, ...[...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path!)].map((path) => realpathSync(path))
}

/**
 * Runs a command to its end. Its stderr goes to a file: the container's init keeps what it inherits, and a pipe
 * would have the caller wait for that too.
 */
export function invoke(
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

export function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It ended meanwhile.
    }
  }
}

/** Removes containers of the runtime, whatever has become of them. */
export function removeContainers(workshop: Workshop, runtime: Runtime, instances: readonly number[] = [0]): void {
  killAll(workshop.pids(runtime))
  for (const instance of instances) invoke(workshop, runtime.command('delete', { instance }), 10_000)
  workshop.clear(runtime)
}

/** Where the bundle and the cgroup of a container are. */
const bundleOf = (folder: string, name: string, { instance = 0 }: Target) =>
  join(folder, 'bundles', `${name}-${instance}`)
const cgroupOf = (name: string, { instance = 0 }: Target) => `${CGROUP}/${name}-${instance}`

/** A runtime that is called like runc. `files`: what it is loaded from. */
function runtimeOf(folder: string, name: string, program: readonly string[], files: readonly string[]): Runtime {
  const command: Runtime['command'] = (verb, target = {}) => [
    ...program,
    ...['--root', join(folder, 'state', name), verb],
    ...(verb === 'run' || verb === 'create' ? ['--bundle', bundleOf(folder, name, target)] : []),
    ...(verb === 'delete' ? ['--force'] : []),
    ...(target.detach ? ['--detach'] : []),
    ...(verb === 'list' ? [] : [`runt-bench-${name}-${target.instance ?? 0}`]),
    ...(verb === 'exec' ? ['/bin/true'] : []),
  ]
  const stale = findStale(program)
  if (stale) console.error(`bench: ${stale.sentence}`)
  return { name, version: firstLine(program), files, command }
}

/** floor.c, which has arguments of its own. */
function floorOf(folder: string, program: string, mountpoints: readonly string[]): Runtime {
  return {
    name: 'floor',
    version: `static C program, ${execFileSync('gcc', ['--version'], { encoding: 'utf8' }).split('\n')[0]}`,
    files: [program],
    command: (verb, target = {}) => [
      ...[program, verb, bundleOf(folder, 'floor', target)],
      ...(verb === 'start' || verb === 'state'
        ? []
        : [cgroupOf('floor', target).slice(1), String(target.memoryLimit ?? 0), ...mountpoints]),
    ],
  }
}

/** The runtimes on this machine, and what is missing of them. `only`: names of those that are wanted. */
function findRuntimes(
  folder: string,
  floor: Runtime,
  only: readonly string[] | undefined,
): Pick<Workshop, 'runtimes' | 'missing'> {
  const runtimes: Runtime[] = []
  const missing: string[] = []
  const wants = (name: string) => !only || only.includes(name)
  const find = (name: string, wanted: string) => {
    const program = wants(name) ? findProgram(wanted) : undefined
    if (!program && wants(name)) missing.push(`${name}: ${wanted} not found`)
    return program
  }
  const runt = find('runt', process.env.RUNT ?? join(project, 'dist/runt'))
  if (runt) runtimes.push(runtimeOf(folder, 'runt', [runt], [runt, `${runt}-brain`]))
  const onNode = process.env.RUNT_NODE ?? join(project, 'dist/node/runt.js')
  if (existsSync(onNode) && wants('runt-node'))
    runtimes.push(runtimeOf(folder, 'runt-node', [process.execPath, onNode], []))
  else if (wants('runt-node')) missing.push(`runt-node: ${onNode} not found`)
  for (const name of ['crun', 'runc', 'youki']) {
    const program = find(name, process.env[name.toUpperCase()] ?? name)
    if (program) runtimes.push(runtimeOf(folder, name, [program], loadedFrom(program)))
  }
  if (wants('floor')) runtimes.push(floor)
  return { runtimes, missing }
}

/** Compiles the helpers, finds the runtimes, makes bundles and control groups. `only`: names of the runtimes wanted. */
function openWorkshop(only: readonly string[] | undefined): Workshop {
  if (process.getuid!() !== 0) throw new Error('the benchmark makes control groups and devices: run it as root')
  const busybox = findProgram(process.env.BUSYBOX ?? 'busybox')
  if (!busybox) throw new Error('no static busybox found (install busybox-static or set BUSYBOX)')
  const hierarchies = findHierarchies()
  demandUnused(hierarchies)
  const folder = mkdtempSync(join(tmpdir(), 'runt-bench-'))
  const states = join(folder, 'state')
  let mounted = false
  const children = new Set<ChildProcess>()
  const close = () => {
    for (const child of children) child.kill('SIGKILL')
    // What the killed were just making is there now, or will be in a moment.
    if (children.size > 0) sleep(500)
    removeCgroups(hierarchies)
    if (mounted) execFileSync('umount', ['--lazy', states])
    execFileSync('rm', ['-rf', '--one-file-system', folder])
  }
  try {
    makeCgroups(hierarchies)
    mkdirSync(join(folder, 'bundles'))
    mkdirSync(states)
    // As /run is, where runtimes keep states: a disk's file system takes longer to remove a file than some of them need for a command.
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=700', 'runt-bench', states])
    mounted = true
    const rootfs = join(folder, 'rootfs')
    makeRootfs(rootfs, busybox)
    const driver = compile('driver.c', folder)
    const floor = floorOf(folder, compile('floor.c', folder), hierarchies.mountpoints)
    return { ...findRuntimes(folder, floor, only), ...tools(hierarchies, folder, rootfs), folder, driver, close, track }
  } catch (error) {
    close()
    throw error
  }

  function track(child: ChildProcess): void {
    children.add(child)
    child.once('exit', () => children.delete(child))
  }
}

/** What a workshop can do with containers and their cgroups. */
function tools(
  { mountpoints, unified }: Hierarchies,
  folder: string,
  rootfs: string,
): Pick<Workshop, 'configure' | 'pids' | 'clear' | 'bound' | 'charged'> {
  const ownCgroups = ({ name }: Runtime) =>
    mountpoints.flatMap((mount) =>
      readdirSync(mount + CGROUP)
        .filter((child) => child.startsWith(name) && /^-\d+$/.test(child.slice(name.length)))
        .map((child) => join(mount + CGROUP, child)),
    )
  const put = (file: string, text: string) => {
    for (const mount of mountpoints) {
      const path = join(mount + CGROUP, file)
      if (existsSync(path)) writeFileSync(path, text)
    }
  }
  return {
    configure(runtime, { kind = 'minimal', sleeps = false, memoryLimit, instances = 1 }) {
      for (let instance = 0; instance < instances; instance++) {
        const bundle = bundleOf(folder, runtime.name, { instance })
        const options: BundleOptions = {
          kind,
          args: sleeps ? ['/bin/sleep', '100000'] : ['/bin/true'],
          rootfs,
          cgroupsPath: cgroupOf(runtime.name, { instance }),
          cgroupNamespace: unified,
          ...(memoryLimit === undefined ? {} : { memoryLimit }),
        }
        writeBundle(bundle, options)
        if (runtime.name === 'floor') writeFlags(bundle, options, sleeps)
      }
    },
    pids: (runtime) => [...new Set(ownCgroups(runtime).flatMap(membersOf))],
    clear(runtime) {
      for (const path of ownCgroups(runtime)) removeCgroup(path)
    },
    bound(limits) {
      put('pids.max', String(limits?.pids ?? 'max'))
      put('memory.limit_in_bytes', String(limits?.bytes ?? -1))
      put('memory.max', String(limits?.bytes ?? 'max'))
    },
    charged() {
      for (const file of ['memory.usage_in_bytes', 'memory.current'])
        for (const mount of mountpoints)
          if (existsSync(join(mount + CGROUP, file))) return Number(readFileSync(join(mount + CGROUP, file), 'utf8'))
      return Number.NaN
    },
  }
}

/** Runs `work` and closes the workshop whatever happens, also after a signal. */
export async function inWorkshop(
  only: readonly string[] | undefined,
  work: (workshop: Workshop) => void | Promise<void>,
): Promise<void> {
  await leaveHybridLayout()
  let workshop: Workshop | undefined
  // Opening is synchronous, so no signal is handled halfway.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      workshop?.close()
      process.exit(1)
    })
  workshop = openWorkshop(only)
  try {
    await work(workshop)
  } finally {
    workshop.close()
  }
}

/** What numbers depend on besides the runtimes. */
export function machine(): Record<string, string> {
  const processors = cpus()
  return {
    kernel: release(),
    cpu: `${processors.length} × ${processors[0]?.model ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 20)} MiB`,
    load: loadavg()[0]!.toFixed(2),
    cgroups: findHierarchies().unified ? 'v2' : 'v1',
    node: process.version,
  }
}

/** Lines about the machine and the runtimes, for the head of a report. */
export function describe(workshop: Workshop): string {
  const about = Object.entries(machine()).map(([key, value]) => `${key} ${value}`)
  return [
    about.join(', '),
    ...workshop.runtimes.map((runtime) => `${runtime.name}: ${runtime.version}`),
    ...workshop.missing.map((reason) => `left out: ${reason}`),
  ].join('\n')
}
