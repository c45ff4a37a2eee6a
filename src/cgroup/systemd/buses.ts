/** Which systemd is asked: that of the system, or a user's own. */
import { RuntError } from '../../base/errors.ts'
import { type Address, parseAddresses } from '../../dbus/address.ts'

export interface Caller {
  /** Effective. */
  uid: number
  /** In a user namespace that maps less than all ids. */
  mapped: boolean
  env: Readonly<Record<string, string>>
}

/** Whether it is the user's manager that a caller can ask. */
export const isRootless = ({ uid, mapped }: Caller): boolean => uid !== 0 || mapped

/**
 * Where that manager may be reached, best first: on a bus, or directly where there is none. Throws a RuntError when the environment
 * says nothing.
 */
export function busesFor(caller: Caller): Address[] {
  const { uid, env } = caller
  const runtime = env.XDG_RUNTIME_DIR?.replace(/\/+$/, '')
  const unix = (path: string): string => `unix:path=${path}`
  const direct = (path: string, name: string): Address[] =>
    parseAddresses(unix(path), name, undefined).map((address) => ({ ...address, direct: true }))
  if (!isRootless(caller))
    return [
      ...parseAddresses(env.DBUS_SYSTEM_BUS_ADDRESS || unix('/run/dbus/system_bus_socket'), 'the system bus', runtime),
      ...direct('/run/systemd/private', 'the socket of systemd'),
    ]
  const folder = runtime || (uid === 0 ? undefined : `/run/user/${uid}`)
  const found = [
    ...parseAddresses(env.DBUS_SESSION_BUS_ADDRESS ?? '', 'the user bus', runtime),
    ...(folder ? parseAddresses(unix(`${folder}/bus`), 'the user bus', undefined) : []),
    ...(folder ? direct(`${folder}/systemd/private`, "the socket of the user's systemd") : []),
  ]
  if (found.length === 0)
    throw new RuntError(
      'no way to the systemd of this user: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR says where its bus is',
    )
  return found.filter(({ socket }, index) => found.findIndex((other) => other.socket === socket) === index)
}
