/**
 * Looks at many containers at once. What is asked of one is planned as a loop, and the executor goes through it for each: the plan is as
 * long for sixty containers as for one, and two round trips answer for all. Only what is usual is understood here; whatever is not,
 * from a missing file to a foreign owner, is left to state.ts, one container at a time.
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
import { CrowdSlot } from './slots.ts'
import { type Shown, START_SOCKET, statusOf } from './state.ts'
import { glimpse } from './state-shape.ts'

/** How many containers a loop is for at most. */
export const MOST = 64
/** Longest names and paths of such, in characters. Those of all containers of a loop have the same room. */
const LONGEST_NAME = 100
const LONGEST_PATH = 400
/** Bytes of all states of a loop, at most: no more are read once there are so many. */
export const STATES = 0x1_6000
/** Bytes of a usual state, and those that are read of one at most. */
export const USUAL_STATE = 0x600
const LONGEST_STATE = 0x2000
/** Bytes of what of it can be shown, as a rule. */
const USUAL_START = 0x300
/** Of proc_pid_stat(5). What is looked for stands in front. */
const STAT = 496

/**
 * Plans `body` for each row: CrowdSlot.STRINGS and CrowdSlot.RESULTS point to its strings, and to the place of its results. Gives how often
 * it was done.
 */
function planLoop(b: Batch, rows: Rows, count: number, results: OutPointer, size: number, body: () => void): Step {
  const again = b.label()
  b.set(CrowdSlot.TURN, 0)
  b.set(CrowdSlot.STRINGS, rows.pointer)
  b.set(CrowdSlot.RESULTS, results)
  b.place(again)
  body()
  b.add(slot(CrowdSlot.STRINGS), rows.stride).keep(CrowdSlot.STRINGS)
  b.add(slot(CrowdSlot.RESULTS), size).keep(CrowdSlot.RESULTS)
  const turns = b.add(slot(CrowdSlot.TURN), 1).keep(CrowdSlot.TURN)
  b.branch(turns, 'LESS', count, again)
  return turns
}

const strings = slot(CrowdSlot.STRINGS)
const results = slot(CrowdSlot.RESULTS)
const outcome = slot(CrowdSlot.OUTCOME)

/** Whether containers of this name can be looked at here. */
export const fitsCrowd = (name: string): boolean => name.length <= LONGEST_NAME

/** A loop that reads the states of containers, and whether they are parked. */
export interface Looking {
  readonly names: readonly string[]
  readonly batch: Batch
  readonly turns: Step
  readonly results: OutPointer
  readonly texts: OutPointer
}

/** Bytes of its results: of the state or a negative errno; 0 where the init is parked. */
const LOOK_RESULT = 16

/**
 * Plans to look at containers of the folder that is open as CrowdSlot.ROOT. `us`: whose states are trusted besides root's; `room`: bytes
 * for states.
 */
export function planLooking(machine: Machine, names: readonly string[], us: number, room: number): Looking {
  const b = new Batch(machine).about('states of containers')
  const rows = planRows(b, names)
  const found = b.out(LOOK_RESULT * names.length)
  const texts = b.out(room + LONGEST_STATE)
  const status = b.scratch(256)
  const uid = load(status, 32, k.STX_UID)
  const end = b.label()
  b.set(CrowdSlot.TEXT, texts)
  const turns = planLoop(b, rows, names.length, found, LOOK_RESULT, () => {
    const trusted = b.label()
    const unread = b.label()
    const running = b.label()
    const done = b.label()
    const ignored = b.label()
    const next = b.label()
    b.set(CrowdSlot.OUTCOME, -1)
    // A link is opened itself, and there is nothing below it.
    const folder = c.openat(b, slot(CrowdSlot.ROOT), strings, k.O_PATH | k.O_NOFOLLOW).on(ANY, ignored)
    b.call('statx', folder, '', k.AT_EMPTY_PATH, k.STATX_UID, status).on(ANY, done)
    b.branch(uid, 'EQUAL', 0, trusted)
    b.branch(uid, 'NOT_EQUAL', us, done)
    b.place(trusted)
    const file = c.openat(b, folder, 'state.json', k.O_RDONLY | k.O_NOFOLLOW | k.O_NONBLOCK).on(ANY, done)
    b.call('read', file, slot(CrowdSlot.TEXT), LONGEST_STATE).keep(CrowdSlot.OUTCOME).on(ANY, unread)
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
    b.add(slot(CrowdSlot.TEXT), outcome).keep(CrowdSlot.TEXT)
    // No room for another one: those that are left have another turn.
    b.branch(at(texts, room), 'LESS', slot(CrowdSlot.TEXT), end)
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

/** The containers that were found and are usual; `left`: names whose turn has not come. */
export function finishLooking(
  host: Session,
  { names, batch, turns, results, texts }: Looking,
): { found: Found[]; left: readonly string[] } {
  const answer = host.wait(batch)
  const found: Found[] = []
  // Where there was no room, the loop was left before its turn was counted.
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

/** Bytes of its results: of the text or a negative errno; what the freezer says; the text. */
const WATCH_RESULT = 16 + STAT

/** Plans to look at processes; `found` have some. */
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
    const stat = c.openat(b, k.AT_FDCWD, strings, k.O_RDONLY).keep(CrowdSlot.OUTCOME).on(ANY, done)
    b.call('read', stat, b.add(results, 16), STAT).keep(CrowdSlot.OUTCOME).on(ANY, unread)
    b.place(unread)
    c.close(b, stat)
    const frozen = b.add(results, 8)
    b.store(32, frozen, 0)
    // Without a freezer the path is empty, and there is no such file.
    const freezer = c.openat(b, k.AT_FDCWD, b.add(strings, rows.offsets[1]!), k.O_RDONLY).on(ANY, done)
    b.call('read', freezer, frozen, 4).on(ANY, known)
    b.place(known)
    c.close(b, freezer)
    b.place(done)
    b.store(32, results, outcome)
  })
  return { found, batch: b, results: out }
}

/** What each is doing; null for those that are to be looked at one by one. */
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
