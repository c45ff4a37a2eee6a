/**
 * What both benchmarks need around the measuring: the runtimes found on this machine, their bundles, the control groups, and
 * the clean-up of all that.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BundleOptions, makeBundle, writeConfig } from './bundle.ts'

const here = dirname(fileURLToPath(import.meta.url))
const project = dirname(here)

/** The cgroup of all containers of the benchmark. */
const CGROUP = '/runt-bench'

export type Verb = 'run' | 'create' | 'start' | 'delete'

export interface Runtime {
  readonly name: string
  /** First line of `--version`; for the floor the compiler. */
  readonly version: string
  readonly bundle: string
  readonly cgroup: string
  /** The command line a user would type; `memoryLimit` matters to the floor only, which reads no config. */
  command(verb: Verb, memoryLimit?: number): string[]
}

export interface Workshop {
  readonly folder: string
  readonly driver: string
  readonly runtimes: readonly Runtime[]
  /** What was left out, and why. */
  readonly missing: readonly string[]
  /** What the container executes (`/bin/true`, or `/bin/sleep 60`), and its memory limit in bytes. */
  configure(runtime: Runtime, options: { args: readonly string[]; memoryLimit?: number }): void
  /** Has `close` kill the child if it still runs then. */
  track(child: ChildProcess): void
  /** Processes in the runtime's container. */
  pids(runtime: Runtime): number[]
  /** Kills what runs in the runtime's container and removes its cgroups. */
  clear(runtime: Runtime): void
  close(): void
}

/** The environment of every measured command: NODE_EXTRA_CA_CERTS makes each start of Node read certificates. */
export function environment(): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: _, ...rest } = process.env
  return rest
}

interface CgroupMount {
  readonly path: string
  readonly type: string
}

/** Mounts of cgroup hierarchies in this mount namespace, from /proc/self/mountinfo (proc(5)). */
function cgroupMounts(): CgroupMount[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [mount, filesystem] = line.split(' - ')
      const type = filesystem?.split(' ')[0]
      return type === 'cgroup' || type === 'cgroup2' ? [{ path: mount!.split(' ')[4]!, type }] : []
    })
}

/**
 * On a machine with the hybrid layout (cgroup v1 and a cgroup2 beside it), starts this program again in a mount
 * namespace of its own without the cgroup2, since crun refuses the hybrid layout and all runtimes shall meet the same. Does not return
 * then. Does nothing elsewhere.
 */
export async function leaveHybridLayout(): Promise<void> {
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

function removeCgroup(path: string): void {
  if (!existsSync(path)) return
  for (const name of readdirSync(path, { withFileTypes: true }))
    if (name.isDirectory()) removeCgroup(join(path, name.name))
  const until = Date.now() + 2000
  for (;;) {
    try {
      for (const pid of membersOf(path)) process.kill(pid, 'SIGKILL')
      rmdirSync(path)
      return
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT') return
      // A killed process is a member until it has been reaped, and is then no longer there to be killed.
      if ((code !== 'EBUSY' && code !== 'ESRCH') || Date.now() > until) throw error
      sleep(10)
    }
  }
}

function membersOf(path: string): number[] {
  try {
    return readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

export function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

/** Compiles the helpers, finds the runtimes, makes bundles and control groups. `only`: names of the runtimes wanted. */
export function openWorkshop(only: readonly string[] | undefined): Workshop {
  if (process.getuid!() !== 0) throw new Error('the benchmark makes control groups and devices: run it as root')
  const busybox = findProgram(process.env.BUSYBOX ?? 'busybox')
  if (!busybox) throw new Error('no static busybox found (install busybox-static or set BUSYBOX)')
  const hierarchies = [...new Set(cgroupMounts().map((mount) => mount.path))]
  const unified = cgroupMounts().every((mount) => mount.type === 'cgroup2')
  for (const mount of hierarchies) {
    const parent = mount + CGROUP
    const names = existsSync(parent) ? readdirSync(parent) : []
    for (const name of names)
      if (membersOf(join(parent, name)).length > 0)
        throw new Error(`${mount}${CGROUP} has processes: another benchmark is running, or one was killed`)
  }
  const folder = mkdtempSync(join(tmpdir(), 'runt-bench-'))
  const removeCgroups = () => {
    for (const mount of hierarchies) removeCgroup(mount + CGROUP)
  }
  const children = new Set<ChildProcess>()
  const close = () => {
    for (const child of children) child.kill('SIGKILL')
    // What the killed were just making is there now, or will be in a moment.
    if (children.size > 0) sleep(500)
    removeCgroups()
    execFileSync('rm', ['-rf', '--one-file-system', folder])
  }
  try {
    removeCgroups()
    for (const mount of hierarchies) {
      // A second child keeps runtimes that tidy up empty parents from removing the shared one.
      const parent = mount + CGROUP
      mkdirSync(parent)
      for (const file of ['cpuset.cpus', 'cpuset.mems'])
        if (!unified && existsSync(join(parent, file)))
          writeFileSync(join(parent, file), readFileSync(join(mount, file)))
      mkdirSync(join(parent, 'keep'))
    }
    if (unified) {
      const parent = hierarchies[0]! + CGROUP
      const offered = readFileSync(join(parent, 'cgroup.controllers'), 'utf8').split(/\s+/)
      for (const controller of ['memory', 'pids'])
        if (offered.includes(controller)) writeFileSync(join(parent, 'cgroup.subtree_control'), `+${controller}`)
    }

    const driver = compile('driver.c', folder)
    const floor = compile('floor.c', folder)
    const options = (name: string): BundleOptions => ({
      args: ['/bin/true'],
      cgroupsPath: `${CGROUP}/${name}`,
      cgroupNamespace: unified,
    })
    const runtimes: Runtime[] = []
    const missing: string[] = []
    const add = (name: string, version: () => string, command: (bundle: string) => Runtime['command']) => {
      if (only && !only.includes(name)) return
      const bundle = join(folder, 'bundles', name)
      makeBundle(bundle, busybox, options(name))
      runtimes.push({ name, version: version(), bundle, cgroup: `${CGROUP}/${name}`, command: command(bundle) })
    }
    const addProgram = (name: string, program: readonly string[]) =>
      add(
        name,
        () => firstLine(program),
        (bundle) => (verb) => [
          ...program,
          ...['--root', join(folder, 'state', name), verb],
          ...(verb === 'run' || verb === 'create' ? ['--bundle', bundle] : []),
          ...(verb === 'delete' ? ['--force'] : []),
          `runt-bench-${name}`,
        ],
      )
    const find = (name: string, wanted: string) => {
      const program = findProgram(wanted)
      if (!program && (!only || only.includes(name))) missing.push(`${name}: ${wanted} not found`)
      return program
    }

    mkdirSync(join(folder, 'state'))
    const runt = find('runt', process.env.RUNT ?? join(project, 'dist/runt'))
    if (runt) addProgram('runt', [runt])
    const onNode = process.env.RUNT_NODE ?? join(project, 'dist/node/runt.js')
    if (existsSync(onNode)) addProgram('runt-node', [process.execPath, onNode])
    else if (!only || only.includes('runt-node')) missing.push(`runt-node: ${onNode} not found`)
    for (const name of ['runc', 'crun', 'youki']) {
      const program = find(name, process.env[name.toUpperCase()] ?? name)
      if (program) addProgram(name, [program])
    }
    add(
      'floor',
      () => `static C program, ${execFileSync('gcc', ['--version'], { encoding: 'utf8' }).split('\n')[0]}`,
      (bundle) =>
        (verb, memoryLimit = 0) => [
          ...[floor, verb, bundle],
          ...(verb === 'start' ? [] : [`${CGROUP}/floor`.slice(1), String(memoryLimit), ...hierarchies]),
        ],
    )

    return {
      folder,
      driver,
      runtimes,
      missing,
      configure(runtime, change) {
        writeConfig(runtime.bundle, { ...options(runtime.name), ...change })
        const flag = join(runtime.bundle, 'sleep')
        if (change.args[0] === '/bin/sleep') writeFileSync(flag, '')
        else rmSync(flag, { force: true })
      },
      track(child) {
        children.add(child)
        child.once('exit', () => children.delete(child))
      },
      pids: (runtime) => [...new Set(hierarchies.flatMap((mount) => membersOf(mount + runtime.cgroup)))],
      clear(runtime) {
        for (const mount of hierarchies) removeCgroup(mount + runtime.cgroup)
      },
      close,
    }
  } catch (error) {
    close()
    throw error
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
    cgroups: cgroupMounts().every((mount) => mount.type === 'cgroup2') ? 'v2' : 'v1',
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
