/**
 * The driver that lets systemd make the container's cgroup: a transient scope, or a slice. systemd has to be given a process that lives,
 * the container's init; it moves that into the scope. What systemd has no property for is written to the files, as cgroupfs.ts does.
 */
import { RuntError } from '../../base/errors.ts'
import type { Machine } from '../../base/platform.ts'
import type { DeviceRule, Resources } from '../../config/types.ts'
import { BusError, type Perform } from '../../dbus/connection.ts'
import { variant } from '../../dbus/marshal.ts'
import type { Session } from '../../session/session.ts'
import { Train } from '../../session/train.ts'
import { planAdoption } from '../cgroupfs.ts'
import { CgroupInUse, type Driver } from '../driver.ts'
import type { CgroupPaths, Layout, SystemdUnit } from '../layout.ts'
import { writesFor } from '../limits.ts'
import { processes } from '../processes.ts'
import { remove } from '../remove.ts'
import { updateLimits } from '../update.ts'
import { busesFor, type Caller, isRootless } from './buses.ts'
import { deviceProperties } from './devices.ts'
import { isError, type Job, Systemd, UNIT_EXISTS } from './manager.ts'
import { unitOf, unitPath } from './names.ts'
import { annotatedProperties, known, type Property, readProperty, resourceProperties } from './properties.ts'

/** For units that nobody gave a name. */
const PREFIX = 'runt'

/**
 * The unit that is to be the container's cgroup. Its folders are those below systemd's own cgroup, which `callSystemd` finds out. Throws
 * a RuntError for a path or an annotation that cannot be, and where this user has no systemd.
 */
export function locateUnit(
  layout: Layout,
  cgroupsPath: string | undefined,
  id: string,
  annotations: Readonly<Record<string, string>> | undefined,
  caller: Caller,
): CgroupPaths {
  const rootless = isRootless(caller)
  if (rootless && layout.mode !== 'v2')
    throw new RuntError("--systemd-cgroup: a user's own systemd manages control groups on cgroup v2 only")
  const name = unitOf(cgroupsPath, id, PREFIX, rootless ? 'user.slice' : 'system.slice')
  const path = unitPath(name)
  return {
    mode: layout.mode,
    folders: layout.hierarchies.map(({ version, controllers, mountpoint }) => ({
      version,
      controllers,
      mountpoint,
      path,
    })),
    systemd: {
      ...name,
      description: `runt container ${id}`,
      user: rootless,
      buses: busesFor(caller),
      properties: annotatedProperties(annotations),
    },
  }
}

/** Calls systemd, and learns from it where the unit's cgroup will be. */
export function callSystemd(host: Session, machine: Machine, cgroup: CgroupPaths): Systemd {
  const link = connect(machine, cgroup, (batch) => host.run(batch))
  for (const folder of cgroup.folders) folder.path = link.root + folder.path
  return link
}

/** Has systemd move a process into the container's scope, or a cgroup in it (its path). */
export function attach(host: Session, machine: Machine, cgroup: CgroupPaths, path: string, pid: number): void {
  const own = cgroup.folders.find(({ version }) => version === 2)!.path
  const link = connect(machine, cgroup, (batch) => host.run(batch))
  link.attach(cgroup.systemd!.unit, path.startsWith(`${own}/`) ? path.slice(own.length) : '', [pid])
  link.close()
}

const isScope = ({ unit }: SystemdUnit): boolean => unit.endsWith('.scope')

/** What the container's init has to join by itself. Into a scope systemd has moved it: on cgroup2 that is all, on v1 a part. */
export function leftToJoin(cgroup: CgroupPaths): CgroupPaths {
  if (!cgroup.systemd || !isScope(cgroup.systemd)) return cgroup
  return { ...cgroup, folders: cgroup.folders.filter(({ version }) => version === 1) }
}

export const systemd: Driver = {
  begin(_train, cgroup, resources, link) {
    const ignored: string[] = []
    const limits = limitProperties(cgroup, resources, resources, link!.version, ignored)
    const rules = rulesFor(cgroup, resources.devices ?? [])
    if (rules) limits.unshift(...deviceProperties(rules, cgroup.mode === 'v2', link!.version, ignored))
    else ignored.push("linux.resources.devices: a user's own systemd has no right to enforce them")
    return { cgroup, resources, ignored, attempts: [], systemd: { link: link!, limits } }
  },

  finish(host, making, control, pid) {
    const { link, limits } = making.systemd!
    const { cgroup } = making
    const unit = cgroup.systemd!
    const properties = [...unitProperties(cgroup, unit, pid), ...limits]
    for (const [name, text] of Object.entries(unit.properties)) properties.push(readProperty(name, text))
    host.wait(control)
    const { machine } = control
    link.finish(start(host, machine, link, cgroup, known(properties, link.version)))
    link.close()
    const train = new Train(host, machine)
    planAdoption(train, cgroup, making.resources, rulesFor(cgroup, making.resources.devices ?? []))
    host.wait(train.depart())
    return cgroup
  },

  update(host, machine, cgroup, change, whole) {
    const link = connect(machine, cgroup, (batch) => host.run(batch))
    const limits = limitProperties(cgroup, change, whole, link.version, [])
    const rules = change.devices?.length ? rulesFor(cgroup, change.devices) : null
    if (rules) limits.unshift(...deviceProperties(rules, cgroup.mode === 'v2', link.version))
    // The kernel says no more often than systemd, and only what it has not taken yet can be taken back.
    const ignored = updateLimits(host, machine, cgroup, rules ? change : withoutDevices(change), whole)
    if (limits.length > 0) link.set(cgroup.systemd!.unit, limits)
    link.close()
    return ignored
  },

  remove(host, machine, cgroup) {
    const unit = cgroup.systemd!
    try {
      const link = connect(machine, cgroup, (batch) => host.recover(batch))
      link.stop(unit.unit)
      link.close()
    } catch (error) {
      // A scope without a cgroup ends all the same.
      if (!(error instanceof RuntError) || !isScope(unit)) throw error
    }
    remove(host, machine, cgroup)
  },
}

function connect(machine: Machine, cgroup: CgroupPaths, perform: Perform): Systemd {
  try {
    return Systemd.connect(perform, machine, cgroup.systemd!.buses)
  } catch (error) {
    if (!(error instanceof RuntError)) throw error
    const absent = error.errno === 'ENOENT' || error.errno === 'ECONNREFUSED'
    const advice = absent
      ? ': no systemd answers here; the other manager of control groups, for engines too, is cgroupfs'
      : ''
    throw new RuntError(`--systemd-cgroup: ${error.message}${advice}`, error.errno)
  }
}

/** Asks for the unit. One of its name that is left over is taken away first. */
function start(
  host: Session,
  machine: Machine,
  link: Systemd,
  cgroup: CgroupPaths,
  properties: readonly Property[],
): Job {
  const { unit } = cgroup.systemd!
  try {
    try {
      return link.started(link.start(unit, properties), unit)
    } catch (error) {
      if (!isError(error, UNIT_EXISTS)) throw error
      makeWay(host, machine, link, cgroup, unit)
      return link.started(link.start(unit, properties), unit)
    }
  } catch (error) {
    // Refused: there is nothing of ours to take back.
    if (error instanceof BusError) throw new CgroupInUse(error.message, error.errno)
    throw error
  }
}

/**
 * Takes away a unit of the wanted name that is over: it failed, or its processes are gone and systemd has not seen it yet. Throws
 * CgroupInUse for any other.
 */
function makeWay(host: Session, machine: Machine, link: Systemd, cgroup: CgroupPaths, unit: string): void {
  const state = link.activeState(unit)
  if (state === 'failed' || state === 'inactive' || state === 'missing') link.reset(unit)
  else if ((state === 'active' || state === 'deactivating') && processes(host, machine, cgroup).length === 0)
    link.stop(unit)
  else throw new CgroupInUse(`linux.cgroupsPath: the unit ${unit} exists already, and is ${state}`)
}

/**
 * The device rules that are enforced. Those of a rootless container are not, as with its peers: that takes rights which neither the
 * caller nor its systemd has. Its devices are bound from the host, with the host's permissions; it can make none.
 */
const rulesFor = ({ systemd: unit }: CgroupPaths, rules: readonly DeviceRule[]): readonly DeviceRule[] | null =>
  unit?.user ? null : rules

const withoutDevices = ({ devices: _, ...others }: Resources): Resources => others

/** What a unit is told that has nothing to do with limits. */
function unitProperties({ mode }: CgroupPaths, unit: SystemdUnit, pid: number): Property[] {
  const yes = variant('b', true)
  return [
    ['Description', variant('s', unit.description)],
    // A slice lies where its name says, and takes no processes from its maker.
    ...(isScope(unit)
      ? ([
          ['Slice', variant('s', unit.slice)],
          ['Delegate', yes],
          ['PIDs', variant('au', [pid])],
        ] as const)
      : ([['Wants', variant('as', [unit.slice])]] as const)),
    ['MemoryAccounting', yes],
    ['CPUAccounting', yes],
    [mode === 'v2' ? 'IOAccounting' : 'BlockIOAccounting', yes],
    ['TasksAccounting', yes],
    // It shall not be stopped before the engine at shutdown.
    ['DefaultDependencies', variant('b', false)],
    // Nobody has to forget a failed one.
    ['CollectMode', variant('s', 'inactive-or-failed')],
  ]
}

/** The properties for limits. On v1 quota and period are two files, and one property. */
function limitProperties(
  cgroup: CgroupPaths,
  change: Resources,
  whole: Resources,
  version: number,
  ignored: string[],
): Property[] {
  const { cpu } = change
  const both = cgroup.mode !== 'v2' && (cpu?.quota || cpu?.period)
  const { quota = 0, period = 0 } = whole.cpu ?? {}
  const told = both ? { ...change, cpu: { ...cpu, quota, period } } : change
  return resourceProperties(writesFor(cgroup, told, ignored, whole), version, ignored)
}
