/** The other half of host.c, as the brain sees it. */
import type { Machine } from '../base/platform.ts'
import type * as operation from '../session/operation.ts'

/** What host.c gives to the brain. Only `machine` may be used while modules are evaluated: that happens at build time. */
export interface Host {
  readonly machine: Machine
  /** Memory for messages. Zero pages until it is used, unlike a buffer of JavaScript's. */
  readonly message: ArrayBuffer
  /** Whether the launcher has become this process. Then messages are received at REPLY_AT. */
  alone(): boolean
  /** Sends one message. Returns 0 or the negative errno. */
  send(fd: number, buffer: ArrayBufferLike, offset: number, length: number): number
  /**
   * Receives one message into `buffer`. Returns its length, 0 at the end of the session, a negative errno
   * otherwise; -EAGAIN stands for a timeout. A negative `timeoutMs` waits for ever.
   */
  receive(fd: number, buffer: ArrayBufferLike, timeoutMs: number): number
  /** Writes all of the text. Returns 0 or the negative errno. */
  write(fd: number, text: string): number
  encode(text: string): ArrayBuffer
  /** encodeInto of src/base/bytes.ts. */
  encodeInto(text: string, bytes: Uint8Array, offset: number): number
  decode(buffer: ArrayBufferLike, offset: number, length: number): string
  addOperation: typeof operation.addOperation
  /** decide of src/seccomp/search.ts. `known`: the names of system calls by index, sorted, 32 bytes each. */
  decide(decided: Int16Array, names: readonly string[], verdict: number, known: Uint8Array): boolean
  /** addCells of src/seccomp/search.ts. Returns the new count. */
  addCells(
    starts: Uint32Array,
    verdicts: Int16Array,
    count: number,
    decided: Int16Array,
    names: Int16Array,
    first: number,
    end: number,
    base: number,
  ): number
  /** addTree of src/seccomp/search.ts, for several ranges. Returns the program's new length, or -1 if it is too long. */
  addTree(
    words: Uint32Array,
    length: number,
    returns: Uint32Array,
    places: Int32Array,
    starts: Uint32Array,
    verdicts: Int16Array,
    count: number,
  ): number
  addToWords: typeof operation.addToWords
  placeJumps: typeof operation.placeJumps
  putString: typeof operation.putString
  close(fd: number): void
  exit(status: number): never
  /** Gets memory for what a command that plans much will write: `bytes` of it new. */
  prepare(bytes: number): void
  /** Milliseconds since 1970-01-01 UTC. */
  now(): number
  /** The arguments without the program's name. */
  args(): string[]
  /** The environment's values by name. The first of two equal names counts, as for getenv(3). */
  env(): Record<string, string>
  /** One value of it. */
  getenv(name: string): string | undefined
}

export const host = (globalThis as unknown as { host: Host }).host
