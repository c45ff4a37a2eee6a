/**
 * `linux.netDevices` (config-linux.md, "Network Devices"): devices of the host move to the container's network namespace, with the
 * addresses that are theirs for good, and are set up there. They come back, or go, with that namespace: that is the kernel's business.
 *
 * The host does it, with a socket in either namespace. All names are looked at before the first device moves.
 */
import { decodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import { join } from '../config/checks.ts'
import type { Config, NetDevice } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { describeErrno } from '../linux/errno.ts'
import { ANY, Batch, load, type OutPointer } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import {
  AF_NETLINK,
  type Answered,
  type Attribute,
  encodeMessage,
  Flags,
  IFADDRMSG,
  IFINFOMSG,
  Message,
  NETLINK_ROUTE,
  Netlink,
} from './netlink.ts'
import type { Runtime } from './runtime.ts'

const IFLA_IFNAME = 3
const IFLA_NET_NS_FD = 28
const IFLA_EXT_MASK = 29
/** Answers without counters and lists of virtual functions. */
const RTEXT_FILTER_SKIP_STATS = 8

const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_BROADCAST = 4
const IFA_FLAGS = 8
const IFA_RT_PRIORITY = 9
/** Attributes of an address that move with it. Its label names the device, its lifetime is endless. */
const KEPT = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY]
const IFA_F_PERMANENT = 0x80
/** IFA_F_NODAD, IFA_F_HOMEADDRESS, IFA_F_NOPREFIXROUTE, IFA_F_MCAUTOJOIN: what its owner has chosen. */
const KEPT_FLAGS = 0x02 | 0x10 | 0x200 | 0x400
const RT_SCOPE_UNIVERSE = 0

interface Device {
  /** Field of the config, for messages. */
  field: string
  /** Its name on the host. */
  host: string
  /** Its name in the container, or a template with one `%d`. */
  name: string
  index: number
}

/** Moves the devices of the config to the network namespace of the process `pid`. */
export function moveDevices(runtime: Runtime, { linux }: Config, pid: number): void {
  const wanted = Object.entries(linux?.netDevices ?? {})
  if (wanted.length === 0) return
  const { host, platform } = runtime
  const { namespace, here, there, close } = enter(runtime, pid)
  const outside = new Netlink(host, platform.machine, here)
  const inside = new Netlink(host, platform.machine, there)
  const devices = wanted.map(([name, device]) => find(outside, inside, name, device))
  for (const device of devices) {
    const { field, host: hostName, name } = device
    const addresses = addressesOf(outside, device)
    // Moving a device takes its addresses away, and what else runs on the host is not to be surprised by one that is up.
    setLink(outside, `${field}: setting ${hostName} down`, device.index, 0)
    const before = name.includes('%') ? indices(inside, field) : null
    outside.ask(
      `${field}: moving ${hostName} to the container's network namespace`,
      IFINFOMSG,
      encodeMessage(Message.NEWLINK, Flags.ACK, linkHeader(device.index, 0, 0), [
        [IFLA_NET_NS_FD, namespace],
        [IFLA_IFNAME, name],
      ]),
    )
    const index = before ? newIndex(indices(inside, field), before, field) : indexOf(inside, name)
    if (index === null) throw new RuntError(`${field}: ${name} is gone from the container's network namespace`)
    for (const address of addresses) addAddress(inside, field, index, address)
    setLink(inside, `${field}: setting ${name} up`, index, k.IFF_UP)
    runtime.debug(`${field}: ${hostName} is ${name} in the container, with ${addresses.length} addresses`)
  }
  close()
}

/** Sockets in the host's network namespace and in that of a process, and that namespace. */
function enter(
  { host, platform }: Runtime,
  pid: number,
): { namespace: number; here: number; there: number; close(): void } {
  const path = `/proc/${pid}/ns/net`
  const b = new Batch(platform.machine).about("linux.netDevices: the container's network namespace")
  const own = c.openat(b, k.AT_FDCWD, '/proc/self/ns/net', k.O_RDONLY)
  const namespace = c.openat(b, k.AT_FDCWD, path, k.O_RDONLY)
  const inodes = [own, namespace].map((fd) => {
    const status = b.out(256)
    c.statx(b, fd, '', k.AT_EMPTY_PATH, status)
    return status
  }) as [OutPointer, OutPointer]
  const other = b.label()
  const back = b.label()
  // Namespaces are files of one file system.
  b.branch(load(inodes[0], 64, k.STX_INO), 'NOT_EQUAL', load(inodes[1], 64, k.STX_INO), other)
  b.about("linux.netDevices: the container's network namespace is the host's").fail('EINVAL')
  b.place(other)
  b.about("linux.netDevices: netlink in the container's network namespace")
  const here = b.call('socket', AF_NETLINK, k.SOCK_RAW | k.SOCK_CLOEXEC, NETLINK_ROUTE)
  c.setns(b, namespace, k.CLONE_NEWNET)
  const there = b.call('socket', AF_NETLINK, k.SOCK_RAW | k.SOCK_CLOEXEC, NETLINK_ROUTE).on(ANY, back)
  b.place(back)
  // Whatever came of it: all else is for the host's namespace.
  c.setns(b, own, k.CLONE_NEWNET)
  c.close(b, own)
  const answer = host.run(b)
  const numbers = [namespace, here, there].map((step) => answer.value(step)!) as [number, number, number]
  if (numbers[2] < 0)
    throw new RuntError(`linux.netDevices: no netlink socket in the container: ${describeErrno(-numbers[2])}`)
  return {
    namespace: numbers[0],
    here: numbers[1],
    there: numbers[2],
    close: () => {
      const closing = new Batch(platform.machine).about('linux.netDevices')
      for (const fd of numbers) c.close(closing, fd)
      host.run(closing)
    },
  }
}

/** struct ifinfomsg. `flags`: those of `change` that are to be set. */
const linkHeader = (index: number, flags: number, change: number): Uint8Array =>
  new Struct(IFINFOMSG).u32(4, index).u32(8, flags).u32(12, change).bytes

/** Looks at a device of the host, and whether its new name is free. */
function find(outside: Netlink, inside: Netlink, host: string, { name: renamed }: NetDevice): Device {
  const field = join('linux.netDevices', host)
  const name = renamed || host
  const index = indexOf(outside, host)
  if (index === null) throw new RuntError(`${field}: there is no network device ${host} on the host`, 'ENODEV')
  if (!name.includes('%') && indexOf(inside, name) !== null)
    throw new RuntError(`${field}: there is a network device ${name} in the container already`, 'EEXIST')
  return { field, host, name, index }
}

/** Index of a device by its name; null if there is none. */
function indexOf(socket: Netlink, name: string): number | null {
  const question: Attribute[] = [
    [IFLA_IFNAME, name],
    [IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS],
  ]
  try {
    const [link] = socket.ask(
      `network device ${name}`,
      IFINFOMSG,
      encodeMessage(Message.GETLINK, 0, linkHeader(0, 0, 0), question),
    )
    return link && nameOf(link) === name ? link.body.getInt32(4, true) : null
  } catch (error) {
    if (error instanceof RuntError && error.errno === 'ENODEV') return null
    throw error
  }
}

function nameOf({ attributes }: Answered): string {
  return decodeUtf8(attributes.get(IFLA_IFNAME) ?? new Uint8Array()).replace(/\0.*$/, '')
}

/** Indices of all devices. */
function indices(socket: Netlink, field: string): number[] {
  const question = encodeMessage(Message.GETLINK, Flags.DUMP, linkHeader(0, 0, 0), [
    [IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS],
  ])
  return socket.ask(`${field}: devices in the container`, IFINFOMSG, question).map(({ body }) => body.getInt32(4, true))
}

/** The one that has come: the kernel has numbered its name. */
function newIndex(now: readonly number[], before: readonly number[], field: string): number {
  const [index, ...others] = now.filter((one) => !before.includes(one))
  if (index === undefined || others.length > 0)
    throw new RuntError(`${field}: which device it is in the container cannot be told: others came at the same time`)
  return index
}

function setLink(socket: Netlink, about: string, index: number, flags: number): void {
  socket.ask(about, IFINFOMSG, encodeMessage(Message.NEWLINK, Flags.ACK, linkHeader(index, flags, k.IFF_UP), []))
}

/** The addresses that move with a device: permanent, and of global scope. */
function addressesOf(socket: Netlink, { field, index }: Device): Answered[] {
  const question = encodeMessage(Message.GETADDR, Flags.DUMP, new Uint8Array(IFADDRMSG), [])
  return socket.ask(`${field}: its addresses`, IFADDRMSG, question).filter(
    (address) =>
      // ifa_scope and ifa_index.
      address.body.getUint8(3) === RT_SCOPE_UNIVERSE &&
      address.body.getUint32(4, true) === index &&
      (flagsOf(address) & IFA_F_PERMANENT) !== 0,
  )
}

/** The attribute has all 32 bits, ifa_flags only eight. */
function flagsOf({ attributes, body }: Answered): number {
  const bytes = attributes.get(IFA_FLAGS)
  return bytes ? new DataView(bytes.buffer).getUint32(0, true) : body.getUint8(2)
}

function addAddress(socket: Netlink, field: string, index: number, address: Answered): void {
  const flags = flagsOf(address) & KEPT_FLAGS
  const header = new Struct(IFADDRMSG)
    .u8(0, address.body.getUint8(0))
    .u8(1, address.body.getUint8(1))
    .u8(2, flags & 0xff)
    .u8(3, RT_SCOPE_UNIVERSE)
    .u32(4, index)
  const attributes: Attribute[] = KEPT.flatMap((type) => {
    const value = address.attributes.get(type)
    return value ? [[type, value] as const] : []
  })
  attributes.push([IFA_FLAGS, flags])
  const about = `${field}: adding its address in the container`
  socket.ask(
    about,
    IFADDRMSG,
    encodeMessage(Message.NEWADDR, Flags.ACK | Flags.CREATE | Flags.EXCL, header.bytes, attributes),
  )
}
