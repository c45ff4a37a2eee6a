/**
 * $NOTIFY_SOCKET (sd_notify(3)): a service manager that has started runt waits for READY=1 from the program, which cannot see the manager's
 * socket. So the program gets a socket of the container's own, and what it says there is passed on, with the pid that the manager is
 * to watch. Several commands have a part in that, as in runc:
 *
 *   create, run    make the folder of the socket, and mount it in the container (`planNotifyFolder`, `addNotifySocket`)
 *   run, start     make the socket (`openNotify`, `planNotify`), and pass READY=1 on once the program runs (`waitForReady`)
 *
 * With `run` in the foreground the manager goes on watching runt. Otherwise it watches the container's init from then on, and runt ends.
 */
import { decodeUtf8, encodeUtf8, Struct } from '../base/bytes.ts'
import type { Platform } from '../base/platform.ts'
import type { Config } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { ANY, at, Batch, type DataPointer, load, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { CallError } from '../session/session.ts'
import type { Interruption } from './foreground.ts'
import { callerPid, type Runtime } from './runtime.ts'
import { HostSlot } from './slots.ts'
import { folderOf, NOTIFY_FOLDER, NOTIFY_SOCKET } from './state.ts'
import { planSendDescriptor } from './terminal.ts'

/** Path of the folder in the container. */
const INSIDE = '/run/notify'
/** Bytes of the longest message that is read. */
const LONGEST = 4096
/** Seconds that a service manager has to take note before the one who told it ends; sd_notify_barrier(3). */
const BARRIER = 30

/** The socket of the service manager, if the caller has one: a path, or with `@` an abstract name (sd_notify(3)). */
export function notifySocketOf(platform: Platform): string | null {
  const socket = platform.getenv('NOTIFY_SOCKET')
  return socket && /^[/@]./.test(socket) && encodeUtf8(socket).length <= 107 ? socket : null
}

/** Adds the mount of the folder and the variable to the config, so that the program finds its socket. */
export function addNotifySocket(config: Config, folder: string): void {
  const env = (config.process.env ?? []).filter((entry) => !entry.startsWith('NOTIFY_SOCKET='))
  config.process.env = [...env, `NOTIFY_SOCKET=${INSIDE}/${NOTIFY_SOCKET}`]
  const options = ['bind', 'nosuid', 'noexec', 'nodev', 'ro']
  config.mounts = [...(config.mounts ?? []), { destination: INSIDE, source: `${folder}/${NOTIFY_FOLDER}`, options }]
}

/** Plans, in the host, the folder of the socket. */
export function planNotifyFolder(b: Batch, folder: string): void {
  const path = `${folder}/${NOTIFY_FOLDER}`
  b.about(`NOTIFY_SOCKET: ${path}`)
  c.mkdirat(b, k.AT_FDCWD, path, 0o755)
  // Whatever the caller's umask is: the program may run as another user.
  c.fchmodat(b, k.AT_FDCWD, path, 0o755)
}

/** Makes the container's socket, in slot NOTIFY. */
export function openNotify(runtime: Runtime, id: string): void {
  const folder = folderOf(runtime, id)
  const b = new Batch(runtime.platform.machine)
  c.openat(b, k.AT_FDCWD, '.', k.O_PATH).keep(HostSlot.CWD)
  c.chdir(b, folder)
  planNotify(b, folder)
  c.fchdir(b, slot(HostSlot.CWD))
  c.close(b, slot(HostSlot.CWD))
  runtime.host.run(b)
}

/**
 * Plans to make the container's socket, in slot NOTIFY; the working folder is that of its state, and is again afterwards. The result is
 * an error for a container that was created without.
 */
export function planNotify(b: Batch, folder: string): Step {
  b.about(`NOTIFY_SOCKET: ${folder}/${NOTIFY_FOLDER}/${NOTIFY_SOCKET}`)
  const end = b.label()
  const bind = b.label()
  // From inside the folder: an address holds 107 bytes.
  const entered = c.chdir(b, NOTIFY_FOLDER).on(['ENOENT'], end)
  c.unlinkat(b, k.AT_FDCWD, NOTIFY_SOCKET).on(['ENOENT'], bind)
  b.place(bind)
  const socket = c.socket(b, k.AF_UNIX, k.SOCK_DGRAM).keep(HostSlot.NOTIFY)
  const address = c.unixAddress(b, NOTIFY_SOCKET)
  b.call('bind', socket, address.pointer, address.length)
  c.fchmodat(b, k.AT_FDCWD, NOTIFY_SOCKET, 0o777)
  c.chdir(b, '..')
  b.place(end)
  return entered
}

/**
 * For a command that ends when the program is ready: waits until it has said so, or the process behind the pidfd in slot PIDFD has
 * ended. `pid` is what the service manager is to watch from then on.
 */
export function waitForReady(runtime: Runtime, socket: string, pid: number): void {
  const { host, platform } = runtime
  for (;;) {
    const b = new Batch(platform.machine)
    const again = b.label()
    b.patience = Infinity
    b.about('NOTIFY_SOCKET: waiting for the program')
    // struct pollfd, twice; behind each what poll(2) ignores, for a look at whole words.
    const set = b.data(new Struct(24).u32(4, k.POLLIN).u32(12, k.POLLIN).u32(20, 0).bytes)
    b.store(32, set, slot(HostSlot.NOTIFY))
    b.store(32, at(set, 8), slot(HostSlot.PIDFD))
    b.place(again)
    b.call('ppoll', set, 2, 0, 0, 8).on(['EINTR'], again)
    const message = planTake(b)
    const answer = host.run(b)
    const length = answer.value(message.count)!
    if (length < 0) return
    if (!saysReady(answer.bytes(message.buffer, length))) continue
    tellReady(runtime, socket, pid, true)
    return
  }
}

/** Takes a message that is there. */
function planTake(b: Batch): { count: ReturnType<Batch['call']>; buffer: ReturnType<Batch['out']> } {
  const end = b.label()
  const buffer = b.out(LONGEST)
  const count = b
    .call('recvfrom', slot(HostSlot.NOTIFY), buffer, LONGEST, k.MSG_DONTWAIT, 0, 0)
    .on(['EAGAIN', 'EINTR'], end)
  b.place(end)
  return { count, buffer }
}

/** Variables are lines. */
const saysReady = (message: Uint8Array): boolean => decodeUtf8(message).split('\n').includes('READY=1')

/**
 * Passes READY=1 on. With `leaving` the service manager takes note of it before this returns: who has ended is unknown to it. A manager
 * that is gone is not the container's problem.
 */
function tellReady(runtime: Runtime, socket: string, pid: number, leaving: boolean): void {
  const { host, platform } = runtime
  const b = new Batch(platform.machine)
  b.about(`NOTIFY_SOCKET (${socket})`)
  const manager = c.socket(b, k.AF_UNIX, k.SOCK_DGRAM)
  const name = encodeUtf8(socket)
  const address = new Struct(2 + name.length + 1).u16(0, k.AF_UNIX)
  address.bytes.set(name, 2)
  // An abstract name begins with a NUL instead, and ends without.
  const abstract = socket.startsWith('@')
  if (abstract) address.bytes[2] = 0
  b.call('connect', manager, b.data(address.bytes, socket), address.bytes.length - (abstract ? 1 : 0))
  const text = b.string(`MAINPID=${pid}\nREADY=1`)
  b.call('sendto', manager, text, text.length - 1, k.MSG_NOSIGNAL, 0, 0)
  if (leaving) planBarrier(b, manager)
  c.close(b, manager)
  try {
    host.run(b)
  } catch (error) {
    if (!(error instanceof CallError)) throw error
    runtime.warn(error.message)
    host.recover(new Batch(platform.machine))
  }
}

/** Sends the end of a pipe, and waits until it is closed: everything before it has been dealt with. sd_notify_barrier(3). */
function planBarrier(b: Batch, manager: c.Fd): void {
  const pipe = b.out(8)
  const over = b.label()
  b.patience += BARRIER * 1000
  b.call('pipe2', pipe, k.O_CLOEXEC)
  planSendDescriptor(b, manager, load(pipe, 32, 4), 'BARRIER=1')
  c.close(b, load(pipe, 32, 4))
  const poll: DataPointer = b.data(new Uint8Array(8))
  b.store(32, poll, load(pipe, 32, 0))
  // POLLHUP comes unasked for.
  b.call('ppoll', poll, 1, c.timespec(b, BARRIER * 1000), 0, 8).on(ANY, over)
  b.place(over)
  c.close(b, load(pipe, 32, 0))
}

/**
 * For `run` in the foreground: attends to the container until the program is ready, or has ended. `plan` is as planWait or planRelay,
 * which a message interrupts. True when the program has ended; its exit status is then in slot STATUS.
 */
export function attendUntilReady(
  runtime: Runtime,
  socket: string,
  plan: (b: Batch, interruption: Interruption) => void,
): boolean | Promise<boolean> {
  const { host, platform } = runtime
  const b = new Batch(platform.machine)
  const interrupted = b.label()
  b.patience = Infinity
  plan(b, { fd: slot(HostSlot.NOTIFY), label: interrupted })
  const ended = b.add(1, 0)
  b.place(interrupted)
  const message = planTake(b)
  const self = callerPid(b, platform.engine)
  const next = (): boolean | Promise<boolean> => {
    const answer = host.wait(b)
    if (answer.value(ended) !== undefined) return true
    const length = answer.value(message.count)!
    if (length < 0 || !saysReady(answer.bytes(message.buffer, length))) return attendUntilReady(runtime, socket, plan)
    tellReady(runtime, socket, answer.value(self)!, false)
    return false
  }
  host.send(b)
  return platform.hostAnswers ? platform.hostAnswers().then(next) : next()
}
