/** runtime-spec, runtime.md: "Kill"; runc-kill(8). */
import * as assert from 'uvu/assert'
import { type Config, container, fails, heading, ok, run as runtime, STAYS, started } from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'

const { test, run } = heading('runtime/kill')

const stays = (config: Config) => {
  config.process.args = ['sh', '-c', STAYS]
}
const ready = () => {
  const c = started(stays)
  c.says(/ready/)
  return c
}

for (const [what, words, answer] of [
  ['without a signal sends SIGTERM', [], /got TERM/],
  ['takes a name', ['USR1'], /got USR1/],
  ['takes a name with SIG', ['SIGUSR1'], /got USR1/],
  ['takes a name in lower case', ['usr1'], /got USR1/],
  ['takes a number', ['10'], /got USR1/],
  ['takes SIGINT', ['INT'], /got INT/],
] as const) {
  test(`kill ${what}`, () => {
    const c = ready()
    const result = ok(c.kill(...words))
    c.says(answer)
    assert.is(result.stdout, '')
  })
}

test('kill KILL ends a process that ignores everything else', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'trap "" TERM INT; echo ready; while :; do sleep 0.1; done']
  })
  c.says(/ready/)
  ok(c.kill('KILL'))
  c.until('stopped')
})

test('kill 9 ends the container', () => {
  const c = started()
  ok(c.kill('9'))
  c.until('stopped')
})

test('kill of a created container reaches it', () => {
  const c = container()
  ok(c.create())
  ok(c.kill('KILL'))
  c.until('stopped')
  ok(c.delete())
})

for (const name of ['HUP', 'INT', 'QUIT', 'ABRT', 'TERM']) {
  test(`kill ${name} ends a created container`, () => {
    const c = container()
    ok(c.create())
    ok(c.kill(name))
    c.until('stopped')
    fails(c.start(), /stopped/)
    ok(c.delete())
  })
}

for (const name of ['USR1', 'WINCH', 'CHLD']) {
  test(`kill ${name} does not harm a created container`, () => {
    const c = container()
    ok(c.create())
    ok(c.kill(name))
    assert.is(c.status(), 'created')
    ok(c.start())
    assert.is(c.status(), 'running')
  })
}

test('kill TERM ends a created container without a pid namespace', () => {
  const c = container((config) => {
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid')
  })
  ok(c.create())
  ok(c.kill('TERM'))
  c.until('stopped')
  ok(c.delete())
})

test('kill of a stopped container fails', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  fails(c.kill('TERM'), /not running|stopped|No such process|no such process/i)
})

test('kill with an unknown signal name fails, names it, and does not harm the container', () => {
  const c = started()
  fails(c.kill('NOSIG'), /NOSIG/i)
  assert.is(c.status(), 'running')
})

test('kill with a signal number that no kernel knows fails', () => {
  const c = started()
  fails(c.kill('1000'))
  assert.is(c.status(), 'running')
})

test('kill with a negative number fails', () => {
  const c = started()
  fails(c.kill('-5'))
  assert.is(c.status(), 'running')
})

test('kill takes real-time signals by number', () => {
  const c = started()
  ok(c.kill('KILL'))
  c.until('stopped')
  const other = started((config) => {
    config.process.args = ['sh', '-c', 'trap "echo got 40" 40; echo ready; while :; do sleep 0.05; done']
  })
  other.says(/ready/)
  ok(other.kill('40'))
  other.says(/got 40/)
})

test('kill --all reaches every process of a container without a pid namespace', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'sleep 61 & sleep 61 & echo ready; wait']
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid')
  })
  c.says(/ready/)
  ok(c.kill('--all', 'KILL'))
  c.until('stopped')
  ok(c.delete())
})

test('kill KILL ends all processes of a container without a pid namespace', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'sleep 61 & sleep 61 & echo ready; wait']
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid')
  })
  c.says(/ready/)
  ok(c.kill('KILL'))
  c.until('stopped')
  // Nothing but the state is left for `delete`, and the harness looks for processes.
  ok(c.delete())
})

test('kill KILL ends what is left of a container without a pid namespace when its init is gone', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'sleep 62 & sleep 62 & echo ready $!; wait']
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid')
  })
  c.says(/ready \d+/)
  const left = Number(/ready (\d+)/.exec(c.output())![1])
  process.kill(c.state().pid!, 'SIGKILL')
  c.until('stopped')
  assert.ok(isAlive(left))
  ok(c.kill('KILL'))
  assert.ok(waitFor(() => !isAlive(left)))
  fails(c.kill('KILL'), /not running/)
  ok(c.delete())
})

test('kill -a is kill --all', () => {
  const c = started()
  ok(c.kill('-a', 'KILL'))
  c.until('stopped')
})

test('a signal is delivered once', () => {
  const c = ready()
  ok(c.kill('USR1'))
  c.says(/got USR1/)
  assert.not(waitFor(() => /got USR1[\s\S]*got USR1/.test(c.output()), 150))
})

test('kill 0 tells whether the container is there, and sends nothing', () => {
  const c = started()
  ok(c.kill('0'))
  assert.is(c.status(), 'running')
  assert.is(runtime(['state', c.id]).status, 0)
})

run()
