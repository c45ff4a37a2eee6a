/**
 * The system calls of a command are made to fail in turn. A command that fails says so in one line, and a failed `create`
 * or `run` leaves nothing; one that gets along without the call leaves what `delete --force` removes. Commands on a container
 * that exists leave no process in it, and no descriptor open. Brain and executor are those of Node.js, in this process; the
 * runtime under test cleans up.
 *
 * Of long commands a part of the calls is tried, another one each time; RUNT_FAULTS=all tries all.
 */
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { Channel } from '../../src/base/platform.ts'
import { main } from '../../src/cli/main.ts'
import { openPlatform } from '../../src/engine-node/platform.ts'
import { Header, Kind, OP_SIZE, Op } from '../../src/executor/protocol.ts'
import { Errno } from '../../src/linux/errno.ts'
import { ANY, Batch } from '../../src/session/batch.ts'
import { renderCall } from '../../src/session/render.ts'
import { base, heading, ok, run as runtime, command as runtimeWords, stateRoot } from '../harness.ts'
import { patience, sleep, waitFor } from '../host.ts'
import { faultsOfMessage, forceDelete, leftOf, makeScene, processes, type Scene } from './scene.ts'

const { only, run } = heading('faults/errors')

/** What of the messages to executors is changed, and what has been seen of them. */
const fault = {
  /** Number of the system call that fails; counted from 1. */
  at: 0,
  seen: 0,
  call: '',
  /** Whether any failure of it is expected: then the message may tell what follows from it instead. */
  expected: false,
}

/** By their man pages. */
const NEVER_FAIL = new Set(['exit_group', 'umask', 'geteuid'])

const { encode } = Batch.prototype
Batch.prototype.encode = function (sequence, flags) {
  const message = encode.call(this, sequence, flags)
  const view = new DataView(message.buffer)
  const count = view.getUint32(Header.COUNT, true)
  for (let index = 0; index < count; index++) {
    const at = view.getUint32(Header.OPERATIONS_AT, true) + index * OP_SIZE
    const kind = view.getUint8(at + Op.KIND)
    if ((kind !== Kind.SYSCALL && kind !== Kind.FORK) || ++fault.seen !== fault.at) continue
    const step = this.stepAt(index)
    fault.call = renderCall(step)
    fault.expected = view.getUint8(at + Op.ERRNOS) === ANY
    if (NEVER_FAIL.has(step.name!)) continue
    view.setUint8(at + Op.KIND, Kind.FAIL)
    view.setBigUint64(at + Op.ARGS, BigInt(Errno.EIO!), true)
    view.setUint16(at + Op.MODES, 0, true)
  }
  return message
}

/** Longest wait for an answer, in milliseconds. */
const PATIENCE = 4_000

/** An answer that does not come within a few seconds is a bug of its own. */
function impatient(channel: Channel): Channel {
  return {
    send: (message) => channel.send(message),
    receive(timeoutMs) {
      const reply = channel.receive(Math.min(timeoutMs, PATIENCE))
      if (reply === 'timeout' && timeoutMs > PATIENCE) throw new Error('an executor does not answer')
      return reply
    },
    close: () => channel.close(),
  }
}

interface Outcome {
  status: number
  stderr: string
}

/** Runs a command in this process. */
async function command(scene: Scene, args: readonly string[]): Promise<Outcome> {
  process.chdir(scene.bundle.directory)
  // What the executor itself says when the brain is gone.
  const words = openSync(join(base, 'words'), 'w+')
  const platform = openPlatform(['--root', stateRoot, ...args], ['ignore', 'ignore', words])
  let stderr = ''
  try {
    const status = await main({
      ...platform,
      host: impatient(platform.host),
      stage: impatient(platform.stage),
      init: impatient(platform.init),
      self: runtimeWords,
      stdout() {},
      stderr(text) {
        stderr += text
      },
      // As the platform does, but for the end of this process.
      expectSignals() {},
      handOver() {
        platform.close()
        const { executor } = platform
        executor.ref()
        return new Promise<number>((settle, fail) => {
          const timer = setTimeout(() => {
            executor.kill('SIGKILL')
            fail(new Error('the executor does not end'))
          }, PATIENCE * patience)
          executor.once('exit', (code, signal) => {
            clearTimeout(timer)
            if (code === null) fail(new Error(`the executor was ended by ${signal}`))
            else settle(code)
          })
        }) as Promise<never>
      },
    })
    return { status, stderr: stderr + readFileSync(join(base, 'words'), 'utf8') }
  } finally {
    closeSync(words)
    platform.close()
    // Node.js has to look after the executor's end.
    await new Promise((settle) => setImmediate(settle))
    process.chdir('/')
  }
}

interface Story {
  name: string
  /** The command line for the scene's container. */
  args: (scene: Scene) => string[]
  prepare: (scene: Scene) => void
  /** The container is still there afterwards, as it was: it serves for the next case as well. */
  visits?: boolean
  /** Takes back what the command has done. */
  after?: (scene: Scene) => void
  /** Cases, where not all are tried. */
  cases?: number
  /** The first calls are another story's. */
  lastOnly?: number
}

const create = (scene: Scene): void => void ok(runtime(['create', ...scene.words]), 'create')
const start = (scene: Scene): void => {
  create(scene)
  ok(runtime(['start', scene.id]), 'start')
}
const paused = (scene: Scene): void => {
  start(scene)
  ok(runtime(['pause', scene.id]), 'pause')
}
const onContainer =
  (...words: string[]) =>
  ({ id }: Scene): string[] => [...words, id]

const stories: Story[] = [
  { name: 'create', args: ({ words }) => ['create', ...words], prepare: () => {}, cases: 140 },
  { name: 'run', args: ({ words }) => ['run', ...words], prepare: () => {}, lastOnly: 80, cases: 60 },
  {
    name: 'run --detach',
    args: ({ words }) => ['run', '--detach', ...words],
    prepare: () => {},
    lastOnly: 40,
    cases: 25,
  },
  { name: 'start', args: onContainer('start'), prepare: create },
  { name: 'exec', args: ({ id }) => ['exec', id, 'true'], prepare: start, visits: true, cases: 70 },
  {
    name: 'exec --detach',
    args: ({ id }) => ['exec', '--detach', id, 'true'],
    prepare: start,
    visits: true,
    cases: 40,
  },
  { name: 'kill', args: ({ id }) => ['kill', id, 'CONT'], prepare: start, visits: true },
  { name: 'kill --all', args: ({ id }) => ['kill', '--all', id, 'CONT'], prepare: start, visits: true },
  { name: 'pause', args: onContainer('pause'), prepare: start, visits: true, after: thaw },
  { name: 'resume', args: onContainer('resume'), prepare: paused, visits: true, after: freeze },
  {
    name: 'update',
    args: onContainer('update', '--memory', '48m', '--pids-limit', '50'),
    prepare: start,
    visits: true,
  },
  { name: 'ps', args: onContainer('ps', '--format', 'json'), prepare: start, visits: true },
  { name: 'events --stats', args: onContainer('events', '--stats'), prepare: start, visits: true, cases: 40 },
  { name: 'state', args: onContainer('state'), prepare: start, visits: true },
  { name: 'list', args: () => ['list'], prepare: start, visits: true },
  { name: 'delete', args: onContainer('delete'), prepare: create, cases: 25 },
  { name: 'delete --force', args: onContainer('delete', '--force'), prepare: start },
]

const statusOf = ({ id }: Scene): string => JSON.parse(ok(runtime(['state', id]), 'state').stdout).status

function thaw(scene: Scene): void {
  if (statusOf(scene) === 'paused') ok(runtime(['resume', scene.id]), 'resume')
}

function freeze(scene: Scene): void {
  if (statusOf(scene) === 'running') ok(runtime(['pause', scene.id]), 'pause')
}

const descriptors = (): number => readdirSync('/proc/self/fd').length

/** What a command on a container that goes on has left behind. */
function trespasses(scene: Scene, open: number): string[] {
  let found: string[] = []
  waitFor(() => {
    const others = processes(scene).length - 1
    found = others === 0 ? [] : [`${others} processes more than its init are there`]
    if (descriptors() > open) found.push(`${descriptors() - open} descriptors are open`)
    return found.length === 0
  }, 2000)
  return found
}

async function tryFault(scene: Scene, story: Story, open: number): Promise<{ failed: boolean; problems: string[] }> {
  const { name, args, prepare, visits, after } = story
  const launches = /^(create|run)/.test(name)
  if (!visits) prepare(scene)
  const problems: string[] = []
  fault.seen = 0
  const { status, stderr } = await command(scene, args(scene))
  fault.at = 0
  // Of the launcher when it is on its own, and the container is the caller's to look after.
  const alone =
    / cannot be waited for: waitid, ppoll or read was refused; it may still run$| delete --force removes what is left$/m.test(
      stderr,
    )
  if (status !== 0) {
    problems.push(...faultsOfMessage(stderr, name.split(' ')[0]!))
    if (!fault.expected && !alone && !stderr.includes('EIO')) problems.push(`the cause is not named: ${stderr.trim()}`)
    if (launches && !alone) problems.push(...leftOf(scene).map((what) => `after the failure: ${what}`))
  } else if (/internal error/.test(stderr)) problems.push(`stderr: ${stderr.trim()}`)
  if (visits) {
    problems.push(...trespasses(scene, open))
    after?.(scene)
  } else if (!launches || status === 0 || alone || problems.length > 0) {
    if (!waitFor(() => processes(scene, 'outside').length === 0, 2000))
      problems.push('processes of the runtime are left')
    problems.push(...forceDelete(scene))
  }
  return { failed: status !== 0, problems }
}

/** Which of the calls are to fail: all, or `cases` of them, evenly spread, and at other places each time. */
function chosen(total: number, { cases = Infinity, lastOnly = Infinity }: Story): number[] {
  const all = Array.from({ length: total }, (_, index) => index + 1)
  if (process.env.RUNT_FAULTS === 'all') return all
  const late = all.slice(-Math.min(lastOnly, total))
  const step = Math.max(1, late.length / cases)
  const offset = Number(process.env.RUNT_SPEC_SEED ?? Date.now()) % Math.ceil(step)
  return late.filter((_, index) => Math.floor((index + offset) / step) !== Math.floor((index + offset - 1) / step))
}

/** Cases of one test; a test has a minute. */
const BLOCK = process.env.RUNT_FAULTS === 'all' ? 110 : 250
const BLOCKS = process.env.RUNT_FAULTS === 'all' ? 7 : 1

for (const story of stories)
  for (let block = 0; block < (story.visits ? 1 : BLOCKS); block++)
    only('runt', `${story.name}: each system call fails in turn${block === 0 ? '' : ` (${block + 1})`}`, async () => {
      const scene = makeScene((config) => {
        config.process.args = ['sleep', story.visits ? '1000' : '0.1']
      })
      fault.at = 0
      let total = 0
      // Twice: the first container makes the parent of its cgroup in another way.
      for (let i = 0; i < 2; i++) {
        if (!story.visits || i === 0) story.prepare(scene)
        fault.seen = 0
        const { status, stderr } = await command(scene, story.args(scene))
        total = fault.seen
        assert.is(status, 0, stderr)
        story.after?.(scene)
        if (!story.visits) assert.equal(forceDelete(scene), [])
      }
      // Node.js opens some of its own at the first use.
      sleep(20)
      const open = descriptors()
      const all: string[] = []
      const cases = chosen(total, story)
      const ours = story.visits
        ? cases
        : cases.slice(block * BLOCK, block === BLOCKS - 1 ? undefined : (block + 1) * BLOCK)
      let failures = 0
      for (const at of ours) {
        fault.at = at
        const { failed, problems } = await tryFault(scene, story, open)
        if (failed) failures++
        all.push(...problems.map((problem) => `call ${at} ${fault.call}: ${problem}`))
      }
      if (story.visits) all.push(...forceDelete(scene))
      console.log(
        `${story.name}: ${total} system calls; ${ours.length} made to fail, and with ${failures} of them the command`,
      )
      assert.equal(all, [])
    })

run()
