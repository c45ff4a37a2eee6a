/** Plans what brings a filter into force. What becomes of its listener is told in container/seccomp-agent.ts. */
import { Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { SeccompFlag } from '../config/types.ts'
import type { Batch, Step } from '../session/batch.ts'
import type { Filter } from './compile.ts'
import { BPF_MAXINSNS, FILTER_FLAGS, FLAG_NEW_LISTENER, SECCOMP_SET_MODE_FILTER } from './kernel.ts'

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
export const planSeccomp = (b: Batch, filter: Filter): Loading => prepareSeccomp(b, filter)()

/** The same, to be planned several times in one batch. */
export function prepareSeccomp(b: Batch, filter: Filter): () => Loading {
  const { program, flags, optionalFlags } = filter
  const count = program.length / 8
  if (count > BPF_MAXINSNS) throw new RuntError(`internal error: a filter of ${count} instructions`)
  const asked = flags & ~optionalFlags
  // struct sock_fprog of linux/filter.h.
  const fprog = b.structure(
    new Struct(16).u16(0, count).bytes,
    { 8: b.data(program, `${count} instructions`) },
    `${count} instructions`,
  )
  const load = (withFlags: number): Step => b.call('seccomp', SECCOMP_SET_MODE_FILTER, withFlags, fprog)
  return () => {
    b.about(asked === 0 ? 'linux.seccomp' : `linux.seccomp (${flagNames(asked)})`)
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
}
