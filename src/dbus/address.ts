/** Where a bus listens (D-Bus Specification, "Server Addresses"). */
import { encodeUtf8 } from '../base/bytes.ts'

/** A unix socket. */
export interface Address {
  /** How errors call it: `the system bus (/run/dbus/system_bus_socket)`. */
  name: string
  /** A path; a name in the abstract namespace begins with a NUL. */
  socket: string
  /** systemd itself is at the other end, not a bus that has it as a member. */
  direct: boolean
}

/** Bytes of sun_path, one kept for the NUL (unix(7)). */
const SOCKET_MAX = 107

/**
 * The unix sockets of an address list, `unix:path=/run/bus,guid=12;unix:abstract=x`. What is no unix socket, or does not fit a
 * sockaddr_un, is left out. `runtime`: folder for `unix:runtime=yes`.
 */
export function parseAddresses(list: string, bus: string, runtime: string | undefined): Address[] {
  const found: Address[] = []
  for (const entry of list.split(';')) {
    const [transport, rest = ''] = splitOnce(entry, ':')
    if (transport !== 'unix') continue
    const keys = new Map(rest.split(',').map((pair) => splitOnce(pair, '=')))
    const path = unescapeValue(keys.get('path'))
    const abstract = unescapeValue(keys.get('abstract'))
    const socket =
      path ??
      (abstract === undefined ? undefined : `\0${abstract}`) ??
      (keys.get('runtime') === 'yes' && runtime ? `${runtime}/bus` : undefined)
    if (socket === undefined || socket === '' || encodeUtf8(socket).length > SOCKET_MAX) continue
    found.push({ name: `${bus} (${socket.replace('\0', '@')})`, socket, direct: false })
  }
  return found
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

const unescapeValue = (value: string | undefined): string | undefined =>
  value?.replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
