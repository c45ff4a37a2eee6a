/** What an error of `launch` (create.ts) means, where its own text does not say it. */
import { decodeUtf8 } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { explainRefusal } from '../cgroup/rootless.ts'
import * as k from '../linux/constants.ts'
import { describeErrno } from '../linux/errno.ts'
import { ANY, Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { CallError, SessionLost } from '../session/session.ts'
import { unreadable } from './files.ts'
import { missingRoot } from './rootfs.ts'
import type { CreateOptions, Runtime } from './runtime.ts'
import { InitSlot } from './slots.ts'
import type { Progress } from './undo.ts'

/** The error for a config that cannot be read. Usually the bundle is another folder. */
export function missingConfig({ config }: CreateOptions, bundle: string, errno: string): RuntError {
  const path = config === null ? `${bundle}/config.json` : `--config (${config})`
  if (config === null && (errno === 'ENOENT' || errno === 'ENOTDIR'))
    return new RuntError(`${path}: no such file; the bundle (--bundle) is the folder that holds config.json`, errno)
  return unreadable(path, errno)
}

/** Whether the error is that the other side of a session is gone. */
function isLoss(error: unknown): boolean {
  if (error instanceof SessionLost) return true
  return (
    error instanceof RuntError &&
    !(error instanceof CallError) &&
    (error.errno === 'EPIPE' || error.errno === 'ECONNRESET')
  )
}

/** How often to look for the end of an init, and milliseconds between the looks. */
const LOOKS = 100
const PAUSE = 5

/** Finds the cause behind an error of `launch`. An init that was killed, for one, cannot report anything itself. */
export function explainLaunch(runtime: Runtime, error: unknown, progress: Progress): unknown {
  const missing = error instanceof CallError && missingRoot(error)
  if (missing) return missing
  if (error instanceof CallError && (error.step.name === 'fsconfig' || error.step.name === 'fsmount'))
    return withMountLog(runtime, error)
  if (error instanceof CallError && error.step.name === 'move_mount' && error.errno === 'EINVAL')
    return asMismatch(runtime, error)
  if (!isLoss(error) || progress.init === 0) return explainRefusal(error, progress.cgroup)
  let signal = 0
  try {
    // Its descriptors are closed a little before it can be waited for.
    for (let look = 0; look < LOOKS && signal === 0; look++) {
      const b = new Batch(runtime.platform.machine)
      const info = b.out(128)
      const gone = b.label()
      if (look > 0) c.sleep(b, PAUSE)
      c.waitid(b, k.P_PID, progress.init, info, k.WEXITED | k.WNOHANG | k.WNOWAIT).on(['ECHILD'], gone)
      b.place(gone)
      const answer = runtime.host.recover(b)
      if (answer.word(info, k.SI_PID) === 0) continue
      if (answer.word(info, k.SI_CODE) === k.CLD_EXITED) return error
      signal = answer.word(info, k.SI_STATUS)
    }
  } catch {
    return error
  }
  if (signal !== k.SIGKILL) return error
  return new RuntError(
    "the container's init was killed (SIGKILL) during its set-up: if linux.resources.memory.limit is set, it may be too small",
  )
}

/** Adds what the kernel says of a file system that it did not make: the log of the fs context, `e tmpfs: Unknown parameter 'x'`. */
function withMountLog(runtime: Runtime, error: CallError): RuntError {
  const b = new Batch(runtime.platform.machine)
  const buffer = b.out(512)
  const end = b.label()
  const count = c.read(b, slot(InitSlot.FS), buffer).on(ANY, end)
  b.place(end)
  try {
    const answer = runtime.init.recover(b)
    const length = answer.value(count) ?? 0
    if (length <= 0) return error
    const text = decodeUtf8(answer.bytes(buffer, length))
      .trim()
      .replace(/^[ewi] /, '')
    return new RuntError(`${error.message}: ${text}`, error.errno)
  } catch {
    return error
  }
}

/**
 * Of the causes of EINVAL by move_mount(2) the usual one: a file is to cover a folder. It is said with the words of mount(2), which docker
 * looks for. (A folder on a file fails before.)
 */
function asMismatch(runtime: Runtime, error: CallError): RuntError {
  const b = new Batch(runtime.platform.machine)
  const [source, target] = [b.out(256), b.out(256)]
  c.statx(b, slot(InitSlot.MOUNT), '', k.AT_EMPTY_PATH, source)
  c.statx(b, slot(InitSlot.TARGET), '', k.AT_EMPTY_PATH, target)
  try {
    const answer = runtime.init.recover(b)
    const isFolder = (status: typeof source) => (answer.word(status, k.STX_MODE) & k.S_IFMT) === k.S_IFDIR
    if (isFolder(source) || !isFolder(target)) return error
    return new RuntError(
      `${error.step.about} is no folder, the destination is one: ${describeErrno('ENOTDIR')}`,
      'ENOTDIR',
    )
  } catch {
    return error
  }
}
