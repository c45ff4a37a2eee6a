/** runc-exec(8). */
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Container,
  container,
  fails,
  heading,
  ok,
  type RunOptions,
  run as runtime,
  started,
} from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'

const { test, run } = heading('cli/exec')

const exec = (c: Container, flags: string[], command: string[], options?: RunOptions) =>
  runtime(['exec', ...flags, c.id, ...command], options)

test('exec runs a program in the namespaces of the container', () => {
  const c = started()
  const links = ['pid', 'net', 'ipc', 'uts', 'mnt', 'cgroup']
  const text = ok(exec(c, [], ['sh', '-c', `for n in ${links.join(' ')}; do readlink /proc/self/ns/$n; done`])).stdout
  assert.equal(
    text.trim().split('\n'),
    links.map((link) => readlinkSync(`/proc/${c.state().pid}/ns/${link}`)),
  )
})

test('exec passes on the exit status', () => {
  assert.is(exec(started(), [], ['sh', '-c', 'exit 42']).status, 42)
})

test('exec passes on a signal as 128 + n', () => {
  assert.is(exec(started(), [], ['sh', '-c', 'kill -KILL $$']).status, 137)
})

test('exec passes on stdin, stdout and stderr', () => {
  const result = exec(started(), [], ['sh', '-c', 'cat; echo err >&2'], { stdin: 'in\n' })
  assert.equal([result.stdout, result.stderr], ['in\n', 'err\n'])
})

test('exec takes flags of the program as they are', () => {
  assert.is(ok(exec(started(), [], ['printf', '%s|', '-e', '--user', 'x'])).stdout, '-e|--user|x|')
})

test('exec has the environment, directory and capabilities of the configuration', () => {
  const c = started((config) => {
    config.process.env!.push('FROM=config')
    config.process.cwd = '/tmp'
  })
  const text = ok(exec(c, [], ['sh', '-c', 'echo $FROM; pwd; grep CapBnd /proc/self/status'])).stdout
  assert.match(text, /^config\n\/tmp\nCapBnd:\t0000000020000420\n/)
})

test('exec --cwd, --env and --user change them', () => {
  const c = started()
  const text = ok(
    exec(c, ['--cwd', '/etc', '--env', 'A=b c', '--user', '1000:2000'], ['sh', '-c', 'pwd; echo $A; id -u; id -g']),
  ).stdout
  assert.is(text, '/etc\nb c\n1000\n2000\n')
})

test('exec -e and -u are --env and --user', () => {
  const text = ok(exec(started(), ['-e', 'A=1', '-e', 'B=2', '-u', '7'], ['sh', '-c', 'echo $A $B; id -u'])).stdout
  assert.is(text, '1 2\n7\n')
})

test('exec --process takes the process from a file', () => {
  const path = join(base, 'process.json')
  const c = started()
  writeFileSync(
    path,
    JSON.stringify({
      terminal: false,
      user: { uid: 5, gid: 6 },
      args: ['sh', '-c', 'id -u; echo $X'],
      env: ['PATH=/bin', 'X=y'],
      cwd: '/',
    }),
  )
  assert.is(ok(runtime(['exec', '--process', path, c.id])).stdout, '5\ny\n')
})

test('exec --detach returns at once and writes --pid-file', () => {
  const c = started()
  const pidFile = join(base, 'exec.pid')
  ok(exec(c, ['--detach', '--pid-file', pidFile], ['sleep', '30']))
  const pid = Number(readFileSync(pidFile, 'utf8'))
  assert.ok(isAlive(pid))
  ok(c.delete('--force'))
  assert.ok(waitFor(() => !isAlive(pid)))
})

test('exec puts its process into the control groups of the container', () => {
  const c = started((config) => {
    config.linux.namespaces.push({ type: 'cgroup' })
  })
  const groups = ok(exec(c, [], ['cat', '/proc/self/cgroup']))
    .stdout.trim()
    .split('\n')
  for (const group of groups) assert.match(group, /:\/$/)
})

test('exec of a missing program fails, names it, and leaves the container alone', () => {
  const c = started()
  const result = fails(exec(c, [], ['no-such-program']), /no-such-program/)
  assert.ok(result.status! > 0)
  assert.is(c.status(), 'running')
})

test('exec in a stopped container fails', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  fails(exec(c, [], ['true']))
})

test('exec works in a created container', () => {
  const c = container()
  ok(c.create())
  assert.is(ok(exec(c, [], ['echo', 'ran'])).stdout, 'ran\n')
})

test('exec without a program fails', () => {
  const result = runtime(['exec', started().id])
  assert.is.not(result.status, 0)
})

run()
