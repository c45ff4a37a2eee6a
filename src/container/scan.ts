/**
 * Reads the states of many containers at once, for `list`. The plan is a loop that the executor runs once per container: it is no longer
 * for sixty containers than for one, and two round trips answer for all of them. It understands the usual case only. Everything else,
 * from a missing file to a foreign owner, is left to state.ts, which looks at one container at a time.
 */
import type { Machine } from '../base/platform.ts'
import { saysFrozen } from '../cgroup/manager.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, at, Batch, load, type OutPointer, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { planRows, type Rows } from '../session/rows.ts'
import type { Session } from '../session/session.ts'
import type { Status } from './runtime.ts'
import { ScanSlot } from './slots.ts'
import { type Shown, START_SOCKET, statusOf } from './state.ts'
import { glimpse } from './state-shape.ts'

/** The most containers that one loop reads. */
export const MOST = 64
/** Longest name and path, in characters, that a loop can handle: every row of its table is as long as the longest needs. */
const LONGEST_NAME = 100
const LONGEST_PATH = 400
/** Room for the states that one loop reads, in bytes. The loop stops when it is used up. */
export const STATES = 0x1_6000
/** Bytes of a usual state.json, and the most that are read of one. */
export const USUAL_STATE = 0x600
const LONGEST_STATE = 0x2000
/** Bytes from the start of a state.json that usually hold all the fields that `list` shows. */
const USUAL_START = 0x300
/** Bytes that are read of /proc/PID/stat; the fields that matter come first. */
const STAT = 496

/**
 * Plans a loop that runs `body` once per row. In the body ScanSlot.STRINGS points to the row's strings and ScanSlot.RESULTS to where its
 * results go. The value of the returned step is how many rows were done.
 */
function planLoop(b: Batch, rows: Rows, count: number, results: OutPointer, size: number, body: () => void): Step {
  const again = b.label()
  b.set(ScanSlot.TURN, 0)
  b.set(ScanSlot.STRINGS, rows.pointer)
  b.set(ScanSlot.RESULTS, results)
  b.place(again)
  body()
  b.add(slot(ScanSlot.STRINGS), rows.stride).keep(ScanSlot.STRINGS)
  b.add(slot(ScanSlot.RESULTS), size).keep(ScanSlot.RESULTS)
  const turns = b.add(slot(ScanSlot.TURN), 1).keep(ScanSlot.TURN)
  b.branch(turns, 'LESS', count, again)
  return turns
}

const strings = slot(ScanSlot.STRINGS)
const results = slot(ScanSlot.RESULTS)
const outcome = slot(ScanSlot.OUTCOME)

/** Whether a container of this name can be part of a loop. */
export const fitsScan = (name: string): boolean => name.length <= LONGEST_NAME

/** A loop that reads the states of containers, and whether they are parked. */
export interface Looking {
  readonly names: readonly string[]
  readonly batch: Batch
  readonly turns: Step
  readonly results: OutPointer
  readonly texts: OutPointer
}

/** Bytes of results per row: length of the state or a negative errno (32 bits, at 0), and 0 where the init is parked (32 bits, at 8). */
const LOOK_RESULT = 16

/**
 * Plans to read the states of the containers `names` in the folder that is open in ScanSlot.ROOT. `us`: the user whose states are trusted
 * besides root's. `room`: bytes for all the states together.
 */
export function planLooking(machine: Machine, names: readonly string[], us: number, room: number): Looking {
  const b = new Batch(machine).about('states of containers')
  const rows = planRows(b, names)
  const found = b.out(LOOK_RESULT * names.length)
  const texts = b.out(room + LONGEST_STATE)
  const status = b.scratch(256)
  const uid = load(status, 32, k.STX_UID)
  const end = b.label()
  b.set(ScanSlot.TEXT, texts)
  const turns = planLoop(b, rows, names.length, found, LOOK_RESULT, () => {
    const trusted = b.label()
    const unread = b.label()
    const running = b.label()
    const done = b.label()
    const ignored = b.label()
    const next = b.label()
    b.set(ScanSlot.OUTCOME, -1)
    // O_PATH | O_NOFOLLOW opens a symbolic link itself; opening state.json below it then fails.
    const folder = c.openat(b, slot(ScanSlot.ROOT), strings, k.O_PATH | k.O_NOFOLLOW).on(ANY, ignored)
    b.call('statx', folder, '', k.AT_EMPTY_PATH, k.STATX_UID, status).on(ANY, done)
    b.branch(uid, 'EQUAL', 0, trusted)
    b.branch(uid, 'NOT_EQUAL', us, done)
    b.place(trusted)
    const file = c.openat(b, folder, 'state.json', k.O_RDONLY | k.O_NOFOLLOW | k.O_NONBLOCK).on(ANY, done)
    b.call('read', file, slot(ScanSlot.TEXT), LONGEST_STATE).keep(ScanSlot.OUTCOME).on(ANY, unread)
    b.place(unread)
    c.close(b, file)
    const parked = c.faccessat(b, folder, START_SOCKET, 0).on(ANY, running)
    b.place(running)
    b.store(32, b.add(results, 8), parked)
    b.place(done)
    c.close(b, folder)
    b.place(ignored)
    b.store(32, results, outcome)
    b.branch(outcome, 'LESS', 0, next)
    b.add(slot(ScanSlot.TEXT), outcome).keep(ScanSlot.TEXT)
    // The room is used up: the remaining containers go into another loop.
    b.branch(at(texts, room), 'LESS', slot(ScanSlot.TEXT), end)
    b.place(next)
  })
  b.place(end)
  return { names, batch: b, turns, results: found, texts }
}

export interface Found {
  name: string
  state: Shown
  parked: boolean
}

/** `found`: the containers whose states could be read here; `left`: names that the loop did not get to. */
export function finishLooking(
  host: Session,
  { names, batch, turns, results, texts }: Looking,
): { found: Found[]; left: readonly string[] } {
  const answer = host.wait(batch)
  const found: Found[] = []
  // When the room is used up, the loop ends before it counts the row that it has just read.
  const last = Math.min(names.length, (answer.value(turns) ?? 0) + 1)
  let from = 0
  for (let index = 0; index < last; index++) {
    const length = answer.word(results, LOOK_RESULT * index)
    if (length <= 0) continue
    const start = Math.min(length, USUAL_START)
    const seen =
      glimpse(answer.text(texts, from, start)) ?? (length > start && glimpse(answer.text(texts, from, length)))
    from += length
    if (seen && seen.pid !== 0 && (seen.freezer ?? '').length <= LONGEST_PATH)
      found.push({ name: names[index]!, state: seen, parked: answer.word(results, LOOK_RESULT * index + 8) === 0 })
  }
  return { found, left: names.slice(last) }
}

/** A loop that looks at the processes of containers. */
export interface Watching {
  readonly found: readonly Found[]
  readonly batch: Batch
  readonly results: OutPointer
}

/** Bytes of results per row: length of the stat text or a negative errno (at 0), the freezer's state (at 8), the stat text (at 16). */
const WATCH_RESULT = 16 + STAT

/** Plans to read what the inits of these containers are doing. Each has a pid. */
export function planWatching(machine: Machine, found: readonly Found[]): Watching {
  const b = new Batch(machine).about('processes of containers')
  const rows = planRows(
    b,
    found.map(({ state }) => `/proc/${state.pid}/stat`),
    found.map(({ state }) => state.freezer ?? ''),
  )
  const out = b.out(WATCH_RESULT * found.length)
  planLoop(b, rows, found.length, out, WATCH_RESULT, () => {
    const unread = b.label()
    const known = b.label()
    const done = b.label()
    const stat = c.openat(b, k.AT_FDCWD, strings, k.O_RDONLY).keep(ScanSlot.OUTCOME).on(ANY, done)
    b.call('read', stat, b.add(results, 16), STAT).keep(ScanSlot.OUTCOME).on(ANY, unread)
    b.place(unread)
    c.close(b, stat)
    const frozen = b.add(results, 8)
    b.store(32, frozen, 0)
    // Without a freezer the path is empty, so this fails.
    const freezer = c.openat(b, k.AT_FDCWD, b.add(strings, rows.offsets[1]!), k.O_RDONLY).on(ANY, done)
    b.call('read', freezer, frozen, 4).on(ANY, known)
    b.place(known)
    c.close(b, freezer)
    b.place(done)
    b.store(32, results, outcome)
  })
  return { found, batch: b, results: out }
}

/** The status of each container; null where it has to be read on its own (state.ts). */
export function finishWatching(host: Session, { found, batch, results }: Watching): (Status | null)[] {
  const answer = host.wait(batch)
  return found.map(({ state, parked }, index) => {
    const at = WATCH_RESULT * index
    const length = answer.word(results, at)
    if (length === -Errno.ENOENT! || length === -Errno.ESRCH!) return 'stopped'
    if (length <= 0) return null
    const frozen = saysFrozen(answer.text(results, at + 8, 1))
    return statusOf(state, answer.text(results, at + 16, length), frozen, parked)
  })
}
