/**
 * Terminals (config.md, `process.terminal`; pty(7)).
 *
 * A process that is to have one makes it itself, in the container's own devpts: `planPty`, `planConsole`, `planControl`. It
 * sends the master's descriptor to the host (`planHandOver`, `planTaking`), and the host gives it to whoever listens on
 * --console-socket (`planGiving`) or relays it to the caller's own streams (relay.ts). An init and the host meet on the socket that
 * the init can park on (`planMeeting`), the process of an exec is born with its end of a socket pair (`planSocketPair`).
 */
import { encodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { basename, dirname } from '../base/paths.ts'
import type { Process } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import {
  at,
  type Batch,
  type DataPointer,
  type Label,
  load,
  type OutPointer,
  type Step,
  slot,
} from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { makeFolder } from './paths.ts'
import { HostSlot, InitSlot } from './slots.ts'

const MASTER = slot(InitSlot.MASTER)
const SLAVE = slot(InitSlot.SLAVE)

/** Bytes of a path that fit into a sockaddr_un, unix(7). */
const ADDRESS_MAX = 107

/** What decides whether a terminal can be had. */
export interface TerminalWish {
  /** `process.terminal`. */
  terminal: boolean | undefined
  consoleSocket: string | null
  /** The command stays until the process ends, and relays its terminal. */
  foreground: boolean
}

/** Somebody has to hold the master: the caller's console socket, or runt as long as it stays. The texts are runc's. */
export function checkTerminal({ terminal, consoleSocket, foreground }: TerminalWish): void {
  if (terminal && !foreground && consoleSocket === null)
    throw new RuntError(
      'process.terminal: cannot allocate tty if runt will detach without setting console socket: give --console-socket, or set it to false',
    )
  if (consoleSocket !== null && (foreground || !terminal))
    throw new RuntError('--console-socket: cannot use console socket if runt will not detach or allocate tty')
}

/** Plans, in the host, the connection to the console socket, and keeps it for `planGiving`. `path` may be relative. */
export function planConsoleSocket(b: Batch, path: string): void {
  b.about(`--console-socket ${path}`)
  planConnection(b, path, k.SOCK_STREAM, HostSlot.CONSOLE)
}

/**
 * Connects to a socket of any path: where that does not fit into an address, from inside the folder. `prepare`: plans what comes before.
 * Gives the step that connects.
 */
export function planConnection(
  b: Batch,
  path: string,
  type: number,
  keep: number,
  prepare?: (socket: Step) => void,
): Step {
  const long = encodeUtf8(path).length > ADDRESS_MAX
  const name = long ? basename(path) : path
  if (encodeUtf8(name).length > ADDRESS_MAX)
    throw new RuntError(`${path}: the name of a socket has at most ${ADDRESS_MAX} bytes`)
  const connection = c.socket(b, k.AF_UNIX, type).keep(keep)
  prepare?.(connection)
  if (long) {
    c.openat(b, k.AT_FDCWD, '.', k.O_PATH).keep(HostSlot.CWD)
    c.chdir(b, path.includes('/') ? dirname(path) : '.')
  }
  const address = c.unixAddress(b, name)
  const connected = b.call('connect', connection, address.pointer, address.length)
  if (long) {
    c.fchdir(b, slot(HostSlot.CWD))
    c.close(b, slot(HostSlot.CWD))
  }
  return connected
}

/**
 * Plans a new pseudo-terminal of the devpts that /dev/ptmx below `root` belongs to; its ends stay in slots MASTER and SLAVE. The slave
 * is opened through the master (TIOCGPTPEER, Linux 4.13): its path could lead to a terminal of somebody else's.
 */
export function planPty(b: Batch, root: c.Fd, { user, consoleSize }: Process): void {
  b.about('process.terminal: a new pseudo-terminal (it needs a devpts on /dev/pts)')
  // O_NONBLOCK: in a container that runs it may by now be a serial line, whose open(2) waits for somebody to call.
  c.openInRoot(b, root, '/dev/ptmx', k.O_RDWR | k.O_NOCTTY | k.O_NONBLOCK).keep(InitSlot.MASTER)
  b.call('ioctl', MASTER, k.TIOCSPTLCK, b.data(new Uint8Array(8), '[0]'))
  b.call('ioctl', MASTER, k.TIOCGPTPEER, k.O_RDWR | k.O_NOCTTY | k.O_CLOEXEC).keep(InitSlot.SLAVE)
  if (consoleSize) {
    b.about('process.consoleSize')
    const { height, width } = consoleSize
    const size = new Struct(8).u16(0, height).u16(2, width)
    b.call('ioctl', MASTER, k.TIOCSWINSZ, b.data(size.bytes, `{ws_row=${height}, ws_col=${width}}`))
  }
  c.fcntl(b, MASTER, k.F_SETFL, k.O_RDWR)
  b.about('process.terminal: owner and mode')
  // The group is what the mount of devpts says: tty, as a rule. One that is read-only stays as it is.
  const fixed = b.label()
  b.call('fchown', SLAVE, user.uid, -1).on(['EROFS'], fixed)
  b.call('fchmod', SLAVE, 0o620).on(['EROFS'], fixed)
  b.place(fixed)
}

/** Plans /dev/console below slot ROOT: the slave is mounted on it. A link of that name is not followed. */
export function planConsole(b: Batch): void {
  b.about('process.terminal: /dev/console')
  makeFolder(b, '/dev', InitSlot.PARENT)
  const dev = slot(InitSlot.PARENT)
  const make = b.label()
  const attach = b.label()
  c.openat(b, dev, 'console', k.O_PATH | k.O_NOFOLLOW)
    .on(['ENOENT'], make)
    .keep(InitSlot.TARGET)
  b.jump(attach)
  b.place(make)
  const flags = k.O_RDONLY | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW
  c.openat(b, dev, 'console', flags, 0o600).keep(InitSlot.TARGET)
  b.place(attach)
  c.openTree(b, SLAVE, '', k.OPEN_TREE_CLONE | k.AT_EMPTY_PATH).keep(InitSlot.MOUNT)
  c.attachMount(b, slot(InitSlot.MOUNT), slot(InitSlot.TARGET))
  for (const used of [InitSlot.MOUNT, InitSlot.TARGET, InitSlot.PARENT]) c.close(b, slot(used))
}

/** Makes the slave the controlling terminal of this process, the leader of a session without one, and its standard streams. */
export function planControl(b: Batch): void {
  b.about('process.terminal: controlling terminal')
  b.call('ioctl', SLAVE, k.TIOCSCTTY, 0)
  for (let fd = 0; fd < 3; fd++) b.call('dup3', SLAVE, fd, 0)
  c.close(b, SLAVE)
}

/** struct msghdr of one piece of text and one descriptor, whose number is at 16 of `control`; sendmsg(2), cmsg(3). */
function message(b: Batch, text: DataPointer, length: number): { header: DataPointer; control: DataPointer } {
  const iovec = b.structure(new Struct(16).u64(8, length).bytes, { 0: text })
  const control = b.data(new Struct(24).u64(0, 20).u32(8, k.SOL_SOCKET).u32(12, k.SCM_RIGHTS).bytes)
  const struct = new Struct(56).u64(24, 1).u64(40, 24)
  const header = b.structure(struct.bytes, { 16: iovec, 32: control }, '{…, msg_control=SCM_RIGHTS}')
  return { header, control }
}

/** Sends descriptor `fd` with a text that is not empty. */
export function planSendDescriptor(b: Batch, socket: c.Fd, fd: c.Fd, text: string): Step {
  const pointer = b.string(text)
  const { header, control } = message(b, pointer, pointer.length - 1)
  b.store(32, at(control, 16), fd)
  return b.call('sendmsg', socket, header, k.MSG_NOSIGNAL)
}

/**
 * Receives a descriptor that was sent by `planSendDescriptor`. `without`: where to go on if none comes, but the end, or a message that has
 * none and that is left for somebody else.
 */
export function planReceiveDescriptor(b: Batch, socket: c.Fd, keep: number, without?: Label): void {
  const { header, control } = message(b, b.data(new Uint8Array(8)), 8)
  const lost = b.label()
  const taken = b.label()
  b.store(32, at(control, 12), 0)
  const count = b.call('recvmsg', socket, header, k.MSG_CMSG_CLOEXEC | (without ? k.MSG_PEEK : 0))
  if (without) count.on(['ECONNRESET'], without)
  b.branch(count, 'EQUAL', 0, lost)
  b.branch(load(control, 32, 12), 'NOT_EQUAL', k.SCM_RIGHTS, lost)
  b.set(keep, load(control, 32, 16))
  b.jump(taken)
  b.place(lost)
  if (without) b.jump(without)
  else b.fail('ECONNRESET')
  b.place(taken)
  if (without) b.call('recvfrom', socket, b.scratch(8), 8, 0, 0, 0)
}

/** Plans, in the host, the connection on which the init will send the master: to the socket it listens on, `folder`/`name`. */
export function planMeeting(b: Batch, folder: string, name: string): void {
  b.about(`process.terminal: ${folder}/${name}`)
  planConnection(b, `${folder}/${name}`, k.SOCK_SEQPACKET, HostSlot.CONNECTION)
}

/** Plans, in the host, the two ends on which the process of an exec will send its master: slots CONNECTION and MEETING. */
export function planSocketPair(b: Batch): void {
  b.about('process.terminal: socket pair')
  c.socketPair(b, HostSlot.CONNECTION, HostSlot.MEETING)
}

/** In an init: takes the connection that the host has made to `listener`. */
export function planAccept(b: Batch, listener: number): Step {
  b.about('process.terminal: hand over')
  return b.call('accept4', listener, 0, 0, k.SOCK_CLOEXEC)
}

/** Sends the master to the host and closes it, and the connection. The number of the terminal is in the buffer. */
export function planHandOver(b: Batch, connection: c.Fd): OutPointer {
  b.about('process.terminal: hand over')
  const number = b.out(8)
  b.call('ioctl', MASTER, k.TIOCGPTN, number)
  planSendDescriptor(b, connection, MASTER, 'tty')
  c.close(b, connection)
  c.close(b, MASTER)
  return number
}

/** Takes, in the host, the master that the init has sent by now, into slot TERMINAL. */
export function planTaking(b: Batch): void {
  b.about('process.terminal')
  planReceiveDescriptor(b, slot(HostSlot.CONNECTION), HostSlot.TERMINAL)
  c.close(b, slot(HostSlot.CONNECTION))
}

/** Gives the master to the console socket, with the path that the slave has in the container. */
export function planGiving(b: Batch, consoleSocket: string, number: number): void {
  b.about(`--console-socket ${consoleSocket}`)
  planSendDescriptor(b, slot(HostSlot.CONSOLE), slot(HostSlot.TERMINAL), `/dev/pts/${number}`)
  c.close(b, slot(HostSlot.CONSOLE))
  c.close(b, slot(HostSlot.TERMINAL))
}
