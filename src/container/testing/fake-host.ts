/** A whole runtime on fake kernels: files come from a table, everything else succeeds. */
import { decodeUtf8, encodeUtf8 } from '../../base/bytes.ts'
import type { Platform } from '../../base/platform.ts'
import { S_IFCHR } from '../../linux/constants.ts'
import { Session } from '../../session/session.ts'
import { agreeableKernel, type Call, FakeKernel, type Kernel } from '../../session/testing/fake-kernel.ts'
import type { Runtime } from '../runtime.ts'

export interface FakeHost {
  runtime: Runtime
  host: FakeKernel
  stage: FakeKernel
  init: FakeKernel
  warnings: string[]
  /** What the host has written, by path. */
  written: Map<string, string>
}

const V1 = 'cpu cpuacct cpuset memory devices freezer blkio pids'.split(' ')

/** Files that every launch reads. */
const hostFiles: Record<string, string> = {
  '/proc/self/mountinfo': [
    '22 1 8:1 / / rw,relatime - ext4 /dev/root rw',
    '23 22 0:5 / /proc rw,relatime - proc proc rw',
    ...V1.map(
      (name, index) =>
        `${30 + index} 22 0:${30 + index} / /sys/fs/cgroup/${name} rw,relatime - cgroup cgroup rw,${name}`,
    ),
  ].join('\n'),
  '/proc/self/cgroup': V1.map((name, index) => `${index + 1}:${name}:/`).join('\n'),
  '/proc/4711/stat': `4711 (runt:init) S 1 4711 4711 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 987654 0 0`,
}

/** Device nodes that every host has. */
const nodes: Record<string, [number, number]> = {
  '/dev/null': [1, 3],
  '/dev/zero': [1, 5],
  '/dev/full': [1, 7],
  '/dev/random': [1, 8],
  '/dev/urandom': [1, 9],
  '/dev/tty': [5, 0],
}

/** `files` by path; `kernel` may answer a call of one of the executors itself (undefined: as an agreeable kernel does). */
export function fakeHost(
  files: Record<string, string>,
  kernel: (executor: 'host' | 'stage' | 'init', call: Call) => number | string | undefined = () => undefined,
): FakeHost {
  const all = { ...hostFiles, ...files }
  const written = new Map<string, string>()
  const make = (executor: 'host' | 'stage' | 'init'): FakeKernel => {
    const agreeable = agreeableKernel()
    const devices = new Map<number, [number, number]>()
    const open = new Map<number, { bytes: Uint8Array; at: number }>()
    const paths = new Map<number, string>()
    const answer: Kernel = (call) => {
      const own = kernel(executor, call)
      if (own !== undefined) return own
      if (call.name === 'getcwd') {
        call.memory(call.args[0]!, 8).set(encodeUtf8('/bundle\0'))
        return 8
      }
      const node = call.name === 'openat' && nodes[call.text(call.args[1]!)]
      if (node) {
        const fd = agreeable(call) as number
        devices.set(fd, node)
        return fd
      }
      const device = call.name === 'statx' && devices.get(call.args[0]!)
      if (device) {
        const status = call.memory(call.args[4]!, 256)
        status[29] = S_IFCHR >> 8
        status[128] = device[0]
        status[132] = device[1]
        return 0
      }
      // Programs are no folders.
      if (
        call.name === 'openat' &&
        executor === 'init' &&
        call.text(call.args[1]!).startsWith('/bin/') &&
        call.args[2]! & 0o200000
      )
        return 'ENOTDIR'
      if (call.name === 'openat' && executor === 'host') {
        const path = call.text(call.args[1]!)
        const fd = agreeable(call) as number
        const text = all[path] ?? all[`/bundle/${path.replace(/^\.\//, '')}`]
        paths.set(fd, path)
        if (text !== undefined) open.set(fd, { bytes: encodeUtf8(text), at: 0 })
        else if (path.startsWith('/proc/')) return 'ENOENT'
        return fd
      }
      if (call.name === 'read') {
        const file = open.get(call.args[0]!)
        if (!file) return 0
        const piece = file.bytes.subarray(file.at, file.at + call.args[2]!)
        call.memory(call.args[1]!, piece.length).set(piece)
        file.at += piece.length
        return piece.length
      }
      const path = call.name === 'write' && paths.get(call.args[0]!)
      if (path) written.set(path, decodeUtf8(call.memory(call.args[1]!, call.args[2]!)))
      return agreeable(call)
    }
    return new FakeKernel(answer)
  }
  const host = make('host')
  const stage = make('stage')
  const init = make('init')
  const warnings: string[] = []
  const platform: Platform = {
    engine: 'quickjs',
    machine: 'x86_64',
    self: ['/runt'],
    args: [],
    env: {},
    getenv: () => undefined,
    now: () => 1_700_000_000_000,
    host,
    stage,
    init,
    stdout() {},
    stderr() {},
    exit(status) {
      throw new Error(`exit ${status}`)
    },
    handOver() {
      throw new Error('hand over')
    },
  }
  const runtime: Runtime = {
    platform,
    host: new Session('host', host, 0x1000_0000),
    stage: new Session('stage', stage, 0x2000_0000),
    init: new Session('init', init, 0x3000_0000),
    globals: { root: '/run/runt', debug: false, cgroupManager: 'cgroupfs', rootless: 'auto' },
    warn: (message) => warnings.push(message),
    debug() {},
    lastWords() {},
  }
  return { runtime, host, stage, init, warnings, written }
}
