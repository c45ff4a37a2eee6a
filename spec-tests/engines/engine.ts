/**
 * What the tests of engines share. An engine gets the runtime under test as its runtime and works in a folder of its own
 * below `base`, without a network; its daemon lives as long as one test, in a mount namespace of its own.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeRootfs, makeStore } from '../bundle.ts'
import { base, command, environment, execute, type Result, skip, words } from '../harness.ts'
import { isAlive, pids, removeTree, waitFor } from '../host.ts'

export const IMAGE = 'docker.io/library/runt-test:1'

/** How long an engine may take for one command, in milliseconds. */
const PATIENCE = 20_000

/** A folder for one test. */
export const folder = (): string => mkdtempSync(join(base, 'engine-'))

/** Skips the test unless all programs are installed. */
export function needs(...programs: string[]): void {
  for (const program of programs) {
    if (spawnSync('which', [program]).status !== 0) skip(`${program} is not installed`)
  }
}

/** An engine takes a path only: a script that calls the runtime. With `root`, the private --root too. */
export function runtimeScript(directory: string, root: boolean): string {
  const path = join(directory, 'runtime')
  const quoted = (root ? words([]) : command).map((word) => `'${word}'`).join(' ')
  writeFileSync(path, `#!/bin/sh\nexec ${quoted} "$@"\n`)
  chmodSync(path, 0o755)
  return path
}

/** Makes an archive as `docker save` writes it, of an image with a busybox. Gives its path. */
export function imageArchive(directory: string): string {
  const place = join(directory, 'image')
  mkdirSync(place)
  makeStore(join(place, 'busybox'))
  makeRootfs(join(place, 'rootfs'), join(place, 'busybox'))
  for (const name of ['proc', 'sys', 'dev']) mkdirSync(join(place, 'rootfs', name))
  // What the first container of a pod runs.
  writeFileSync(join(place, 'rootfs/pause'), '#!/bin/sh\nexec sleep 1000\n', { mode: 0o755 })
  const tar = (...args: string[]) => execute(['tar', '--owner=0', '--group=0', ...args])
  const sum = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')
  const layer = join(place, 'layer.tar')
  tar('-C', join(place, 'rootfs'), '-cf', layer, '.')
  const config = join(place, 'config.json')
  const time = '2024-01-01T00:00:00Z'
  writeFileSync(
    config,
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      created: time,
      config: { Env: ['PATH=/bin'], Cmd: ['/pause'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: [`sha256:${sum(layer)}`] },
      history: [{ created: time, created_by: 'runt' }],
    }),
  )
  const named = `${sum(config)}.json`
  execute(['mv', config, join(place, named)])
  const manifest = [{ Config: named, RepoTags: [IMAGE], Layers: ['layer.tar'] }]
  writeFileSync(join(place, 'manifest.json'), JSON.stringify(manifest))
  const archive = join(directory, 'image.tar')
  tar('-C', place, '-cf', archive, 'manifest.json', named, 'layer.tar')
  return archive
}

/** Whether a process has the path in its command line. */
export const named = (path: string): boolean =>
  pids().some((pid) => pid !== process.pid && commandLine(pid).includes(path))

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

/** Runs a command of an engine. */
export const engine = (words: readonly string[], env: Record<string, string> = {}): Result =>
  execute(words, { timeout: PATIENCE, env })

export interface Daemon {
  /** Runs a command where the daemon's mounts are seen. */
  run(words: readonly string[]): Result
  /** The words of such a command. */
  words(words: readonly string[]): string[]
  stop(): void
}

/** Starts daemons, one after the other, each when `ready` has succeeded for the one before; or stops them all and throws. */
export function startDaemons(
  directory: string,
  daemons: { words: readonly string[]; ready: readonly string[] }[],
): Daemon {
  const started: number[] = []
  const inside = (words: readonly string[]) => ['nsenter', `--mount=/proc/${started[0]}/ns/mnt`, ...words]
  const run = (words: readonly string[]) => engine(inside(words))
  const stop = () => {
    for (const pid of [...started].reverse()) {
      if (isAlive(pid)) process.kill(pid, 'SIGTERM')
      if (!waitFor(() => !isAlive(pid))) process.kill(pid, 'SIGKILL')
    }
    removeTree(directory)
  }
  // Holds the mount namespace, so that the daemons share it.
  const daemon = (words: readonly string[]): number => {
    const log = openSync(join(directory, `${started.length}.log`), 'a')
    const child = spawn(words[0]!, words.slice(1), { stdio: ['ignore', log, log], env: environment(), cwd: directory })
    child.unref()
    return child.pid!
  }
  try {
    started.push(daemon(['unshare', '--mount', '--propagation', 'private', 'sleep', '120']))
    // Until unshare(1) has become sleep, the namespace may still be the host's.
    if (!waitFor(() => commandLine(started[0]!).startsWith('sleep'))) throw new Error('unshare does not begin')
    for (const { words, ready } of daemons) {
      started.push(daemon(['nsenter', `--mount=/proc/${started[0]}/ns/mnt`, ...words]))
      if (waitFor(() => run(ready).status === 0, PATIENCE)) continue
      const log = readFileSync(join(directory, `${started.length - 1}.log`), 'utf8')
      throw new Error(`${words[0]} is not ready: ${log.slice(-500)}`)
    }
    return { run, words: inside, stop }
  } catch (error) {
    stop()
    throw error
  }
}
