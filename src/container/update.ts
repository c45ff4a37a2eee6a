/** The `update` command: other limits for a container that exists. */
import { RuntError } from '../base/errors.ts'
import { stringifyJson } from '../base/json.ts'
import * as cgroups from '../cgroup/manager.ts'
import { show } from '../config/checks.ts'
import type { Int64, IntelRdt, Resources } from '../config/types.ts'
import { readConfig, readResources } from '../config/validate.ts'
import * as k from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import { Train } from '../session/train.ts'
import { finishReading, planGiven, planReading, planWriting, readInput, unreadable } from './files.ts'
import { changeRdt, restoreRdt } from './intel-rdt.ts'
import { notRunning } from './phrases.ts'
import type { Runtime } from './runtime.ts'
import { folderOf, loadState, planSaving } from './state.ts'

export interface UpdateOptions {
  id: string
  /** File with the resources as in config.json, `-` for standard input; null: they are `resources`. */
  file: string | null
  /** What the flags ask for, in the shape of linux.resources. */
  resources: Resources
  /** Schemata of resctrl (linux.intelRdt), if given. */
  l3CacheSchema: string | null
  memBwSchema: string | null
}

/**
 * Sets everything that is asked for, or nothing. The result is kept in the copy of config.json, for the next update: some files of cgroup
 * v2 take several values together, of which an update may give only one. Zero and empty values ask for nothing, unless they are limits;
 * engines send them for what they do not change.
 */
export function update(runtime: Runtime, options: UpdateOptions): void {
  const { host, platform } = runtime
  const { machine } = platform
  const { id, file } = options
  const { saved, status } = loadState(runtime, id)
  if (status === 'stopped' || status === 'creating') throw new RuntError(notRunning(id))
  const schemata = schemataOf(options)

  const b = new Batch(machine)
  const path = `${folderOf(runtime, id)}/config.json`
  const configReading = planReading(b, path, 0x4000, k.O_RDONLY | k.O_NONBLOCK)
  const fileReading = file !== null && file !== '-' ? planGiven(b, file) : null
  const answer = host.run(b)
  const configText = finishReading(host, machine, answer, configReading)
  if ('errno' in configText) throw unreadable(path, configText.errno)
  const { config } = readConfig(configText.text, path)

  let change: Resources
  if (file === null) change = readResources(stringifyJson(options.resources), 'command line', config.ociVersion)
  else {
    const given = fileReading ? finishReading(host, machine, answer, fileReading) : { text: readInput(host, machine) }
    if ('errno' in given) throw unreadable(`--resources (${file})`, given.errno)
    change = readResources(given.text, `--resources (${file})`, config.ociVersion)
  }
  const whole = overlay(config.linux?.resources ?? {}, change)
  const { cgroup } = saved
  if (!cgroup && (!schemata || Object.keys(change).length > 0))
    throw new RuntError(`container ${id} has no cgroup, so it can have no limits`)
  const groups = saved.rdt ?? { joined: [], made: [] }
  const pids = cgroup ? cgroups.processes(host, machine, cgroup) : [saved.pid]
  const rdt = schemata && changeRdt(runtime, schemata, id, pids, groups)
  try {
    if (cgroup) for (const sentence of cgroups.update(host, machine, cgroup, change, whole)) runtime.debug(sentence)
  } catch (error) {
    if (rdt) restoreRdt(runtime, rdt, groups)
    throw error
  }

  config.linux = { ...config.linux, resources: whole }
  if (schemata) config.linux.intelRdt = { ...config.linux.intelRdt, ...schemata }
  const state = new Train(host, machine)
  if (schemata && !saved.rdt) planSaving(state, runtime, { ...saved, rdt: groups })
  planWriting(state, `the limits are set, but not recorded (${path})`, path, stringifyJson(config), 0o600)
  host.wait(state.depart())
}

/** What the flags for resctrl ask for; null if nothing. The rules are those of config.json. */
function schemataOf({ l3CacheSchema, memBwSchema }: UpdateOptions): Schemata | null {
  const asked: Schemata = {}
  for (const [flag, field, value] of [
    ['--l3-cache-schema', 'l3CacheSchema', l3CacheSchema],
    ['--mem-bw-schema', 'memBwSchema', memBwSchema],
  ] as const) {
    if (!value) continue
    if (value.includes('\n')) throw new RuntError(`${flag}: ${show(value)} has more than one line`)
    if (field === 'memBwSchema' && !value.startsWith('MB:'))
      throw new RuntError(`${flag}: ${show(value)} does not start with "MB:"`)
    asked[field] = value
  }
  return Object.keys(asked).length > 0 ? asked : null
}

type Schemata = Pick<IntelRdt, 'l3CacheSchema' | 'memBwSchema'>

type Values = Record<string, unknown>

/** Fields for which zero is a value. In all others it means "not set" (see cgroup/table.ts). */
const ZERO_COUNTS = new Set(['burst', 'idle', 'swappiness', 'classID'])

/**
 * The resources after the change. In lists, a limit for a device or page size replaces the one for the same device or size, or is added.
 */
export function overlay(before: Resources, change: Resources): Resources {
  const result: Resources = { ...before }
  for (const section of ['memory', 'cpu'] as const)
    if (change[section]) result[section] = values(before[section] ?? {}, change[section])
  if (change.pids) result.pids = { ...before.pids, ...change.pids }
  // Without a word about swap, no limit of memory means none of both.
  const { memory } = change
  if (memory?.limit !== undefined && memory.limit < 0 && !isSet(memory.swap)) result.memory!.swap = -1
  if (change.devices?.length) result.devices = change.devices
  if (change.blockIO) {
    const { weight, leafWeight, ...lists } = change.blockIO
    const merged: Values = { ...before.blockIO }
    if (weight) merged.weight = weight
    if (leafWeight) merged.leafWeight = leafWeight
    for (const [name, items] of Object.entries(lists))
      merged[name] = byKey(merged[name] as Values[] | undefined, items as unknown as Values[], ['major', 'minor'])
    result.blockIO = merged
  }
  if (change.hugepageLimits)
    result.hugepageLimits = byKey(
      before.hugepageLimits as unknown as Values[],
      change.hugepageLimits as unknown as Values[],
      ['pageSize'],
    ) as unknown as NonNullable<Resources['hugepageLimits']>
  if (change.network) result.network = { ...before.network, ...change.network }
  if (change.rdma) result.rdma = { ...before.rdma, ...change.rdma }
  if (change.unified) result.unified = { ...before.unified, ...change.unified }
  return result
}

const isSet = (value: Int64 | undefined): boolean => value !== undefined && Number(value) !== 0

function values<T extends object>(before: T, change: T): T {
  const result = { ...before } as Values
  for (const [name, value] of Object.entries(change)) {
    const empty = value === '' || (!ZERO_COUNTS.has(name) && (value === 0 || value === 0n))
    if (!empty) result[name] = value
  }
  return result as T
}

/** Merges two lists: an item of `change` replaces the one with the same `keys`. */
function byKey(before: readonly Values[] | undefined, change: readonly Values[], keys: readonly string[]): Values[] {
  const isSame = (a: Values) => (b: Values) => keys.every((key) => a[key] === b[key])
  return [...(before ?? []).filter((item) => !change.some(isSame(item))), ...change]
}
