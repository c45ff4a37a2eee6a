/** runtime-spec, config.md: "POSIX-platform Hooks". */
import { spawn } from 'node:child_process'
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Bundle,
  bundle,
  container,
  ended,
  environment,
  execute,
  fails,
  heading,
  leavesNothing,
  ok,
  oneLine,
  remember,
  type State,
  words,
} from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'

const { test, only, run } = heading('config/hooks')

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

/** A bundle with a folder that hooks write to; `script` gets the folder's path. */
function withScript(kind: string, script: (extra: string) => string, more: object = {}): Bundle {
  const made = bundle((config) => {
    config.process.args = ['true']
  })
  const extra = join(made.directory, 'extra')
  mkdirSync(extra)
  made.config.hooks = { [kind]: [{ path: '/bin/sh', args: ['sh', '-c', script(extra)], ...more }] }
  made.write()
  return made
}

const extraOf = (made: Bundle, name: string): string => readFileSync(join(made.directory, 'extra', name), 'utf8')

for (const [what, env, expected] of [
  ['an environment', ['A=1', 'B=two words'], 'A=1\0B=two words\0'],
  ['an empty environment', [], ''],
] as const) {
  test(`a hook with ${what} gets exactly that`, () => {
    const made = withScript('createRuntime', (extra) => `/bin/cat /proc/$$/environ > ${extra}/env`, { env: [...env] })
    ok(container(made).run())
    assert.is(extraOf(made, 'env'), expected)
  })
}

test('a hook without args is called with its path', () => {
  const made = bundle((config) => {
    config.process.args = ['true']
  })
  mkdirSync(join(made.directory, 'extra'))
  const path = join(made.directory, 'extra/script')
  writeFileSync(path, `#!/bin/sh\necho $0 $# > ${path}.args\n`)
  chmodSync(path, 0o755)
  made.config.hooks = { createRuntime: [{ path }] }
  made.write()
  ok(container(made).run())
  assert.is(extraOf(made, 'script.args'), `${path} 0\n`)
})

for (const kind of ['prestart', 'createRuntime', 'createContainer', 'poststart', 'poststop'] as const) {
  test(`a ${kind} hook without env has the environment of the caller`, () => {
    const made = withScript(kind, (extra) => `/usr/bin/env -0 > ${extra}/env`)
    const long = 'x'.repeat(5000)
    ok(container(made).run([], { env: { OF_THE_CALLER: 'yes', LONG: long } }))
    const env = extraOf(made, 'env').split('\0')
    for (const entry of ['OF_THE_CALLER=yes', `LONG=${long}`]) assert.ok(env.includes(entry), entry.slice(0, 20))
  })
}

/** What the environment of a startContainer hook without env holds, in a container whose program gets these entries. */
function startEnvironment(env: string[]): string[] {
  const made = bundle((config) => {
    config.root.readonly = false
    config.process.args = ['cat', '/proof']
    config.process.env = env
    config.hooks = { startContainer: [{ path: '/bin/sh', args: ['sh', '-c', '/bin/cat /proc/$$/environ > /proof'] }] }
  })
  return ok(container(made).run())
    .stdout.split('\0')
    .filter((entry) => entry !== '' && !/^(SHLVL|PWD)=/.test(entry))
    .sort()
}

test('a startContainer hook without env has the environment of the program', () => {
  assert.equal(startEnvironment(['PATH=/bin', 'A=1', 'HOME=/h']), ['A=1', 'HOME=/h', 'PATH=/bin'])
  assert.equal(startEnvironment(['PATH=/bin', 'A=1']), ['A=1', 'HOME=/root', 'PATH=/bin'])
  const long = `LONG=${'x'.repeat(50_000)}`
  assert.equal(startEnvironment(['PATH=/bin', 'B=1', long]), ['B=1', 'HOME=/root', long, 'PATH=/bin'])
})

for (const noNewPrivileges of [false, true]) {
  test(`a startContainer hook is under the filter of the program, noNewPrivileges ${noNewPrivileges}`, () => {
    const c = container((config) => {
      config.process.args = ['true']
      config.process.noNewPrivileges = noNewPrivileges
      config.linux.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'],
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 }],
      }
      config.hooks = {
        startContainer: [{ path: '/bin/mkdir', args: ['mkdir', '/dev/shm/folder'], env: ['PATH=/bin'] }],
      }
    })
    fails(c.run(), /not supported|exit (status|code:) 1/)
  })
}

const NAMESPACES = ['mnt', 'uts', 'ipc', 'net', 'pid']

test('prestart and createRuntime hooks run in the namespaces of the caller, with the mounts of the container made', () => {
  for (const kind of ['prestart', 'createRuntime']) {
    const made = withScript(
      kind,
      (extra) =>
        `for n in ${NAMESPACES.join(' ')}; do /bin/readlink /proc/self/ns/$n /proc/$PPID/ns/$n; done > ${extra}/namespaces
         pid=$(/bin/sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
         /bin/cat /proc/$pid/mountinfo > ${extra}/mounts; /bin/readlink /proc/$pid/ns/mnt > ${extra}/theirs`,
    )
    const c = container(made)
    ok(c.create())
    const lines = extraOf(made, 'namespaces').trim().split('\n')
    assert.is(lines.length, 2 * NAMESPACES.length)
    for (let i = 0; i < lines.length; i += 2) assert.is(lines[i], lines[i + 1])
    assert.is.not(extraOf(made, 'theirs').trim(), lines[0])
    // Before pivot_root the mounts lie below the path that they have on the host.
    assert.match(extraOf(made, 'mounts'), `${made.rootfs}/proc `)
    ok(c.delete('--force'))
  }
})

test('createContainer hooks run in the namespaces of the container, before pivot_root, and their path is one of the host', () => {
  const made = withScript(
    'createContainer',
    (extra) =>
      `for n in ${NAMESPACES.join(' ')}; do /bin/readlink /proc/self/ns/$n; done > ${extra}/namespaces
       /bin/cat /proc/self/mountinfo > ${extra}/mounts`,
  )
  const c = container(made)
  ok(c.create())
  const { pid } = c.state()
  const theirs = execute(['readlink', ...NAMESPACES.map((name) => `/proc/${pid}/ns/${name}`)])
  assert.is(extraOf(made, 'namespaces'), theirs.stdout)
  assert.match(extraOf(made, 'mounts'), `${made.rootfs}/proc `)
})

test('startContainer hooks get the state on stdin, and the status is created', () => {
  const made = bundle((config) => {
    config.root.readonly = false
    config.annotations = { key: 'value' }
    config.process.args = ['cat', '/one', '/two']
    config.hooks = {
      startContainer: ['/one', '/two'].map((file) => ({ path: '/bin/sh', args: ['sh', '-c', `/bin/cat > ${file}`] })),
    }
  })
  const c = container(made)
  const states = ok(c.run())
    .stdout.replaceAll('}{', '}\n{')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as State)
  assert.is(states.length, 2)
  for (const state of states) {
    assert.is(state.id, c.id)
    assert.is(state.status, 'created')
    assert.is(state.bundle, made.directory)
    assert.equal(state.annotations, { key: 'value' })
    assert.ok(state.pid! > 0)
  }
})

test('startContainer hooks have the user and the capabilities of the program', () => {
  const made = bundle((config) => {
    config.mounts.push({ destination: '/scratch', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] })
    config.process.user = { uid: 1000, gid: 1000 }
    config.process.args = ['cat', '/scratch/proof']
    config.process.capabilities = {}
    config.hooks = {
      startContainer: [
        {
          path: '/bin/sh',
          args: ['sh', '-c', '/bin/id -u > /scratch/proof; /bin/grep CapEff /proc/self/status >> /scratch/proof'],
        },
      ],
    }
  })
  assert.is(ok(container(made).run()).stdout, '1000\nCapEff:\t0000000000000000\n')
})

test('a hook gets no descriptor of the caller but the standard streams', () => {
  const made = withScript('createRuntime', (extra) => `/bin/ls /proc/$$/fd > ${extra}/fds`)
  const fd = openSync('/dev/null', 'r')
  ok(container(made).run(['--preserve-fds', '1'], { descriptors: [fd] }))
  closeSync(fd)
  assert.equal(
    extraOf(made, 'fds')
      .trim()
      .split('\n')
      .filter((name) => Number(name) < 10),
    ['0', '1', '2'],
  )
})

test('a hook gets its state where the caller has closed the standard streams', () => {
  const made = withScript('createRuntime', (extra) => `/bin/cat > ${extra}/state`)
  const id = remember(made.name)
  ok(execute(['sh', '-c', 'exec "$0" "$@" <&- >&-', ...words(['create', '--bundle', made.directory, id])]))
  assert.is(JSON.parse(extraOf(made, 'state')).id, id)
})

test('a daemon that a hook leaves behind keeps nobody waiting', () => {
  const made = withScript(
    'createRuntime',
    (extra) => `/bin/sleep 8 </dev/null >/dev/null 2>&1 & echo $! > ${extra}/pid`,
  )
  const begin = Date.now()
  ok(container(made).run())
  const pid = Number(extraOf(made, 'pid'))
  assert.ok(isAlive(pid))
  process.kill(pid, 'SIGKILL')
  assert.ok(Date.now() - begin < 5000)
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

for (const name of ['createRuntime', 'createContainer']) {
  test(`after a ${name} hook that fails poststop hooks are called, and the others are not`, () => {
    const made = withHooks(['true'])
    made.config.hooks![name] = [{ path: '/bin/sh', args: ['sh', '-c', 'cat > /dev/null; exit 1'] }]
    made.write()
    fails(container(made).create())
    assert.equal(order(made), ['prestart', ...(name === 'createContainer' ? ['createRuntime'] : []), 'poststop'])
    leavesNothing()
  })
}

for (const [ending, words] of [
  ['exit 3', 'exit status 3'],
  ['kill -9 $$', 'ended by signal 9 (SIGKILL)'],
] as const) {
  only('runt', `the error of a hook that fails tells which, how, and what it wrote: ${ending}`, () => {
    for (const kind of ['prestart', 'createRuntime', 'createContainer', 'startContainer']) {
      const c = container((config) => {
        config.hooks = {
          [kind]: [
            { path: '/bin/true' },
            { path: '/bin/sh', args: ['sh', '-c', `echo first >&2; echo '  second' >&2; ${ending}`] },
          ],
        }
      })
      if (kind === 'startContainer') ok(c.create())
      const result = fails(kind === 'startContainer' ? c.start() : c.create())
      oneLine(result)
      assert.match(result.stderr, `hooks.${kind}[1] (/bin/sh): ${words}; its stderr: first second`)
      if (kind === 'startContainer') {
        c.until('stopped')
        ok(c.delete())
      }
      leavesNothing()
    }
  })
}

only('runt', 'of a hook that writes much to stderr the error shows the end', () => {
  const c = container((config) => {
    // More than a pipe holds.
    const script = 'head -c 300000 /dev/zero | tr "\\0" x >&2; echo 19998 ünïcödé 19999 ünïcödé >&2; exit 1'
    config.hooks = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', script] }] }
  })
  const result = fails(c.create(), /: exit status 1; its stderr: … x{900}.*19998 ünïcödé 19999 ünïcödé/)
  oneLine(result)
  assert.ok(result.stderr.length < 2000)
})

only('runt', 'a poststart hook that fails is named, and stops the container (runtime-spec 1.3)', () => {
  const c = container((config) => {
    config.hooks = { poststart: [{ path: '/bin/false' }] }
  })
  ok(c.create())
  fails(c.start(), /hooks\.poststart\[0\] \(\/bin\/false\): exit status 1/)
  assert.is(c.status(), 'stopped')
  ok(c.delete())
  leavesNothing()
})

only('runt', 'a poststop hook that fails is a warning, and those after it are called', () => {
  const made = bundle()
  made.config.hooks = { poststop: [{ path: '/bin/false' }, { path: '/no/such/hook' }, hook(made, 'last')] }
  made.write()
  const c = container(made)
  ok(c.create())
  const { stderr } = ok(c.delete('--force'))
  assert.match(stderr, /warning.*hooks\.poststop\[0\] \(\/bin\/false\): exit status 1/)
  assert.match(stderr, /warning.*hooks\.poststop\[1\] \(\/no\/such\/hook\): execve: ENOENT/)
  assert.equal(order(made), ['last'])
})

test('of several who delete a container at once one calls its poststop hooks', async () => {
  for (let round = 0; round < 4; round++) {
    const made = bundle((config) => {
      config.process.args = ['true']
    })
    made.config.hooks = { poststop: [hook(made, `poststop${round}`)] }
    made.write()
    const c = container(made)
    ok(c.create())
    ok(c.start())
    c.until('stopped')
    const [program, ...rest] = words(['delete', c.id])
    const several = [1, 2, 3].map(() => spawn(program!, rest, { stdio: 'ignore', env: environment() }))
    await Promise.all(several.map(ended))
    assert.equal(order(made), [`poststop${round}`])
  }
  leavesNothing()
})

test('a startContainer hook that fails makes start fail, and leaves a stopped container for delete', () => {
  const made = bundle((config) => {
    config.process.args = ['echo', 'ran']
    config.hooks = { startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'cat > /dev/null; exit 1'] }] }
  })
  made.config.hooks!.poststop = [hook(made, 'poststop')]
  made.write()
  const c = container(made)
  ok(c.create())
  fails(c.start(), /hook/)
  c.until('stopped')
  assert.is(c.output(), '')
  ok(c.delete())
  assert.equal(order(made), ['poststop'])
  leavesNothing()
})

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

for (const flags of [[], ['--detach']]) {
  test(`for poststart hooks of run${flags.length ? ' --detach' : ''} the container runs, and cannot be started`, () => {
    const c = container((config) => {
      config.process.args = flags.length ? ['sleep', '100'] : ['sleep', '0.3']
    })
    mkdirSync(join(c.bundle.directory, 'extra'))
    const file = join(c.bundle.directory, 'extra/seen')
    const [state, start] = [words(['state', c.id]), words(['start', c.id])].map((all) => all.join(' '))
    const args = ['sh', '-c', `${state} > ${file}; ${start} || echo refused >> ${file}`]
    c.bundle.config.hooks = { poststart: [{ path: '/bin/sh', args, env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'] }] }
    c.bundle.write()
    ok(c.run([...flags]))
    assert.match(readFileSync(file, 'utf8'), /"status": ?"running".*refused\n$/s)
    if (flags.length) assert.is(c.state().status, 'running')
  })
}

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

for (const kind of ['createContainer', 'startContainer', 'poststart', 'poststop']) {
  test(`a ${kind} hook that takes longer than its timeout is ended`, () => {
    const c = container((config) => {
      config.process.args = ['sleep', '0.1']
      config.hooks = { [kind]: [{ path: '/bin/sleep', args: ['sleep', '20'], timeout: 1 }] }
    })
    const begin = Date.now()
    const result = c.run()
    if (kind !== 'poststop' && kind !== 'poststart') fails(result)
    const spent = Date.now() - begin
    assert.ok(spent > 900 && spent < 5000, `${spent} ms`)
    leavesNothing()
  })
}

only('runt', 'a timeout is told as such', () => {
  const c = container((config) => {
    config.hooks = { createRuntime: [{ path: '/bin/sleep', args: ['sleep', '20'], timeout: 1 }] }
  })
  fails(c.create(), /hooks\.createRuntime\[0\] \(\/bin\/sleep\): it took longer than its timeout of 1 s/)
})

for (const [what, send] of [
  ['a signal to the command', (pid: number) => process.kill(pid, 'SIGTERM')],
  ['a signal to its process group, as from a terminal', (pid: number) => process.kill(-pid, 'SIGINT')],
] as const) {
  test(`run with a poststop hook calls it at the end that is caused by ${what}`, async () => {
    const made = withHooks(['sh', '-c', 'trap "exit 7" TERM INT; touch /share/ready; while :; do sleep 0.05; done'])
    const share = { destination: '/share', type: 'bind', source: join(made.directory, 'extra'), options: ['bind'] }
    made.config.mounts.push(share)
    made.write()
    const [program, ...rest] = words(['run', '--bundle', made.directory, remember(made.name)])
    const child = spawn(program!, rest, { stdio: 'ignore', env: environment(), detached: true })
    assert.ok(waitFor(() => existsSync(join(made.directory, 'extra/ready')) && order(made).includes('poststart')))
    send(child.pid!)
    assert.is(await ended(child), 7)
    assert.equal(order(made), [...OUTSIDE])
    leavesNothing()
  })
}

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

test('every kind of hook takes large arguments and environments, several of a kind too', () => {
  const made = withHooks(['true'])
  const env = Array.from({ length: 40 }, (_, n) => `LARGE${n}=${'x'.repeat(8000)}`)
  const words = Array.from({ length: 3000 }, (_, n) => `word${n}`)
  const counting = (name: string, folder: string) => ({
    path: '/bin/sh',
    args: ['sh', '-c', `echo $# \${#LARGE39} >> ${folder}/${name}`, 'sh', ...words],
    env: [...env, 'PATH=/usr/bin:/bin'],
  })
  const folder = join(made.directory, 'extra')
  mkdirSync(folder, { recursive: true })
  const hooks: NonNullable<typeof made.config.hooks> = {}
  for (const name of OUTSIDE) hooks[name] = [counting(name, folder), counting(name, folder)]
  hooks.startContainer = [counting('startContainer', '/dev/shm'), counting('startContainer', '/dev/shm')]
  made.config.hooks = hooks
  made.config.process.args = ['cat', '/dev/shm/startContainer']
  made.write()
  const c = container(made)
  ok(c.create())
  ok(c.start())
  c.says(/^(3000 8000\n){2}$/)
  c.until('stopped')
  ok(c.delete())
  for (const name of OUTSIDE) assert.is(readFileSync(join(folder, name), 'utf8'), '3000 8000\n3000 8000\n')
})

/** A hundred startContainer hooks, which write their number and their HOME to a file that the program shows. */
function withManyHooks(): Bundle {
  const made = bundle()
  const numbers = Array.from({ length: 100 }, (_, n) => n)
  made.config.hooks = {
    startContainer: numbers.map((n) => ({
      path: '/bin/sh',
      args: ['sh', '-c', `read state; echo ${n} $HOME >> /dev/shm/order`],
    })),
  }
  made.config.process.env = ['PATH=/bin']
  made.config.process.args = ['sh', '-c', 'tr "\\n" " " < /dev/shm/order; echo; echo $HOME']
  made.write()
  return made
}

const ORDER = `${Array.from({ length: 100 }, (_, n) => `${n} /root `).join('')}\n/root\n`

for (const seccomp of [false, true])
  test(`a hundred startContainer hooks are called, in order${seccomp ? ', under a seccomp filter' : ''}`, () => {
    const made = withManyHooks()
    if (seccomp) made.config.linux.seccomp = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [] }
    made.write()
    assert.is(ok(container(made).run()).stdout, ORDER)
    const c = container(made)
    ok(c.create())
    ok(c.start())
    c.until('stopped')
    assert.is(c.output(), ORDER)
    ok(c.delete())
  })

test('the hundredth startContainer hook that fails is named, and the program does not run', () => {
  const made = withManyHooks()
  made.config.hooks!.startContainer!.at(-1)!.args = ['sh', '-c', 'read state; exit 3']
  made.config.process.args = ['echo', 'ran']
  made.write()
  const message = /hook/
  assert.is(fails(container(made).run(), message).stdout, '')
  const c = container(made)
  ok(c.create())
  fails(c.start(), message)
  c.until('stopped')
  assert.is(c.output(), '')
  ok(c.delete())
})

test('a program that is gone after a hundred hooks is named by start', () => {
  const made = withManyHooks()
  made.file('bin/program', '#!/bin/sh\n')
  made.config.root.readonly = false
  made.config.hooks!.startContainer!.at(-1)!.args = ['sh', '-c', 'read state; rm /bin/program']
  made.config.process.args = ['/bin/program']
  made.write()
  const c = container(made)
  ok(c.create())
  fails(c.start(), /\/bin\/program/)
  c.until('stopped')
  ok(c.delete())
})

test('hooks of one kind run one after the other in the order of the list', () => {
  const made = bundle()
  made.config.hooks = { createRuntime: ['one', 'two', 'three'].map((name) => hook(made, name)) }
  made.write()
  ok(container(made).create())
  assert.equal(order(made), ['one', 'two', 'three'])
})

only('runt', 'a hook that deletes its own container does not wait for the command that waits for it', () => {
  for (const kind of ['createRuntime', 'poststart'] as const) {
    const made = bundle((config) => {
      config.process.args = ['sleep', '60']
    })
    const c = container(made)
    mkdirSync(join(made.directory, 'extra'), { recursive: true })
    const file = join(made.directory, 'extra', 'times')
    const script = `{ date +%s%N; "$@"; date +%s%N; } >> ${file}`
    made.config.hooks = {
      [kind]: [{ path: '/bin/sh', args: ['sh', '-c', script, 'sh', ...words(['delete', '--force', c.id])] }],
    }
    made.write()
    execute(words(['run', '--detach', '--bundle', made.directory, c.id]))
    const [began, done] = readFileSync(file, 'utf8').trim().split('\n').map(BigInt)
    assert.ok(done! - began! < 1_500_000_000n, `${kind}: it took ${(done! - began!) / 1_000_000n} ms`)
    leavesNothing()
  }
})

run()
