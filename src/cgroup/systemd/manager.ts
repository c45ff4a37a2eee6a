/** systemd as it is spoken to: methods of org.freedesktop.systemd1.Manager (org.freedesktop.systemd1(5)). */
import { RuntError } from '../../base/errors.ts'
import type { Machine } from '../../base/platform.ts'
import type { Address } from '../../dbus/address.ts'
import { BusError, busCall, Connection, type Perform } from '../../dbus/connection.ts'
import type { Value, Variant } from '../../dbus/marshal.ts'
import type { MethodCall } from '../../dbus/message.ts'
import type { Property } from './properties.ts'

const NAME = 'org.freedesktop.systemd1'
const PATH = '/org/freedesktop/systemd1'
const MANAGER = `${NAME}.Manager`
const UNIT = `${NAME}.Unit`

export const UNIT_EXISTS = `${NAME}.UnitExists`
const NO_SUCH_UNIT = `${NAME}.NoSuchUnit`

/** How a unit is, for messages and decisions; `missing` where systemd knows none of the name. */
export type ActiveState =
  | 'active'
  | 'reloading'
  | 'inactive'
  | 'failed'
  | 'activating'
  | 'deactivating'
  | 'maintenance'
  | 'missing'

/** A job that systemd has begun: its object path, and what is being done, for messages. */
export interface Job {
  path: string
  about: string
}

export class Systemd {
  /** 0 where it is not told. */
  readonly version: number
  /** The cgroup that its slices lie in: empty, or that of the user's manager. */
  readonly root: string
  readonly #bus: Connection
  readonly #destination: string | null

  private constructor(bus: Connection) {
    this.#bus = bus
    this.#destination = bus.address.direct ? null : NAME
    const about = `systemd on ${bus.address.name}`
    // The end of a job is told to whoever asked for it, and has to be listened for before.
    const match = bus.address.direct
      ? null
      : bus.send(
          busCall('AddMatch', 's', [
            `type='signal',sender='${NAME}',path='${PATH}',interface='${MANAGER}',member='JobRemoved'`,
          ]),
        )
    const properties = ['Version', 'ControlGroup'].map((name) => bus.send(this.#get(PATH, MANAGER, name)))
    if (match !== null) bus.reply(match, about)
    const [version, root] = properties.map((serial) => textIn(bus.reply(serial, about).body))
    this.version = Number(/\d+/.exec(version!)?.[0] ?? 0)
    this.root = root!.replace(/\/+$/, '')
  }

  /** Connects to the first address at which systemd answers. Throws a RuntError: what the first of them said. */
  static connect(perform: Perform, machine: Machine, addresses: readonly Address[], patience?: number): Systemd {
    let first: unknown = null
    for (const address of addresses) {
      let bus: Connection | null = null
      try {
        bus = new Connection(perform, machine, address, patience)
        return new Systemd(bus)
      } catch (error) {
        bus?.close()
        if (!(error instanceof RuntError)) throw error
        first ??= error
      }
    }
    throw first
  }

  close(): void {
    this.#bus.close()
  }

  /** Asks for a new unit, without waiting; `started` does. */
  start(unit: string, properties: readonly Property[]): number {
    const serial = this.#bus.send(
      this.#call('StartTransientUnit', 'ssa(sv)a(sa(sv))', [unit, 'replace', properties, []]),
    )
    this.#bus.flush()
    return serial
  }

  /** The job that a `start` has led to. Throws a BusError: the unit exists, a property is wrong. */
  started(serial: number, unit: string): Job {
    const about = `systemd (StartTransientUnit ${unit})`
    return { path: textIn(this.#bus.reply(serial, about).body), about }
  }

  /** Waits for the end of a job. Throws a RuntError unless that is a good one. */
  finish({ path, about }: Job): void {
    const result = this.#bus.signal(about, ({ interface: from, member, body }) =>
      from === MANAGER && member === 'JobRemoved' && body[1] === path ? String(body[3]) : undefined,
    )
    if (result !== 'done') throw new RuntError(`${about}: its job ended as "${result}"`)
  }

  /** Stops a unit, and forgets that it failed if it did. One that is not there is fine. */
  stop(unit: string): void {
    try {
      const about = `systemd (StopUnit ${unit})`
      const { body } = this.#bus.call(this.#call('StopUnit', 'ss', [unit, 'replace']), about)
      this.finish({ path: textIn(body), about })
    } catch (error) {
      if (!isError(error, NO_SUCH_UNIT)) throw error
    }
    this.reset(unit)
  }

  /** Forgets that a unit failed. */
  reset(unit: string): void {
    try {
      this.#bus.call(this.#call('ResetFailedUnit', 's', [unit]), `systemd (ResetFailedUnit ${unit})`)
    } catch (error) {
      // It had not failed, or nobody knows it any more.
      if (!(error instanceof BusError)) throw error
    }
  }

  /** Changes properties until the next boot. */
  set(unit: string, properties: readonly Property[]): void {
    this.#bus.call(
      this.#call('SetUnitProperties', 'sba(sv)', [unit, true, properties]),
      `systemd (SetUnitProperties ${unit})`,
    )
  }

  /** Moves processes into a unit that is delegated to us, or a cgroup in it: `/below`. */
  attach(unit: string, below: string, pids: readonly number[]): void {
    this.#bus.call(
      this.#call('AttachProcessesToUnit', 'ssau', [unit, below, pids]),
      `systemd (AttachProcessesToUnit ${unit}${below})`,
    )
  }

  activeState(unit: string): ActiveState {
    const about = `systemd (GetUnit ${unit})`
    try {
      const path = textIn(this.#bus.call(this.#call('GetUnit', 's', [unit]), about).body)
      return textIn(this.#bus.call(this.#get(path, UNIT, 'ActiveState'), about).body) as ActiveState
    } catch (error) {
      if (isError(error, NO_SUCH_UNIT)) return 'missing'
      throw error
    }
  }

  #call(member: string, signature: string, body: readonly Value[]): MethodCall {
    return { destination: this.#destination, path: PATH, interface: MANAGER, member, signature, body }
  }

  #get(path: string, of: string, name: string): MethodCall {
    return {
      destination: this.#destination,
      path,
      interface: 'org.freedesktop.DBus.Properties',
      member: 'Get',
      signature: 'ss',
      body: [of, name],
    }
  }
}

export const isError = (error: unknown, name: string): error is BusError =>
  error instanceof BusError && error.error === name

/** The text that an answer consists of, also if it is in a variant. */
function textIn([value]: Value[]): string {
  const held = typeof value === 'object' && 'signature' in value ? (value as Variant).value : value
  if (typeof held !== 'string') throw new RuntError('systemd gave an answer of the wrong type')
  return held
}
