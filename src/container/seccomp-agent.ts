/**
 * The filter of a process, and the agent that gets its listener (config-linux.md, `seccomp.listenerPath`; seccomp_unotify(2)).
 *
 *   host  connects to the agent ───── takes the listener, sends it with the process's state ── says so ──
 *   init                 loads the filter ─────────── turns until the host has said so ──────────────── execve(2)
 *
 * From the moment it has the filter the init makes no system call before execve(2): any could be one that waits for the agent.
 * So host and init talk through the init's memory. The host finds the listener's number in a slot, copies the descriptor
 * (pidfd_getfd(2), Linux 5.6) and writes to another slot; the init looks at that again and again.
 */
import { encodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { stringifyJson } from '../base/json.ts'
import { SPEC_VERSION } from '../base/version.ts'
import type { ContainerProcessState, Seccomp, Status } from '../config/types.ts'
import { SLOTS, Slot } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import type { Filter } from '../seccomp/compile.ts'
import { planSeccomp } from '../seccomp/load.ts'
import { ANY, at, Batch, type Label, load, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { CallError } from '../session/session.ts'
import type { Runtime } from './runtime.ts'
import { HostSlot, InitSlot } from './slots.ts'
import type { Saved } from './state.ts'
import { planConnection } from './terminal.ts'

/** Who gets the listener of a container's filter, and what it is told besides. Kept in the container's state. */
export interface Agent {
  path: string
  metadata?: string | undefined
}

/** Name of the listener in the container process state: config-linux.md, "The Container Process State". */
const LISTENER_NAME = 'seccompFd'

/** Looks at a slot until the host gives up: half a minute or more. */
const TURNS = 1_000_000_000
/** Milliseconds between the host's looks. */
const PAUSE = 0.1
/** Bytes of the state that one batch carries. */
const PART = 0x1_0000
/** Seconds that an agent has to accept a connection, where others wait for it already; and to read what it is sent. */
const PATIENCE = 10

/** The agent of a filter; undefined where no rule notifies one, whatever listenerPath says. */
export function agentOf(seccomp: Seccomp | undefined, filter: Filter | null): Agent | undefined {
  if (!filter?.listener || !seccomp?.listenerPath) return undefined
  return { path: seccomp.listenerPath, metadata: seccomp.listenerMetadata }
}

/** Plans, in the init, to load the filter and to wait until the agent has its listener, if there is one. */
export function planFilter(b: Batch, filter: Filter): void {
  const loading = planSeccomp(b, filter)
  if (!filter.listener) return
  for (const step of loading) step.keep(InitSlot.LISTENER)
  b.about('linux.seccomp.listenerPath: waiting for runt to pass the listener on')
  const again = b.label()
  const taken = b.label()
  b.set(InitSlot.TURNS, 0)
  b.place(again)
  b.branch(slot(InitSlot.TAKEN), 'NOT_EQUAL', 0, taken)
  b.add(slot(InitSlot.TURNS), 1).keep(InitSlot.TURNS)
  b.branch(slot(InitSlot.TURNS), 'LESS', TURNS, again)
  b.fail('ETIMEDOUT')
  b.place(taken)
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

/** Connects to the agent, before the process is told to load its filter. */
export function connectAgent({ host, platform }: Runtime, { path }: Agent): void {
  const b = new Batch(platform.machine)
  b.about(aboutAgent(path))
  b.patience = PATIENCE * 1000
  const limit = new Struct(16).u64(0, PATIENCE)
  planConnection(b, path, k.SOCK_STREAM, HostSlot.AGENT, (socket) => {
    b.call(
      'setsockopt',
      socket,
      k.SOL_SOCKET,
      k.SO_SNDTIMEO,
      b.data(limit.bytes, () => `{${PATIENCE} s}`),
      16,
    )
  })
  try {
    host.run(b)
  } catch (error) {
    if (error instanceof CallError && error.step.name === 'connect') throw explain(error)
    throw error
  }
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
 * Takes the listener from the process `pid`, which has been told to load the filter, and sends it to the agent. `status` is that of the
 * container. Returns also when the process fails or ends before that: its own session says why.
 */
export function handOver(runtime: Runtime, agent: Agent, pid: number, saved: Saved, status: Status): void {
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
  const sent = planHandOver(b, pid, bytes.subarray(0, PART), agent.path, bytes.length > PART)
  try {
    if (host.run(b).value(sent) === undefined || bytes.length <= PART) return
    for (let from = PART; from < bytes.length; from += PART) {
      const more = new Batch(platform.machine).about(aboutAgent(agent.path))
      more.patience = PATIENCE * 1000
      const part = bytes.subarray(from, from + PART)
      const { length } = part
      planWhole(more, more.call('sendto', slot(HostSlot.AGENT), part, length, k.MSG_NOSIGNAL, 0, 0), length, agent.path)
      host.run(more)
    }
    const last = new Batch(platform.machine)
    const gone = last.label()
    planRelease(last, gone)
    last.place(gone)
    c.close(last, slot(HostSlot.MEMORY))
    c.close(last, slot(HostSlot.AGENT))
    host.run(last)
  } catch (error) {
    if (!(error instanceof CallError) || (error.errno !== 'EPERM' && error.errno !== 'EACCES')) throw error
    throw new RuntError(
      `${error.message}: taking the listener needs CAP_SYS_PTRACE, and sysctl kernel.yama.ptrace_scope below 3`,
    )
  }
}

/** An agent that reads nothing: the time for it is up (SO_SNDTIMEO). */
function planWhole(b: Batch, sent: Step, length: number, path: string): void {
  const whole = b.label()
  b.branch(sent, 'EQUAL', length, whole)
  b.about(`${aboutAgent(path)}: the seccomp agent has not read all of the container process state`).fail('ETIMEDOUT')
  b.place(whole)
}

/** Lets the process go on. */
function planRelease(b: Batch, gone: Label): void {
  b.call(
    'pwrite64',
    slot(HostSlot.MEMORY),
    b.data(new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0])),
    8,
    slotAt(InitSlot.TAKEN),
  ).on(ANY, gone)
}

/** Address of a slot of a process's. */
const slotAt = (number: number): number => SLOTS + 8 * number

/**
 * Gives the step that sends the first part of the state; not run where the process has come to its end. With `more` to be sent it does not go on
 * yet, and its memory and the connection stay open.
 */
function planHandOver(b: Batch, pid: number, state: Uint8Array, path: string, more: boolean): Step {
  b.about(aboutAgent(path))
  const memory = slot(HostSlot.MEMORY)
  const gone = b.label()
  const close = b.label()
  const look = b.label()
  const taken = b.label()
  const pause = b.data(new Struct(16).u64(8, PAUSE * 1e6).bytes, () => `{${PAUSE} ms}`)
  const word = b.scratch(8)
  const end = b.label()

  c.openat(b, k.AT_FDCWD, `/proc/${pid}/mem`, k.O_RDWR).on(['ENOENT', 'ESRCH'], close).keep(HostSlot.MEMORY)
  b.place(look)
  // Reading ends at once where the process has: its memory is gone.
  b.branch(b.call('pread64', memory, word, 8, slotAt(Slot.FAILED)).on(ANY, gone), 'NOT_EQUAL', 8, gone)
  b.branch(load(word, 64), 'NOT_EQUAL', 0, gone)
  b.branch(b.call('pread64', memory, word, 8, slotAt(InitSlot.LISTENER)).on(ANY, gone), 'NOT_EQUAL', 8, gone)
  b.branch(0, 'LESS', load(word, 64), taken)
  b.call('nanosleep', pause, 0).on(['EINTR'], look)
  b.jump(look)

  b.place(taken)
  const process = c.pidfdOpen(b, pid)
  const listener = b.call('pidfd_getfd', process, load(word, 64), 0)
  const iovec = b.structure(new Struct(16).u64(8, state.length).bytes, { 0: b.data(state) })
  // struct cmsghdr with one descriptor, cmsg(3).
  const control = b.data(new Struct(24).u64(0, 20).u32(8, k.SOL_SOCKET).u32(12, k.SCM_RIGHTS).bytes)
  b.store(32, at(control, 16), listener)
  const message = b.structure(
    new Struct(56).u64(24, 1).u64(40, 24).bytes,
    { 16: iovec, 32: control },
    '{container process state, seccompFd}',
  )
  const sent = b.call('sendmsg', slot(HostSlot.AGENT), message, k.MSG_NOSIGNAL)
  planWhole(b, sent, state.length, path)
  c.close(b, listener)
  c.close(b, process)
  if (more) b.jump(end)
  else planRelease(b, gone)
  b.place(gone)
  c.close(b, memory)
  b.place(close)
  c.close(b, slot(HostSlot.AGENT))
  b.place(end)
  return sent
}
