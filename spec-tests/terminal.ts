/** Plays at terminals; terminal.py acts them. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { base, environment, repository, skip } from './harness.ts'
import { patience } from './host.ts'

/** A verb of terminal.py's and its arguments. */
export type Step = [string, ...(string | number)[]]

export interface Play {
  place: 'terminal' | 'socket'
  command: readonly string[]
  /** Path of the console socket. */
  path?: string
  /** Rows and columns of the terminal. */
  size?: [number, number]
  stdin?: 'null'
  stdout?: 'pipe'
  steps: readonly Step[]
}

export interface Scene {
  /** Exit statuses of the command and of those that steps ran, in order. */
  statuses: number[]
  /** What came out of the terminal. */
  output: string
  /** Whether the command has left its terminal as it was. */
  restored?: boolean
  /** What the console socket received. */
  text?: string
  descriptors?: number
  /** The process of a pidfd that it received. */
  pid?: number
  /** Plays within the play. */
  scenes?: Scene[]
}

/** Acts a play, and gives what happened. */
export function act(play: Play): Scene {
  const done = spawnSync('python3', [join(repository, 'spec-tests/terminal.py')], {
    input: JSON.stringify(play),
    cwd: base,
    env: environment(),
    encoding: 'utf8',
    timeout: 25_000 * patience,
    maxBuffer: 64 * 1024 * 1024,
    killSignal: 'SIGKILL',
  })
  if (done.error && (done.error as NodeJS.ErrnoException).code === 'ENOENT') skip('needs python3')
  if (done.status !== 0) throw new Error(`the play failed: ${done.error ?? done.stderr}`)
  return JSON.parse(done.stdout)
}
