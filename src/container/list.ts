/** The `list` command. */
import { RuntError } from '../base/errors.ts'
import * as k from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { namesIn } from './files.ts'
import type { Runtime, StateView } from './runtime.ts'
import { finishLook, finishWatch, planLook, planTrust, planWatch, viewOf } from './state.ts'

/** How many containers are looked at together: their states fit into one answer. */
const TOGETHER = 16
/** Bytes of a usual state. A longer one is read on its own. */
const USUAL = 0x1000

/** Every container below the root folder, by id. What is not a container is passed over; a state that cannot be read is warned about. */
export function list(runtime: Runtime): StateView[] {
  const ids = folderNames(runtime).sort()
  const views: StateView[] = []
  for (let at = 0; at < ids.length; at += TOGETHER) views.push(...lookAt(runtime, ids.slice(at, at + TOGETHER)))
  return views
}

function lookAt(runtime: Runtime, ids: readonly string[]): StateView[] {
  const { host, platform } = runtime
  /** What one container gives, null if that is not to be had. */
  const each = <T, R>(items: readonly T[], take: (item: T) => R): (R | null)[] =>
    items.map((item) => {
      try {
        return take(item)
      } catch (error) {
        if (!(error instanceof RuntError)) throw error
        runtime.warn(error.message)
        host.recover(new Batch(platform.machine))
        return null
      }
    })
  const looking = new Batch(platform.machine)
  const trust = planTrust(looking, runtime)
  const looks = ids.map((id) => planLook(looking, runtime, trust, id, USUAL))
  const seen = host.run(looking)
  const found = each(looks, (look) => finishLook(runtime, seen, look)).filter((saved) => typeof saved === 'object')
  const watching = new Batch(platform.machine)
  const watches = found.flatMap((saved) =>
    saved ? [{ saved, watch: saved.pid === 0 ? null : planWatch(watching, runtime, saved) }] : [],
  )
  const watched = host.run(watching)
  return each(watches, ({ saved, watch }) =>
    viewOf({ saved, status: watch ? finishWatch(runtime, watched, saved, watch) : 'creating' }),
  ).filter((view) => view !== null)
}

/** Names in the root folder, by getdents64(2). None when it is missing. */
function folderNames(runtime: Runtime): string[] {
  const { host, platform, globals } = runtime
  const open = new Batch(platform.machine)
  const about = `state folder (${globals.root})`
  open.about(about)
  const missing = open.label()
  const fd = c.openat(open, k.AT_FDCWD, globals.root, k.O_RDONLY | k.O_DIRECTORY).on(['ENOENT'], missing)
  open.place(missing)
  const folder = host.run(open).value(fd)!
  if (folder < 0) return []
  const names = namesIn(host, platform.machine, about, folder)
  const close = new Batch(platform.machine).about(about)
  c.close(close, folder)
  host.run(close)
  return names
}
