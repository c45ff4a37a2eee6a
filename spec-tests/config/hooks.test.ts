/** runtime-spec, config.md: "POSIX-platform Hooks". */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Bundle, bundle, container, fails, heading, leavesNothing, ok, type State } from '../harness.ts'
import { waitFor } from '../host.ts'

const { test, run } = heading('config/hooks')

const OUTSIDE = ['prestart', 'createRuntime', 'createContainer', 'poststart', 'poststop'] as const

/** A hook that appends its name, its state and its environment to a file of the bundle. */
function hook(made: Bundle, name: string) {
  mkdirSync(join(made.directory, 'extra'), { recursive: true })
  const file = join(made.directory, 'extra', name)
  return {
    path: '/bin/sh',
    args: [
      'sh',
      '-c',
      `cat > ${file}.state; env > ${file}.env; pwd > ${file}.cwd; echo ${name} >> ${made.directory}/extra/order`,
    ],
    env: [`HOOK=${name}`, 'PATH=/usr/bin:/bin'],
  }
}

function withHooks(args: string[]): Bundle {
  const made = bundle((config) => {
    config.process.args = args
  })
  made.config.hooks = Object.fromEntries(OUTSIDE.map((name) => [name, [hook(made, name)]]))
  made.write()
  return made
}

const order = (made: Bundle) => readFileSync(join(made.directory, 'extra/order'), 'utf8').trim().split('\n')

test('the hooks are called in the order of the lifecycle', () => {
  const made = withHooks(['true'])
  const c = container(made)
  ok(c.create())
  assert.equal(order(made), ['prestart', 'createRuntime', 'createContainer'])
  ok(c.start())
  c.until('stopped')
  assert.equal(order(made), ['prestart', 'createRuntime', 'createContainer', 'poststart'])
  ok(c.delete())
  assert.equal(order(made), [...OUTSIDE])
})

test('run calls all hooks', () => {
  const made = withHooks(['sleep', '0.1'])
  ok(container(made).run())
  assert.equal(order(made), [...OUTSIDE])
})

for (const [name, statuses] of [
  ['prestart', ['creating', 'created']],
  ['createRuntime', ['creating', 'created']],
  ['createContainer', ['creating', 'created']],
  ['poststart', ['running']],
  ['poststop', ['stopped']],
] as const) {
  test(`${name} hooks get the state on stdin, and the status is ${statuses.join(' or ')}`, () => {
    const made = withHooks(['sleep', '60'])
    made.config.annotations = { key: 'value' }
    made.write()
    const c = container(made)
    ok(c.create())
    ok(c.start())
    ok(c.delete('--force'))
    const state: State = JSON.parse(readFileSync(join(made.directory, `extra/${name}.state`), 'utf8'))
    assert.is(state.id, c.id)
    assert.is(state.bundle, made.directory)
    assert.is(state.annotations?.key, 'value')
    assert.ok((statuses as readonly string[]).includes(state.status), state.status)
    if (name !== 'poststop' && name !== 'createContainer') assert.ok(state.pid! > 0)
  })
}

test('a hook has the environment of the configuration and no other', () => {
  const made = withHooks(['true'])
  ok(container(made).run())
  const env = readFileSync(join(made.directory, 'extra/createRuntime.env'), 'utf8')
  assert.match(env, /^HOOK=createRuntime$/m)
  assert.not.match(env, /RUNT_SPEC/)
})

test('createContainer and startContainer hooks run in the namespaces of the container', () => {
  const made = bundle((config) => {
    config.root.readonly = false
    config.process.args = ['cat', '/proof']
    config.hooks = {
      startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'hostname > /proof'], env: ['PATH=/bin'] }],
    }
  })
  assert.is(ok(container(made).run()).stdout, 'runc\n')
})

test('startContainer hooks are called by start, not by create', () => {
  const made = bundle((config) => {
    config.root.readonly = false
    config.hooks = { startContainer: [{ path: '/bin/touch', args: ['touch', '/proof'] }] }
  })
  const c = container(made)
  ok(c.create())
  assert.not(existsSync(join(made.rootfs, 'proof')))
  ok(c.start())
  assert.ok(waitFor(() => existsSync(join(made.rootfs, 'proof'))))
})

for (const name of ['prestart', 'createRuntime', 'createContainer']) {
  test(`a ${name} hook that fails makes create fail and leaves nothing`, () => {
    const c = container((config) => {
      config.hooks = { [name]: [{ path: '/bin/sh', args: ['sh', '-c', 'exit 3'] }] }
    })
    fails(c.create(), /hook/i)
    leavesNothing()
  })
}

test('a startContainer hook that fails keeps the program from running', () => {
  const c = container((config) => {
    config.process.args = ['echo', 'ran']
    config.hooks = { startContainer: [{ path: '/bin/false' }] }
  })
  const result = c.run()
  assert.is.not(result.status, 0)
  assert.not.match(result.stdout, /ran/)
  leavesNothing()
})

for (const name of ['poststart', 'poststop']) {
  test(`a ${name} hook that fails does not keep the container from its end and its deletion`, () => {
    const c = container((config) => {
      config.process.args = ['sleep', '0.05']
      config.hooks = { [name]: [{ path: '/bin/false' }] }
    })
    ok(c.create())
    c.start()
    c.until('stopped')
    c.delete()
    leavesNothing()
  })
}

test('a hook that is missing makes create fail and is named', () => {
  const c = container((config) => {
    config.hooks = { createRuntime: [{ path: '/no/such/hook' }] }
  })
  fails(c.create(), /\/no\/such\/hook/)
  leavesNothing()
})

test('a hook that takes longer than its timeout is ended and makes create fail', () => {
  const c = container((config) => {
    config.hooks = { createRuntime: [{ path: '/bin/sleep', args: ['sleep', '20'], timeout: 1 }] }
  })
  const begin = Date.now()
  fails(c.create())
  assert.ok(Date.now() - begin < 5000)
  leavesNothing()
})

test('a hook that does not read its state is no mistake, however long the state is', () => {
  const c = container((config) => {
    config.annotations = { long: 'x'.repeat(200_000) }
    config.process.args = ['true']
    config.hooks = {
      createRuntime: [{ path: '/bin/true' }],
      poststart: [{ path: '/bin/true' }],
      poststop: [{ path: '/bin/true' }],
    }
  })
  ok(c.run())
  leavesNothing()
})

test('hooks of one kind run one after the other in the order of the list', () => {
  const made = bundle()
  made.config.hooks = { createRuntime: ['one', 'two', 'three'].map((name) => hook(made, name)) }
  made.write()
  ok(container(made).create())
  assert.equal(order(made), ['one', 'two', 'three'])
})

run()
