/**
 * Every system call of a command is made to fail in turn. A command that fails says so in one line, and a failed `create`
 * or `run` leaves nothing; one that gets along without the call leaves what `delete --force` removes. Brain and executor are those
 * of Node.js, in this process; the runtime under test cleans up.
 */
import * as assert from 'uvu/assert'
import type { Channel } from '../../src/base/platform.ts'
import { main } from '../../src/cli/main.ts'
import { openPlatform } from '../../src/engine-node/platform.ts'
import { HEADER_SIZE, Kind, OP_SIZE, Op } from '../../src/executor/protocol.ts'
import { Errno } from '../../src/linux/errno.ts'
import { Batch } from '../../src/session/batch.ts'
import { renderCall } from '../../src/session/render.ts'
import { heading, ok, run as runtime, stateRoot } from '../harness.ts'
import { waitFor } from '../host.ts'
import { faultsOfMessage, forceDelete, leftOf, makeScene, processes, type Scene } from './scene.ts'

const { only, run } = heading('faults/errors')

/** What of the messages to executors is changed, and what has been seen of them. */
const fault = {
  /** Number of the system call that fails; counted from 1. */
  at: 0,
  /** Whether it fails also where any failure is expected. */
  always: true,
  seen: 0,
  /** Whether call `at` takes any errno as expected. */
  tolerated: false,
  call: '',
}

const { encode } = Batch.prototype
Batch.prototype.encode = function (sequence, flags) {
  const message = encode.call(this, sequence, flags)
  const view = new DataView(message.buffer)
  for (let index = 0; index < this.steps.length; index++) {
    const at = HEADER_SIZE + index * OP_SIZE
    const kind = view.getUint8(at + Op.KIND)
    if ((kind !== Kind.SYSCALL && kind !== Kind.FORK) || ++fault.seen !== fault.at) continue
    fault.call = renderCall(this.stepAt(index))
    fault.tolerated = view.getUint8(at + Op.ERRNOS) === 255
    view.setUint8(at + Op.KIND, Kind.FAIL)
    view.setBigUint64(at + Op.ARGS, BigInt(Errno.EIO!), true)
    view.setUint16(at + Op.MODES, 0, true)
    if (!fault.always) continue
    view.setUint32(at + Op.ERRNOS, 0, true)
    view.setUint16(at + Op.TARGET, 0, true)
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
  const platform = openPlatform(['--root', stateRoot, ...args])
  let stderr = ''
  try {
    const status = await main({
      ...platform,
      host: impatient(platform.host),
      stage: impatient(platform.stage),
      init: impatient(platform.init),
      stdout() {},
      stderr(text) {
        stderr += text
      },
    })
    return { status, stderr }
  } finally {
    platform.close()
    process.chdir('/')
  }
}

interface Story {
  args: readonly string[]
  prepare: (scene: Scene) => void
  /** The first call that is made to fail; those before are another story's. */
  skip?: boolean
}

const create = (scene: Scene): void => void ok(runtime(['create', ...scene.words]), 'create')
const start = (scene: Scene): void => {
  create(scene)
  ok(runtime(['start', scene.id]), 'start')
}

const stories: Story[] = [
  { args: ['create'], prepare: () => {} },
  { args: ['start'], prepare: create },
  { args: ['delete', '--force'], prepare: start },
]

async function tryFault(scene: Scene, { args, prepare }: Story): Promise<{ failed: boolean; problems: string[] }> {
  const launches = args[0] === 'create'
  prepare(scene)
  const problems: string[] = []
  fault.seen = 0
  const { status, stderr } = await command(scene, [...args, ...(launches ? scene.words : [scene.id])])
  fault.at = 0
  if (status !== 0) {
    problems.push(...faultsOfMessage(stderr, args[0]!))
    if (fault.always && !stderr.includes('EIO')) problems.push(`the cause is not named: ${stderr.trim()}`)
    if (launches) problems.push(...leftOf(scene).map((what) => `after the failure: ${what}`))
  } else if (/internal error/.test(stderr)) problems.push(`stderr: ${stderr.trim()}`)
  // The executor ends by itself; Node.js has to look at it.
  await new Promise((settle) => setImmediate(settle))
  if (!waitFor(() => processes(scene, 'outside').length === 0, 2000)) problems.push('processes of the runtime are left')
  problems.push(...forceDelete(scene))
  return { failed: status !== 0, problems }
}

/** Cases of one test; a test has half a minute. */
const BLOCK = 150
/** More than any command has; blocks behind its last call are empty. */
const BLOCKS = 8

for (const story of stories) {
  const name = story.args.join(' ')
  for (let block = 0; block < (name === 'create' ? BLOCKS : 1); block++) {
    const first = block * BLOCK + 1
    only('runt', `${name}: each system call fails in turn (from ${first})`, async () => {
      const scene = makeScene()
      fault.at = 0
      // Once more: the first container makes the parent of its cgroup in another way.
      let total = 0
      for (let i = 0; i < 2; i++) {
        story.prepare(scene)
        fault.seen = 0
        const { status, stderr } = await command(scene, [
          ...story.args,
          ...(name === 'create' ? scene.words : [scene.id]),
        ])
        total = fault.seen
        assert.is(status, 0, stderr)
        assert.equal(forceDelete(scene), [])
      }
      const last = block === BLOCKS - 1 || name !== 'create' ? total : Math.min(total, first + BLOCK - 1)
      const all: string[] = []
      let failures = 0
      let cases = 0
      for (let at = first; at <= last; at++)
        for (const always of [true, false]) {
          fault.at = at
          fault.always = always
          if (!always && !fault.tolerated) continue
          const { failed, problems } = await tryFault(scene, story)
          cases++
          if (failed) failures++
          all.push(...problems.map((problem) => `call ${at}${always ? '' : ' (expected)'} ${fault.call}: ${problem}`))
        }
      console.log(
        `${name}: ${total} system calls; ${cases} failed from ${first} on, and with ${failures} of them the command`,
      )
      assert.equal(all, [])
    })
  }
}

run()
