/** runc-create(8), runc-run(8), runc-exec(8): --pidfd-socket. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { base, container, fails, heading, leavesNothing, oneLine, run as runtime, started, words } from '../harness.ts'
import { act } from '../terminal.ts'

// runc has it since 1.2.
const { only, run } = heading('cli/pidfd-socket')

/** Runs a command with a socket of this name. */
const receive = (name: string, command: string, ...rest: string[]) => {
  const path = join(base, name)
  return act({
    place: 'socket',
    path,
    // What goes on is not to keep the pipes of the play open.
    command: ['sh', '-c', 'exec "$@" >/dev/null 2>&1', 'sh', ...words([command, '--pidfd-socket', path, ...rest])],
    steps: [['pidfd']],
  })
}

for (const [command, ...flags] of [['create'], ['run', '--detach']] as const) {
  only('runt', `${command} sends a pidfd of the init`, () => {
    const c = container()
    const scene = receive(`pidfd-${command}`, command, ...flags, '--bundle', c.bundle.directory, c.id)
    assert.equal([scene.statuses, scene.text, scene.descriptors], [[0], 'standard', 1])
    assert.is(scene.pid, c.state().pid)
  })
}

only('runt', 'exec sends a pidfd of its process', () => {
  const c = started()
  const pidFile = join(base, 'pidfd.pid')
  const { text, pid } = receive('pidfd-exec', 'exec', '--detach', '--pid-file', pidFile, c.id, 'sleep', '60')
  assert.is(text, 'setns')
  assert.is(pid, Number(readFileSync(pidFile, 'utf8')))
})

only('runt', 'a pidfd socket that is not there is named, and nothing is left', () => {
  oneLine(fails(container().create('--pidfd-socket', '/no/such/socket'), /--pidfd-socket \/no\/such\/socket/))
  leavesNothing()
  const c = started()
  oneLine(fails(runtime(['exec', '--pidfd-socket', '/no/such/socket', c.id, 'true']), /--pidfd-socket/))
  assert.is(runtime(['ps', '--format', 'json', c.id]).stdout.trim(), `[${c.state().pid}]`)
})

run()
