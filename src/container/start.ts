/** The `start` command: lets a parked init execute its program. */
import { RuntError } from '../base/errors.ts'
import type { Channel } from '../base/platform.ts'
import { FROZEN_WORD } from '../cgroup/manager.ts'
import { Flag, MESSAGE_MAX } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch, type Label, load, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Answer, CallError, Session } from '../session/session.ts'
import { readText } from './files.ts'
import { filterOf } from './filter.ts'
import { callPoststart, callStartHooks, explainHook } from './hooks.ts'
import { signalInit, waitForInit } from './kill.ts'
import { planNotify, waitForReady } from './notify.ts'
import { PARK_SEQUENCE, type Parked, planPark, planStart } from './park.ts'
import { cannotStart } from './phrases.ts'
import { explainExecution } from './program.ts'
import type { Runtime, Status } from './runtime.ts'
import { connectAgent, handOver } from './seccomp-agent.ts'
import { HostSlot, initSlots } from './slots.ts'
import { CLAIMED_SOCKET, folderOf, freezerOf, known, loadState, readSaved, type Saved, START_SOCKET } from './state.ts'

/**
 * Returns when the program has been executed and poststart hooks have been called. If the program cannot be executed, or a startContainer
 * hook fails, the init answers so on the connection, and that is thrown here. If a poststart hook fails the container is stopped
 * (runtime-spec 1.3). With a `notifySocket` it returns only when the program has said that it is ready, or has ended.
 */
export function start(runtime: Runtime, id: string, notifySocket: string | null): void {
  const { platform } = runtime
  const saved = known(id, readSaved(runtime, id))
  const folder = folderOf(runtime, id)
  const { seccompAgent } = saved
  // An agent or a service manager would notice the following, so look first whether the container can be started. Otherwise the attempt
  // itself shows it.
  if (saved.pid === 0 || seccompAgent || notifySocket !== null) refuse(loadState(runtime, id).status)
  if (seccompAgent) connectAgent(runtime, seccompAgent)

  const about = `container ${id}: ${folder}/${START_SOCKET}`
  const b = new Batch(platform.machine)
  const refused = b.label()
  const frozen = planFreezer(b, freezerOf(saved), refused)
  b.about(about)
  const connection = c.socket(b, k.AF_UNIX, k.SOCK_SEQPACKET).keep(HostSlot.CONNECTION)
  c.openat(b, k.AT_FDCWD, '.', k.O_PATH).keep(HostSlot.CWD)
  c.chdir(b, folder)
  // If several commands start the container at once, only one of them finds the socket: the init takes a single connection. From here on
  // the container counts as running, whatever becomes of us.
  const claim = c.renameat(b, k.AT_FDCWD, START_SOCKET, k.AT_FDCWD, CLAIMED_SOCKET).on(['ENOENT'], refused)
  // Only now, as the one who starts the container: it is our socket that the program is to find.
  const notify = notifySocket === null ? null : planNotify(b, folder)
  b.about(about)
  const address = c.unixAddress(b, CLAIMED_SOCKET)
  // ECONNREFUSED: the init, which alone listens there, has ended.
  const connected = b.call('connect', connection, address.pointer, address.length).on(['ECONNREFUSED'], refused)
  c.unlinkat(b, k.AT_FDCWD, CLAIMED_SOCKET)
  c.fchdir(b, slot(HostSlot.CWD))
  // This is the init for sure, and no later process with its pid: it has just taken the connection.
  if (notify) c.pidfdOpen(b, saved.pid).keep(HostSlot.PIDFD)
  const heard = saved.served || seccompAgent ? null : planHearing(b)
  b.place(refused)
  const answer = startOrGiveBack(runtime, folder, b, claim, connected)
  if (!answer.ok(connected)) {
    const { status } = loadState(runtime, id)
    throw new RuntError(cannotStart(frozen && answer.value(frozen) === 1 && status === 'created' ? 'paused' : status))
  }

  const parked = parkedInit(runtime)
  const served = saved.served && serve(runtime, saved, parked, saved.served.home)
  if (seccompAgent)
    orKill(runtime, saved, () => handOver(runtime, seccompAgent, saved.pid, saved, 'created', HostSlot.CONNECTION))
  const first = heard && answer.value(heard) === 0 ? null : parked.receive(Infinity)
  if (first !== null && first !== 'timeout') fail(runtime, saved, first, served)
  orKill(runtime, saved, () => callPoststart(runtime, saved))
  if (notify && answer.ok(notify)) waitForReady(runtime, notifySocket!, saved.pid)
}

/** If the start fails before the init has heard of it, the socket gets its name back, so that another start can try. */
function startOrGiveBack({ host, platform }: Runtime, folder: string, b: Batch, claim: Step, connected: Step): Answer {
  try {
    return host.run(b)
  } catch (error) {
    if (error instanceof CallError && error.step.index > claim.index && error.step.index <= connected.index) {
      const back = new Batch(platform.machine)
      const gone = back.label()
      c.renameat(back, k.AT_FDCWD, `${folder}/${CLAIMED_SOCKET}`, k.AT_FDCWD, `${folder}/${START_SOCKET}`).on(ANY, gone)
      back.place(gone)
      host.recover(back)
    }
    throw error
  }
}

function refuse(status: Status): void {
  if (status !== 'created') throw new RuntError(cannotStart(status))
}

/** Goes on at `frozen` if the container is paused; the result of the step is 1 then. Null if there is no freezer. */
function planFreezer(b: Batch, file: string | null, frozen: Label): Step | null {
  if (file === null) return null
  const thawed = b.label()
  const closing = b.label()
  b.about(file)
  const fd = c.openat(b, k.AT_FDCWD, file, k.O_RDONLY).on(ANY, thawed)
  const text = b.scratch(8)
  b.store(64, text, 0)
  b.call('read', fd, text, 8).on(ANY, closing)
  b.place(closing)
  c.close(b, fd)
  const told = b.branch(load(text, 32), 'EQUAL', FROZEN_WORD, frozen)
  b.place(thawed)
  return told
}

/**
 * Waits until the init executes its program, which closes the connection (result 0), or reports a failure. The report is only peeked at:
 * it may be long, and is received later.
 */
function planHearing(b: Batch): Step {
  const lost = b.label()
  b.patience = Infinity
  b.about("the container's init")
  const heard = b.call('recvfrom', slot(HostSlot.CONNECTION), b.out(8), 8, k.MSG_PEEK, 0, 0).on(['ECONNRESET'], lost)
  b.place(lost)
  return heard
}

/** Does a part of the start; if that fails, the container is stopped. */
function orKill(runtime: Runtime, saved: Saved, part: () => void): void {
  try {
    part()
  } catch (error) {
    if (signalInit(runtime, saved, k.SIGKILL)) waitForInit(runtime)
    throw error
  }
}

/** A channel to the parked init, through the host executor's connection to it. */
function parkedInit(runtime: Runtime): Channel {
  const { host, platform } = runtime
  return {
    send(message) {
      const b = new Batch(platform.machine)
      b.call('sendto', slot(HostSlot.CONNECTION), b.data(message), message.length, k.MSG_NOSIGNAL, 0, 0)
      host.run(b)
    },
    receive() {
      const b = new Batch(platform.machine)
      const again = b.label()
      const lost = b.label()
      b.patience = Infinity
      b.about("the container's init")
      const buffer = b.out(MESSAGE_MAX / 2)
      b.place(again)
      const count = b
        .call('recvfrom', slot(HostSlot.CONNECTION), buffer, buffer.length, 0, 0, 0)
        .on(['ECONNRESET'], lost)
      b.place(lost)
      const answer = host.run(b)
      const length = answer.value(count)!
      return length > 0 ? answer.bytes(buffer, length) : null
    },
    close() {},
  }
}

/** The copy of config.json in the state folder. */
function configOf(runtime: Runtime, saved: Saved): Parked {
  const text = readText(runtime.host, runtime.platform.machine, `${folderOf(runtime, saved.id)}/config.json`)
  const config = JSON.parse(text ?? 'null') as Parked | null
  if (config === null)
    throw new RuntError(`container ${saved.id}: its program cannot be executed, and its config.json is gone`)
  return config
}

/** Calls startContainer hooks that are too many for one batch, in parts; then sends the init's last batch, and returns it. */
function serve(runtime: Runtime, saved: Saved, parked: Channel, home: string | null): Batch {
  const { machine } = runtime.platform
  const config = configOf(runtime, saved)
  const filter = filterOf(config, machine)
  const session = new Session('init', parked, 0, initSlots)
  callStartHooks(session, machine, config, home, filter)
  const last = new Batch(machine)
  planStart(last, config, saved.program, home, filter)
  session.send(last, Flag.SILENT, PARK_SEQUENCE)
  return last
}

/** Throws what the init's answer means: its last batch has failed. `served`: that batch, if it is not the one that the init parked with. */
function fail(runtime: Runtime, saved: Saved, reply: Uint8Array, served: Batch | undefined): never {
  const config = configOf(runtime, saved)
  const batch = served ?? new Batch(runtime.platform.machine)
  const filter = filterOf(config, runtime.platform.machine)
  const kept = { listener: 0, session: 0, preserved: 0 }
  const hooks = served ? [] : planPark(batch, config, saved.program, null, filter, kept)
  const session = new Session('init', { send() {}, receive: () => reply, close() {} }, 0, initSlots)
  session.inherit(batch, PARK_SEQUENCE)
  try {
    session.wait(batch)
  } catch (error) {
    throw explainExecution(explainHook(error, hooks), config.process.args[0]!, saved.program)
  }
  throw new RuntError(`container ${saved.id}: its init gave an answer that means nothing`)
}
