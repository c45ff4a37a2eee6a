/** A place for a container that faults are done to, and everything that could be left of it. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type Bundle, bundle, type Config, cgroupRoot, run, stateRoot } from '../harness.ts'
import { cgroupDirectories, isAlive, mountsBelow, pids, removeCgroups, removeTree, waitFor } from '../host.ts'

export interface Scene {
  bundle: Bundle
  id: string
  pidFile: string
  /** Flags and operands of `create` and `run`. */
  words: string[]
  /** The bundle's files as they were. */
  before: string
}

/** Every entry below a folder with its type, mode and size. */
function listing(folder: string): string {
  const lines: string[] = []
  const walk = (path: string): void => {
    for (const name of readdirSync(path).sort()) {
      const entry = join(path, name)
      const { mode, size, uid, gid } = lstatSync(entry)
      const isFolder = (mode & 0o170000) === 0o040000
      lines.push(`${entry} ${mode.toString(8)} ${uid}:${gid}${isFolder ? '' : ` ${size}`}`)
      if (isFolder) walk(entry)
    }
  }
  walk(folder)
  return lines.join('\n')
}

/** Processes of the scene start in its folder; that tells them from others until they join the container's cgroup. */
export function makeScene(configure: (config: Config, made: Bundle) => void = () => {}): Scene {
  const made = bundle((config) => {
    config.process.args = ['sleep', '0.3']
    config.process.oomScoreAdj = 100
    config.mounts.push({ destination: '/mnt', type: 'bind', source: '/etc', options: ['rbind', 'ro'] })
    config.linux.resources = { memory: { limit: 1 << 26 }, pids: { limit: 64 }, devices: [{ allow: false }] }
  })
  configure(made.config, made)
  made.write()
  // Where mounts go in: so that the bundle is the same afterwards.
  for (const name of ['proc', 'dev', 'sys', 'mnt']) mkdirSync(join(made.rootfs, name))
  mkdirSync(join(made.directory, 'extra'))
  const pidFile = join(made.directory, 'extra/pid')
  const words = ['--bundle', made.directory, '--pid-file', pidFile, made.name]
  return { bundle: made, id: made.name, pidFile, words, before: listing(made.rootfs) }
}

function link(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Processes of the scene. Those of the container proper are in its cgroup. */
export function processes(
  { bundle: { directory, config } }: Scene,
  where: 'anywhere' | 'outside' = 'anywhere',
): number[] {
  const inside = (folder: string): boolean => folder === directory || folder.startsWith(`${directory}/`)
  return pids().filter((pid) => {
    if (pid === process.pid) return false
    const joined = text(`/proc/${pid}/cgroup`)
      .split('\n')
      .some((line) => line.endsWith(`:${config.linux.cgroupsPath}`))
    const ours = joined || inside(link(`/proc/${pid}/cwd`)) || inside(link(`/proc/${pid}/root`))
    return ours && !(where === 'outside' && joined) && isAlive(pid)
  })
}

function remains(scene: Scene, pidFileMayStay: boolean): string[] {
  const { directory, rootfs, config } = scene.bundle
  const groups = cgroupDirectories(config.linux.cgroupsPath)
  const extra = readdirSync(join(directory, 'extra')).filter((name) => !(pidFileMayStay && name === 'pid'))
  return [
    ...(existsSync(join(stateRoot, scene.id)) ? readdirSync(join(stateRoot, scene.id)) : []).map(
      (name) => `state: ${name}`,
    ),
    ...(existsSync(join(stateRoot, scene.id)) ? ['state folder'] : []),
    ...(groups.length > 0 ? [`cgroup: ${groups.length} folders, ${groups[0]}`] : []),
    ...mountsBelow(directory).map((path) => `mount: ${path}`),
    ...mountsBelow(stateRoot).map((path) => `mount: ${path}`),
    ...extra.map((name) => `file: extra/${name}`),
    ...(listing(rootfs) === scene.before ? [] : ['the root file system has changed']),
    ...processes(scene).map(
      (pid) => `process: ${pid} ${text(`/proc/${pid}/comm`).trim()} ${text(`/proc/${pid}/wchan`)}`,
    ),
  ]
}

/**
 * What is left of the scene's container; processes on their way out are given a moment. `pidFileMayStay`: it is the caller's once it is
 * there.
 */
export function leftOf(scene: Scene, pidFileMayStay = false): string[] {
  let left: string[] = []
  waitFor(() => {
    left = remains(scene, pidFileMayStay)
    return left.length === 0
  }, 2000)
  return left
}

/** `delete --force` by a fresh runtime. Says what went wrong and what is left then, and removes that by other means. */
export function forceDelete(scene: Scene): string[] {
  const done = run(['delete', '--force', scene.id])
  const problems: string[] = []
  if (done.status !== 0 || done.stderr !== '')
    problems.push(`delete --force: status ${done.status}: ${done.stderr.trim()}`)
  problems.push(...leftOf(scene, true).map((what) => `after delete --force: ${what}`))
  if (problems.length > 0) clear(scene)
  removeTree(join(scene.bundle.directory, 'extra'))
  mkdirSync(join(scene.bundle.directory, 'extra'))
  return problems
}

/** Removes everything by main force, so that the next case starts afresh. */
function clear(scene: Scene): void {
  for (const pid of processes(scene)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {}
  }
  waitFor(() => processes(scene).length === 0, 2000)
  removeCgroups(`${cgroupRoot}/${scene.id}`)
  removeTree(join(stateRoot, scene.id))
}

/**
 * What is wrong with what a failed command said: it is to be one line that starts with the command and names something.
 * `warns`: it may warn that it cannot clean up.
 */
export function faultsOfMessage(stderr: string, command: string, warns = false): string[] {
  const lines = stderr
    .trim()
    .split('\n')
    .filter((line) => !(warns && line.startsWith('runt: warning: cleaning up after the failure: ')))
  if (lines.length !== 1 || !lines[0]!.startsWith(`runt: ${command}: `)) return [`stderr: ${JSON.stringify(stderr)}`]
  const message = lines[0]!.slice(`runt: ${command}: `.length)
  if (message === '' || message.includes('internal error')) return [`stderr: ${JSON.stringify(stderr)}`]
  if (/^\w+\(/.test(message)) return [`the message does not say what the call was for: ${message}`]
  return []
}
