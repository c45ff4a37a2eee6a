/** The filter that a config asks for: `linux.seccomp`, and what annotations say about it. */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { Config } from '../config/types.ts'
import { compile, type Filter } from '../seccomp/compile.ts'
import { BPF_MAXINSNS } from '../seccomp/kernel.ts'
import { BPF_DATA, bpfData, decodeBase64, failsUnknown, fieldOf } from './annotations.ts'

/** sizeof(struct sock_filter). */
const INSTRUCTION = 8

/** Null: none. Throws a RuntError for one that cannot be had. */
export function filterOf(
  { linux, annotations }: Pick<Config, 'linux' | 'annotations'>,
  machine: Machine,
): Filter | null {
  const data = bpfData(annotations)
  if (data !== undefined) return readFilter(data)
  if (!linux?.seccomp) return null
  const filter = compile(linux.seccomp, machine)
  const unknown = failsUnknown(annotations) ? filter.unknown[0] : undefined
  if (unknown !== undefined) throw new RuntError(unknown)
  return filter
}

function readFilter(data: string): Filter {
  const field = fieldOf(BPF_DATA)
  const program = decodeBase64(data, field)
  const count = program.length / INSTRUCTION
  if (!Number.isInteger(count) || count < 1 || count > BPF_MAXINSNS)
    throw new RuntError(
      `${field}: ${program.length} bytes are not 1 to ${BPF_MAXINSNS} instructions of ${INSTRUCTION} bytes`,
    )
  return { program, flags: 0, optionalFlags: 0, listener: false, warnings: [], unknown: [] }
}
