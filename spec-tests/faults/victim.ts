/**
 * The command on Node.js with a fault: after the n-th batch that its brain has sent, one of the processes is killed. To be
 * bundled; see kill.test.ts. The environment says what to do:
 *
 *   FAULT_TARGET  brain, executor, both (of these two), stage, init or process (of exec), or a process id
 *   FAULT_AT      after which batch; 0: never
 *   FAULT_PAUSE   milliseconds between the batch and the kill
 *   FAULT_REPORT  a file that takes what happened (`Report`)
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { main } from '../../src/cli/main.ts'
import { openPlatform } from '../../src/engine-node/platform.ts'
import { Session } from '../../src/session/session.ts'

export interface Report {
  /** Batches that were sent. */
  batches: number
  /** Whether the target was there to be killed. */
  hit: boolean
}

const { FAULT_TARGET: target = '', FAULT_AT: at = '0', FAULT_PAUSE: pause = '0', FAULT_REPORT: path = '' } = process.env
/** How long the target is waited for, in milliseconds. */
const PATIENCE = 5

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

const platform = openPlatform()
const report: Report = { batches: 0, hit: false }
const tell = (): void => writeFileSync(path, JSON.stringify(report))

/** Stage and init are children of the host executor; the init is in a pid namespace of its own, so it has two pids. */
function find(): number | null {
  if (target === 'brain') return process.pid
  if (target === 'executor' || target === 'both') return platform.executorPid
  if (/^\d+$/.test(target)) return Number(target)
  try {
    const { executorPid } = platform
    const children = readFileSync(`/proc/${executorPid}/task/${executorPid}/children`, 'utf8').trim().split(' ')
    for (const pid of children.filter((word) => word !== '')) {
      const pids = /^NSpid:(.*)$/m
        .exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!
        .trim()
        .split(/\s+/)
      if (pids.length === (target === 'stage' ? 1 : 2)) return Number(pid)
    }
  } catch {}
  return null
}

function strike(): void {
  sleep(Number(pause))
  let pid = find()
  for (const end = performance.now() + PATIENCE; pid === null && performance.now() < end; pid = find()) sleep(0.2)
  if (pid === null) return
  report.hit = true
  tell()
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    report.hit = false
  }
  if (target === 'both') process.kill(process.pid, 'SIGKILL')
  // Our own end may take a moment.
  if (target === 'brain' || target === 'both') for (;;) sleep(1000)
}

const { send } = Session.prototype
Session.prototype.send = function (...parameters) {
  send.apply(this, parameters)
  if (++report.batches === Number(at)) strike()
}
process.on('exit', tell)
platform.exit(await main(platform))
