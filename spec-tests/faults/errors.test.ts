/**
 * Every system call of a command is made to fail in turn. A command that fails says so in one line, and a failed `create`
 * or `run` leaves nothing; one that gets along without the call leaves what `delete --force` removes. Brain and executor are those
 * of Node.js, in this process; the runtime under test cleans up.
 */
import * as assert from 'uvu/assert'
import type { Channel } from '../../src/base/platform.ts'
import { main } from '../../src/cli/main.ts'
import { openPlatform } from '../../src/engine-node/platform.ts'
import { HEADER_SIZE, Header, Kind, OP_SIZE, Op } from '../../src/executor/protocol.ts'
import { Errno } from '../../src/linux/errno.ts'
import { ANY, Batch } from '../../src/session/batch.ts'
import { renderCall } from '../../src/session/render.ts'
import { heading, ok, run as runtime, stateRoot } from '../harness.ts'
import { waitFor } from '../host.ts'
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
    const at = HEADER_SIZE + index * OP_SIZE
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
    // Node.js has to look after the executor's end.
    await new Promise((settle) => setImmediate(settle))
    process.chdir('/')
  }
}

interface Story {
  args: readonly string[]
  prepare: (scene: Scene) => void
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
    if (!fault.expected && !stderr.includes('EIO')) problems.push(`the cause is not named: ${stderr.trim()}`)
    if (launches) {
      problems.push(...leftOf(scene).map((what) => `after the failure: ${what}`))
      if (problems.length === 0) return { failed: true, problems }
    }
  } else if (/internal error/.test(stderr)) problems.push(`stderr: ${stderr.trim()}`)
  if (!waitFor(() => processes(scene, 'outside').length === 0, 2000)) problems.push('processes of the runtime are left')
  problems.push(...forceDelete(scene))
  return { failed: status !== 0, problems }
}

/** Cases of one test; a test has half a minute. */
const BLOCK = 100
/** The last one takes what is left. */
const BLOCKS = 6

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
      for (let at = first; at <= last; at++) {
        fault.at = at
        const { failed, problems } = await tryFault(scene, story)
        cases++
        if (failed) failures++
        all.push(...problems.map((problem) => `call ${at} ${fault.call}: ${problem}`))
      }
      console.log(
        `${name}: ${total} system calls; ${cases} failed from ${first} on, and with ${failures} of them the command`,
      )
      assert.equal(all, [])
    })
  }
}

run()
