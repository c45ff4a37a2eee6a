/** The platform on QuickJS: sessions over the descriptors that the launcher has left, all else by host.c. */
import { RuntError } from '../base/errors.ts'
import type { Channel, Platform } from '../base/platform.ts'
import { REPLY_AT } from '../executor/protocol.ts'
import { describeErrno, Errno, errnoName } from '../linux/errno.ts'
import { host } from './host.ts'

/** The launcher (src/session/boot.ts) executes the brain with its sessions as these descriptors. */
const Descriptor = { HOST: 3, STAGE: 4, INIT: 5 } as const

function channel(fd: number, name: string): Channel {
  const received = host.alone() ? REPLY_AT : 0
  return {
    // What was received has been copied when something is sent, and the other way round.
    outgoing: host.message,
    send(message) {
      const error = host.send(fd, message.buffer, message.byteOffset, message.length)
      if (error < 0)
        throw new RuntError(`the ${name} executor is gone: send: ${describeErrno(-error)}`, errnoName(-error))
    },
    receive(timeoutMs) {
      const length = host.receive(fd, host.message, timeoutMs === Infinity ? -1 : Math.max(0, timeoutMs))
      if (length > 0) return new Uint8Array(host.message, received, length)
      if (length === 0) return null
      if (length === -Errno.EAGAIN!) return 'timeout'
      throw new RuntError(`the ${name} executor cannot be heard: recv: ${describeErrno(-length)}`)
    },
    close() {
      host.close(fd)
    },
  }
}

/** The process's platform. Call it when the program runs, not while modules are evaluated. */
export function openPlatform(): Platform {
  let env: Record<string, string> | undefined
  return {
    engine: 'quickjs',
    machine: host.machine,
    // For the launcher.
    self: ['/proc/self/exe'],
    args: host.args(),
    get env() {
      env ??= host.env()
      return env
    },
    getenv: (name) => host.getenv(name),
    now: () => host.now(),
    prepare: (bytes) => host.prepare(bytes),
    host: channel(Descriptor.HOST, 'host'),
    stage: channel(Descriptor.STAGE, 'stage'),
    init: channel(Descriptor.INIT, 'init'),
    stdout(text) {
      const error = host.write(1, text)
      if (error < 0) throw new RuntError(`cannot write to stdout: ${describeErrno(-error)}`)
    },
    // Nothing is left to tell about a broken stderr.
    stderr: (text) => void host.write(2, text),
    exit: (status) => host.exit(status),
    // The last batch is in the socket; the launcher performs it although the brain is gone.
    handOver: () => host.exit(0),
  }
}
