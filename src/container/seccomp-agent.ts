/**
 * The filter of a process, and the agent that gets its listener (config-linux.md, `seccomp.listenerPath`; seccomp_unotify(2)).
 *
 *   host    connects to the agent ─── takes the listener, sends it with the process's state ── says so ──
 *   thread                 waits ─── sends the listener to the host ────────────────────────── waits ── says so
 *   init    loads the filter ────────────────── looks at a slot until the thread has said so ─────────────── execve(2)
 *
 * Once it has the filter, the init must not make a system call before execve(2): the filter could make it wait for the agent, which does
 * not have the listener yet. So a second thread, to which the filter does not apply, sends the listener; the two communicate through their
 * memory. The host could also take the descriptor out of the process, but that takes rights that users do not have, and the process is not
 * dumpable. execve(2) ends the thread.
 */
import { encodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { stringifyJson } from '../base/json.ts'
import { SPEC_VERSION } from '../base/version.ts'
import type { ContainerProcessState, Seccomp, Status } from '../config/types.ts'
import { Flag, Slot } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import type { Filter } from '../seccomp/compile.ts'
import { planSeccomp } from '../seccomp/load.ts'
import { ANY, at, Batch, type Label, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { CallError } from '../session/session.ts'
import type { Runtime } from './runtime.ts'
import { HostSlot, InitSlot } from './slots.ts'
import type { Saved } from './state.ts'
import { planConnection, planReceiveDescriptor, planSendDescriptor } from './terminal.ts'

/** Who gets the listener of a container's filter, and what it is told besides. Kept in the container's state. */
export interface Agent {
  path: string
  metadata?: string | undefined
}

/** Name of the listener in the container process state: config-linux.md, "The Container Process State". */
const LISTENER_NAME = 'seccompFd'

/** Milliseconds between the looks of the thread. */
const PAUSE = 0.1
/** Bytes of the state that one batch carries. */
const PART = 0x1_0000
/** Seconds that an agent has to accept a connection, and to read what it is sent. */
const PATIENCE = 10

/** The agent of a filter; undefined where no rule notifies one, whatever listenerPath says. */
export function agentOf(seccomp: Seccomp | undefined, filter: Pick<Filter, 'listener'> | null): Agent | undefined {
  if (!filter?.listener || !seccomp?.listenerPath) return undefined
  return { path: seccomp.listenerPath, metadata: seccomp.listenerMetadata }
}

const ABOUT_THREAD =
  'linux.seccomp.listenerPath: the thread that sends the listener (linux.resources.pids.limit and RLIMIT_NPROC count it)'

/** Flags of clone(2) for a thread. */
const THREAD = k.CLONE_VM | k.CLONE_FS | k.CLONE_FILES | k.CLONE_SIGHAND | k.CLONE_THREAD

/**
 * Plans, in the init, the thread that sends the listener. It is started before whatever may fail (hooks, the filter): if that fails, the
 * thread ends and closes slot CHANNEL, so that the host does not wait. It never answers, and shares no slot that both write to; see
 * Kind.FORK. The batch has to be the init's last, because the next message would overwrite the thread's operations.
 */
export function planThread(b: Batch): void {
  const [thread, refused, end] = [b.label(), b.label(), b.label()]
  b.about(ABOUT_THREAD)
  const channel = slot(InitSlot.CHANNEL)
  const forked = b.fork('clone', [THREAD, 0, 0, 0, 0], thread).on(ANY, refused)
  b.jump(end)
  b.place(refused)
  const errno = b.negate(forked)
  c.close(b, channel)
  b.fail(errno)

  const [look, filtered, answer, gone, over, closed] = Array.from({ length: 6 }, () => b.label()) as Label[]
  const pause = b.data(new Struct(16).u64(8, PAUSE * 1e6).bytes, () => `{${PAUSE} ms}`)
  b.place(thread!)
  b.place(look!)
  b.branch(slot(Slot.FAILED), 'NOT_EQUAL', 0, over!)
  b.branch(0, 'LESS', slot(InitSlot.LISTENER), filtered!)
  b.call('nanosleep', pause, 0).on(ANY, look!)
  b.jump(look!)
  b.place(filtered!)
  planSendDescriptor(b, channel, slot(InitSlot.LISTENER), 'seccomp').on(ANY, gone!)
  b.place(answer!)
  const said = b.call('recvfrom', channel, b.data(new Uint8Array(8)), 8, 0, 0, 0).on(['EINTR'], answer!)
  b.branch(said, 'LESS', 1, gone!)
  b.set(InitSlot.TAKEN, 1)
  b.place(over!)
  c.close(b, channel).on(ANY, closed!)
  b.place(closed!)
  b.call('exit', 0)
  // The host has given up, or is gone. So is the process.
  b.place(gone!)
  c.exitGroup(b, 1)
  b.place(end)
}

/** Plans, in the init, the thread and its channel: the connection that the host has made to `listener`. */
export function planAnswering(b: Batch, listener: number): void {
  const [refused, taken] = [b.label(), b.label()]
  b.about('linux.seccomp.listenerPath')
  const channel = b.call('accept4', listener, 0, 0, k.SOCK_CLOEXEC).on(ANY, refused).keep(InitSlot.CHANNEL)
  b.jump(taken)
  b.place(refused)
  const errno = b.negate(channel)
  // Closing the listener ends the connection, so that the host does not wait.
  c.close(b, listener)
  b.fail(errno)
  b.place(taken)
  planThread(b)
}

/** Plans, in the init, to load the filter and to wait until the agent has its listener, if there is one. */
export function planFilter(b: Batch, filter: Filter): void {
  const loading = planSeccomp(b, filter)
  if (!filter.listener) return
  for (const step of loading) step.keep(InitSlot.LISTENER)
  const again = b.label()
  b.about('linux.seccomp.listenerPath: waiting for runt to pass the listener on')
  b.place(again)
  b.branch(slot(InitSlot.TAKEN), 'EQUAL', 0, again)
}

const NOBODY = 'no seccomp agent listens there'

const aboutAgent = (path: string): string => `linux.seccomp.listenerPath (${path})`

/** Looks, for `create`, whether the agent's socket is there: it is connected to only when there is something to send. */
export function planCheck(b: Batch, { path }: Agent): void {
  b.about(aboutAgent(path))
  const missing = b.label()
  const there = b.label()
  c.faccessat(b, k.AT_FDCWD, path, k.W_OK).on(['ENOENT'], missing)
  b.jump(there)
  b.place(missing)
  b.about(`${aboutAgent(path)}: ${NOBODY}`).fail('ENOENT')
  b.place(there)
}

/**
 * Connects to the agent, before the process is told to load its filter; and to the init that listens on `socket`, if it is to send its
 * listener there (slot CHANNEL).
 */
export function connectAgent({ host, platform }: Runtime, { path }: Agent, socket?: string): void {
  const b = new Batch(platform.machine)
  b.about(aboutAgent(path))
  b.patience = PATIENCE * 1000
  const limit = new Struct(16).u64(0, PATIENCE)
  const timeout = b.data(limit.bytes, () => `{${PATIENCE} s}`)
  const connected = planConnection(b, path, k.SOCK_STREAM, HostSlot.AGENT, (agent) => {
    b.call('setsockopt', agent, k.SOL_SOCKET, k.SO_SNDTIMEO, timeout, 16)
  })
  if (socket !== undefined) planConnection(b.about(socket), socket, k.SOCK_SEQPACKET, HostSlot.CHANNEL)
  try {
    host.run(b)
  } catch (error) {
    if (error instanceof CallError && error.isOf(connected)) throw explain(error)
    throw error
  }
}

/** Plans, in the host, the two ends of the channel to the process of an exec. */
export function planChannel(b: Batch): void {
  b.about('linux.seccomp.listenerPath: socket pair')
  c.socketPair(b, HostSlot.CHANNEL, HostSlot.CHANNEL_END)
}

function explain(error: CallError): RuntError {
  const why: Record<string, string> = {
    ENOENT: NOBODY,
    ECONNREFUSED: 'no seccomp agent listens there any more',
    EPROTOTYPE: 'the socket is not of the type SOCK_STREAM',
    EAGAIN: `the seccomp agent accepted no connection for ${PATIENCE} s`,
  }
  const more = why[error.errno!]
  return more ? new RuntError(`${error.message}: ${more}`, error.errno) : error
}

/**
 * Takes the listener that the process `pid` sends to the socket in slot `channel`, and sends it to the agent. `status` is that of the
 * container. Returns also when the process fails or ends before that: its own session says why.
 */
export function handOver(
  runtime: Runtime,
  agent: Agent,
  pid: number,
  saved: Saved,
  status: Status,
  channel: number = HostSlot.CHANNEL,
): void {
  const { host, platform } = runtime
  const state: ContainerProcessState = {
    ociVersion: SPEC_VERSION,
    fds: [LISTENER_NAME],
    pid,
    ...(agent.metadata === undefined ? {} : { metadata: agent.metadata }),
    state: {
      ociVersion: saved.ociVersion,
      id: saved.id,
      status,
      pid: saved.pid,
      bundle: saved.bundle,
      annotations: saved.annotations,
    },
  }
  const bytes = encodeUtf8(stringifyJson(state))
  const b = new Batch(platform.machine)
  // startContainer hooks come before the filter.
  b.patience = Infinity
  const sent = planHandOver(b, channel, bytes.subarray(0, PART), agent.path, bytes.length > PART)
  if (host.run(b).value(sent) !== undefined && bytes.length > PART) {
    for (let from = PART; from < bytes.length; from += PART) {
      const more = new Batch(platform.machine).about(aboutAgent(agent.path))
      more.patience = PATIENCE * 1000
      const part = bytes.subarray(from, from + PART)
      const { length } = part
      planWhole(more, more.call('sendto', slot(HostSlot.AGENT), part, length, k.MSG_NOSIGNAL, 0, 0), length, agent.path)
      host.run(more)
    }
    const release = new Batch(platform.machine)
    planRelease(release, channel)
    host.run(release)
  }
  const end = new Batch(platform.machine)
  c.close(end, slot(HostSlot.AGENT))
  if (channel === HostSlot.CHANNEL) c.close(end, slot(channel))
  host.send(end, Flag.SILENT)
}

/** Fails if not everything was sent: the agent has not read it in time (SO_SNDTIMEO). */
function planWhole(b: Batch, sent: Step, length: number, path: string): void {
  const whole = b.label()
  b.branch(sent, 'EQUAL', length, whole)
  b.about(`${aboutAgent(path)}: the seccomp agent has not read all of the container process state`).fail('ETIMEDOUT')
  b.place(whole)
}

/** Tells the process that the agent has the listener, so that it goes on. */
function planRelease(b: Batch, channel: number): void {
  const gone = b.label()
  b.call('sendto', slot(channel), b.string('taken'), 5, k.MSG_NOSIGNAL, 0, 0).on(['EPIPE', 'ECONNRESET'], gone)
  b.place(gone)
}

/**
 * Gives the step that sends the first part of the state; not run where the process has come to its end. With `more` to be sent it does not
 * go on yet.
 */
function planHandOver(b: Batch, channel: number, state: Uint8Array, path: string, more: boolean): Step {
  b.about(aboutAgent(path))
  const end = b.label()
  // The init may answer `start` on the same socket, that it has failed: a message without a descriptor is left for that.
  planReceiveDescriptor(b, slot(channel), HostSlot.LISTENER_TAKEN, end)
  const iovec = b.structure(new Struct(16).u64(8, state.length).bytes, { 0: b.data(state) })
  // struct cmsghdr with one descriptor, cmsg(3).
  const control = b.data(new Struct(24).u64(0, 20).u32(8, k.SOL_SOCKET).u32(12, k.SCM_RIGHTS).bytes)
  b.store(32, at(control, 16), slot(HostSlot.LISTENER_TAKEN))
  const message = b.structure(
    new Struct(56).u64(24, 1).u64(40, 24).bytes,
    { 16: iovec, 32: control },
    '{container process state, seccompFd}',
  )
  const sent = b.call('sendmsg', slot(HostSlot.AGENT), message, k.MSG_NOSIGNAL)
  planWhole(b, sent, state.length, path)
  c.close(b, slot(HostSlot.LISTENER_TAKEN))
  if (!more) planRelease(b, channel)
  b.place(end)
  return sent
}
