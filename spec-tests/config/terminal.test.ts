/** config.md, "Process": terminal and consoleSize; runc-run(8) in the foreground, runc-create(8): --console-socket. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  type Container,
  container,
  fails,
  heading,
  leavesNothing,
  oneLine,
  set,
  withoutNamespaces,
  words,
} from '../harness.ts'
import { patience, waitFor } from '../host.ts'
import { act, type Scene, type Step } from '../terminal.ts'

const { test, only, run } = heading('config/terminal')

/** A configuration with a terminal, and a shell script for a program. */
const terminal =
  (script: string, configure: (config: Config) => void = () => {}) =>
  (config: Config): void => {
    config.process.terminal = true
    config.process.args = ['sh', '-c', script]
    configure(config)
  }

const size = (height: number, width: number) => (config: Config) =>
  set(config, 'process.consoleSize', { height, width })

const runWords = (c: Container): string[] => words(['run', '--bundle', c.bundle.directory, c.id])

/** `run` in the foreground, on a terminal of 24 rows and 80 columns. */
function foreground(c: Container, ...steps: Step[]): Scene {
  return act({ place: 'terminal', command: runWords(c), steps: [...steps, ['end']] })
}

let sockets = 0

/** `create`, whose terminal arrives on a console socket; then the steps. */
function onSocket(c: Container, steps: Step[], path = join(base, `console${sockets++}`)): Scene {
  const command = words(['create', '--bundle', c.bundle.directory, '--console-socket', path, c.id])
  return act({ place: 'socket', command, path, steps })
}

const starts = (c: Container): Step => ['run', ...words(['start', c.id])]

test('the standard streams are a terminal of the size of process.consoleSize', () => {
  const c = container(terminal('test -t 0 -a -t 1 -a -t 2 && tty && stty size', size(33, 77)))
  const { output, statuses } = onSocket(c, [starts(c), ['drain']])
  assert.equal(statuses, [0, 0])
  assert.is(output, '/dev/pts/0\r\n33 77\r\n')
})

test('/dev/console is the same terminal', () => {
  const c = container(terminal('echo through the console > /dev/console; stat -c %t:%T /dev/console /dev/pts/0'))
  const { output } = onSocket(c, [starts(c), ['drain']])
  assert.is(output, 'through the console\r\n88:0\r\n88:0\r\n')
})

test('the terminal is the controlling one, and Ctrl-C interrupts the program', () => {
  const script = 'trap "echo interrupted; exit 3" INT; echo to the tty > /dev/tty; while :; do sleep 60 & wait $!; done'
  const c = container(terminal(script))
  const { output } = onSocket(c, [starts(c), ['expect', 'to the tty'], ['send', '\x03'], ['drain']])
  assert.match(output, /interrupted/)
  c.until('stopped')
})

test('the terminal belongs to the user of the process, group tty, mode 620', () => {
  const user = (config: Config) => set(config, 'process.user', { uid: 1234, gid: 1234 })
  const c = container(terminal('stat -c %u:%g:%a /dev/pts/0; cat /dev/null > /dev/console && echo opened', user))
  assert.is(onSocket(c, [starts(c), ['drain']]).output, '1234:5:620\r\nopened\r\n')
})

only('runt runc', 'the console socket gets one descriptor, and a text', () => {
  const { descriptors, text } = onSocket(container(terminal('true')), [])
  assert.is(descriptors, 1)
  assert.match(text!, /^\/dev\/(pts\/0|ptmx)$/)
})

test('the console socket may have a path longer than an address', () => {
  const folder = join(base, 'extra', 'x'.repeat(120))
  mkdirSync(folder, { recursive: true })
  const c = container(terminal('echo here'))
  const { output } = onSocket(c, [starts(c), ['drain']], join(folder, 'socket'))
  assert.is(output, 'here\r\n')
})

test('run --detach sends the terminal to the console socket', () => {
  const c = container(terminal('read line; echo "got $line"'))
  const path = join(base, 'detached')
  const command = words(['run', '--detach', '--console-socket', path, '--bundle', c.bundle.directory, c.id])
  const { output } = act({ place: 'socket', path, command, steps: [['send', 'words\n'], ['drain']] })
  assert.match(output, /got words\r\n$/)
})

test('a console socket that is not there is named, and nothing is left', () => {
  const result = fails(container(terminal('true')).create('--console-socket', '/no/such/socket'), /\/no\/such\/socket/)
  oneLine(result)
  leavesNothing()
})

test('a flood of output that nobody reads hangs neither create, start, kill nor delete', () => {
  const c = container(terminal('while :; do echo 0123456789abcdef0123456789abcdef; done'))
  const kills: Step = ['run', ...words(['kill', c.id, 'KILL'])]
  const { statuses } = onSocket(c, [starts(c), kills])
  assert.equal(statuses, [0, 0, 0])
  c.until('stopped')
  assert.is(c.delete().status, 0)
  leavesNothing()
})

test('the end of the one who holds the terminal hangs the program up', () => {
  const c = container(terminal('trap "exit 4" HUP; echo ready; while :; do sleep 60 & wait $!; done'))
  onSocket(c, [starts(c), ['expect', 'ready'], ['hang_up']])
  c.until('stopped')
})

test('run in the foreground passes input, output and the exit status on', () => {
  const c = container(terminal('read line; echo "got $line"; exit 5'))
  const { statuses, output, restored } = foreground(c, ['raw'], ['send', 'words\r'])
  assert.is(output, 'words\r\ngot words\r\n')
  assert.equal(statuses, [5])
  assert.ok(restored)
  leavesNothing()
})

test('run in the foreground gives the terminal the size of that of the caller', () => {
  const c = container(terminal('stty size'))
  assert.is(foreground(c).output, '24 80\r\n')
})

test('run in the foreground passes a change of the size on', () => {
  const c = container(terminal('trap "stty size; exit" WINCH; echo ready; while :; do sleep 60 & wait $!; done'))
  const { output } = foreground(c, ['expect', 'ready'], ['raw'], ['resize', 50, 132])
  assert.match(output, /50 132/)
})

test('Ctrl-C at run in the foreground interrupts the program, not the runtime', () => {
  const c = container(terminal('trap "echo interrupted; exit 3" INT; echo ready; while :; do sleep 60 & wait $!; done'))
  const { output, statuses, restored } = foreground(c, ['expect', 'ready'], ['raw'], ['send', '\x03'])
  assert.match(output, /interrupted/)
  assert.equal(statuses, [3])
  assert.ok(restored)
})

for (const signal of ['SIGTERM', 'SIGHUP']) {
  test(`${signal} for run in the foreground reaches the program, and the terminal is as it was afterwards`, () => {
    const c = container(terminal(`trap "exit 6" ${signal.slice(3)}; echo ready; while :; do sleep 60 & wait $!; done`))
    const { statuses, restored } = foreground(c, ['expect', 'ready'], ['raw'], ['kill', signal])
    assert.equal(statuses, [6])
    assert.ok(restored)
    leavesNothing()
  })
}

test('a program that cannot be executed leaves the terminal of the caller as it was', () => {
  const c = container(terminal('', (config) => set(config, 'process.args', ['/no/such/program'])))
  const { statuses, restored, output } = foreground(c)
  assert.is.not(statuses[0], 0)
  assert.ok(restored)
  assert.match(output, /no\/such\/program/)
  leavesNothing()
})

/** Five megabytes and a last line. */
const LARGE = 'dd if=/dev/zero bs=1024 count=5120 2>/dev/null | tr "\\\\000" x; echo; echo the end'

test('all of a large output arrives, also what is read after the end of the program', () => {
  const { output, statuses } = foreground(container(terminal(LARGE)))
  assert.equal(statuses, [0])
  assert.is(output.length, 5120 * 1024 + 2 + 9)
  assert.match(output.slice(-100), /x\r\nthe end\r\n$/)
})

test('all of a large output arrives in a pipe too', () => {
  const c = container(terminal(LARGE))
  const { output, statuses, restored } = act({
    place: 'terminal',
    command: runWords(c),
    stdout: 'pipe',
    steps: [['slurp']],
  })
  assert.equal(statuses, [0])
  assert.is(output.replaceAll('\r', '').length, 5120 * 1024 + 1 + 8)
  assert.ok(restored)
})

test('a large input arrives', () => {
  const c = container(terminal('stty raw -echo; echo ready; head -c 300000 | wc -c'))
  const { output, statuses } = foreground(c, ['expect', 'ready'], ['raw'], ['flood', 300_000])
  assert.match(output, /300000/)
  assert.equal(statuses, [0])
})

test('run in the foreground needs no terminal of its own', () => {
  const c = container(terminal('test -t 0 && test -t 1 && stty size', size(10, 20)))
  const result = c.run()
  assert.match(result.stdout, /^10 20\r?\n$/)
  assert.is(result.status, 0)
})

test('input through a pipe reaches the program', () => {
  const c = container(terminal('stty -echo; echo ready; read line; echo "got $line"'))
  const { stdout, status } = c.run([], { stdin: 'words\n' })
  assert.match(stdout, /got words\r?\n$/)
  assert.is(status, 0)
})

test('a program that closes its terminal can open it again', () => {
  const c = container(terminal('exec </dev/null >/dev/null 2>&1; sleep 0.3; echo again > /dev/console; sleep 0.3'))
  assert.is(foreground(c).output, 'again\r\n')
})

test('the end of the program ends run, whoever has the terminal open still', () => {
  // Without a pid namespace a child outlives it.
  const seconds = 4 * patience
  const child = `trap "" HUP; (sleep ${seconds}) & echo started; exit 0`
  const c = container(terminal(child, (config) => withoutNamespaces(config, 'pid')))
  const begin = Date.now()
  const { statuses, output } = foreground(c)
  assert.equal(statuses, [0])
  assert.match(output, /started/)
  assert.ok(Date.now() - begin < seconds * 1000)
  assert.ok(waitFor(() => c.delete('--force').status === 0))
})

only('runt', 'a terminal without a devpts is refused, and process.terminal is named', () => {
  const c = container(
    terminal('true', (config) => {
      config.mounts = config.mounts.filter(({ destination }) => destination !== '/dev/pts')
    }),
  )
  oneLine(fails(c.run(), /process\.terminal.*devpts/))
  leavesNothing()
})

run()
