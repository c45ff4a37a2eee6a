/**
 * Looks at a command that takes too long, from another thread, for this one waits for its end: what its processes wait for then
 * tells a hang from a machine without time.
 */
import { Worker } from 'node:worker_threads'

/** Text for what is seen; more is cut off. */
const ROOM = 0x8000

/** Runs in the worker. Plain JavaScript: it is not compiled. */
const script = `
// state: number of the round, 0 between two; milliseconds; length of what was seen.
const { readFileSync, readdirSync } = require('node:fs')
const { workerData } = require('node:worker_threads')
const state = new Int32Array(workerData, 0, 3)
const text = new Uint8Array(workerData, 12)
const read = (path) => { try { return readFileSync(path, 'latin1') } catch { return '' } }
const list = (path) => { try { return readdirSync(path) } catch { return [] } }
const children = (pid) => list('/proc/' + pid + '/task')
  .flatMap((task) => read('/proc/' + pid + '/task/' + task + '/children').split(' ').filter(Boolean))
const describe = (pid) => {
  const status = (/^State:\\s+(\\S)/m.exec(read('/proc/' + pid + '/status')) ?? [])[1]
  const [ran, waited] = read('/proc/' + pid + '/schedstat').split(' ').map((ns) => Math.round(Number(ns) / 1e6))
  return pid + ' ' + read('/proc/' + pid + '/comm').trim() + ' ' + status + ', ran ' + ran + ' ms, waited ' + waited +
    ' ms for a CPU, in ' + read('/proc/' + pid + '/wchan') + ', system call ' + read('/proc/' + pid + '/syscall').trim()
}
const tree = (pid) => [describe(pid), ...children(pid).flatMap(tree)]
for (;;) {
  Atomics.wait(state, 0, 0)
  const round = Atomics.load(state, 0)
  if (round === 0 || Atomics.wait(state, 0, round, Atomics.load(state, 1)) !== 'timed-out') continue
  const seen = Buffer.from(children(process.pid).flatMap(tree).join('\\n')).subarray(0, text.length)
  text.set(seen)
  Atomics.store(state, 2, seen.length)
  Atomics.wait(state, 0, round)
}
`

let shared: SharedArrayBuffer | undefined
let rounds = 0

/** From now on; after `ms` this process's children are looked at. The returned function ends it and gives what was seen, a line a process. */
export function watch(ms: number): () => string[] {
  if (!shared) {
    shared = new SharedArrayBuffer(12 + ROOM)
    new Worker(script, { eval: true, workerData: shared, execArgv: [] }).unref()
  }
  const state = new Int32Array(shared, 0, 3)
  const set = (index: number, value: number): void => void Atomics.store(state, index, value)
  set(1, ms)
  set(2, 0)
  set(0, ++rounds)
  Atomics.notify(state, 0)
  return () => {
    const length = Atomics.load(state, 2)
    set(0, 0)
    Atomics.notify(state, 0)
    if (length === 0) return []
    return Buffer.from(new Uint8Array(shared!, 12, length))
      .toString()
      .split('\n')
  }
}
