/**
 * What the usual commands do, rehearsed on fake kernels while the brain is built, so that the link can put together what
 * they touch: "Heat" in src/engine-quickjs/host.c. A rehearsal is recorded here, on Node.js, and played back to the brain.
 */
import { encodeUtf8 } from '../src/base/bytes.ts'
import type { Channel, Platform } from '../src/base/platform.ts'
import { main } from '../src/cli/main.ts'
import { engineSamples, samples } from '../src/config/testing/samples.ts'
import { fakeHost } from '../src/container/testing/fake-host.ts'
import { prepareUsual } from '../src/container/usual.ts'
import { CLD_EXITED } from '../src/linux/constants.ts'
import { BuildError } from './tools.ts'

/** Kinds of records, as in rehearsal.h; a message is of the kind of the descriptor that the brain has it from. */
const Kind = { ARGUMENT: 1, ENVIRONMENT: 2, HOST: 3, STAGE: 4, INIT: 5 } as const

const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LANG: 'C.UTF-8' }

type Files = Readonly<Record<string, string>>

/** /proc/self/mountinfo and /proc/self/cgroup of a host with file systems of these types at these places. */
function host(mounts: readonly string[], cgroup: string): Files {
  const lines = mounts.map((mount, index) => {
    const [path, type, options = 'rw'] = mount.split(' ')
    return `${22 + index} ${index === 0 ? 1 : 22} 0:${20 + index} / ${path} rw,nosuid,relatime shared:${index} - ${type} ${type} ${options}\n`
  })
  return { '/proc/self/mountinfo': lines.join(''), '/proc/self/cgroup': cgroup }
}

const everywhere = [
  '/ ext4',
  '/proc proc',
  '/sys sysfs',
  '/dev devtmpfs',
  '/dev/pts devpts',
  '/dev/shm tmpfs',
  '/run tmpfs',
]
const controllers = 'cpuset cpu cpuacct blkio memory devices freezer pids'.split(' ')

/** A host with cgroup v1 and an empty cgroup2 beside it, and one with cgroup2 alone. */
const hybrid = host(
  [
    ...everywhere,
    '/sys/fs/cgroup tmpfs',
    ...controllers.map((name) => `/sys/fs/cgroup/${name} cgroup rw,${name}`),
    '/sys/fs/cgroup/systemd cgroup rw,name=systemd',
    '/sys/fs/cgroup/unified cgroup2',
  ],
  [...controllers.map((name, index) => `${index + 2}:${name}:/`), '1:name=systemd:/', '0::/user.slice', ''].join('\n'),
)
const unified = {
  ...host([...everywhere, '/sys/fs/cgroup cgroup2', '/tmp tmpfs'], '0::/user.slice/session-1.scope\n'),
  '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory hugetlb pids rdma misc\n',
}

/** Volumes as the engines bind them. */
const volumes = [
  { destination: '/data', options: ['rbind', 'rprivate', 'rw'] },
  { destination: '/config', options: ['rbind', 'rprivate', 'ro'] },
  { destination: '/etc/service', options: ['rbind', 'rprivate', 'ro'] },
  { destination: '/var/lib/service', options: ['rbind', 'rprivate', 'rw'] },
].map((volume) => ({ ...volume, type: 'bind', source: `/srv${volume.destination}` }))

interface Config {
  hooks?: unknown
  process: { terminal?: boolean; args: string[] }
  mounts: object[]
  linux: { resources: { unified?: unknown; hugepageLimits?: unknown } }
}

/** What a bundle has, and what there is once it runs. */
function bundle(config: Config, engine: boolean): Files {
  // Hooks are other programs' affairs, and a terminal would have to be there.
  delete config.hooks
  config.process.terminal = false
  config.process.args = ['/bin/true']
  // Not for all hosts.
  delete config.linux.resources.unified
  delete config.linux.resources.hugepageLimits
  if (engine) config.mounts.push(...volumes)
  return { '/bundle/config.json': JSON.stringify(config), '/proc/4711/oom_score_adj': '0\n' }
}

/** One tape for each rehearsed command, of records `{ u32 kind; u32 length; bytes }`: what the brain is told in its course. */
export function rehearse(): Uint8Array[] {
  // As src/engine-quickjs/main.ts does, for the machine of the fake kernels. The answers are the same on all.
  prepareUsual('x86_64')
  const tapes: Uint8Array[] = []
  for (const place of [hybrid, unified]) {
    for (const name of ['runc-spec', 'docker-limits', 'podman-limits', 'kubernetes']) {
      const engine = name !== 'runc-spec'
      const config = JSON.parse(engineSamples.get(name) ?? samples.get(name)!)
      const files: Files = { ...place, ...bundle(config, engine) }
      const play = (args: readonly string[], more: Files = {}, missing: readonly string[] = []): Files => {
        const { tape, written } = record(args, { ...files, ...more }, missing)
        tapes.push(tape)
        return written
      }
      play(['--root', '/run/engine', 'run', '-b', '/bundle', 'box'])
      const there = play(['create', '--bundle', '/bundle', '--pid-file', '/run/box.pid', 'box'])
      for (const args of [
        ['start', 'box'],
        ['state', 'box'],
        ['exec', 'box', 'true'],
        ['kill', 'box', 'TERM'],
      ])
        play(args, there)
      play(['delete', 'box'], there, ['/proc/4711/stat'])
    }
  }
  return tapes
}

/** The files of the container come back too, as they are written. `files`: what is there to read; `missing`: what is not, of what a host has. */
function record(
  args: readonly string[],
  files: Files,
  missing: readonly string[] = [],
): { tape: Uint8Array; written: Files } {
  const pieces: Uint8Array[] = []
  const put = (kind: number, bytes: Uint8Array): void => {
    pieces.push(new Uint8Array(Uint32Array.of(kind, bytes.length).buffer), bytes.slice())
  }
  for (const arg of ['runt', ...args]) put(Kind.ARGUMENT, encodeUtf8(arg))
  for (const [name, value] of Object.entries(environment)) put(Kind.ENVIRONMENT, encodeUtf8(`${name}=${value}`))

  let said = ''
  let ended = false
  const end = (): never => {
    ended = true
    throw new Error('the command has ended')
  }
  const fake = fakeHost(files, (executor, { name, args, text, memory }) => {
    if (name === 'openat' && missing.includes(text(args[1]!))) return 'ENOENT'
    if (name === 'pidfd_open' && missing.includes(`/proc/${args[0]}/stat`)) return 'ESRCH'
    // The session of a process ends when it executes its program.
    if (name === 'execve') fake[executor].gone = true
    if (name === 'exit_group') end()
    // The program has ended at once: si_code and si_pid of siginfo_t.
    if (name === 'waitid' && args[2] !== 0) {
      const info = memory(args[2]!, 128)
      info[8] = CLD_EXITED
      info[16] = 1
      return 0
    }
    return undefined
  })
  const taped = (kind: number, channel: Channel): Channel => ({
    send(message) {
      try {
        channel.send(message)
      } catch (error) {
        if (!ended) throw error
        channel.close()
      }
    },
    receive(timeoutMs) {
      const message = channel.receive(timeoutMs)
      if (message === 'timeout') throw new BuildError(`the rehearsal of \`${args.join(' ')}\` waits for ever`)
      put(kind, message ?? new Uint8Array(0))
      return message
    },
    close: () => channel.close(),
  })
  const platform: Platform = {
    ...fake.runtime.platform,
    args,
    env: environment,
    host: taped(Kind.HOST, fake.host),
    stage: taped(Kind.STAGE, fake.stage),
    init: taped(Kind.INIT, fake.init),
    stderr: (text) => {
      // Nobody hears what comes of the end.
      if (!ended) said += text
    },
    exit: end,
    handOver: end,
  }
  const status = main(platform)
  if (said !== '' || (!ended && status !== 0))
    throw new BuildError(`the rehearsal of \`${args.join(' ')}\` failed: ${said}`)
  const written = Object.fromEntries([...fake.written].map(([path, text]) => [path.replace(/\.tmp$/, ''), text]))
  return { tape: Buffer.concat(pieces), written }
}
