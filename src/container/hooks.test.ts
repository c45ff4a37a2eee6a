import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Hook } from '../config/types.ts'
import { ARENA, SLOTS } from '../executor/protocol.ts'
import type { Call } from '../session/testing/fake-kernel.ts'
import { create } from './create.ts'
import { CREATE_DEFAULTS, type CreateOptions } from './runtime.ts'
import { fakeHost } from './testing/fake-host.ts'

const options: CreateOptions = {
  ...CREATE_DEFAULTS,
  id: 'box',
  bundle: '/bundle',
}

/** How a hook ends: si_code and si_status of waitid(2), the verdict of a child that could not execute it, what it wrote. */
interface End {
  code?: number
  status?: number
  verdict?: [result: number, atExecve: number]
  text?: string
  slow?: boolean
}

const FORKS_A_HOOK = 0x1000 + 17

/** Creates a container with hooks, which end one after the other as `ends` says; well, where it says nothing. */
function tell(hooks: Record<string, Hook[]>, ends: End[] = []) {
  const story: string[] = []
  let end: End = {}
  const config = {
    ociVersion: '1.2.0',
    root: { path: 'rootfs' },
    process: { user: { uid: 0, gid: 0 }, args: ['sh'], env: ['PATH=/bin', 'HOME=/'], cwd: '/' },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    annotations: { key: 'value' },
    linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }], cgroupsPath: '/pod/box' },
    hooks,
  }
  const kernel = (executor: string, { name, args, text, memory }: Call): number | string | undefined => {
    const words = args.map((arg) =>
      arg >= ARENA && arg < SLOTS && /^[ -~\n]+$/.test(text(arg)) ? JSON.stringify(text(arg)) : String(arg),
    )
    story.push(`${executor}: ${name} ${words.join(' ')}`)
    if (name === 'clone' && args[0] === FORKS_A_HOOK) end = ends.shift() ?? {}
    if (name === 'ppoll') return end.slow ? 0 : 1
    if (name === 'waitid' && args[2]) {
      const info = new DataView(new ArrayBuffer(128))
      info.setInt32(8, end.code ?? 1, true)
      info.setInt32(24, end.status ?? 0, true)
      memory(args[2], 128).set(new Uint8Array(info.buffer))
    }
    if (name === 'pread64' && end.verdict) {
      memory(args[1]!, 16).set(new Uint8Array(new BigInt64Array(end.verdict.map(BigInt)).buffer))
      return 16
    }
    if (name === 'lseek' && args[1]! < 0) return (end.text ?? '').length > 1024 ? 1 : 'EINVAL'
    if (name === 'read' && args[2] === 1024 && end.text !== undefined) {
      const bytes = new TextEncoder().encode(end.text).slice(-1024)
      memory(args[1]!, bytes.length).set(bytes)
      return bytes.length
    }
    return undefined
  }
  const fake = fakeHost({ '/bundle/config.json': JSON.stringify(config) }, kernel)
  let message = ''
  try {
    create(fake.runtime, options)
  } catch (error) {
    message = (error as Error).message
  }
  return { story, message, warnings: fake.warnings }
}

const hook = (path: string, more: Partial<Hook> = {}): Hook => ({ path, ...more })
const places = (story: string[], pattern: RegExp): number[] =>
  story.flatMap((line, index) => (pattern.test(line) ? [index] : []))
const FORK = new RegExp(`clone ${FORKS_A_HOOK} `)

test('create calls its hooks in order, between the mounts and the change of root', () => {
  const { story, message } = tell({
    createContainer: [hook('/c')],
    createRuntime: [hook('/b')],
    prestart: [hook('/a1'), hook('/a2')],
  })
  assert.is(message, '')
  const forks = places(story, FORK)
  assert.equal(
    forks.map((index) => story[index]!.split(':')[0]),
    ['host', 'host', 'host', 'init'],
  )
  assert.ok(places(story, /init: (fsmount|symlinkat)/).every((index) => index < forks[0]!))
  assert.ok(places(story, /init: (pivot_root|capset|accept4)/).every((index) => index > forks[3]!))
})

test('the state for stdin has status, pid and annotations, and is sealed', () => {
  const { story } = tell({ createRuntime: [hook('/a')] })
  const written = places(story, /host: write .*creating/)[0]!
  assert.match(story[written]!, /\\"status\\":\\"creating\\",\\"pid\\":4711,\\"bundle\\":\\"\/bundle\\"/)
  assert.match(story[written]!, /\\"annotations\\":\{\\"key\\":\\"value\\"\}/)
  assert.match(story.slice(written).find((line) => line.includes('fcntl'))!, / 1033 15 /)
})

test('startContainer hooks are called by the parked init, after its connection', () => {
  const { story } = tell({ startContainer: [hook('/a')] })
  const [fork, ...more] = places(story, FORK)
  assert.equal(more, [])
  assert.ok(places(story, /init: accept4/)[0]! < fork!)
  assert.ok(fork! < places(story, /init: execve "\/bin\/sh"/)[0]!)
  assert.match(story[places(story, /init: write .*created/)[0]!]!, /\\"status\\":\\"created\\",\\"pid\\":4711/)
})

for (const [what, end, words] of [
  ['exits with a status', { status: 3 }, 'exit status 3'],
  ['is killed', { code: 2, status: 9 }, 'ended by signal 9 (SIGKILL)'],
  ['dumps core', { code: 3, status: 11 }, 'ended by signal 11 (SIGSEGV)'],
  ['takes too long', { code: 2, status: 9, slow: true }, 'it took longer than its timeout of 2 s, and was killed'],
  ['is missing', { status: 127, verdict: [-2, 1] }, 'execve: ENOENT (No such file or directory)'],
  ['cannot be prepared', { status: 127, verdict: [-24, 0] }, 'it cannot be prepared: EMFILE (Too many open files)'],
  ['writes lines', { status: 1, text: ' one\n\ttwo\x00\n' }, 'exit status 1; its stderr: one two'],
] as [string, End, string][])
  test(`a hook that ${what} is told in one line`, () => {
    const { message } = tell({ createRuntime: [hook('/ok'), hook('/a', { timeout: 2 })] }, [{}, end])
    assert.is(message, `hooks.createRuntime[1] (/a): ${words}`)
  })

test('of long stderr the end is shown, from a whole character on', () => {
  const { message } = tell({ createRuntime: [hook('/a')] }, [{ status: 1, text: `${'ü'.repeat(1100)}!` }])
  assert.is(message, `hooks.createRuntime[0] (/a): exit status 1; its stderr: … ${'ü'.repeat(511)}!`)
})

test('after a hook that fails no other is called but those for the end, when nothing is left', () => {
  const { story, message, warnings } = tell(
    { prestart: [hook('/a'), hook('/b')], createRuntime: [hook('/c')], poststop: [hook('/d'), hook('/e')] },
    [{ status: 1 }, { status: 2 }, { status: 3 }],
  )
  assert.is(message, 'hooks.prestart[0] (/a): exit status 1')
  assert.equal(warnings, ['hooks.poststop[0] (/d): exit status 2', 'hooks.poststop[1] (/e): exit status 3'])
  const forks = places(story, FORK)
  assert.is(forks.length, 3)
  const folder = places(story, /host: unlinkat -100 "\/run\/runt\/box" 512/)[0]!
  assert.ok(forks[0]! < folder && folder < forks[1]!)
  assert.match(story[places(story, /host: write .*stopped/)[0]!]!, /\\"status\\":\\"stopped\\",\\"bundle\\"/)
})

test('a container without hooks is set up without a pause', () => {
  const { story } = tell({ prestart: [] })
  assert.equal(places(story, FORK), [])
  assert.equal(places(story, /memfd_create "runt:state"/), [])
})

test.run()
