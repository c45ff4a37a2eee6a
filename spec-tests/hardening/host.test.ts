/** What the caller, other users of the host and files of the image could make runt do to the host. */
import { spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import {
  container,
  fails,
  ok,
  runBare,
  run as runtime,
  runtime as runtimeName,
  STAYS,
  stateRoot,
  withRuntime,
  words,
} from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'
import { act } from '../terminal.ts'
import { arena, breach, CANARY, intact, runIn, victim, withHostPrograms } from './arena.ts'

const { attack, run } = arena('hardening/host')

const running = () => {
  const c = container(
    victim(({ config }) => {
      config.process.args = ['sh', '-c', STAYS]
    }),
  )
  ok(c.create())
  ok(c.start())
  return c
}

// Names and paths.

attack('no id leads out of the state folder', { weakened: ['ids'] }, () => {
  const made = victim()
  const up = '../../../../..'
  for (const id of [`${up}${CANARY}/made`, `${CANARY}/made`, '..', '.', 'a/b', 'a\nb', '']) {
    const { status } = runtime(['create', '--bundle', made.directory, '--', id])
    if (status === 0) {
      runtime(['delete', '--force', '--', id])
      breach(`the id ${JSON.stringify(id)} was taken`)
    }
  }
  intact()
})

attack('the state of containers is closed to other users', {}, () => {
  const c = running()
  const look = `cat ${stateRoot}/${c.id}/* ${stateRoot}/*/state.json; ls ${stateRoot}/${c.id}`
  const { stdout } = spawnSync('setpriv', ['--reuid', '1001', '--clear-groups', 'sh', '-c', look], { encoding: 'utf8' })
  if (stdout !== '') breach(`user 1001 reads ${stdout.slice(0, 80)}`)
})

attack('a state that another user has written is not acted on', { weakened: ['owner of the state'], own: true }, () => {
  const c = running()
  // As who owns the folder that root was given with --root.
  const root = `/var/tmp/theirs-${process.pid}`
  try {
    mkdirSync(root)
    spawnSync('cp', ['-a', join(stateRoot, c.id), join(root, 'forged')])
    const saved = JSON.parse(readFileSync(join(root, 'forged/state.json'), 'utf8'))
    const hook = { path: '/bin/busybox', args: ['touch', `${CANARY}/hook`] }
    saved.id = 'forged'
    saved.pid = 0
    saved.cgroup = null
    saved.hooks = { poststart: [], poststop: [hook] }
    writeFileSync(join(root, 'forged/state.json'), JSON.stringify(saved))
    spawnSync('chown', ['-R', '1001:1001', root])
    runBare(['--root', root, 'delete', '--force', 'forged'])
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
  intact()
})

attack('a pid file is not written through a link', { weakened: ['pid file itself'] }, () => {
  const made = victim()
  const link = join(made.extra, 'pid')
  symlinkSync(join(CANARY, 'secret'), link)
  const c = container(made)
  c.create('--pid-file', link)
  intact()
  rmSync(link, { force: true })
  symlinkSync(join(CANARY, 'new'), link)
  const other = running()
  runtime(['exec', '--detach', '--pid-file', link, other.id, 'true'])
  intact()
})

attack('a path of control groups with dots harms no other group', {}, () => {
  const name = `host-canary-${process.pid}`
  const group = `/sys/fs/cgroup/${name}`
  mkdirSync(group, { recursive: true })
  const bystander = spawn('sleep', ['60'], { stdio: 'ignore' })
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(bystander.pid))
    // crun 1.8.1 takes it for the container's group, and `delete --force` ends all there is, the first process included.
    if (runtimeName === 'crun') breach('the root of all groups was taken')
    for (const path of ['/', '..', '../../..', '/../../..', '/a/../..', `/${name}`, `../../../${name}`]) {
      const made = victim(({ config }) => {
        config.linux.cgroupsPath = path
      })
      const c = container(made)
      const { status } = c.create()
      if (status === 0) c.delete('--force')
      if (!isAlive(bystander.pid!)) breach(`${path}: delete has ended a process of the host`)
      if (!existsSync(group)) breach(`${path}: delete has removed a group of the host`)
    }
  } finally {
    bystander.kill('SIGKILL')
    waitFor(() => !isAlive(bystander.pid!))
    rmdirSync(group)
  }
})

attack('a signal hits no later process with the pid', { weakened: ['start time'], own: true }, () => {
  const c = running()
  const path = join(stateRoot, c.id, 'state.json')
  const text = readFileSync(path, 'utf8')
  const bystander = spawn('sleep', ['60'], { stdio: 'ignore' })
  try {
    writeFileSync(path, JSON.stringify({ ...JSON.parse(text), pid: bystander.pid }))
    c.kill('KILL')
    waitFor(() => !isAlive(bystander.pid!), 100)
    if (!isAlive(bystander.pid!)) breach('a process of the host was killed')
  } finally {
    bystander.kill('SIGKILL')
    writeFileSync(path, text)
  }
})

// Files of the image that never end, or wait.

const NODES: [what: string, make: (path: string) => void][] = [
  ['a FIFO', (path) => spawnSync('mkfifo', ['-m', '777', path])],
  ['/dev/zero', (path) => spawnSync('mknod', ['-m', '777', path, 'c', '1', '5'])],
  [
    'a file of 100 GB',
    (path) => {
      writeFileSync(path, '', { mode: 0o777 })
      truncateSync(path, 100e9)
    },
  ],
  ['a folder', (path) => mkdirSync(path)],
  ['a link to itself', (path) => symlinkSync(path.slice(path.lastIndexOf('/') + 1), path)],
  ['a link to /proc/kmsg', (path) => symlinkSync('/proc/kmsg', path)],
]

/** A Breach where the runtime does not come to an end, or takes much memory. */
function bounded(body: () => void): void {
  try {
    // bash: ulimit -v, in KiB. Node.js reserves more than it uses.
    const limit = words([])[0]!.endsWith('/runt') ? 300_000 : 'unlimited'
    withRuntime((own) => ['sh', '-c', `ulimit -v ${limit}; exec "$@"`, 'sh', ...own], body)
  } catch (error) {
    if (/no end within/.test((error as Error).message)) breach('the runtime waits for ever')
    throw error
  }
}

for (const [what, make] of NODES)
  attack(
    `${what} as /etc/passwd costs nothing but HOME`,
    what === 'a FIFO' ? { weakened: ['opening without waiting'] } : {},
    () => {
      const made = victim(({ rootfs }) => {
        rmSync(join(rootfs, 'etc/passwd'))
        make(join(rootfs, 'etc/passwd'))
      })
      bounded(() => {
        const { status, stdout, stderr } = runIn(made, 'echo $HOME', 1500)
        if (status !== 0 || stdout !== '/\n') breach(`no container comes up: ${stderr}${stdout}`)
      })
    },
  )

for (const [what, make] of NODES.slice(0, 5))
  attack(`${what} as the program is refused`, {}, () => {
    const made = victim(({ rootfs, config }) => {
      make(join(rootfs, 'bin/program'))
      config.process.args = ['program']
    })
    bounded(() => {
      fails(container(made).run([], { timeout: 1500 }))
    })
  })

attack('an id of a user is a number, whatever /etc/passwd says (CVE-2016-3697)', {}, () => {
  const c = container(
    victim(({ config, file }) => {
      file('etc/passwd', '1000:x:0:0:root:/root:/bin/sh\nnobody:x:0:0::/:\n')
      config.process.args = ['sh', '-c', STAYS]
    }),
  )
  ok(c.create())
  ok(c.start())
  if (ok(runtime(['exec', '--user', '1000', c.id, 'id', '-u'])).stdout !== '1000\n') breach('user 1000 is root')
  if (runtime(['exec', '--user', 'nobody', c.id, 'true']).status === 0) breach('a name of the image was looked up')
})

attack('what is too long is refused as a whole (CVE-2021-43784, CVE-2021-4034)', {}, () => {
  const long = `/${'a/'.repeat(40_000)}`
  const changes: ((made: ReturnType<typeof victim>) => void)[] = [
    ({ config }) => config.linux.namespaces.push({ type: 'user', path: long }),
    ({ config }) => {
      config.linux.namespaces.push({ type: 'user' })
      const maps = Array.from({ length: 5000 }, (_, id) => ({ containerID: id, hostID: 100_000 + 2 * id, size: 1 }))
      Object.assign(config.linux, { uidMappings: maps, gidMappings: maps })
    },
    ({ config }) => config.mounts.push({ destination: long, type: 'tmpfs', source: 'x' }),
    ({ config }) => {
      config.process.args = []
    },
    ({ config }) => {
      config.process.args = ['sh', '-c', 'true', 'x'.repeat(200_000)]
    },
  ]
  for (const change of changes) fails(container(victim(change)).run())
})

// Keys and terminals of the caller.

const KEYS = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
# keyctl(KEYCTL_JOIN_SESSION_KEYRING), add_key(2)
libc.syscall(250, 1, None)
if libc.syscall(248, b"user", b"canary", b"secret", 6, -3) < 0:
    sys.exit("no keys here")
os.execvp(sys.argv[1], sys.argv[1:])
`
// keyctl(KEYCTL_SEARCH) in the session keyring; request_key(2)
const FIND =
  'import ctypes; libc = ctypes.CDLL(None); print("keys", libc.syscall(250, 10, -3, b"user", b"canary", 0), libc.syscall(249, b"user", b"canary", None, 0))'

attack('keys of the caller stay out of the container', { weakened: ['keyring'] }, () => {
  const made = victim(({ config }) => withHostPrograms(config))
  withRuntime(
    (own) => ['python3', '-c', KEYS, ...own],
    () => {
      const { stdout } = ok(runIn(made, `python3 -c '${FIND}'`))
      if (!/keys -?\d/.test(stdout)) throw new Error(`the attacker says ${stdout}`)
      if (/ \d/.test(stdout)) breach('the container has found a key of the caller')
    },
  )
})

attack("the caller's terminal is not the container's", { weakened: ['session'] }, () => {
  const made = victim(({ config }) => {
    config.process.args = ['sh', '-c', '(exec 3<>/dev/tty) && echo the terminal is open']
  })
  const { id } = container(made)
  const { output } = act({
    place: 'terminal',
    command: words(['run', '--bundle', made.directory, id]),
    steps: [['end']],
  })
  if (output.includes('is open')) breach('the container has opened the terminal of its caller')
})

attack('nothing is typed into the terminal of the caller (TIOCSTI)', { weakened: ['session'] }, () => {
  const typing =
    'import fcntl, termios\nfor letter in b"x": fcntl.ioctl(0, termios.TIOCSTI, bytes([letter]))\nprint("typed")'
  const made = victim(({ config }) => {
    withHostPrograms(config)
    config.process.args = ['python3', '-c', typing]
  })
  const { id } = container(made)
  const { output } = act({
    place: 'terminal',
    command: words(['run', '--bundle', made.directory, id]),
    steps: [['end']],
  })
  if (output.includes('typed')) breach('the container has typed into the terminal of its caller')
  if (!output.includes('PermissionError')) throw new Error(`the attacker says ${output}`)
})

attack('a console socket that is something else is neither opened nor made', {}, () => {
  const made = victim(({ config }) => {
    config.process.terminal = true
  })
  const at = (name: string) => join(made.extra, name)
  const bind = (kind: string) => `import socket; socket.socket(socket.AF_UNIX, socket.${kind}).bind("socket-${kind}")`
  // Nobody listens on these any more, or ever.
  for (const kind of ['SOCK_STREAM', 'SOCK_DGRAM', 'SOCK_SEQPACKET'])
    spawnSync('python3', ['-c', bind(kind)], { cwd: made.extra })
  spawnSync('mkfifo', [at('fifo')])
  symlinkSync(join(CANARY, 'secret'), at('link'))
  symlinkSync(join(CANARY, 'new'), at('dangling'))
  symlinkSync('loop', at('loop'))
  for (const name of [
    'socket-SOCK_STREAM',
    'socket-SOCK_DGRAM',
    'socket-SOCK_SEQPACKET',
    'fifo',
    'link',
    'dangling',
    'loop',
    '.',
  ]) {
    const result = container(made).create('--console-socket', at(name))
    if (result.status === 0) breach(`${name} was taken for a console socket`)
    if (!new RegExp(`${name.replace('.', '')}.*: E[A-Z]+`).test(result.stderr) && runtimeName === 'runt')
      throw new Error(`${name}: ${result.stderr}`)
  }
  intact()
})

run()
