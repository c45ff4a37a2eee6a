/** The `delete` command (runtime.md, "Delete"). */
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import * as k from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import { callPoststop } from './hooks.ts'
import { planRemoveRdt } from './intel-rdt.ts'
import { INIT_PATIENCE, signalInit, waitForInit } from './kill.ts'
import { cannotDelete, unknownId } from './phrases.ts'
import type { Runtime } from './runtime.ts'
import { unmountStack } from './shared-mounts.ts'
import { folderOf, planRemoveFolder, type Saved, tryLoadState } from './state.ts'

/**
 * Removes a container: its processes if there are any left, its cgroup, its state; then calls its poststop hooks. Without `force` it has to be stopped or not yet
 * started. With `force` what a cut-short create left is removed too, and an unknown id is no error.
 */
export function remove(runtime: Runtime, id: string, force: boolean): void {
  const { host, platform } = runtime
  const loaded = tryLoadState(runtime, id)
  if (loaded === 'missing') {
    if (force) return
    throw new RuntError(unknownId(id))
  }
  if (loaded === 'unfinished') {
    if (!force) throw new RuntError(cannotDelete(id, 'creating'))
  } else {
    const { saved, status } = loaded
    if (!force && status !== 'stopped' && status !== 'created') throw new RuntError(cannotDelete(id, status))
    if (status !== 'stopped' && status !== 'creating') endInit(runtime, saved, status === 'paused')
    if (saved.cgroup) {
      cgroups.killAll(host, platform.machine, saved.cgroup)
      cgroups.remove(host, platform.machine, saved.cgroup)
    }
    if (saved.stack) unmountStack(runtime, saved.stack)
  }
  const b = new Batch(platform.machine)
  if (typeof loaded === 'object' && loaded.saved.rdt) planRemoveRdt(b, loaded.saved.rdt)
  planRemoveFolder(b, folderOf(runtime, id))
  host.run(b)
  if (typeof loaded === 'object') callPoststop(runtime, loaded.saved)
}

function endInit(runtime: Runtime, saved: Saved, paused: boolean): void {
  if (!signalInit(runtime, saved, k.SIGKILL)) return
  // A frozen process of cgroup v1 dies only when it is thawed.
  if (paused) cgroups.thawAnyhow(runtime.host, runtime.platform.machine, saved.cgroup!)
  if (!waitForInit(runtime))
    throw new RuntError(
      `container ${saved.id}: process ${saved.pid} did not end within ${INIT_PATIENCE / 1000} s of SIGKILL`,
    )
}
