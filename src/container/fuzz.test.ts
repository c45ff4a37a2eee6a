/**
 * Whatever stands in config.json or state.json, and whatever an executor answers: the outcome is a container or one line
 * that says what is wrong; never another exception, never a loop. The kernel is a fake, so that a case may ask for anything.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from '../base/errors.ts'
import type { Channel } from '../base/platform.ts'
import { caseCount, mutatedJson, mutatedText, Random, seedOf } from '../base/testing/random.ts'
import { Session } from '../session/session.ts'
import type { Call, FakeKernel } from '../session/testing/fake-kernel.ts'
import { create } from './create.ts'
import { remove } from './delete.ts'
import { kill } from './kill.ts'
import { list } from './list.ts'
import { pause, resume } from './pause.ts'
import { pidsOf } from './ps.ts'
import { CREATE_DEFAULTS, type CreateOptions, type Runtime } from './runtime.ts'
import { start } from './start.ts'
import { state } from './state.ts'
import { fakeHost } from './testing/fake-host.ts'

const test = suite('fuzz')
const seed = seedOf('fuzz')
/** A case takes some milliseconds; one that takes this long is on its way to never ending. */
const SLOW = 10_000

const testing = fileURLToPath(new URL('../config/testing/', import.meta.url))
const configs = ['good', 'engines'].flatMap((folder) =>
  readdirSync(join(testing, folder))
    .filter((name) => name.endsWith('.json'))
    .map((name) => readFileSync(join(testing, folder, name), 'utf8'))
    // JSON.parse would round such numbers.
    .map((text) => JSON.parse(text.replaceAll(/\b\d{16,}\b/g, '4096'))),
)
// A program that the fake host has.
for (const config of configs) if (config.process) config.process.args = ['/bin/sh']
/** One with a bit of everything. */
const plain = configs.find((config) => config.mounts?.length > 4 && !config.process.apparmorProfile)
const schema = fileURLToPath(new URL('../../schema/', import.meta.url))

/** Every name of a field in the schema: mutations add fields that mean something. */
const keys = [
  ...new Set(
    readdirSync(schema, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.json'))
      .flatMap((name) => [...readFileSync(join(schema, name), 'utf8').matchAll(/"([A-Za-z]\w*)": \{/g)])
      .map(([, key]) => key!),
  ),
]

const options: CreateOptions = {
  ...CREATE_DEFAULTS,
  id: 'a',
  bundle: '/bundle',
}

/** Does it; gives the error if it was one for the user. */
function attempt(what: string, text: string, action: () => unknown): RuntError | null {
  const begin = Date.now()
  try {
    action()
    return null
  } catch (error) {
    if (!(error instanceof RuntError)) {
      console.log(`${what}: ${text.slice(0, 20_000)}`)
      throw error
    }
    assert.not.match(error.message, /\[object |\bundefined\b/, `${what}: a message for people: ${error.message}`)
    return error
  } finally {
    assert.ok(Date.now() - begin < SLOW, `${what} took ${Date.now() - begin} ms: ${text.slice(0, 2000)}`)
  }
}

/** What is polled is there: nothing takes longer than it may. */
const answersAtOnce = (_: string, { name }: Call): number | undefined => (name === 'ppoll' ? 1 : undefined)

test('any config.json makes a container, or an error of one line', () => {
  const random = new Random(seed)
  const outcomes = { made: 0, refused: 0 }
  for (let number = 0; number < caseCount(1500); number++) {
    const text = mutatedJson(random, random.pick(configs), keys)
    const { runtime } = fakeHost({ '/bundle/config.json': text }, answersAtOnce)
    const error = attempt(`case ${number}`, text, () => create(runtime, options))
    outcomes[error ? 'refused' : 'made']++
  }
  console.log(`fuzz: config.json: ${outcomes.made} containers, ${outcomes.refused} errors`)
  assert.ok(outcomes.made > 0 && outcomes.refused > 0)
})

/** The state.json that create writes for a config. */
function savedState(): string {
  let text = ''
  const { runtime } = fakeHost({ '/bundle/config.json': JSON.stringify(plain) }, (executor, call) => {
    if (executor !== 'host' || call.name !== 'write') return undefined
    const written = new TextDecoder().decode(call.memory(call.args[1]!, call.args[2]!))
    if (written.startsWith('{"format"')) text = written
    return undefined
  })
  create(runtime, options)
  return text
}

test('any state.json is read, or is an error of one line', () => {
  const random = new Random(seed + 1)
  const good = savedState()
  assert.match(good, /^\{"format":1,/)
  const outcomes = { read: 0, refused: 0 }
  const commands: [string, (runtime: Runtime) => unknown][] = [
    ['state', (runtime) => state(runtime, 'a')],
    ['start', (runtime) => start(runtime, 'a', null)],
    ['kill', (runtime) => kill(runtime, 'a', 9, false)],
    ['delete', (runtime) => remove(runtime, 'a', false)],
    ['delete --force', (runtime) => remove(runtime, 'a', true)],
    ['ps', (runtime) => pidsOf(runtime, 'a')],
    ['pause', (runtime) => pause(runtime, 'a')],
    ['resume', (runtime) => resume(runtime, 'a')],
    ['list', (runtime) => list(runtime)],
  ]
  for (let number = 0; number < caseCount(600); number++) {
    let text = random.chance(1, 3) ? mutatedText(random, good) : mutatedJson(random, JSON.parse(good), keys)
    if (random.chance(1, 20)) text = good.slice(0, random.below(good.length))
    const [name, command] = random.pick(commands)
    const files = { '/run/runt/a/state.json': text, '/run/runt/a/config.json': JSON.stringify(plain) }
    const { runtime } = fakeHost(files, (_, call) => (call.name === 'connect' ? 'ECONNREFUSED' : undefined))
    const error = attempt(`${name}, case ${number}`, text, () => command(runtime))
    outcomes[error ? 'refused' : 'read']++
  }
  console.log(`fuzz: state.json: ${outcomes.read} read, ${outcomes.refused} errors`)
  assert.ok(outcomes.refused > 0)
})

/** An executor whose answer with a certain number is something else. */
function liar(random: Random, kernel: FakeKernel, turn: number): Channel {
  let answers = 0
  return {
    send: (message) => kernel.send(message),
    close: () => kernel.close(),
    receive() {
      const reply = kernel.receive()
      if (!(reply instanceof Uint8Array) || answers++ !== turn) return reply
      const lie = reply.slice()
      switch (random.below(6)) {
        case 0:
          return random.bytes(random.below(5000))
        case 1:
          return lie.subarray(0, random.below(lie.length + 1))
        case 2:
          return null
        case 3:
          kernel.close()
          return null
        default:
          for (let flips = 1 + random.below(8); flips > 0; flips--)
            lie[random.below(lie.length)] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)])
          return lie
      }
    },
  }
}

test('whatever an executor answers, the end is an error of one line, or none', () => {
  const random = new Random(seed + 2)
  const text = JSON.stringify(plain)
  const outcomes = { made: 0, refused: 0 }
  for (let number = 0; number < caseCount(800); number++) {
    const fake = fakeHost({ '/bundle/config.json': text })
    const who = random.pick(['host', 'stage', 'init'] as const)
    const first = { host: 0x1000_0000, stage: 0x2000_0000, init: 0x3000_0000 }[who]
    const lying = new Session(who, liar(random, fake[who], random.below(6)), first)
    const runtime: Runtime = { ...fake.runtime, [who]: lying }
    const error = attempt(`case ${number} (${who})`, '', () => create(runtime, options))
    outcomes[error ? 'refused' : 'made']++
  }
  console.log(`fuzz: answers: ${outcomes.made} containers, ${outcomes.refused} errors`)
  assert.ok(outcomes.refused > 0)
})

test.run()
