/** The `list` command. */
import { RuntError } from '../base/errors.ts'
import * as k from '../linux/constants.ts'
import { Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { namesIn } from './files.ts'
import { withOwners } from './owners.ts'
import type { Runtime, StateView } from './runtime.ts'
import {
  finishLooking,
  finishWatching,
  fitsScan,
  type Looking,
  MOST,
  planLooking,
  planWatching,
  STATES,
  USUAL_STATE,
  type Watching,
} from './scan.ts'
import { ScanSlot } from './slots.ts'
import { planOwner, tryLoadState, viewOf } from './state.ts'

/**
 * The least number of containers that is worth a loop of its own; and the number of loops to aim at, so that brain and executor work at the
 * same time.
 */
const FEWEST = 16
const LOOPS = 4

/** Every container below the root folder, by id. What is not a container is ignored; a state that cannot be read is a warning. */
export function list(runtime: Runtime): StateView[] {
  const { ids, views } = lookAtAll(runtime, true)
  const all: StateView[] = []
  for (const id of ids) {
    const view = views.get(id) ?? lookAt(runtime, id)
    if (view) all.push(view)
  }
  return withOwners(runtime, all)
}

/** Their ids. */
export function listIds(runtime: Runtime): string[] {
  const { ids, views } = lookAtAll(runtime, false)
  return ids.filter((id) => views.has(id) || lookAt(runtime, id) !== null)
}

/** One container on its own; null if there is none, or it cannot be read. */
function lookAt(runtime: Runtime, id: string): StateView | null {
  try {
    const loaded = tryLoadState(runtime, id)
    return typeof loaded === 'object' ? viewOf(loaded.saved, loaded.status) : null
  } catch (error) {
    if (!(error instanceof RuntError)) throw error
    runtime.warn(error.message)
    runtime.host.recover(new Batch(runtime.platform.machine))
    return null
  }
}

/**
 * All names in the root folder, sorted, and the views of the containers that loops could read (scan.ts); the others have to be read one by
 * one. While the executor runs one loop, the brain reads the results of the one before. `whole`: false if only ids are asked for; then the
 * views are null.
 */
function lookAtAll(
  runtime: Runtime,
  whole: boolean,
): { ids: readonly string[]; views: ReadonlyMap<string, StateView | null> } {
  const { host, platform, globals } = runtime
  const { machine } = platform
  const about = `state folder (${globals.root})`
  const open = new Batch(machine).about(about)
  const missing = open.label()
  const folder = c
    .openat(open, k.AT_FDCWD, globals.root, k.O_RDONLY | k.O_DIRECTORY)
    .keep(ScanSlot.ROOT)
    .on(['ENOENT'], missing)
  const uid = open.call('geteuid')
  const owner = planOwner(open, globals.root)
  open.place(missing)
  const opened = host.run(open)
  const root = opened.value(folder)!
  if (root < 0) return { ids: [], views: new Map() }
  const us = opened.value(uid)!
  const whose = opened.word(owner.status, k.STX_UID)
  const ids = namesIn(host, machine, about, root).sort()

  const views = new Map<string, StateView | null>()
  // If the folder belongs to somebody else, nothing in it can be trusted; state.ts reports that for each.
  const waiting = whose === us || whose === 0 ? ids.filter(fitsScan) : []
  let size = Math.min(MOST, Math.max(FEWEST, Math.ceil(waiting.length / LOOPS)))
  let room = Math.min(STATES, USUAL_STATE * size)
  let next = 0
  // In the order in which they were sent, for answers come in that order.
  const sent: (Looking | Watching)[] = []
  const send = (loop: Looking | Watching): void => {
    host.send(loop.batch)
    sent.push(loop)
  }
  const look = (): void => {
    const names = waiting.slice(next, next + size)
    next += names.length
    if (names.length > 0) send(planLooking(machine, names, us, room))
  }
  look()
  look()
  for (let loop = sent.shift(); loop; loop = sent.shift()) {
    if ('found' in loop) {
      const statuses = finishWatching(host, loop)
      for (let index = 0; index < statuses.length; index++) {
        const { name, state } = loop.found[index]!
        const status = statuses[index]!
        if (status !== null) views.set(name, viewOf(state, status))
      }
      continue
    }
    const { found, left } = finishLooking(host, loop)
    if (left.length > 0) {
      waiting.push(...left)
      size = Math.max(FEWEST, loop.names.length - left.length)
      room = STATES
    }
    if (!whole) for (const { name } of found) views.set(name, null)
    else if (found.length > 0) send(planWatching(machine, found))
    look()
  }

  const close = new Batch(machine).about(about)
  c.close(close, slot(ScanSlot.ROOT))
  host.run(close)
  return { ids, views }
}
