/** A seccomp agent for tests: seccomp_agent.py, started and ended here. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { environment, repository, type State, skip } from './harness.ts'
import { waitFor } from './host.ts'

/** What comes with a listener; runtime-spec, "The Container Process State". */
export interface Greeting {
  state: { ociVersion: string; fds: string[]; pid: number; metadata?: string; state: State }
  /** What the descriptors are. */
  links: string[]
}

export interface Agent {
  /** Path of its socket. */
  path: string
  greetings(): Greeting[]
  /** How many of the connections that brought them have been closed. */
  closed(): number
  /** Numbers of the system calls it was asked about. */
  calls(): number[]
}

/** Starts an agent in a folder, does the work, ends it. `failing`: errnos by number of the system call. */
export function withAgent<T>(folder: string, failing: Record<number, number>, work: (agent: Agent) => T): T {
  if (spawnSync('python3', ['--version']).status !== 0) skip('no python3, which plays the agent')
  mkdirSync(folder, { recursive: true })
  const path = join(folder, 'agent.sock')
  const said = join(folder, 'said')
  const out = openSync(said, 'w')
  const script = join(repository, 'spec-tests/seccomp_agent.py')
  const child: ChildProcess = spawn('python3', [script, path, JSON.stringify(failing)], {
    stdio: ['ignore', out, 'inherit'],
    env: environment(),
  })
  closeSync(out)
  const lines = () =>
    readFileSync(said, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
  try {
    if (!waitFor(() => lines().length > 0)) throw new Error('the agent does not start')
    return work({
      path,
      greetings: () => lines().filter((line) => line.state),
      closed: () => lines().filter((line) => line.closed).length,
      calls: () => lines().flatMap((line) => (line.call === undefined ? [] : [line.call])),
    })
  } finally {
    child.kill('SIGKILL')
  }
}
