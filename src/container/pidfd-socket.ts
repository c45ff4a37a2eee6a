/**
 * --pidfd-socket (runc-create(8), runc-exec(8)): whoever listens there gets a pidfd of the container's init or of the process of an
 * exec. Unlike a pid it can never come to mean another process (pidfd_open(2)).
 */

import * as k from '../linux/constants.ts'
import type { Batch } from '../session/batch.ts'
import { slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { HostSlot } from './slots.ts'
import { planConnection, planSendDescriptor } from './terminal.ts'

/** Plans, in the host, the connection: before anything is made, for a socket that is not there. `path` may be relative. */
export function planPidfdSocket(b: Batch, path: string): void {
  b.about(`--pidfd-socket ${path}`)
  planConnection(b, path, k.SOCK_STREAM, HostSlot.PIDFD_SOCKET)
}

/** Sends the pidfd of a child that has not been waited for. The text is runc's: `standard` for an init, `setns` for an exec. */
export function planSendPidfd(b: Batch, path: string, pid: number, text: 'standard' | 'setns'): void {
  b.about(`--pidfd-socket ${path}`)
  const pidfd = c.pidfdOpen(b, pid)
  planSendDescriptor(b, slot(HostSlot.PIDFD_SOCKET), pidfd, text)
  c.close(b, pidfd)
  c.close(b, slot(HostSlot.PIDFD_SOCKET))
}
