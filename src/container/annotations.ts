/**
 * Annotations that change what a container is: those of crun (`run.oci.`) that a user of runc or crun may rely on. docs/annotations.md
 * tells what each does. All others are passed on to hooks and `state`, and mean nothing.
 */
import { RuntError } from '../base/errors.ts'
import type { Config } from '../config/types.ts'

/** Field of the config by which an annotation goes, for messages. */
export const fieldOf = (name: string): string => `annotations["${name}"]`

const KEEP_GROUPS = 'run.oci.keep_original_groups'
const HOOKS_STDOUT = 'run.oci.hooks.stdout'
const HOOKS_STDERR = 'run.oci.hooks.stderr'
const FAIL_UNKNOWN = 'run.oci.seccomp_fail_unknown_syscall'
export const BPF_DATA = 'run.oci.seccomp_bpf_data'
const RECEIVER = 'run.oci.seccomp.receiver'
/** Of the caller's environment: as the annotation above, for all containers that have none. */
export const AGENT_VARIABLE = 'RUN_OCI_SECCOMP_RECEIVER'
const PIDFD_RECEIVER = 'run.oci.pidfd_receiver'

const CONTEXT_TYPE = 'run.oci.mount_context_type'
const PLUGINS = 'run.oci.seccomp.plugins'
export const DELEGATE_CGROUP = 'run.oci.delegate-cgroup'

/** Annotations with which who writes them can reach beyond the container (features.md, `potentiallyUnsafeConfigAnnotations`). */
export const unsafeAnnotations: readonly string[] = [
  HOOKS_STDERR,
  HOOKS_STDOUT,
  KEEP_GROUPS,
  PIDFD_RECEIVER,
  RECEIVER,
  BPF_DATA,
  CONTEXT_TYPE,
]

type Annotations = Config['annotations']

/** The program keeps the supplementary groups of who runs runt. */
export const keepsGroups = (annotations: Annotations): boolean => annotations?.[KEEP_GROUPS] !== undefined

/** Files of the host that the output of hooks is added to. */
export interface HookOutput {
  stdout: string | undefined
  stderr: string | undefined
}

export const hookOutput = (annotations: Annotations): HookOutput => ({
  stdout: annotations?.[HOOKS_STDOUT],
  stderr: annotations?.[HOOKS_STDERR],
})

/** Whether names in linux.seccomp that are no system calls are an error. */
export const failsUnknown = (annotations: Annotations): boolean => annotations?.[FAIL_UNKNOWN] !== undefined

/** A filter in the kernel's form, in base64, in place of linux.seccomp. */
export const bpfData = (annotations: Annotations): string | undefined => annotations?.[BPF_DATA]

/** Socket that gets a pidfd of the container's process, as with --pidfd-socket. */
export const pidfdReceiver = (annotations: Annotations): string | undefined => annotations?.[PIDFD_RECEIVER]

/** Name of a cgroup below the container's, which the program begins in (delegated-cgroup.ts). */
export const delegatedCgroup = (annotations: Annotations): string | undefined => annotations?.[DELEGATE_CGROUP]

/** Mount options that take an SELinux context (mount(8)); of the annotation, and of a mount's own options. */
export const CONTEXT_TYPES: readonly string[] = ['context', 'fscontext', 'defcontext', 'rootcontext']

/** The mount option that linux.mountLabel is the value of. Throws a RuntError for a word that is none. */
export function contextType(annotations: Annotations): string {
  const type = annotations?.[CONTEXT_TYPE] ?? 'context'
  if (!CONTEXT_TYPES.includes(type))
    throw new RuntError(`${fieldOf(CONTEXT_TYPE)}: ${JSON.stringify(type)} is not one of ${CONTEXT_TYPES.join(', ')}`)
  return type
}

/** A container that wants plugins of crun's to answer its system calls would wait for an answer for ever. */
export function refusePlugins(annotations: Annotations): void {
  if (annotations?.[PLUGINS] !== undefined)
    throw new RuntError(
      `${fieldOf(PLUGINS)}: runt loads no libraries; a program that listens at linux.seccomp.listenerPath can answer system calls as well`,
    )
}

/** Reads base64 (RFC 4648, padded or not, line breaks allowed). Throws a RuntError that names `field`. */
export function decodeBase64(text: string, field: string): Uint8Array {
  const clean = text.replace(/\s+/g, '').replace(/={0,2}$/, '')
  if (!/^[A-Za-z0-9+/]*$/.test(clean) || clean.length % 4 === 1) throw new RuntError(`${field}: not base64`)
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  const bytes = new Uint8Array(Math.floor((clean.length * 3) / 4))
  let bits = 0
  let count = 0
  let at = 0
  for (const letter of clean) {
    bits = ((bits << 6) | digits.indexOf(letter)) & 0xffff
    count += 6
    if (count < 8) continue
    count -= 8
    bytes[at++] = (bits >> count) & 0xff
  }
  return bytes
}
