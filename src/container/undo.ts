/** Cleans up after a launch or an exec that failed. */
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch, load } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { callPoststop } from './hooks.ts'
import { planRemoveRdt } from './intel-rdt.ts'
import type { Runtime } from './runtime.ts'
import { type Stack, unmountStack } from './shared-mounts.ts'
import { folderOf, planRemoveFolder, type Saved } from './state.ts'

/** Milliseconds between looks for children that end by themselves, and how often to look. */
const PAUSE = 5
const LOOKS = 20

/** How far a launch or an exec has come: what has to be cleaned up if it fails now. */
export interface Progress {
  /** The state folder was made by us, so the id is ours. */
  claimed: boolean
  /** Pid of the stage; 0 while there is none. */
  stage: number
  /** The stage has been told to fork the init, so there may be one whose pid we have not heard yet. */
  forks: boolean
  /** Pid of the init; 0 while it is not known. */
  init: number
  cgroup: cgroups.CgroupPaths | null
  /** Set once something may be mounted among the mounts of the caller. */
  stack: Stack | null
  /** Set once there is an init: then poststop hooks have to be called. */
  saved: Saved | null
  /** Path of the pid file, set once it may exist. */
  pidFile: string | null
}

/** Nothing has been made yet. */
export const noProgress = (): Progress => ({
  claimed: false,
  stage: 0,
  forks: false,
  init: 0,
  cgroup: null,
  stack: null,
  saved: null,
  pidFile: null,
})

/** Ends the processes, removes cgroup and state folder. What cannot be removed is warned about; `delete --force` tries again. */
export function undo(runtime: Runtime, id: string, progress: Progress): void {
  const { host, platform } = runtime
  try {
    const b = new Batch(platform.machine)
    for (const pid of [progress.stage, progress.init]) {
      if (pid === 0) continue
      const next = b.label()
      c.kill(b, pid, k.SIGKILL).on(ANY, next)
      c.waitid(b, k.P_PID, pid, 0, k.WEXITED).on(ANY, next)
      b.place(next)
    }
    if (progress.pidFile) {
      const missing = b.label()
      c.unlinkat(b, k.AT_FDCWD, progress.pidFile).on(ANY, missing)
      b.place(missing)
    }
    host.recover(b)
    if (progress.forks && progress.init === 0) waitForUnknownInit(runtime)
    // Hooks may have left processes in it.
    if (progress.cgroup && progress.saved) cgroups.killAll(host, platform.machine, progress.cgroup)
    if (progress.cgroup) cgroups.remove(host, platform.machine, progress.cgroup)
    if (progress.stack) unmountStack(runtime, progress.stack)
    if (progress.saved?.rdt) {
      const groups = new Batch(platform.machine)
      planRemoveRdt(groups, progress.saved.rdt)
      host.recover(groups)
    }
    if (progress.claimed) {
      const folder = new Batch(platform.machine)
      planRemoveFolder(folder, folderOf(runtime, id))
      host.recover(folder)
    }
  } catch (error) {
    if (!(error instanceof RuntError)) throw error
    runtime.warn(`cleaning up after the failure: ${error.message}`)
  }
  if (progress.saved) callPoststop(runtime, progress.saved)
}

/** Ends an init whose pid never reached us, by closing its session, and waits for it. */
function waitForUnknownInit(runtime: Runtime): void {
  runtime.platform.init.close()
  for (let look = 0; look < LOOKS; look++) {
    const b = new Batch(runtime.platform.machine)
    const info = b.out(128)
    const end = b.label()
    c.sleep(b, PAUSE)
    c.waitid(b, k.P_ALL, 0, info, k.WEXITED | k.WNOHANG).on(ANY, end)
    b.branch(load(info, 32, k.SI_PID), 'EQUAL', 0, end)
    b.place(end)
    const answer = runtime.host.recover(b)
    if (answer.word(info, k.SI_PID) > 0) return
  }
}
