/**
 * The `events` command: what a container uses, at intervals, and when it runs out of memory.
 *
 *   {"type":"stats","id":ID,"data":{…}}     src/cgroup/stats-view.ts
 *   {"type":"oom","id":ID}
 *
 * The host waits in ppoll(2) for whatever comes first: the timer, an event of the memory controller, the end of the container's init; and
 * for the end of the brain, which would otherwise leave it waiting.
 */
import { Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import type { Stats } from '../cgroup/stats.ts'
import { readStats } from '../cgroup/stats-reading.ts'
import { type Count, count } from '../cgroup/stats-text.ts'
import { viewOfStats } from '../cgroup/stats-view.ts'
import { Slot } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { ANY, at, Batch, type OutPointer, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Answer, SessionLost } from '../session/session.ts'
import { finishReading, planReading, type Reading } from './files.ts'
import { cannotWatch } from './phrases.ts'
import type { Runtime } from './runtime.ts'
import { loadState, readStat, type Saved } from './state.ts'

export interface Event {
  type: 'stats' | 'oom'
  id: string
  data?: object
}

/** What a container has used up to now. Throws when it has stopped. */
export function measure(runtime: Runtime, id: string): Stats {
  const stats = statsOf(runtime, findRunning(runtime, id))
  if (!stats) throw new RuntError(`container ${id}: its cgroup is gone`)
  return stats
}

/** Tells what happens to a container until it ends. `interval`: nanoseconds between two events of the type `stats`. */
export function watch(runtime: Runtime, id: string, interval: number, tell: (event: Event) => void): void {
  const saved = findRunning(runtime, id)
  const watched = open(runtime, saved, interval)
  const wait = planLook(runtime, watched)
  // No call log and no trace from here on: a stream has no end, so they would fill the memory.
  runtime.lastWords()
  for (let kills = watched.news?.kills; ; ) {
    const seen = look(runtime, wait, kills)
    if (seen === 'lost') return
    if (seen.oom) tell({ type: 'oom', id })
    if (seen.ended) return
    kills = seen.kills
    if (!seen.tick) continue
    const stats = statsOf(runtime, saved)
    if (!stats) return
    tell(statsEvent(id, stats))
  }
}

export const statsEvent = (id: string, stats: Stats): Event => ({ type: 'stats', id, data: viewOfStats(stats) })

function findRunning(runtime: Runtime, id: string): Saved {
  const { saved, status } = loadState(runtime, id)
  if (status === 'stopped' || status === 'creating') throw new RuntError(cannotWatch(id))
  return saved
}

function statsOf({ host, platform }: Runtime, { id, cgroup }: Saved): Stats | null {
  if (!cgroup) throw new RuntError(`container ${id} has no cgroup that would count what it uses`)
  return readStats(host, platform.machine, cgroup)
}

/** What is waited for: descriptors of the host. */
interface Watched {
  timer: number
  init: number
  news: News | null
}

/** Where events of the memory controller show. */
interface News {
  /** Readable when something happened. */
  fd: number
  /** v1: gone with the cgroup, of whose end there is news too. v2: has the number of processes killed. */
  file: string
  version: 1 | 2
  /** v2: that number. */
  kills: Count
}

function open(runtime: Runtime, saved: Saved, interval: number): Watched {
  const { host, platform } = runtime
  const { machine } = platform
  const b = new Batch(machine)
  const gone = b.label()
  b.about(`container ${saved.id}: process ${saved.pid}`)
  const init = c.pidfdOpen(b, saved.pid).on(['ESRCH'], gone)
  b.place(gone)
  // Read after the pidfd was opened: it belongs to the process that the descriptor is for.
  const stat = planReading(b, `/proc/${saved.pid}/stat`, 1024)
  b.about('--interval')
  const timer = b.call('timerfd_create', k.CLOCK_MONOTONIC, k.TFD_NONBLOCK | k.TFD_CLOEXEC)
  const [seconds, rest] = [Math.floor(interval / 1e9), interval % 1e9]
  const times = new Struct(32).u64(0, seconds).u64(8, rest).u64(16, seconds).u64(24, rest)
  b.call(
    'timerfd_settime',
    timer,
    0,
    b.data(times.bytes, () => `{${interval} ns}`),
    0,
  )
  const answer = host.run(b)
  const text = finishReading(host, machine, answer, stat)
  if (!answer.ok(init) || 'errno' in text || readStat(text.text).startTime !== saved.startTime)
    throw new RuntError(cannotWatch(saved.id))
  const folder =
    saved.cgroup?.folders.find(({ controllers }) => controllers.includes('memory')) ??
    saved.cgroup?.folders.find(({ version }) => version === 2)
  const news = folder ? (folder.version === 1 ? openNewsV1 : openNewsV2)(runtime, cgroups.folderPath(folder)) : null
  if (!news) runtime.warn(`container ${saved.id}: no events of the type oom: its cgroup has no memory controller`)
  return { timer: answer.value(timer)!, init: answer.value(init)!, news }
}

/** An eventfd that the kernel signals (Documentation/admin-guide/cgroup-v1/memory.rst, section 10, "OOM Control"). */
function openNewsV1({ host, platform }: Runtime, folder: string): News | null {
  const b = new Batch(platform.machine)
  const missing = b.label()
  b.about(`events of the cgroup ${folder}`)
  const control = c.openat(b, k.AT_FDCWD, `${folder}/memory.oom_control`, k.O_RDONLY).on(ANY, missing)
  const event = b.call('eventfd2', 0, k.EFD_NONBLOCK | k.EFD_CLOEXEC)
  b.place(missing)
  const answer = host.run(b)
  if (!answer.ok(control)) return null
  const file = `${folder}/cgroup.event_control`
  const registering = new Batch(platform.machine).about(`events of the cgroup ${folder}`)
  c.writeFile(registering, k.AT_FDCWD, file, `${answer.value(event)} ${answer.value(control)}`)
  c.close(registering, answer.value(control)!)
  host.run(registering)
  return { fd: answer.value(event)!, file, version: 1, kills: 0 }
}

/** memory.events changes with each process that is killed (cgroup-v2.rst, "Memory Interface Files"). */
function openNewsV2({ host, platform }: Runtime, folder: string): News | null {
  const file = `${folder}/memory.events`
  const b = new Batch(platform.machine).about(`events of the cgroup ${folder}`)
  const missing = b.label()
  const inotify = b.call('inotify_init1', k.IN_NONBLOCK | k.IN_CLOEXEC)
  const watched = b.call('inotify_add_watch', inotify, file, k.IN_MODIFY).on(ANY, missing)
  b.place(missing)
  const counters = planReading(b, file, 1024)
  const answer = host.run(b)
  if (!answer.ok(watched)) return null
  const text = finishReading(host, platform.machine, answer, counters)
  return { fd: answer.value(inotify)!, file, version: 2, kills: 'text' in text ? killsOf(text.text) : 0 }
}

const killsOf = (text: string): Count => count(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? '') ?? 0

/** A batch that is performed again and again. */
interface Look {
  batch: Batch
  polls: OutPointer
  tick: Step
  news: { read: Step; there: Step; counters: Reading | null } | null
}

/** Places in the list of what is polled. */
const Poll = { TIMER: 0, INIT: 1, SESSION: 2, NEWS: 3 } as const

/** struct pollfd: the descriptor, events (u16), revents (u16). */
const POLLFD = 8

function planLook({ platform }: Runtime, { timer, init, news }: Watched): Look {
  const b = new Batch(platform.machine).about('waiting for events')
  b.patience = Infinity
  const polls = b.out(4 * POLLFD)
  const poll = (place: number, fd: c.Fd, events: number): void => {
    b.store(32, at(polls, POLLFD * place), fd)
    b.store(32, at(polls, POLLFD * place + 4), events)
  }
  poll(Poll.TIMER, timer, k.POLLIN)
  poll(Poll.INIT, init, k.POLLIN)
  // No events asked for: its end (POLLHUP) is reported in any case.
  poll(Poll.SESSION, slot(Slot.SESSION), 0)
  // ppoll(2) ignores a negative descriptor.
  poll(Poll.NEWS, news?.fd ?? -1, k.POLLIN)
  const wait = b.label()
  b.place(wait)
  b.call('ppoll', polls, 4, 0, 0, 8).on(['EINTR'], wait)
  /** Nobody minds a failure. */
  const tried = (step: Step): Step => {
    const next = b.label()
    b.place(next)
    return step.on(ANY, next)
  }
  const tick = tried(c.read(b, timer, b.out(8)))
  if (!news) return { batch: b, polls, tick, news: null }
  const read = tried(c.read(b, news.fd, b.out(4096)))
  const there = tried(c.faccessat(b, k.AT_FDCWD, news.file, 0))
  const counters = news.version === 2 ? planReading(b, news.file, 1024) : null
  return { batch: b, polls, tick, news: { read, there, counters } }
}

interface Seen {
  tick: boolean
  oom: boolean
  ended: boolean
  kills: Count
}

/** Waits for something to happen. 'lost': the host was ended by a signal, which is how one ends a stream. */
function look({ host, platform }: Runtime, { batch, polls, tick, news }: Look, kills: Count = 0): Seen | 'lost' {
  let answer: Answer
  try {
    answer = host.run(batch)
  } catch (error) {
    if (error instanceof SessionLost) return 'lost'
    throw error
  }
  const ended = answer.half(polls, POLLFD * Poll.INIT + 6) !== 0
  const seen: Seen = { tick: answer.ok(tick), oom: false, ended, kills }
  if (!news) return seen
  if (!news.counters) {
    // The eventfd also fires when the cgroup is removed. That cannot be as long as the init lives, or the file is still there.
    seen.oom = answer.ok(news.read) && (answer.ok(news.there) || !ended)
    return seen
  }
  const text = finishReading(host, platform.machine, answer, news.counters)
  if ('text' in text) seen.kills = killsOf(text.text)
  seen.oom = seen.kills > kills
  return seen
}
