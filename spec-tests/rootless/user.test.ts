/**
 * Containers of a user without rights, and of root of a user namespace. The tests may be run by a user; run by root, they run the runtime
 * as a user that nobody else is.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Bundle,
  base,
  bundle,
  type Config,
  command,
  execute,
  fails,
  heading,
  makeRootless,
  ok,
  oneLine,
  type Result,
  type RunOptions,
  runtime,
  set,
  skip,
} from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'
import { withAgent } from '../seccomp-agent.ts'
import { act } from '../terminal.ts'

const { test, only, run } = heading('rootless/user')

const root = process.getuid!() === 0
const UID = root ? 61_234 : process.getuid!()
const GID = root ? 61_235 : process.getgid!()
const runtimeFolder = join(base, 'xdg')
const states = join(runtimeFolder, runtime)

const asUser = root ? ['setpriv', '--reuid', String(UID), '--regid', String(GID), '--clear-groups'] : []

/** Runs the runtime as the user. HOME is not set. */
function rootless(args: readonly string[], options: RunOptions & { prefix?: string[] } = {}): Result {
  const { prefix = [], ...rest } = options
  return execute([...prefix, ...asUser, ...command, ...args], {
    ...rest,
    env: { XDG_RUNTIME_DIR: runtimeFolder, HOME: undefined, USER: 'nobody', TMPDIR: runtimeFolder, ...rest.env },
  })
}

const canMap = execute([...asUser, 'unshare', '--user', '--map-root-user', 'true']).status === 0

/** A bundle of the user's, with the config that is usual for users. */
function owned(configure: (config: Config) => void = () => {}): Bundle {
  if (!canMap) skip('users may not make user namespaces here')
  mkdirSync(runtimeFolder, { recursive: true, mode: 0o700 })
  chownSync(runtimeFolder, UID, GID)
  const made = bundle((config) => {
    makeRootless(config, UID, GID)
    delete config.linux.resources
    set(config, 'linux.cgroupsPath', undefined)
    config.root.readonly = false
    config.process.args = ['true']
    configure(config)
  })
  execFileSync('chown', ['-R', '-h', `${UID}:${GID}`, made.directory])
  return made
}

/** stdout of a script in a container of the user's. */
function inside(script: string, made: Bundle = owned(), options: Parameters<typeof rootless>[1] = {}): string {
  made.config.process.args = ['sh', '-c', script]
  made.write()
  return ok(rootless(['run', '--bundle', made.directory, made.name], options)).stdout
}

test('a user runs a container, and is its root', () => {
  assert.is(
    inside('id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups | tr -s " "; hostname'),
    `0\n0\n 0 ${UID} 1\n 0 ${GID} 1\ndeny\nrunc\n`,
  )
})

test('what spec --rootless writes can be run', () => {
  const made = owned()
  rmSync(join(made.directory, 'config.json'))
  ok(rootless(['spec', '--rootless', '--bundle', made.directory]))
  const config = JSON.parse(readFileSync(join(made.directory, 'config.json'), 'utf8'))
  config.process.terminal = false
  config.process.args = ['id', '-u']
  writeFileSync(join(made.directory, 'config.json'), JSON.stringify(config))
  assert.is(ok(rootless(['run', '--bundle', made.directory, made.name])).stdout, '0\n')
})

test('the state lies in XDG_RUNTIME_DIR, closed to others', () => {
  const made = owned((config) => {
    config.process.args = ['sleep', '60']
  })
  ok(rootless(['create', '--bundle', made.directory, made.name]))
  const state = join(states, made.name)
  const found = existsSync(state) && statSync(states).mode & 0o777
  ok(rootless(['delete', '--force', made.name]))
  assert.is(found, 0o700)
  assert.not(existsSync(state))
})

test('create, start, state, exec, ps, kill and delete work', () => {
  const made = owned((config) => {
    config.process.args = ['sleep', '60']
  })
  ok(rootless(['create', '--bundle', made.directory, made.name]))
  try {
    ok(rootless(['start', made.name]))
    const state = JSON.parse(ok(rootless(['state', made.name])).stdout)
    assert.is(state.status, 'running')
    assert.is(statSync(`/proc/${state.pid}`).uid, UID)
    assert.is(
      ok(rootless(['exec', made.name, 'sh', '-c', 'id -u; echo $$ > /tmp/x; cat /proc/1/cmdline'])).stdout,
      '0\nsleep\x0060\x00',
    )
    ok(rootless(['kill', made.name, 'KILL']))
    assert.ok(waitFor(() => !isAlive(state.pid)))
  } finally {
    ok(rootless(['delete', '--force', made.name]))
  }
})

test('exec works in a container that has not been started', () => {
  const made = owned((config) => {
    config.process.args = ['sleep', '60']
  })
  ok(rootless(['create', '--bundle', made.directory, made.name]))
  try {
    assert.is(ok(rootless(['exec', made.name, 'id', '-u'])).stdout, '0\n')
    ok(rootless(['start', made.name]))
    assert.is(ok(rootless(['exec', made.name, 'id', '-u'])).stdout, '0\n')
  } finally {
    ok(rootless(['delete', '--force', made.name]))
  }
})

test('devices, /sys and /dev are there', () => {
  assert.is(
    inside(
      'echo x > /dev/null; head -c 2 /dev/zero | wc -c; stat -c %t:%T /dev/null; test -d /sys/class/net && echo sys; readlink /dev/ptmx; readlink /dev/fd',
    ),
    '2\n1:3\nsys\npts/ptmx\n/proc/self/fd\n',
  )
})

test('a new network namespace and its sysfs can be had', () => {
  const made = owned((config) => {
    config.linux.namespaces.push({ type: 'network' })
    config.mounts = config.mounts.map((mount) =>
      mount.source === '/sys'
        ? { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'ro'] }
        : mount,
    )
  })
  assert.is(inside('ls /sys/class/net; ip addr show lo | grep -c UP', made), 'lo\n1\n')
})

test('sysfs that cannot be mounted is that of the host', () => {
  const made = owned((config) => {
    config.mounts = config.mounts.map((mount) =>
      mount.source === '/sys'
        ? { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'ro'] }
        : mount,
    )
  })
  assert.is(inside('test -d /sys/class/net && echo there', made), 'there\n')
})

test('bind mounts of what the user can reach work', () => {
  const made = owned()
  const source = join(made.directory, 'extra')
  mkdirSync(source)
  chownSync(source, UID, GID)
  chmodSync(source, 0o700)
  made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind'] })
  inside('echo new > /mnt/new', made)
  assert.is(statSync(join(source, 'new')).uid, UID)
})

test('a bind mount of what the user cannot reach is refused, by name', () => {
  const made = owned()
  let source = '/root/data'
  if (root) {
    source = join(made.directory, 'extra/data')
    mkdirSync(source, { recursive: true })
    chmodSync(join(source, '..'), 0o700)
  }
  made.config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind'] })
  made.write()
  oneLine(fails(rootless(['run', '--bundle', made.directory, made.name]), /\/mnt|\/data/))
})

test('without limits the container stays in the cgroup of the user', () => {
  const made = owned()
  const own = execute([...asUser, 'cat', '/proc/self/cgroup']).stdout
  assert.is(inside('cat /proc/self/cgroup', made), own)
})

test('a limit that cannot be set is refused, with what to do', () => {
  const made = owned((config) => {
    config.linux.resources = { pids: { limit: 10 } }
  })
  const result = fails(
    rootless(['run', '--bundle', made.directory, made.name]),
    /linux\.resources\.pids\.limit.*(delegated|systemd)/,
  )
  oneLine(result)
})

test('a limit holds in a cgroup that was delegated', () => {
  if (root || execute(['systemctl', '--user', 'is-system-running']).stdout.trim() === 'offline')
    skip('no systemd of the user')
  const made = owned((config) => {
    config.linux.resources = { pids: { limit: 33 } }
    config.process.args = ['sh', '-c', 'cat /proc/self/cgroup']
  })
  const scope = ['systemd-run', '--user', '--scope', '--quiet', '-p', 'Delegate=yes']
  const group = inside('cat /proc/self/cgroup; sleep 0.3', made, { prefix: scope, env: process.env })
  assert.match(group, new RegExp(`/${made.name}\n$`))
})

/** The cgroup of the user's own systemd, below the mount. */
function ofSystemd(): string {
  if (root || execute(['systemctl', '--user', 'is-system-running']).stdout.trim() === 'offline')
    skip('no systemd of the user')
  return execute(['systemctl', '--user', 'show', '-P', 'ControlGroup']).stdout.trim()
}

test('a cgroup that may be made, but not joined, is refused with what to do', () => {
  const path = ofSystemd()
  const made = owned((config) => {
    set(config, 'linux.cgroupsPath', `${path}/app.slice/${config.hostname}`)
  })
  oneLine(fails(rootless(['run', '--bundle', made.directory, made.name]), /cgroup.*(systemd-run|--systemd-cgroup)/))
})

test('a limit whose controller was not delegated is refused with what to do', () => {
  const controllers = readFileSync(`/sys/fs/cgroup${ofSystemd()}/cgroup.controllers`, 'utf8')
  if (/\bio\b/.test(controllers)) skip('the io controller was delegated')
  const made = owned((config) => {
    config.linux.resources = { blockIO: { weight: 100 } }
  })
  const prefix = ['systemd-run', '--user', '--scope', '--quiet', '-p', 'Delegate=yes']
  const result = rootless(['run', '--bundle', made.directory, made.name], { prefix, env: process.env })
  oneLine(fails(result, /blockIO.*subtree_control.*Delegate=/))
})

test('device rules are no limit', () => {
  const made = owned((config) => {
    config.linux.resources = { devices: [{ allow: false, access: 'rwm' }] }
  })
  assert.is(inside('echo yes', made), 'yes\n')
})

only('runt', 'that device rules are not enforced is said at the level debug', () => {
  const made = owned((config) => {
    config.linux.resources = { devices: [{ allow: false, access: 'rwm' }] }
  })
  const words = ['run', '--bundle', made.directory, made.name]
  assert.match(ok(rootless(['--debug', ...words])).stderr, /linux\.resources\.devices: not enforced/)
  assert.is(ok(rootless(words)).stderr, '')
})

test('with --rootless=false a cgroup that cannot be made is an error', () => {
  const made = owned()
  oneLine(fails(rootless(['--rootless=false', 'run', '--bundle', made.directory, made.name]), /cgroup/))
})

/** A config for root. */
const ofRoot = (config: Config): void => {
  config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'user')
  delete config.linux.uidMappings
  delete config.linux.gidMappings
}

test('a config without a user namespace gets one, with the ids that the user was given', () => {
  const made = owned((config) => {
    ofRoot(config)
    config.process.user = { uid: 5, gid: 6 }
  })
  assert.is(
    inside('id -u; id -g; cat /proc/self/uid_map | tr -s " "', made, { prefix: given() }),
    `5\n6\n 0 ${UID} 1\n 1 ${subordinate()} 65536\n`,
  )
})

test('a config without a user namespace gets one, where the user was given no ids with its own, and exec is in it', () => {
  if (!root) skip('which ids the user was given is up to the guest')
  const made = owned((config) => {
    ofRoot(config)
    config.process.args = ['sleep', '100']
  })
  ok(rootless(['run', '--detach', '--bundle', made.directory, made.name]))
  const map = rootless(['exec', made.name, 'sh', '-c', 'id -u; cat /proc/self/uid_map | tr -s " "'])
  assert.is(ok(map).stdout, `0\n 0 ${UID} 1\n`)
  ok(rootless(['delete', '--force', made.name]))
})

test('additional groups are refused', () => {
  const made = owned((config) => {
    config.process.user.additionalGids = [0]
  })
  const result = fails(rootless(['run', '--bundle', made.directory, made.name]), /groups?\b/)
  oneLine(result)
  if (runtime === 'runt') assert.match(result.stderr, /process\.user\.additionalGids: setgroups.*leave them out/)
})

test('ids that the user was not given are refused, by name', () => {
  const made = owned((config) => {
    config.linux.uidMappings = [
      { containerID: 0, hostID: UID, size: 1 },
      { containerID: 1, hostID: 3_000_000_000, size: 1000 },
    ]
  })
  oneLine(fails(rootless(['run', '--bundle', made.directory, made.name]), /newuidmap/))
})

/** The first of the ids that the user was given. */
function subordinate(): number {
  if (root) return 700_000
  const name = execFileSync('id', ['-un'], { encoding: 'utf8' }).trim()
  const found = new RegExp(`^${name}:(\\d+):`, 'm').exec(readFileSync('/etc/subuid', 'utf8'))
  return found ? Number(found[1]) : skip('/etc/subuid gives no ids to this user')
}

/** A prefix: with these ids given to the user, in a mount namespace of its own. */
function given(): string[] {
  if (!existsSync('/usr/bin/newuidmap')) skip('newuidmap is not installed')
  if (!root) return []
  const folder = join(base, 'etc')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'passwd'), `${readFileSync('/etc/passwd', 'utf8')}guest:x:${UID}:${GID}::/:/bin/sh\n`)
  for (const name of ['subuid', 'subgid']) writeFileSync(join(folder, name), 'guest:700000:65536\n')
  const binds = ['passwd', 'subuid', 'subgid'].map(
    (name) => `touch /etc/${name}; mount --bind ${folder}/${name} /etc/${name}`,
  )
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', `${binds.join('; ')}; exec "$@"`, 'sh']
}

const many = (config: Config): void => {
  for (const key of ['uidMappings', 'gidMappings'])
    config.linux[key] = [
      { containerID: 0, hostID: key === 'uidMappings' ? UID : GID, size: 1 },
      { containerID: 1, hostID: subordinate(), size: 65_535 },
    ]
}

test('ids that the user was given are mapped by newuidmap and newgidmap', () => {
  const made = owned((config) => {
    many(config)
    config.process.user = { uid: 5, gid: 6, additionalGids: [7] }
  })
  assert.is(
    inside('id -u; id -g; id -G; cat /proc/self/uid_map | tr -s " "', made, { prefix: given() }),
    `5\n6\n6 7\n 0 ${UID} 1\n 1 ${subordinate()} 65535\n`,
  )
})

/** A prefix: with a /proc that shows users their own processes only, proc(5). */
function hidingOthers(): string[] {
  if (root)
    return [
      'unshare',
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      'mount -t proc -o hidepid=2 proc /proc && exec "$@"',
      'sh',
    ]
  if (!/ \/proc \S+ .*hidepid=(2|invisible)/.test(readFileSync('/proc/self/mountinfo', 'utf8')))
    skip('/proc is not mounted with hidepid, and only root can mount it so')
  return []
}

test('a user sees and handles a container where /proc is mounted with hidepid', () => {
  const prefix = hidingOthers()
  const made = owned((config) => {
    config.process.args = ['sleep', '60']
    config.process.oomScoreAdj = 300
  })
  const status = (): string => JSON.parse(ok(rootless(['state', made.name], { prefix })).stdout).status
  ok(rootless(['create', '--bundle', made.directory, made.name], { prefix }))
  try {
    assert.is(status(), 'created')
    assert.is(ok(rootless(['exec', made.name, 'id', '-u'], { prefix })).stdout, '0\n')
    ok(rootless(['start', made.name], { prefix }))
    assert.is(status(), 'running')
    const score = ok(rootless(['exec', made.name, 'cat', '/proc/self/oom_score_adj'], { prefix }))
    assert.is(score.stdout, '300\n')
    assert.match(ok(rootless(['list'], { prefix })).stdout, /running/)
    ok(rootless(['kill', made.name, 'KILL'], { prefix }))
    assert.ok(waitFor(() => status() === 'stopped'))
  } finally {
    ok(rootless(['delete', '--force', made.name], { prefix }))
  }
})

test('a user sees a container whose program has another of its ids, where /proc is mounted with hidepid', () => {
  const [unshare, ...rest] = given()
  const hiding = hidingOthers()
  const prefix = unshare ? [...hiding, unshare, ...rest] : hiding
  const made = owned((config) => {
    many(config)
    config.process.user = { uid: 5, gid: 6 }
    config.process.args = ['sleep', '60']
  })
  ok(rootless(['create', '--bundle', made.directory, made.name], { prefix }))
  try {
    const status = (): string => JSON.parse(ok(rootless(['state', made.name], { prefix })).stdout).status
    assert.is(status(), 'created')
    ok(rootless(['start', made.name], { prefix }))
    assert.is(status(), 'running')
    assert.is(ok(rootless(['exec', made.name, 'id', '-u'], { prefix })).stdout, '5\n')
  } finally {
    ok(rootless(['delete', '--force', made.name], { prefix }))
  }
})

test('a user who could not tell an init from a stopped one is refused: in namespaces of others, with hidepid', () => {
  const prefix = hidingOthers()
  const pod = owned((config) => {
    config.process.args = ['sleep', '60']
  })
  ok(rootless(['run', '--detach', '--bundle', pod.directory, pod.name], { prefix }))
  try {
    const { pid } = JSON.parse(ok(rootless(['state', pod.name])).stdout)
    const made = owned((config) => {
      for (const one of config.linux.namespaces)
        if (one.type === 'pid' || one.type === 'user') one.path = `/proc/${pid}/ns/${one.type}`
      delete config.linux.uidMappings
      delete config.linux.gidMappings
    })
    const refused = rootless(['create', '--bundle', made.directory, made.name], { prefix })
    oneLine(fails(refused, /hidepid=\S+ which hides the container's init from you/))
  } finally {
    ok(rootless(['delete', '--force', pod.name]))
  }
})

test('exec with an OOM score', () => {
  const made = owned((config) => {
    config.process.args = ['sleep', '60']
  })
  ok(rootless(['run', '--detach', '--bundle', made.directory, made.name]))
  try {
    const file = join(made.directory, 'process.json')
    const exec = (oomScoreAdj: number): string => {
      const args = ['cat', '/proc/self/oom_score_adj']
      writeFileSync(file, JSON.stringify({ args, cwd: '/', env: ['PATH=/bin'], oomScoreAdj }))
      return ok(rootless(['exec', '--process', file, made.name])).stdout
    }
    assert.is(exec(300), '300\n')
    assert.is.not(exec(-900), '-900\n')
    rmSync(file)
  } finally {
    ok(rootless(['delete', '--force', made.name]))
  }
})

test('the OOM score can be raised, and where it cannot be lowered it stays', () => {
  const made = owned((config) => {
    config.process.oomScoreAdj = 300
  })
  assert.is(inside('cat /proc/self/oom_score_adj', made), '300\n')
  const lower = owned((config) => {
    config.process.oomScoreAdj = -900
  })
  assert.is.not(inside('cat /proc/self/oom_score_adj', lower), '-900\n')
})

test('a terminal works', () => {
  const made = owned((config) => {
    config.process.terminal = true
    config.process.args = ['sh', '-c', 'tty; ls -l /dev/console | cut -c 1']
  })
  const words = ['env', '-u', 'HOME', `XDG_RUNTIME_DIR=${runtimeFolder}`, ...asUser, ...command]
  const { output } = act({
    place: 'terminal',
    command: [...words, 'run', '--bundle', made.directory, made.name],
    steps: [['end']],
  })
  assert.match(output, /\/dev\/pts\/0\r\nc\r\n/)
})

test('a seccomp agent of the user gets the listener: run, create and start, exec', () => {
  const arm = process.arch === 'arm64'
  const EXFULL = 54
  const failing = { [arm ? -1 : 83]: EXFULL, [arm ? 34 : 258]: EXFULL }
  const made = owned()
  withAgent(join(made.directory, 'extra'), failing, (agent) => {
    chmodSync(agent.path, 0o777)
    made.config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      listenerPath: agent.path,
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_NOTIFY' }],
    }
    assert.is(
      inside('mkdir /dev/shm/d 2>&1; echo $?', made),
      "mkdir: can't create directory '/dev/shm/d': Exchange full\n1\n",
    )
    made.config.process.args = ['sleep', '60']
    made.write()
    ok(rootless(['create', '--bundle', made.directory, made.name]))
    try {
      ok(rootless(['start', made.name]))
      const result = rootless(['exec', made.name, 'mkdir', '/dev/shm/d'])
      assert.match(result.stderr, /Exchange full/)
    } finally {
      ok(rootless(['delete', '--force', made.name]))
    }
    assert.equal(
      agent.greetings().map(({ links }) => links),
      [1, 2, 3].map(() => ['anon_inode:seccomp notify']),
    )
  })
})

test('without XDG_RUNTIME_DIR the state lies in a folder of the user alone', () => {
  const folder = `/tmp/runt-${UID}`
  if (existsSync(`/run/user/${UID}`)) skip('the user has a session')
  const made = owned()
  made.config.process.args = ['echo', 'yes']
  made.write()
  const run = () => rootless(['run', '--bundle', made.directory, made.name], { env: { XDG_RUNTIME_DIR: undefined } })
  try {
    assert.is(ok(run()).stdout, 'yes\n')
    assert.is(statSync(folder).mode & 0o777, 0o700)
    // Others could look into it.
    chmodSync(folder, 0o755)
    oneLine(fails(run(), /--root/))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('root of a user namespace runs a container without one of its own', () => {
  const made = owned((config) => {
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'user')
    delete config.linux.uidMappings
    delete config.linux.gidMappings
    config.process.args = ['sh', '-c', 'id -u; echo x > /dev/null && echo null; test -d /sys/class/net && echo sys']
    config.mounts = config.mounts.map((mount) =>
      mount.source === '/sys'
        ? { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'ro'] }
        : mount,
    )
  })
  const words = [...asUser, 'unshare', '--user', '--map-root-user', '--mount', ...command]
  const result = execute([...words, '--root', states, 'run', '--bundle', made.directory, made.name], {
    env: { XDG_RUNTIME_DIR: runtimeFolder, HOME: undefined },
  })
  assert.is(ok(result).stdout, '0\nnull\nsys\n')
})

test('root in a user namespace to whom the cgroups belong has limits, and no device rules (unshare -r)', () => {
  if (!root) skip('for root, whose the cgroups are')
  const made = bundle((config) => {
    const { cgroupsPath } = config.linux
    makeRootless(config, 0, 0)
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'user')
    delete config.linux.uidMappings
    delete config.linux.gidMappings
    set(config, 'linux.cgroupsPath', cgroupsPath)
    config.linux.resources = { devices: [{ allow: false, access: 'rwm' }], pids: { limit: 7 } }
    config.process.args = ['sh', '-c', 'echo x > /dev/null && echo null; sleep 0.2']
  })
  const words = ['unshare', '--user', '--map-root-user', '--mount', ...command, '--root', join(base, 'mapped')]
  assert.is(ok(execute([...words, 'run', '--bundle', made.directory, made.name])).stdout, 'null\n')
})

test('a container can run a container', () => {
  if (!command[0]!.includes('/') || command.length > 1) skip('the runtime is not a file that can be bound')
  const made = owned((config) => {
    config.linux.maskedPaths = []
    config.linux.readonlyPaths = []
    const bounding = [
      'CAP_SYS_ADMIN',
      'CAP_SETUID',
      'CAP_SETGID',
      'CAP_SYS_CHROOT',
      'CAP_SETPCAP',
      'CAP_SYS_PTRACE',
      'CAP_DAC_OVERRIDE',
      'CAP_FOWNER',
      'CAP_CHOWN',
      'CAP_KILL',
      'CAP_AUDIT_WRITE',
      'CAP_NET_BIND_SERVICE',
    ]
    config.process.capabilities = { bounding, effective: bounding, permitted: bounding }
    config.mounts.push({
      destination: '/runtime',
      type: 'bind',
      source: join(command[0]!, '..'),
      options: ['rbind', 'ro'],
    })
  })
  const inner = owned((config) => {
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'user')
    delete config.linux.uidMappings
    delete config.linux.gidMappings
    config.mounts = config.mounts.filter(({ type }) => type !== 'cgroup')
    config.linux.maskedPaths = []
    config.process.args = ['echo', 'inner']
  })
  made.config.mounts.push({ destination: '/inner', type: 'bind', source: inner.directory, options: ['rbind'] })
  const name = command[0]!.slice(command[0]!.lastIndexOf('/') + 1)
  assert.is(inside(`/runtime/${name} --root /tmp/root run --bundle /inner inner`, made), 'inner\n')
})

test('nothing of the user is left', () => {
  assert.equal(existsSync(states) ? readdirSync(states) : [], [])
})

run()
