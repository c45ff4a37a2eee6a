/**
 * Attacks on the runtime, each shown to be noticed where a weakened build does not resist.
 *
 *     const { attack, run } = arena('hardening/mounts')
 *     attack('nothing is made outside of the root', { weakened: ['paths in the root'] }, () => { ...; intact() })
 *     run()
 *
 * A body that returns was resisted; one that throws a Breach was not. Anything else that it throws is a mistake in the test.
 */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Bundle,
  base,
  bundle,
  type Config,
  cgroupRoot,
  container,
  heading,
  marker,
  type Result,
  skip,
  withRuntime,
} from '../harness.ts'
import { sweep } from '../host.ts'
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
  /** How often the runtime under test is attacked, unless the attack is spent before. */
  rounds?: number
  /** How often a weakened build is attacked at most, until it gives way; as many rounds. */
  tries?: number
}

/** The attack has no further moment to try. */
export type Spent = 'spent'

export interface Arena {
  /** A body may say `spent`. */
  attack(name: string, terms: Terms, body: (round: number) => unknown): void
  run(): void
}

/** The tests under one heading. */
export function arena(title: string): Arena {
  const { only, run } = heading(title)
  // Part of the names of the tests to run.
  const wanted = new RegExp(process.env.HARDENING ?? '')
  type Body = Parameters<Arena['attack']>[2]
  /** A Breach, or how many rounds there were. */
  const attacked = (rounds: number, body: Body): number => {
    for (let round = 0; round < rounds; round++) {
      setCanary()
      if (body(round) === 'spent') return round
    }
    return rounds
  }
  return {
    run,
    attack: (name, { weakened: names = [], own = false, rounds = 1, tries = rounds }, body) => {
      const others = own ? 'runt' : 'runt runc crun youki'
      only(others, name, () => {
        if (!wanted.test(name)) skip('not asked for')
        const begin = Date.now()
        const resisted = attacked(rounds, body)
        console.log(`${name}: resisted ${resisted} times in ${Date.now() - begin} ms`)
      })
      for (const weakening of names)
        only('runt', `${name}: noticed without "${weakening}"`, async () => {
          if (!wanted.test(name)) skip('not asked for')
          const words = ['env', `RUNT_WEAKENED=${weakening}`, ...(await weakened())]
          const begin = Date.now()
          let last = 0
          try {
            withRuntime(words, () =>
              attacked(tries, (round) => {
                last = round
                return body(round)
              }),
            )
          } catch (error) {
            if (!(error instanceof Breach)) throw error
            console.log(`without "${weakening}": round ${last + 1}, ${Date.now() - begin} ms: ${error.message}`)
            // What a broken runtime leaves is nobody's mistake.
            sweep(marker, cgroupRoot, join(base, 'swept'))
            return
          }
          throw new Error(
            `a build without "${weakening}" resists ${last + 1} times: the attack shows nothing. It says: ${lastWords}`,
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

/** It reads what strace writes, and exchanges two paths after the nth call from the first on that matches. */
const EXCHANGE = `
import ctypes, re, sys
word, nth, one, other, ready, done = sys.argv[1:]
libc = ctypes.CDLL(None)
open(ready, "w").close()
calls = 0
for line in sys.stdin:
    if "unfinished" not in line and (calls or re.search(word, line)):
        calls += 1
    if calls == int(nth):
        # AT_FDCWD, RENAME_EXCHANGE
        libc.renameat2(-100, one.encode(), -100, other.encode(), 2)
        open(done, "w").close()
        break
for line in sys.stdin:
    pass
`

/** The command waits for a file: an attacker that is still coming up is no attacker. */
const WAIT = 'until [ -e "$0" ]; do sleep 0.01; done; exec "$@"'

export interface Exchange {
  one: string
  other: string
  /** What the first system call that matters has, as strace writes it: a pattern. */
  word: string
  /** A folder of the test's own. */
  extra: string
}

/**
 * Runs the body with a runtime under whose feet two paths are exchanged, after one of its system calls (of PATHS): in each round after the
 * next one, until there is none. So a race is won whenever it can be. What was exchanged stays so.
 */
export function exchanged({ one, other, word, extra }: Exchange, round: number, body: () => void): Spent | undefined {
  const program = join(extra, 'exchange.py')
  const ready = join(extra, 'ready')
  const done = join(extra, 'exchanged')
  writeFileSync(program, EXCHANGE)
  const attacker = ['python3', program, word, String(round + 1), one, other, ready, done].join(' ')
  withRuntime(
    (words) => ['sh', '-c', WAIT, ready, ...words],
    () => slowly(body, PATHS, WINDOW, `|${attacker}`),
  )
  if (existsSync(done)) return
  if (round === 0) throw new Error(`the runtime makes no system call with ${word}: ${lastWords}`)
  return 'spent'
}

/** What a race is about. */
const PATHS = ['openat2', 'open_tree', 'move_mount', 'mkdirat', 'fchdir', 'getdents64']

/** A pause in which an attacker can do something even in a slow guest, in microseconds. */
const WINDOW = 10_000

/** Runs the body with a runtime that pauses after system calls, for so many microseconds. It must not leave processes (create). */
export function slowly<T>(body: () => T, calls: readonly string[], pause: number, output = '/dev/null'): T {
  const list = calls.join()
  return withRuntime(
    (words) => [
      'strace',
      '-f',
      '-qqq',
      '-o',
      output,
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
