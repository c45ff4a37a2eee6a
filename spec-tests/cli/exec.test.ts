/** runc-exec(8). */
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Container,
  command,
  container,
  ended,
  execute,
  fails,
  heading,
  ok,
  oneLine,
  pidsIn,
  type RunOptions,
  run as runtime,
  skip,
  start,
  started,
  stateRoot,
  words,
} from '../harness.ts'
import { cgroupDirectory, groupOf, isAlive, unified, waitFor } from '../host.ts'

const { test, only, run } = heading('cli/exec')

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

test('--cap gives what the container has inheritable as an ambient capability too', () => {
  const c = started((config) => {
    const names = ['CAP_KILL', 'CAP_SYSLOG']
    config.process.capabilities = { bounding: names, inheritable: ['CAP_SYSLOG'] }
  })
  const flags = ['--cap', 'CAP_SYSLOG', '--cap', 'CAP_KILL']
  const text = ok(exec(c, flags, ['sh', '-c', 'grep -E "Cap(Inh|Bnd|Amb)" /proc/self/status'])).stdout
  assert.equal(text.match(/[0-9a-f]{16}/g), ['0000000400000000', '0000000400000020', '0000000400000000'])
})

test('exec is under the filter of the container, and an earlier one does not loosen it', () => {
  const c = started((config) => {
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }],
    }
  })
  const script = 'grep "^Seccomp:" /proc/self/status; mkdir /dev/shm/d 2>&1; true'
  for (let turn = 0; turn < 2; turn++)
    assert.match(ok(exec(c, [], ['sh', '-c', script])).stdout, /^Seccomp:\t2\n.*No space left/s)
})

only('runt', 'a filter that was damaged since create is no reason to run without it', () => {
  const c = started((config) => {
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['chroot'], action: 'SCMP_ACT_LOG' }],
    }
  })
  const path = join(stateRoot, c.id, 'filter')
  truncateSync(path, 16)
  fails(exec(c, [], ['true']), /seccomp filter \(.*\/filter\): damaged: it has 16 bytes of \d+/)
  rmSync(path)
  fails(exec(c, [], ['true']), /seccomp filter \(.*\/filter\): cannot be read: ENOENT/)
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

/** Runs a program by a file that says no more than has to be said, and what is given. */
function byFile(c: Container, script: string, given: object = {}): string {
  const path = join(base, 'process.json')
  const process = { user: { uid: 0, gid: 0 }, args: ['sh', '-c', script], env: ['PATH=/bin'], cwd: '/', ...given }
  writeFileSync(path, JSON.stringify(process))
  return ok(runtime(['exec', '--process', path, c.id])).stdout
}

const SETS = "grep '^Cap' /proc/self/status"

test('exec --process: the capabilities are those of the container where the file has none', () => {
  const c = started((config) => {
    const some = ['CAP_KILL', 'CAP_CHOWN']
    config.process.capabilities = { bounding: some, effective: some, permitted: some }
  })
  const sets = (mask: string) =>
    ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']
      .map((set) => `Cap${set}:\t${/Inh|Amb/.test(set) ? '0'.repeat(16) : mask}\n`)
      .join('')
  assert.is(byFile(c, SETS), sets('0000000000000021'))
  assert.is(byFile(c, SETS, { capabilities: {} }), sets('0'.repeat(16)))
})

test('exec --process: the OOM score is that of the container where the file has none', () => {
  const c = started((config) => {
    config.process.oomScoreAdj = 99
  })
  assert.is(byFile(c, 'cat /proc/self/oom_score_adj'), '99\n')
  assert.is(byFile(c, 'cat /proc/self/oom_score_adj', { oomScoreAdj: 101 }), '101\n')
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

/** A shell command that prints these lines of its own /proc/PID/status. */
const status = (...names: string[]) => ['grep', '-E', `^(${names.join('|')}):`, '/proc/self/status']

/** The host's pids of the container's processes. */
test('exec has exactly the capabilities of the configuration', () => {
  const text = ok(exec(started(), [], status('CapInh', 'CapPrm', 'CapEff', 'CapBnd'))).stdout
  assert.equal(text.match(/[0-9a-f]{16}/g), [0n, 0x2000_0420n, 0x2000_0420n, 0x2000_0420n].map(mask))
})

test('exec --cap adds to the bounding, effective and permitted sets only', () => {
  const text = ok(exec(started(), ['--cap', 'CAP_NET_RAW', '--cap', 'CAP_CHOWN'], status('Cap.*'))).stdout
  assert.equal(text.match(/[0-9a-f]{16}/g), [0n, 0x2000_2421n, 0x2000_2421n, 0x2000_2421n, 0n].map(mask))
})

test('exec --user takes the capabilities away, but for the bounding set', () => {
  const text = ok(exec(started(), ['--user', '1000'], status('CapInh', 'CapPrm', 'CapEff', 'CapBnd'))).stdout
  assert.equal(text.match(/[0-9a-f]{16}/g), [0n, 0n, 0n, 0x2000_0420n].map(mask))
})

test('exec has the groups of the configuration, and --additional-gids adds to them', () => {
  const c = started((config) => {
    config.process.user.additionalGids = [10, 20]
  })
  assert.match(ok(exec(c, [], status('Groups'))).stdout, /^Groups:\t10 20 *\n/)
  assert.match(ok(exec(c, ['-g', '30', '-g', '40'], status('Groups'))).stdout, /^Groups:\t10 20 30 40 *\n/)
})

test('exec --no-new-privs sets no_new_privs', () => {
  const c = started((config) => {
    config.process.noNewPrivileges = false
  })
  assert.match(ok(exec(c, [], status('NoNewPrivs'))).stdout, /\t0\n/)
  assert.match(ok(exec(c, ['--no-new-privs'], status('NoNewPrivs'))).stdout, /\t1\n/)
})

test('exec has the limits, the umask and the OOM score of the configuration', () => {
  const c = started((config) => {
    config.process.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 77, hard: 78 }]
    config.process.user.umask = 0o027
    config.process.oomScoreAdj = 123
  })
  const text = ok(exec(c, [], ['sh', '-c', 'ulimit -n; umask; cat /proc/self/oom_score_adj'])).stdout
  assert.is(text, '77\n0027\n123\n')
})

test('exec --env replaces a variable of the configuration', () => {
  const text = ok(exec(started(), ['-e', 'TERM=new', '-e', 'EMPTY=', '-e', 'EQUAL=a=b'], ['env'])).stdout
  assert.match(text, /^TERM=new$/m)
  assert.not.match(text, /TERM=xterm/)
  assert.match(text, /^EMPTY=$/m)
  assert.match(text, /^EQUAL=a=b$/m)
})

test('exec has HOME from the /etc/passwd of the container', () => {
  const c = container()
  c.bundle.file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n', 0o644)
  ok(c.create())
  ok(c.start())
  assert.is(ok(exec(c, ['--user', '1000'], ['sh', '-c', 'echo $HOME'])).stdout, '/home/u\n')
})

test('exec into a container with a filter has the filter', () => {
  const c = started((config) => {
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['chroot'], action: 'SCMP_ACT_ERRNO' }],
    }
  })
  assert.match(ok(exec(c, [], status('Seccomp'))).stdout, /\t2\n/)
})

test('the program of exec has no descriptors but 0, 1 and 2, and those of --preserve-fds', () => {
  const c = started()
  const input = join(base, 'preserved')
  writeFileSync(input, 'preserved\n')
  const descriptors = [openSync(input, 'r'), openSync(input, 'r')]
  const listed = (flags: string[]) =>
    ok(
      exec(c, flags, ['sh', '-c', 'for fd in 3 4 5 6 7 8 9; do readlink /proc/self/fd/$fd; done; true'], {
        descriptors,
      }),
    ).stdout
  assert.is(listed([]), '')
  assert.is(
    ok(exec(c, ['--preserve-fds', '1'], ['sh', '-c', 'cat <&3; test -e /proc/self/fd/4 || echo none'], { descriptors }))
      .stdout,
    'preserved\nnone\n',
  )
  descriptors.forEach(closeSync)
})

test('exec joins the cgroups and namespaces of the init', () => {
  const c = started((config) => {
    config.linux.namespaces.push({ type: 'cgroup' })
  })
  const pidFile = join(base, 'member.pid')
  ok(exec(c, ['--detach', '--pid-file', pidFile], ['sleep', '30']))
  const pid = Number(readFileSync(pidFile, 'utf8'))
  const init = c.state().pid
  assert.is(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), readFileSync(`/proc/${init}/cgroup`, 'utf8'))
  for (const name of readdirSync(`/proc/${init}/ns`))
    assert.is(readlinkSync(`/proc/${pid}/ns/${name}`), readlinkSync(`/proc/${init}/ns/${name}`), name)
  assert.equal(
    pidsIn(c.id),
    [init, pid].sort((a, b) => a! - b!),
  )
})

test("exec --cgroup runs in a cgroup below the container's", () => {
  const c = started()
  const own = groupOf(c.bundle.config.linux.cgroupsPath)
  const folder = cgroupDirectory('pids', c.bundle.config.linux.cgroupsPath)!
  execute(['mkdir', `${folder}/below`])
  const prefix = unified ? '' : 'pids:'
  const groups = ok(exec(c, ['--cgroup', `${prefix}below`], ['cat', '/proc/self/cgroup'])).stdout
  assert.match(groups, new RegExp(`:${prefix}${unified ? ':' : ''}${own}/below$`, 'm'))
  if (!unified) assert.match(groups, new RegExp(`:memory:${own}$`, 'm'))
  fails(exec(c, ['--cgroup', `${prefix}missing`], ['true']), /missing/)
})

test('exec in the foreground forwards signals and passes on the exit status', async () => {
  const c = started()
  const path = join(base, 'signals.out')
  const out = openSync(path, 'w')
  const script = 'trap "exit 9" TERM; trap "echo usr1" USR1; echo ready; while :; do sleep 0.1; done'
  const child = start(['exec', c.id, 'sh', '-c', script], ['ignore', out, 'ignore'])
  closeSync(out)
  const says = (text: string) =>
    assert.ok(
      waitFor(() => readFileSync(path, 'utf8').includes(text)),
      text,
    )
  says('ready')
  child.kill('SIGUSR1')
  says('usr1')
  child.kill('SIGTERM')
  assert.is(await ended(child), 9)
  assert.is(c.status(), 'running')
})

test('exec ends when its container does', async () => {
  const c = started()
  const path = join(base, 'ends.out')
  const out = openSync(path, 'w')
  const child = start(['exec', c.id, 'sh', '-c', 'echo ready; exec sleep 60'], ['ignore', out, 'ignore'])
  closeSync(out)
  assert.ok(waitFor(() => readFileSync(path, 'utf8') === 'ready\n'))
  ok(c.kill('KILL'))
  assert.is(await ended(child), 137)
})

test('100 execs at a time all run', async () => {
  const c = started()
  // A hundred Node.js at a time would be a test of Node.js.
  const children = Array.from({ length: command[0] === 'node' ? 10 : 100 }, (_, index) =>
    start(['exec', c.id, 'sh', '-c', `exit ${index}`]),
  )
  assert.equal(
    await Promise.all(children.map(ended)),
    children.map((_, index) => index),
  )
  assert.ok(waitFor(() => pidsIn(c.id).length === 1))
})

for (const [what, flags, words, says] of [
  ['a missing program', [], ['no-such-program'], /no-such-program/],
  ['a program that is a folder', [], ['/etc'], /\/etc/],
  ['a file that is no program', [], ['/etc/noexec'], /noexec/],
  ['a working folder that is missing', ['--cwd', '/no/such'], ['true'], /\/no\/such/],
  ['a working folder that is a descriptor', ['--cwd', '/proc/self/fd/3'], ['true'], /\/proc\/self\/fd\/3/],
  ['a relative working folder', ['--cwd', 'etc'], ['true'], /etc/],
  ['a user that is a name', ['--user', 'nobody'], ['true'], /nobody/],
  ['a variable without =', ['--env', 'NAMEONLY'], ['true'], /NAMEONLY/],
  ['a pid file that cannot be written', ['--pid-file', '/no/such/pid'], ['sleep', '30'], /\/no\/such\/pid/],
] as const) {
  only('runt', `exec with ${what} fails in one line, and leaves nothing`, () => {
    const c = container()
    c.bundle.file('etc/noexec', 'text\n', 0o755)
    ok(c.create())
    ok(c.start())
    const result = fails(exec(c, [...flags], [...words]), says)
    oneLine(result)
    assert.equal(pidsIn(c.id), [c.state().pid])
  })
}

only('runt', 'exec fails with 255, the wrong command line with 1', () => {
  const c = started()
  assert.is(exec(c, [], ['no-such-program']).status, 255)
  assert.is(exec(c, ['--no-such-flag'], ['true']).status, 1)
  assert.is(runtime(['exec', 'no-such-container', 'true']).status, 255)
})

only('runt', 'exec in a stopped container says so', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  fails(exec(c, [], ['true']), /cannot exec in a stopped container/)
})

test('--process may name a pipe that is written bit by bit', () => {
  const c = started()
  const path = join(base, 'bits.json')
  writeFileSync(path, JSON.stringify({ args: ['/bin/echo', 'whole'], cwd: '/', user: { uid: 0, gid: 0 } }))
  const script = '{ head -c 20 "$0"; sleep 0.2; tail -c +21 "$0"; } | "$@"'
  const line = words(['exec', '--process', '/dev/stdin', c.id])
  assert.is(ok(execute(['sh', '-c', script, path, ...line])).stdout, 'whole\n')
})

only('runt', 'exec --process - takes the process from standard input', () => {
  const stdin = JSON.stringify({ args: ['echo', 'ran'], cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 } })
  const c = started()
  assert.is(ok(runtime(['exec', '--process', '-', c.id], { stdin })).stdout, 'ran\n')
  assert.is(ok(runtime(['exec', '-p', '-', c.id], { stdin: `${' '.repeat(200_000)}${stdin}` })).stdout, 'ran\n')
  fails(runtime(['exec', '-p', '-', c.id], { stdin: '{"args":[]}' }), /--process \(-\): process/)
})

only('runt', 'exec refuses a paused container, and with --ignore-paused waits for its end', async () => {
  const c = started()
  const folder = cgroupDirectory('freezer', c.bundle.config.linux.cgroupsPath)
  if (!folder) skip('no freezer hierarchy')
  const freeze = (yes: boolean) =>
    unified
      ? writeFileSync(join(folder, 'cgroup.freeze'), yes ? '1' : '0')
      : writeFileSync(join(folder, 'freezer.state'), yes ? 'FROZEN' : 'THAWED')
  freeze(true)
  fails(exec(c, [], ['true']), /cannot exec in a paused container/)
  const child = start(['exec', '--ignore-paused', c.id, 'true'])
  try {
    await new Promise((settle) => setTimeout(settle, 200))
    assert.is(child.exitCode, null)
  } finally {
    freeze(false)
  }
  assert.is(await ended(child), 0)
})

only('runt', 'exec has the session keyring of the container', () => {
  if (!existsSync('/proc/keys')) skip('a kernel without keys')
  // The names of keyrings are the whole host's.
  const c = container(undefined, `keys-${process.pid}`)
  const lines = () =>
    readFileSync('/proc/keys', 'utf8')
      .split('\n')
      .filter((line) => line.includes(`_ses.${c.id}:`))
  ok(c.create())
  ok(exec(c, ['--detach'], ['sleep', '30']))
  assert.is(lines().length, 1)
})

only('runt', 'exec has the CPUs of execCPUAffinity', () => {
  const c = started((config) => {
    config.process.execCPUAffinity = { initial: '0', final: '0' }
  })
  assert.match(ok(exec(c, [], status('Cpus_allowed_list'))).stdout, /\t0\n/)
})

function mask(bits: bigint): string {
  return bits.toString(16).padStart(16, '0')
}

run()
