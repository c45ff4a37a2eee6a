/** The `pause` and `resume` commands. */
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import { cannotPause, notPaused, notRunning } from './phrases.ts'
import type { Runtime } from './runtime.ts'
import { loadState } from './state.ts'

/** Stops all processes of a container that is created or running. Returns when they have stopped. */
export function pause(runtime: Runtime, id: string): void {
  const { saved, status } = loadState(runtime, id)
  if (status === 'stopped') throw new RuntError(notRunning(id))
  if (status !== 'created' && status !== 'running') throw new RuntError(cannotPause(id, status))
  if (!saved.cgroup) throw new RuntError(`container ${id} has no cgroup, so it cannot be paused`)
  cgroups.freeze(runtime.host, runtime.platform.machine, saved.cgroup)
}

/** Lets a paused container go on. Returns when it does. */
export function resume(runtime: Runtime, id: string): void {
  const { saved, status } = loadState(runtime, id)
  if (status !== 'paused') throw new RuntError(notPaused(id, status))
  cgroups.thaw(runtime.host, runtime.platform.machine, saved.cgroup!)
}
