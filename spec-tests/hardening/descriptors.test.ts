/** What of runt and its caller a container could get hold of: the executor's file, descriptors, processes that join. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { BUSYBOX } from '../bundle.ts'
import { type Container, container, ok, repository, run as runtime, STAYS } from '../harness.ts'
import { isAlive, mounts, waitFor } from '../host.ts'
import { arena, breach, CANARY, exchanged, slowly, unread, victim, withHostPrograms } from './arena.ts'

const { attack, run } = arena('hardening/descriptors')

const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')
const PROGRAMS = ['dist/runt', 'dist/runt-brain'].map((name) => join(repository, name))

function created(configure?: Parameters<typeof victim>[0]): Container {
  const c = container(victim(configure))
  ok(c.create(), 'create')
  return c
}

// The executor's file: CVE-2019-5736.

attack('what the init was executed from cannot be written (CVE-2019-5736)', { weakened: ['seals'] }, () => {
  const before = PROGRAMS.map(digest)
  const c = created()
  const { pid } = c.state()
  // As who has got hold of it, and waits until nobody executes it any more.
  const held = openSync(`/proc/${pid}/exe`, 'r')
  try {
    ok(c.delete('--force'), 'delete')
    waitFor(() => !isAlive(pid!))
    let written = 0
    try {
      const file = openSync(`/proc/self/fd/${held}`, 'r+')
      written = writeSync(file, 'overwritten')
      closeSync(file)
    } catch {}
    if (written > 0) breach('the executor was written')
  } finally {
    closeSync(held)
  }
  PROGRAMS.forEach((path, index) => {
    if (digest(path) !== before[index]) breach(`${path} was changed`)
  })
})

attack(
  'a program that is /proc/self/exe, or whose interpreter is, gets nothing of the host (CVE-2019-5736)',
  {},
  () => {
    const before = PROGRAMS.map(digest)
    for (const args of [['/proc/self/exe'], ['/bin/script'], ['/bin/link']]) {
      const made = victim((whole) => {
        whole.config.process.args = args
        whole.file('bin/script', '#!/proc/self/exe\n')
        symlinkSync('/proc/self/exe', join(whole.rootfs, 'bin/link'))
        // Whatever runs must not take these to heart.
        whole.config.process.env!.push('LD_PRELOAD=/evil.so', 'LD_LIBRARY_PATH=/')
        whole.file('etc/ld.so.preload', '/evil.so\n')
      })
      const { stdout } = container(made).run()
      if (stdout !== '') breach(`${args[0]} said ${stdout}`)
    }
    PROGRAMS.forEach((path, index) => {
      if (digest(path) !== before[index]) breach(`${path} was changed`)
    })
  },
)

attack('nothing is loaded into the init from the image: its file is static', {}, () => {
  const file = readFileSync(`/proc/${created().state().pid}/exe`)
  const [offset, size, count] = [Number(file.readBigUInt64LE(32)), file.readUInt16LE(54), file.readUInt16LE(56)]
  for (let index = 0; index < count; index++) {
    // PT_DYNAMIC, PT_INTERP
    const type = file.readUInt32LE(offset + index * size)
    if (type === 2 || type === 3) breach('the executor has a dynamic section or a loader')
  }
})

// Descriptors: CVE-2024-21626, CVE-2016-9962.

attack('a working folder cannot be a descriptor (CVE-2024-21626)', { weakened: ['working folder'] }, () => {
  const leaked = openSync(CANARY, 'r')
  try {
    for (const number of [3, 4, 5, 6, 7, 8, 9]) {
      const made = victim(({ config }) => {
        config.process.cwd = `/proc/self/fd/${number}`
        config.process.args = ['sh', '-c', `cat secret ../secret; readlink /proc/self/cwd; stat -c %i .`]
      })
      const result = container(made).run([], { descriptors: [leaked] })
      unread(result)
      // Any folder will do: from it a path leads on.
      if (result.status === 0) breach(`the working folder is what descriptor ${number} stands for: ${result.stdout}`)
    }
  } finally {
    closeSync(leaked)
  }
})

attack('nor that of an exec', {}, () => {
  const c = created(({ config }) => {
    config.process.args = ['sh', '-c', STAYS]
  })
  ok(c.start())
  const leaked = openSync(CANARY, 'r')
  try {
    for (const number of [3, 4, 5, 6, 7, 8]) {
      const words = ['exec', '--cwd', `/proc/self/fd/${number}`, c.id, 'sh', '-c', 'cat secret; pwd']
      const result = runtime(words, { descriptors: [leaked] })
      unread(result)
      if (result.status === 0) breach(`the working folder is what descriptor ${number} stands for`)
    }
  } finally {
    closeSync(leaked)
  }
})

attack(
  'a working folder that is exchanged for a link while exec enters it is no descriptor (CVE-2024-21626)',
  { weakened: ['working folder of an exec'], rounds: 8 },
  (round) => {
    const made = victim(({ config, extra }) => {
      mkdirSync(join(extra, 'volume/place'), { recursive: true })
      symlinkSync('/proc/self/fd/3', join(extra, 'volume/link'))
      const source = join(extra, 'volume')
      config.mounts.push({ destination: '/volume', type: 'bind', source, options: ['bind'] })
      config.process.args = ['sh', '-c', STAYS]
    })
    const c = container(made)
    ok(c.create())
    ok(c.start())
    const leaked = openSync(CANARY, 'r')
    const [one, other] = ['place', 'link'].map((name) => join(made.extra, 'volume', name)) as [string, string]
    try {
      return exchanged({ one, other, word: '.', extra: made.extra }, round, () => {
        const words = ['exec', '--cwd', '/volume/place', c.id, 'sh', '-c', 'cat secret; pwd; ls -la /proc/self/cwd/']
        unread(runtime(words, { descriptors: [leaked] }))
      })
    } finally {
      closeSync(leaked)
    }
  },
)

attack('a descriptor that the caller leaks leads to no program of the host (CVE-2024-21626)', {}, () => {
  // A script would be opened a second time, by its interpreter, when the descriptor is closed.
  copyFileSync(BUSYBOX, join(CANARY, 'echo'))
  const leaked = openSync(CANARY, 'r')
  try {
    const made = victim(({ rootfs }) => {
      mkdirSync(join(rootfs, 'own'))
      symlinkSync('/proc/self/fd/3/echo', join(rootfs, 'own/echo'))
    })
    for (const program of ['/proc/self/fd/3/echo', '/own/echo', `/proc/self/fd/3/..${CANARY}/echo`]) {
      made.config.process.args = [program, 'run', 'from', 'the host']
      made.write()
      const { stdout } = container(made).run([], { descriptors: [leaked] })
      if (stdout.includes('host')) breach(`${program} was run from the host`)
    }
    const c = created(({ config }) => {
      config.process.args = ['sh', '-c', STAYS]
    })
    ok(c.start())
    const words = ['exec', c.id, '/proc/self/fd/3/echo', 'run', 'from', 'the host']
    if (runtime(words, { descriptors: [leaked] }).stdout.includes('host')) breach('exec has run a program of the host')
  } finally {
    closeSync(leaked)
  }
})

attack('a program has no descriptors but its streams', { weakened: ['closed descriptors'] }, () => {
  const leaked = openSync(CANARY, 'r')
  try {
    const made = victim()
    made.config.process.args = ['ls', '-l', '/proc/self/fd']
    made.write()
    const { stdout } = ok(container(made).run([], { descriptors: [leaked, leaked, leaked] }))
    // Its own look at the folder is one, too.
    const more = [...stdout.matchAll(/(\d+) -> (.*)/g)].filter(
      ([, fd, path]) => Number(fd) > 2 && !/^\/proc\//.test(path!),
    )
    if (more.length > 0) breach(`the program has ${more.map(([text]) => text).join(', ')}`)
  } finally {
    closeSync(leaked)
  }
})

attack('a parked init holds no folder of the host', { weakened: ['old root'] }, () => {
  const leaked = openSync(CANARY, 'r')
  try {
    const made = victim()
    const c = container(made)
    ok(runtime(['create', '--bundle', made.directory, c.id], { descriptors: [leaked] }))
    const { pid } = c.state()
    const own = new Set(mounts(pid!).map(({ id }) => id))
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const path = `/proc/${pid}/fd/${fd}`
      const mount = Number(/^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1])
      if (statSync(path).isDirectory() && !own.has(mount))
        breach(`descriptor ${fd} is the folder ${readlinkSync(path)}`)
    }
  } finally {
    closeSync(leaked)
  }
})

// Looking into runt's processes: CVE-2016-9962.

const LOOK =
  'for p in /proc/[0-9]*; do grep -q "^runt:init\\|^runc:\\|^crun" $p/comm && for f in $p/exe $p/root $p/cwd $p/fd/*; do readlink $f || echo denied >&2; done; done'

attack('who shares the pid namespace of a parked init cannot look into it', { weakened: ['dumpable'] }, () => {
  const attacker = created(({ config }) => {
    config.process.args = ['sh', '-c', STAYS]
  })
  ok(attacker.start())
  const path = `/proc/${attacker.state().pid}/ns/pid`
  created(({ config }) => {
    config.linux.namespaces = config.linux.namespaces.map((one) => (one.type === 'pid' ? { type: 'pid', path } : one))
  })
  const { stdout, stderr } = runtime(['exec', attacker.id, 'sh', '-c', LOOK])
  if (stdout !== '') breach(`it sees ${stdout.replaceAll('\n', ' ')}`)
  if (!stderr.includes('denied')) throw new Error(`the attacker has not seen the init: ${stderr}`)
})

const ATTACKER = `
import ctypes, os, time
libc = ctypes.CDLL(None)
print("ready", flush=True)
tries = 0
end = time.monotonic() + 60
while time.monotonic() < end:
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (1, os.getpid()):
            continue
        tries += 1
        try:
            if "memfd" in os.readlink(f"/proc/{name}/exe"):
                print("BREACH exe", tries, flush=True)
                os.close(os.open(f"/proc/{name}/mem", os.O_RDWR))
                print("BREACH mem", flush=True)
        except OSError as error:
            if tries % 50 == 1:
                print("tries", tries, error, flush=True)
`

attack('a container cannot look into a process that joins it', { weakened: ['dumpable'], rounds: 2, tries: 5 }, () => {
  const attacker = created(({ config }) => {
    withHostPrograms(config)
    config.process.args = ['python3', '-c', ATTACKER]
  })
  ok(attacker.start())
  attacker.says(/ready/)
  // Long enough for the attacker to look, also after the rights were dropped.
  ok(
    slowly(() => runtime(['exec', attacker.id, 'true']), ['umask'], 50_000),
    'exec',
  )
  const seen = /BREACH.*/s.exec(attacker.output())
  if (seen) breach(seen[0].replaceAll('\n', ' '))
  if (!/tries/.test(attacker.output())) throw new Error('the attacker has not seen the process')
})

const TRACER = `
import os, time
print("ready", flush=True)
tries = 0
end = time.monotonic() + 60
while time.monotonic() < end:
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (1, os.getpid()):
            continue
        try:
            if open(f"/proc/{name}/comm").read() != "runt:init\\n":
                continue
        except OSError:
            continue
        tries += 1
        # It takes what ptrace takes; who slows runt down here traces it already. Once the program is executed, which also changes the
        # name, a container may trace it.
        try:
            memory = os.open(f"/proc/{name}/mem", os.O_RDWR)
            if open(f"/proc/{name}/comm").read() == "runt:init\\n":
                print("BREACH mem", flush=True)
                os._exit(0)
            os.close(memory)
        except OSError as error:
            if tries % 50 == 1:
                print("tries", tries, error, flush=True)
`

attack(
  'a container with CAP_SYS_PTRACE in a user namespace cannot trace a process that joins it',
  { weakened: ['dumpable'], rounds: 2, tries: 5, own: true },
  () => {
    const attacker = created(({ config, rootfs }) => {
      withHostPrograms(config)
      execFileSync('chown', ['-R', '100000:100000', rootfs])
      config.linux.namespaces.push({ type: 'user' })
      const maps = [{ containerID: 0, hostID: 100_000, size: 65_536 }]
      Object.assign(config.linux, { uidMappings: maps, gidMappings: maps })
      for (const set of Object.values(config.process.capabilities!)) set.push('CAP_SYS_PTRACE')
      config.process.args = ['python3', '-c', TRACER]
    })
    ok(attacker.start())
    attacker.says(/ready/)
    slowly(() => runtime(['exec', attacker.id, 'true']), ['umask'], 50_000)
    if (attacker.output().includes('BREACH')) breach('it has opened the memory of the process')
    if (!/tries/.test(attacker.output())) throw new Error('the attacker has not seen the process')
  },
)

attack(
  'exec adds no inheritable capabilities (CVE-2022-29162, CVE-2022-27650)',
  { weakened: ['inheritable capabilities'] },
  () => {
    const c = created(({ config }) => {
      config.process.args = ['sh', '-c', 'grep CapInh /proc/self/status; sleep 60']
    })
    ok(c.start())
    c.says(/CapInh/)
    const { stdout } = ok(runtime(['exec', '--cap', 'CAP_NET_ADMIN', c.id, 'grep', 'CapInh', '/proc/self/status']))
    for (const text of [c.output(), stdout]) if (!/CapInh:\s+0+$/m.test(text)) breach(text.trim())
  },
)

run()
