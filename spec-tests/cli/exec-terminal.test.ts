/** runc-exec(8): --tty, in the foreground and with --console-socket. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  type Container,
  container,
  execute,
  fails,
  heading,
  ok,
  oneLine,
  pidsIn,
  run as runtime,
  command as runtimeCommand,
  started,
  words,
} from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'
import { act, type Scene, type Step } from '../terminal.ts'

const { test, only, run } = heading('cli/exec-terminal')

/** `exec --tty` of a shell script in the foreground, on a terminal of 24 rows and 80 columns. */
function foreground(c: Container, script: string, ...steps: Step[]): Scene {
  return act({
    place: 'terminal',
    command: words(['exec', '--tty', c.id, 'sh', '-c', script]),
    steps: [...steps, ['end']],
  })
}

let files = 0

/** `exec --detach` with the flags, whose terminal arrives on a console socket; then the steps. */
function onSocket(c: Container, flags: string[], command: string[], steps: Step[]): Scene {
  const path = join(base, `exec-console${files++}`)
  return act({
    place: 'socket',
    command: words(['exec', '--detach', '--console-socket', path, ...flags, c.id, ...command]),
    path,
    steps,
  })
}

/** A file for --process. */
function processFile(script: string, changes: object = {}): string {
  const path = join(base, `process${files++}.json`)
  const process = {
    terminal: true,
    args: ['sh', '-c', script],
    cwd: '/',
    env: ['PATH=/bin'],
    user: { uid: 0, gid: 0 },
    ...changes,
  }
  writeFileSync(path, JSON.stringify(process))
  return path
}

test('exec --tty passes input, output and the exit status on', () => {
  const { statuses, output, restored } = foreground(
    started(),
    'read line; echo "got $line"; exit 5',
    ['raw'],
    ['send', 'words\r'],
  )
  assert.is(output, 'words\r\ngot words\r\n')
  assert.equal(statuses, [5])
  assert.ok(restored)
})

test('the standard streams are one terminal of the container, the controlling one, with the size of that of the caller', () => {
  const { output } = foreground(started(), 'test -t 0 -a -t 1 -a -t 2 && tty && stty size && echo yes > /dev/tty')
  assert.is(output, '/dev/pts/0\r\n24 80\r\nyes\r\n')
})

test('a change of the size is passed on', () => {
  const script = 'trap "stty size; exit" WINCH; echo ready; while :; do sleep 60 & wait $!; done'
  const { output } = foreground(started(), script, ['expect', 'ready'], ['raw'], ['resize', 50, 132])
  assert.match(output, /50 132/)
})

test('Ctrl-C interrupts the program, not the runtime', () => {
  const script = 'trap "echo interrupted; exit 3" INT; echo ready; while :; do sleep 60 & wait $!; done'
  const { output, statuses, restored } = foreground(started(), script, ['expect', 'ready'], ['raw'], ['send', '\x03'])
  assert.match(output, /interrupted/)
  assert.equal(statuses, [3])
  assert.ok(restored)
})

for (const signal of ['SIGTERM', 'SIGHUP']) {
  test(`${signal} reaches the program, and the terminal is as it was afterwards`, () => {
    const script = `trap "exit 6" ${signal.slice(3)}; echo ready; while :; do sleep 60 & wait $!; done`
    const { statuses, restored } = foreground(started(), script, ['expect', 'ready'], ['raw'], ['kill', signal])
    assert.equal(statuses, [6])
    assert.ok(restored)
  })
}

only('runt', 'the terminal is as it was also when the runtime is killed', () => {
  const { restored } = foreground(
    started(),
    'echo ready; exec sleep 60',
    ['expect', 'ready'],
    ['raw'],
    ['kill', 'SIGKILL'],
    ['cooked'],
  )
  assert.ok(restored)
})

test('exec --tty works in a user namespace', () => {
  const c = container()
  const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }]
  c.bundle.config.linux.namespaces.push({ type: 'user' })
  Object.assign(c.bundle.config.linux, { uidMappings: mappings, gidMappings: mappings })
  c.bundle.write()
  ok(execute(['chown', '-R', '100000:100000', c.bundle.rootfs]))
  ok(c.create())
  ok(c.start())
  assert.is(foreground(c, 'tty; stat -c %u:%g /dev/pts/0').output, '/dev/pts/0\r\n0:5\r\n')
})

test('a program that cannot be executed leaves the terminal of the caller as it was', () => {
  const { statuses, restored, output } = act({
    place: 'terminal',
    command: words(['exec', '--tty', started().id, '/no/such/program']),
    steps: [['end']],
  })
  assert.is.not(statuses[0], 0)
  assert.ok(restored)
  assert.match(output, /no\/such\/program/)
})

only('runt', 'exec --tty needs no terminal of its own', () => {
  const { stdout } = ok(runtime(['exec', '--tty', started().id, 'sh', '-c', 'test -t 0 && test -t 1 && echo terminal']))
  assert.match(stdout, /^terminal\r?\n$/)
})

test('exec --tty works in a created container', () => {
  const c = container()
  ok(c.create())
  assert.is(foreground(c, 'tty').output, '/dev/pts/0\r\n')
})

test('the terminal belongs to the user of the process, group tty, mode 620', () => {
  const c = started()
  const { output } = act({
    place: 'terminal',
    command: words([
      'exec',
      '-t',
      '-u',
      '1234:1234',
      c.id,
      'sh',
      '-c',
      'stat -c %u:%g:%a /dev/pts/0; echo in > /dev/pts/0',
    ]),
    steps: [['end']],
  })
  assert.is(output, '1234:5:620\r\nin\r\n')
})

test('--process with a terminal and a size sends it to the console socket, and detaches', () => {
  const c = started()
  const pidFile = join(base, 'exec-terminal.pid')
  const file = processFile('tty; stty size; read line; echo "got $line"; exec sleep 60', {
    consoleSize: { height: 33, width: 77 },
  })
  const { output, statuses } = onSocket(
    c,
    ['--pid-file', pidFile, '--process', file],
    [],
    [
      ['expect', '33 77'],
      ['send', 'words\n'],
      ['expect', 'got words'],
    ],
  )
  assert.equal(statuses, [0])
  assert.match(output, /^\/dev\/pts\/0\r\n33 77\r\n/)
  // The end of who holds the terminal hangs the program up.
  const pid = Number(readFileSync(pidFile, 'utf8'))
  assert.ok(waitFor(() => !isAlive(pid)))
})

only('runt', '--tty makes up for a process file without a terminal', () => {
  const { output } = onSocket(
    started(),
    ['--tty', '--process', processFile('tty', { terminal: false })],
    [],
    [['drain']],
  )
  assert.is(output, '/dev/pts/0\r\n')
})

only('runt runc', 'the console socket gets one descriptor, and a text', () => {
  const { descriptors, text } = onSocket(started(), ['--tty'], ['true'], [])
  assert.is(descriptors, 1)
  assert.match(text!, /^\/dev\/(pts\/0|ptmx)$/)
})

test('a terminal for exec leaves that of the container alone', () => {
  const c = container((config: Config) => {
    config.process.terminal = true
    config.process.args = ['sh', '-c', 'read line; echo "init got $line"; exec sleep 60']
  })
  const first = join(base, 'init-console')
  const second = join(base, 'second-console')
  const exec = { place: 'socket', path: second, steps: [['drain']] }
  const script = 'stat -c %t:%T /dev/console; tty'
  const command = words(['exec', '--tty', '--detach', '--console-socket', second, c.id, 'sh', '-c', script])
  const { scenes, statuses } = act({
    place: 'socket',
    command: words(['create', '--bundle', c.bundle.directory, '--console-socket', first, c.id]),
    path: first,
    steps: [
      ['run', ...words(['start', c.id])],
      ['play', JSON.stringify({ ...exec, command })],
      ['send', 'words\n'],
      ['expect', 'init got words'],
    ],
  })
  assert.equal(statuses, [0, 0])
  assert.is(scenes![0]!.output, '88:0\r\n/dev/pts/1\r\n')
})

for (const [what, flags, says] of [
  ['--tty --detach without a console socket', ['--tty', '--detach'], /console socket/],
  ['a console socket without a terminal', ['--detach', '--console-socket', '/no/such'], /console socket/],
  ['a console socket in the foreground', ['--tty', '--console-socket', '/no/such'], /console socket/],
  ['a console socket that is not there', ['--tty', '--detach', '--console-socket', '/no/such'], /\/no\/such/],
] as const) {
  only('runt runc', `${what} is refused, and leaves nothing`, () => {
    const c = started()
    const result = fails(runtime(['exec', ...flags, c.id, 'true']), says)
    oneLine(result)
    assert.equal(pidsIn(c.id), [c.state().pid])
  })
}

for (const [what, script] of [
  ['a FIFO', 'mknod /dev/ptmx p'],
  ['/dev/null', 'mknod /dev/ptmx c 1 3'],
  ['a link out of /proc', 'ln -s /proc/self/fd/0 /dev/ptmx'],
  ['nothing', 'true'],
] as const) {
  only('runt', `${what} in place of /dev/ptmx is refused at once, and process.terminal is named`, () => {
    const c = started((config) => {
      for (const set of ['bounding', 'effective', 'permitted'] as const)
        config.process.capabilities![set]!.push('CAP_MKNOD')
    })
    ok(runtime(['exec', c.id, 'sh', '-c', `rm /dev/ptmx; ${script}`]))
    oneLine(fails(runtime(['exec', '--tty', c.id, 'true']), /process\.terminal/))
    assert.equal(pidsIn(c.id), [c.state().pid])
  })
}

test('others who write to the terminal for ever do not outlast the program', () => {
  const c = started()
  const flood = 'while :; do echo flood; done > /dev/pts/0 2>/dev/null'
  const begin = Date.now()
  const { statuses } = foreground(c, `trap "" HUP; (setsid sh -c '${flood}' &) ; sleep 0.2; exit 4`)
  assert.equal(statuses, [4])
  assert.ok(Date.now() - begin < 8000)
})

test('a program that does not read keeps nobody waiting', () => {
  const c = started()
  const { statuses, restored } = act({
    place: 'terminal',
    command: words(['exec', '--tty', c.id, 'sh', '-c', 'stty raw -echo; echo ready; exec sleep 60']),
    steps: [['expect', 'ready'], ['raw'], ['stuff', 200_000], ['kill', 'SIGTERM'], ['end']],
  })
  assert.equal(statuses, [143])
  assert.ok(restored)
})

test('execs with terminals at a time all run', () => {
  const c = started()
  // Twenty Node.js at a time would be a test of Node.js.
  const count = runtimeCommand[0] === 'node' ? 4 : 20
  const path = join(base, 'many.sh')
  const one = words(['exec', '--tty', c.id, 'sh', '-c'])
    .map((word) => `'${word}'`)
    .join(' ')
  writeFileSync(
    path,
    `for i in $(seq ${count}); do (${one} "test -t 0; exit $i" </dev/null; echo "$i:$?") & done; wait`,
  )
  const { output } = act({ place: 'terminal', command: ['sh', path], steps: [['end']] })
  const said = output.trim().split(/\s+/).sort()
  assert.equal(said, Array.from({ length: count }, (_, i) => `${i + 1}:${i + 1}`).sort())
  assert.ok(waitFor(() => pidsIn(c.id).length === 1))
})

run()
