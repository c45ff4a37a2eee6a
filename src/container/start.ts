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
 * Returns when the program is being executed, and poststart hooks have been called. An init that cannot execute it, or whose
 * startContainer hooks fail, answers on the connection, and that is thrown here. Where a poststart hook fails the container is stopped
 * (since runtime-spec 1.3). With a `notifySocket` it returns when the program has said that it is ready, or has ended.
 */
export function start(runtime: Runtime, id: string, notifySocket: string | null): void {
  const { platform } = runtime
  const saved = known(id, readSaved(runtime, id))
  const folder = folderOf(runtime, id)
  const { seccompAgent } = saved
  // These change something for others, so the container has to be one that can be started. Else the start itself shows that.
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
  // Of several at a time one finds it: the init takes one connection, and has to get the one of who goes on.
  // From here on the container counts as running, whatever becomes of us.
  const claim = c.renameat(b, k.AT_FDCWD, START_SOCKET, k.AT_FDCWD, CLAIMED_SOCKET).on(['ENOENT'], refused)
  // Not before: that of who goes on is the one that the program is to find.
  const notify = notifySocket === null ? null : planNotify(b, folder)
  b.about(about)
  const address = c.unixAddress(b, CLAIMED_SOCKET)
  // ECONNREFUSED: the init has ended. Nobody but it has the socket.
  const connected = b.call('connect', connection, address.pointer, address.length).on(['ECONNREFUSED'], refused)
  c.unlinkat(b, k.AT_FDCWD, CLAIMED_SOCKET)
  c.fchdir(b, slot(HostSlot.CWD))
  // Nobody else can have its pid: it has just taken the connection.
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

/** Where the init has not heard of a start that fails, another one may do better. */
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

/** Goes on at `frozen` if the container is paused; the step has the result 1 then. Null where there is no freezer. */
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
 * Waits until the init has something to say, or executes its program: then it closes the connection, and the result is 0. What it says is
 * left to be received, for it may be as long as an answer can be.
 */
function planHearing(b: Batch): Step {
  const lost = b.label()
  b.patience = Infinity
  b.about("the container's init")
  const heard = b.call('recvfrom', slot(HostSlot.CONNECTION), b.out(8), 8, k.MSG_PEEK, 0, 0).on(['ECONNRESET'], lost)
  b.place(lost)
  return heard
}

/** Does a part of the start; if it fails, the container is stopped. */
function orKill(runtime: Runtime, saved: Saved, part: () => void): void {
  try {
    part()
  } catch (error) {
    if (signalInit(runtime, saved, k.SIGKILL)) waitForInit(runtime)
    throw error
  }
}

/** A channel to an init at the other end of the host's connection. */
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

/** Its copy of the config. */
function configOf(runtime: Runtime, saved: Saved): Parked {
  const text = readText(runtime.host, runtime.platform.machine, `${folderOf(runtime, saved.id)}/config.json`)
  const config = JSON.parse(text ?? 'null') as Parked | null
  if (config === null)
    throw new RuntError(`container ${saved.id}: its program cannot be executed, and its config.json is gone`)
  return config
}

/** Calls the startContainer hooks of an init that has too many of them for its last batch, and sends that. */
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

/** The init has answered: it could not do its last batch. `served`: that, where it is not the one that it has parked with. */
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
