/** Plans what brings a filter into force and hands its listener to the agent. */
import { encodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { stringifyJson } from '../base/json.ts'
import type { ContainerProcessState, SeccompFlag } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { type Arg, at, type Batch, type Step } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { Answer } from '../session/session.ts'
import type { Filter } from './compile.ts'
import { BPF_MAXINSNS, FILTER_FLAGS, FLAG_NEW_LISTENER, SECCOMP_SET_MODE_FILTER } from './kernel.ts'

/** Name of the listener in the container process state: config-linux.md, "The Container Process State". */
export const LISTENER_NAME = 'seccompFd'

/** Longest path of an AF_UNIX address, unix(7). */
const SOCKET_PATH_MAX = 107
const SCM_RIGHTS = 1

/** `SECCOMP_FILTER_FLAG_LOG, …`, for messages. */
function flagNames(flags: number): string {
  const names = Object.keys(FILTER_FLAGS).filter((name) => (flags & FILTER_FLAGS[name as SeccompFlag]) !== 0)
  if (flags & FLAG_NEW_LISTENER) names.push('SECCOMP_FILTER_FLAG_NEW_LISTENER')
  return names.join(', ')
}

/** The steps that load a filter; one of them has run. */
export type Loading = readonly Step[]

/**
 * Loads the filter for the calling process, seccomp(2). It needs no_new_privs or CAP_SYS_ADMIN in the process's user namespace. From
 * here on every call of the process goes through the filter, and the answer to this batch too.
 */
export function planSeccomp(b: Batch, filter: Filter): Loading {
  const { program, flags, optionalFlags } = filter
  const count = program.length / 8
  if (count > BPF_MAXINSNS) throw new RuntError(`internal error: a filter of ${count} instructions`)
  const asked = flags & ~optionalFlags
  b.about(asked === 0 ? 'linux.seccomp' : `linux.seccomp (${flagNames(asked)})`)
  // struct sock_fprog of linux/filter.h.
  const fprog = b.structure(
    new Struct(16).u16(0, count).bytes,
    { 8: b.data(program, `${count} instructions`) },
    `${count} instructions`,
  )
  const load = (withFlags: number): Step => b.call('seccomp', SECCOMP_SET_MODE_FILTER, withFlags, fprog)
  if (optionalFlags === 0) return [load(flags)]
  // Before Linux 4.17 there is no SPEC_ALLOW.
  const plain = b.label()
  const end = b.label()
  const full = load(flags).on(['EINVAL'], plain)
  b.jump(end)
  b.place(plain)
  const fallback = load(asked)
  b.place(end)
  return [full, fallback]
}

/** The listener's descriptor in the process that loaded the filter; for filters that have one. */
export function listenerOf(answer: Answer, loading: Loading): number {
  for (const step of loading) if (answer.ok(step)) return answer.value(step)!
  throw new RuntError('internal error: the seccomp filter was not loaded')
}

/**
 * Fetches the listener from the process that loaded the filter, and sends it to the agent with the container process state. Runs in the
 * caller's namespaces. `state.fds` is to be `[LISTENER_NAME]`. Linux 5.6 (pidfd_getfd).
 */
export function planListener(b: Batch, pid: Arg, listener: number, path: string, state: ContainerProcessState): void {
  b.about(`linux.seccomp.listenerPath (${path})`)
  const address = c.unixAddress(b, socketPath(path))
  const socket = c.socket(b, k.AF_UNIX, k.SOCK_STREAM)
  b.call('connect', socket, address.pointer, address.length)
  const process = c.pidfdOpen(b, pid)
  const fd = b.call('pidfd_getfd', process, listener, 0)

  const text = encodeUtf8(stringifyJson(state))
  const iovec = b.structure(new Struct(16).u64(8, text.length).bytes, { 0: b.data(text, 'container process state') })
  // struct cmsghdr with one descriptor, cmsg(3).
  const control = b.data(new Struct(24).u64(0, 20).u32(8, k.SOL_SOCKET).u32(12, SCM_RIGHTS).bytes, LISTENER_NAME)
  b.store(32, at(control, 16), fd)
  const header = new Struct(56).u64(24, 1).u64(40, 24)
  const message = b.structure(header.bytes, { 16: iovec, 32: control }, 'container process state')
  b.call('sendmsg', socket, message, k.MSG_NOSIGNAL)
  for (const opened of [fd, process, socket]) c.close(b, opened)
}

/** The bytes of a path, a character a byte, as unixAddress takes it. */
function socketPath(path: string): string {
  const bytes = encodeUtf8(path)
  if (bytes.length > SOCKET_PATH_MAX)
    throw new RuntError(`linux.seccomp.listenerPath: ${path}: longer than ${SOCKET_PATH_MAX} bytes`)
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')
}
