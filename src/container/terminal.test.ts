import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from '../base/errors.ts'
import * as k from '../linux/constants.ts'
import { create } from './create.ts'
import { CREATE_DEFAULTS } from './runtime.ts'
import { checkTerminal } from './terminal.ts'
import { type FakeHost, fakeHost } from './testing/fake-host.ts'

const message = (work: () => void): string => {
  try {
    work()
  } catch (error) {
    assert.instance(error, RuntError)
    return (error as RuntError).message
  }
  return ''
}

test('a terminal needs somebody who holds its master', () => {
  const check = (terminal: boolean | undefined, consoleSocket: string | null, foreground: boolean): string =>
    message(() => checkTerminal({ terminal, consoleSocket, foreground }))
  assert.is(check(false, null, false), '')
  assert.is(check(undefined, null, true), '')
  assert.is(check(true, null, true), '')
  assert.is(check(true, '/s', false), '')
  assert.match(check(true, null, false), 'cannot allocate tty if runt will detach without setting console socket')
  for (const [terminal, foreground] of [
    [false, false],
    [false, true],
    [true, true],
  ] as const)
    assert.match(check(terminal, '/s', foreground), 'cannot use console socket if runt will not detach or allocate tty')
})

/** Creates a container with a terminal on fake kernels; the story is that of all executors. */
function told(consoleSocket: string, terminal = true): { fake: FakeHost; story: string[]; error: string } {
  const story: string[] = []
  const config = {
    ociVersion: '1.2.0',
    root: { path: 'rootfs' },
    process: {
      terminal,
      consoleSize: { height: 30, width: 100 },
      user: { uid: 1000, gid: 1000 },
      args: ['sh'],
      env: ['PATH=/bin', 'HOME=/'],
      cwd: '/',
    },
    linux: { namespaces: ['pid', 'mount'].map((type) => ({ type })), cgroupsPath: '/pod/tty' },
  }
  const fake = fakeHost({ '/bundle/config.json': JSON.stringify(config) }, (executor, { name, args, memory }) => {
    story.push(`${executor}: ${name} ${args.join(' ')}`)
    if (name === 'ioctl' && args[1] === k.TIOCGPTN) memory(args[2]!, 4)[0] = 7
    if (name === 'ioctl' && args[1] === k.TIOCGPTPEER) return 201
    if (name !== 'recvmsg') return undefined
    const pointer = (at: number): number => new DataView(memory(at, 8).slice().buffer).getUint32(0, true)
    const control = memory(pointer(args[1]! + 32), 24)
    control[12] = k.SCM_RIGHTS
    control[16] = 77
    return 3
  })
  const error = message(() =>
    create(fake.runtime, {
      ...CREATE_DEFAULTS,
      id: 'tty',
      bundle: '/bundle',
      consoleSocket,
    }),
  )
  return { fake, story, error }
}

const first = (story: string[], start: string): number => {
  const index = story.findIndex((line) => line.startsWith(start))
  assert.ok(index >= 0, `no ${start} in:\n${story.join('\n')}`)
  return index
}

test('the console socket is connected to before anything is made', () => {
  const { story, error } = told('/run/console')
  assert.is(error, '')
  assert.ok(first(story, 'host: connect') < first(story, 'host: mkdirat'))
})

test('the host has connected to the init before that waits for it, and takes the master when that was sent', () => {
  const { story } = told('/run/console')
  const connects = story.flatMap((line, index) => (line.startsWith('host: connect') ? [index] : []))
  assert.is(connects.length, 2)
  assert.ok(connects[1]! < first(story, 'init: accept4'))
  assert.ok(first(story, 'init: sendmsg') < first(story, 'host: recvmsg'))
  assert.ok(first(story, 'host: recvmsg') < first(story, 'host: sendmsg'))
})

test('the terminal is the controlling one, and the standard streams, before the rights of its user are the process’s', () => {
  const { story } = told('/run/console')
  const control = first(story, `init: ioctl 201 ${k.TIOCSCTTY}`)
  for (const fd of [0, 1, 2]) assert.ok(first(story, `init: dup3 201 ${fd} 0`) > control)
  assert.ok(first(story, 'init: dup3 201 2 0') < first(story, 'init: setresuid'))
})

test('without a terminal nothing of the kind is done', () => {
  const { story, error } = told('/run/console', false)
  assert.match(error, 'console socket')
  assert.not.ok(story.some((line) => /ioctl|sendmsg|recvmsg/.test(line)))
})

test('a console socket with a name of more than 107 bytes is refused', () => {
  assert.match(told(`/run/${'x'.repeat(108)}`).error, 'at most 107 bytes')
})

test.run()
