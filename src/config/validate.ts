/** Reads a config.json, and parts of one that come by themselves: JSON, then the schema, then the rules. */
import { RuntError } from '../base/errors.ts'
import { DEPTH_MAX, parseJsonExactly, parseJsonRoughly } from '../base/json.ts'
import { join, show } from './checks.ts'
import * as configSchema from './generated/config.js'
import * as featuresSchema from './generated/features.js'
import * as stateSchema from './generated/state.js'
import { rules } from './rules.ts'
import type { Config, Features, Process, Resources, State } from './types.ts'

export interface ReadConfig {
  config: Config
  /** One line each, without the name of the file. */
  warnings: string[]
  /** Whether there are integers in it that a number cannot hold. */
  exact: boolean
}

/**
 * Reads a config.json: JSON, schema, semantic rules. `path` names the file in errors, which are RuntErrors of one
 * line: `path: FIELD: what is wrong`.
 *
 * Read as absent, because engines write so: null in any object; `""` as a namespace's path or as
 * rootfsPropagation; a seccomp section without action and rules. Filled in: user and group 0; ioPriority.priority 0;
 * "/" before a relative mount destination (config.md, "Mounts").
 *
 * `agent`: what the caller's environment has for a linux.seccomp without listenerPath.
 */
export function readConfig(text: string, path: string, agent?: string): ReadConfig {
  return read(text, path, (config) => config, agent)
}

/** Reads a config.json that `readConfig` of the same version has read before, without such integers. Nothing is checked again. */
export function readChecked(text: string, path: string, agent?: string): Config {
  const value = parseJsonRoughly(text, path)
  const seccompUnset = prepare(value, text, path)
  return fill(value as Config, seccompUnset, [], agent)
}

export interface ReadProcess {
  process: Process
  warnings: string[]
}

/**
 * Checks a process section that was put together from others, which have been read, and from words of a command line: what the schema says
 * is right already, and no NUL is in there.
 */
export function checkProcess(process: Process, path: string): string[] {
  const warnings: string[] = []
  checkRules({ ...frame, process }, '', path, warnings)
  return warnings
}

/** Reads the file of `exec --process`: the process section of a config.json by itself. Errors as in `readConfig`. */
export function readProcess(text: string, path: string): ReadProcess {
  const { config, warnings } = read(text, path, (process) => ({ ...frame, process: process ?? undefined }))
  return { process: config.process, warnings }
}

/**
 * Reads the file of `update --resources`: the linux.resources section by itself, for a container whose config has that ociVersion. Errors
 * as in `readConfig`.
 */
export function readResources(text: string, path: string, ociVersion = frame.ociVersion): Resources {
  const rest = { ...frame, ociVersion, process: { cwd: '/', args: [''] } }
  return read(text, path, (resources) => ({ ...rest, linux: { resources: resources ?? {} } })).config.linux!.resources!
}

/** What a section by itself lacks to be a config. */
const frame = { ociVersion: '1.3.0', root: { path: '/' } }

function read(text: string, path: string, whole: (value: unknown) => unknown, agent?: string): ReadConfig {
  let value = whole(parseJsonRoughly(text, path))
  let seccompUnset = prepare(value, text, path)
  let exact = false
  if (!configSchema.validate(value)) {
    if (configSchema.failure.keyword === 'range') {
      // Perhaps a 64-bit integer that a number cannot hold.
      value = whole(parseJsonExactly(text, path))
      seccompUnset = prepare(value, text, path)
      exact = true
    }
    if (!configSchema.validate(value)) throw mistake(path, value, configSchema.failure)
  }
  const warnings: string[] = []
  const config = fill(value as Config, seccompUnset, warnings, agent)
  checkRules(config, text, path, warnings)
  return { config, warnings, exact }
}

function fill(config: Config, seccompUnset: boolean, warnings: string[], agent?: string): Config {
  if (seccompUnset) delete config.linux!.seccomp
  complete(config, warnings, agent)
  return config
}

/** `text`: that of the file. */
function checkRules(config: Config, text: string, path: string, warnings: string[]): void {
  for (const { check, needs } of rules) {
    if (needs !== undefined && !text.includes(needs)) continue
    const wrong = check(config, warnings)
    if (wrong !== undefined) throw new RuntError(`${path}: ${wrong}`)
  }
}

/** Makes what Go writes for "unset" absent, or palatable to the schema. Returns whether that was seccomp. */
function prepare(value: unknown, text: string, path: string): boolean {
  // A null within a string costs a walk only.
  if (text.includes('null')) dropNulls(value, path, 0)
  return isSeccompUnset(value)
}

/** Checks a container's state (runtime.md, "State"). `name` names it in errors. Throws a RuntError. */
export function validateState(value: unknown, name: string): State {
  if (!stateSchema.validate(value)) throw mistake(name, value, stateSchema.failure)
  const state = value as State
  if (state.pid === undefined && (state.status === 'created' || state.status === 'running')) {
    throw new RuntError(`${name}: pid: missing, a ${state.status} container has one`)
  }
  if (state.pid !== undefined && state.pid < 0) throw new RuntError(`${name}: pid: ${state.pid} is not a process id`)
  return state
}

/** Checks what `runt features` prints (features.md). `name` names it in errors. Throws a RuntError. */
export function validateFeatures(value: unknown, name: string): Features {
  if (!featuresSchema.validate(value)) throw mistake(name, value, featuresSchema.failure)
  return value as Features
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Go writes null for a nil slice, map or pointer. Elements of arrays stay, so that indexes do. */
function dropNulls(value: unknown, name: string, depth: number): void {
  if (typeof value !== 'object' || value === null) return
  if (depth >= DEPTH_MAX) throw new RuntError(`${name}: nested more than ${DEPTH_MAX} levels deep`)
  const object = value as Record<string, unknown>
  for (const key in object) {
    if (object[key] !== null) dropNulls(object[key], name, depth + 1)
    else if (!Array.isArray(value)) delete object[key]
  }
}

/**
 * Whether the seccomp section means "no filter": Go writes an unset one with an empty action. It gets an action so
 * that the schema looks at the rest of it.
 */
function isSeccompUnset(config: unknown): boolean {
  const linux = isObject(config) ? config.linux : undefined
  const seccomp = isObject(linux) ? linux.seccomp : undefined
  if (!isObject(seccomp) || (seccomp.defaultAction !== undefined && seccomp.defaultAction !== '')) return false
  const { syscalls } = seccomp
  if (syscalls !== undefined && !(Array.isArray(syscalls) && syscalls.length === 0)) return false
  seccomp.defaultAction = 'SCMP_ACT_ALLOW'
  return true
}

/** Fills in what others would have to ask for again and again. */
function complete(config: Config, warnings: string[], agent: string | undefined): void {
  const { linux, mounts } = config
  // crun's ways, from before the spec had listenerPath.
  const receiver = config.annotations?.['run.oci.seccomp.receiver'] ?? agent
  if (receiver && linux?.seccomp) linux.seccomp.listenerPath ||= receiver
  if (config.process !== undefined) {
    config.process.user ??= { uid: 0, gid: 0 }
    config.process.user.uid ??= 0
    config.process.user.gid ??= 0
    if (config.process.ioPriority !== undefined) config.process.ioPriority.priority ??= 0
  }
  // Zero is a limit since 1.3; to engines from before that, and runtimes, it was none: podman run --pids-limit=-1.
  const resources = linux?.resources
  if (Number(resources?.pids?.limit) === 0 && /^1\.[0-2]\./.test(config.ociVersion)) delete resources!.pids
  for (const namespace of linux?.namespaces ?? []) if (namespace.path === '') delete namespace.path
  if (linux !== undefined && (linux.rootfsPropagation as string) === '') delete linux.rootfsPropagation
  for (let index = 0; mounts !== undefined && index < mounts.length; index++) {
    const mount = mounts[index]!
    if (mount.destination === '' || mount.destination.startsWith('/')) continue
    warnings.push(
      `mounts[${index}].destination: ${show(mount.destination)} is not absolute, which is deprecated: read as relative to "/"`,
    )
    mount.destination = `/${mount.destination}`
  }
}

const kinds: Record<string, string> = {
  string: 'a string',
  array: 'an array',
  object: 'an object',
  boolean: 'true or false',
}

/** The ranges of the schema's integer types, schema/defs.json. */
const ranges: Record<string, string> = {
  int32: '-2147483648 to 2147483647',
  uint16: '0 to 65535',
  uint32: '0 to 4294967295',
  int64: '-9223372036854775808 to 9223372036854775807',
  uint64: '0 to 18446744073709551615',
}

function mistake(name: string, root: unknown, { path, keyword, params }: configSchema.Failure): RuntError {
  let field = ''
  let value = root
  for (const part of path.split('/').slice(1)) {
    const key = part.replace(/~1/g, '/').replace(/~0/g, '~')
    field = join(field, Array.isArray(value) ? Number(key) : key)
    value = (value as Record<string, unknown>)[key]
  }
  if (keyword === 'required') return new RuntError(`${name}: ${join(field, params.missingProperty!)}: missing`)
  return new RuntError(`${name}: ${field === '' ? '' : `${field}: `}${complaint(value, keyword, params)}`)
}

function complaint(value: unknown, keyword: string, params: configSchema.Failure['params']): string {
  switch (keyword) {
    case 'type':
      return `${show(value)} is not ${kinds[params.type!]}`
    case 'range':
      return `${show(value)} is not an integer from ${ranges[params.range!]}`
    case 'words':
      return `${show(value)} is not one of ${params.words!.map(show).join(', ')}`
    default:
      return 'is empty'
  }
}
