/**
 * Attacks on the runtime, each shown to be noticed where a weakened build does not resist.
 *
 *     const { attack, run } = arena('hardening/mounts')
 *     attack('nothing is made outside of the root', { weakened: ['paths in the root'] }, () => { ...; intact() })
 *     run()
 *
 * A body that returns was resisted; one that throws a Breach was not. Anything else that it throws is a mistake in the test.
 */
import { spawn } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Bundle,
  base,
  bundle,
  type Config,
  cgroupRoot,
  container,
  environment,
  heading,
  marker,
  type Result,
  skip,
  withRuntime,
} from '../harness.ts'
import { sweep, waitFor } from '../host.ts'
import { refuseElsewhere } from './guard.ts'
import { weakened } from './weak.ts'
import type { Weakening } from './weakenings.ts'

refuseElsewhere()

/** The attack has succeeded. */
export class Breach extends Error {}

export function breach(what: string): never {
  throw new Breach(`BREACH: ${what}`)
}

/** A folder of the host that no container has any business with; each of the test files that run at the same time has its own. */
export const CANARY = `/canary-${process.pid}`
const SECRET = 'the secret of the host'

function setCanary(): void {
  rmSync(CANARY, { recursive: true, force: true })
  mkdirSync(CANARY)
  writeFileSync(join(CANARY, 'secret'), SECRET)
}

/** A Breach if something was made or changed in the canary. */
export function intact(): void {
  const entries = readdirSync(CANARY).filter((name) => name !== 'secret')
  if (entries.length > 0) {
    const [name] = entries
    const kind = lstatSync(join(CANARY, name!)).isDirectory() ? 'folder' : 'file'
    breach(`a ${kind} was made on the host: ${CANARY}/${entries.join(', ')}`)
  }
  if (readFileSync(join(CANARY, 'secret'), 'utf8') !== SECRET) breach(`${CANARY}/secret was changed`)
}

/** A Breach if the output has the secret. */
export function unread(result: Result): void {
  if (`${result.stdout}${result.stderr}`.includes(SECRET)) breach('the container has read a file of the host')
}

export interface Terms {
  /** Builds that have to be breached. */
  weakened?: readonly Weakening[]
  /** The attack is on what runt keeps in its state folder; the peers keep something else. */
  own?: boolean
  /** How often the runtime under test is attacked. */
  rounds?: number
  /** How often a weakened build is attacked at most, until it gives way. */
  tries?: number
}

export interface Arena {
  attack(name: string, terms: Terms, body: () => void): void
  run(): void
}

/** The tests under one heading. */
export function arena(title: string): Arena {
  const { only, run } = heading(title)
  // Part of the names of the tests to run.
  const wanted = new RegExp(process.env.HARDENING ?? '')
  const once = (body: () => void): void => {
    setCanary()
    body()
  }
  return {
    run,
    attack: (name, { weakened: names = [], own = false, rounds = 1, tries = 1 }, body) => {
      const others = own ? 'runt' : 'runt runc crun youki'
      only(others, name, () => {
        if (!wanted.test(name)) skip('not asked for')
        const begin = Date.now()
        for (let round = 0; round < rounds; round++) once(body)
        console.log(`${name}: resisted ${rounds} times in ${Date.now() - begin} ms`)
      })
      for (const weakening of names)
        only('runt', `${name}: noticed without "${weakening}"`, async () => {
          if (!wanted.test(name)) skip('not asked for')
          const words = ['env', `RUNT_WEAKENED=${weakening}`, ...(await weakened())]
          const begin = Date.now()
          for (let round = 0; round < tries; round++)
            try {
              withRuntime(words, () => once(body))
            } catch (error) {
              if (!(error instanceof Breach)) throw error
              console.log(`without "${weakening}": round ${round + 1}, ${Date.now() - begin} ms: ${error.message}`)
              // What a broken runtime leaves is nobody's mistake.
              sweep(marker, cgroupRoot, join(base, 'swept'))
              return
            }
          throw new Error(
            `a build without "${weakening}" resists ${tries} times: the attack shows nothing. It says: ${lastWords}`,
          )
        })
    },
  }
}

/** A bundle with a folder `extra` beside the root; its root is writable. */
export function victim(configure: (made: Bundle & { extra: string }) => void = () => {}): Bundle & { extra: string } {
  const made = bundle((config) => {
    config.root.readonly = false
  })
  const extra = join(made.directory, 'extra')
  mkdirSync(extra)
  const whole = { ...made, extra }
  configure(whole)
  made.write()
  return whole
}

/** What the runtime said last, for a reproducer that does not work. */
let lastWords = ''

/** Runs a script in the victim, which may fail. */
export function runIn(made: Bundle, script: string, timeout = 10_000): Result {
  made.config.process.args = ['sh', '-c', script]
  made.write()
  const result = container(made).run([], { timeout })
  lastWords = `${result.stderr} ${result.stdout}`.trim().slice(-400)
  return result
}

/** The guest's own programs, for attackers that busybox is too small for. */
export function withHostPrograms(config: Config): void {
  for (const path of ['/usr', '/lib', '/lib64'])
    config.mounts.push({ destination: path, type: 'bind', source: path, options: ['rbind', 'ro'] })
}

const EXCHANGE = `
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
one, other = (word.encode() for word in sys.argv[1:3])
open(sys.argv[3], "w").close()
# It runs whenever the runtime pauses: on one CPU nothing else would come of it.
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
end = time.monotonic() + 60
while time.monotonic() < end:
    # RENAME_EXCHANGE
    libc.renameat2(-100, one, -100, other, 2)
`

/** While the body runs, a process exchanges two paths as fast as it can. */
export function exchanging<T>(one: string, other: string, extra: string, body: () => T): T {
  const ready = join(extra, 'ready')
  rmSync(ready, { force: true })
  const attacker = spawn('python3', ['-c', EXCHANGE, one, other, ready], { stdio: 'inherit', env: environment() })
  try {
    if (!waitFor(() => existsSync(ready), 3000)) throw new Error('the attacker does not come up')
    return body()
  } finally {
    attacker.kill('SIGKILL')
    waitFor(() => !existsSync(`/proc/${attacker.pid}/exe`), 1000)
    rmSync(ready, { force: true })
  }
}

/** What a race is about: a pause after each of these gives an attacker all the time that it needs. */
const PATHS = ['openat2', 'open_tree', 'move_mount', 'mkdirat', 'fchdir', 'getdents64']

/** Runs the body with a runtime that pauses after system calls, for so many microseconds. It must not leave processes (create). */
export function slowly<T>(body: () => T, calls: readonly string[] = PATHS, pause = 500): T {
  const list = calls.join()
  return withRuntime(
    (words) => [
      'strace',
      '-f',
      '-qqq',
      '-o',
      '/dev/null',
      '--seccomp-bpf',
      '-e',
      `trace=${list}`,
      '-e',
      `inject=${list}:delay_exit=${pause}`,
      ...words,
    ],
    body,
  )
}
