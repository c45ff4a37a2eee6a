/** The few C library functions that Node.js lacks, called through koffi. */
import { createRequire } from 'node:module'
import { RuntError } from '../base/errors.ts'
import { describeErrno, errnoName } from '../linux/errno.ts'

type Koffi = typeof import('koffi').default

export interface Libc {
  socketpair(domain: number, type: number, protocol: number, ends: Int32Array): number
  memfd_create(name: string, flags: number): number
  fcntl(fd: number, command: number, argument: number): number
  close(fd: number): number
  send(fd: number, bytes: Uint8Array, length: number, flags: number): number
  recv(fd: number, bytes: Uint8Array, length: number, flags: number): number
  /** `pollfd`: one struct pollfd as four 16-bit words (fd low, fd high, events, revents). */
  poll(pollfd: Uint16Array, count: number, timeoutMs: number): number
  /** errno(3) after a call that returned -1. */
  errno(): number
}

/** Loads koffi and binds the functions. Throws a RuntError when there is no koffi for this platform. */
export function loadLibc(): Libc {
  let koffi: Koffi
  try {
    koffi = createRequire(import.meta.url)('koffi')
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0]
    throw new RuntError(`the Node.js package koffi cannot be loaded (npm install koffi): ${reason}`)
  }
  // The program's own symbols, libc's among them: independent of the library's file name (glibc, musl).
  const program = koffi.load(null)
  const fcntl = program.func('int fcntl(int, int, ...)')
  return {
    socketpair: program.func('int socketpair(int, int, int, void *)'),
    memfd_create: program.func('int memfd_create(const char *, unsigned int)'),
    fcntl: (fd, command, argument) => fcntl(fd, command, 'int', argument),
    close: program.func('int close(int)'),
    send: program.func('intptr_t send(int, const void *, size_t, int)'),
    recv: program.func('intptr_t recv(int, void *, size_t, int)'),
    poll: program.func('int poll(void *, unsigned long, int)'),
    errno: () => koffi.errno(),
  }
}

/** A RuntError for a call that failed with `code`. */
export function callError(what: string, code: number): RuntError {
  return new RuntError(`${what}: ${describeErrno(code)}`, errnoName(code))
}
