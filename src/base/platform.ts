/**
 * What an engine (Node.js or QuickJS) gives to the brain. Everything else the brain does through system calls
 * that an executor performs for it.
 */

/** One end of a SOCK_SEQPACKET pair; the other end is an executor. */
export interface Channel {
  /** Sends one message. Throws a RuntError when the other side is gone. */
  send(message: Uint8Array): void
  /** Memory that a message for `send` may be made in. `receive` writes to it too. */
  readonly outgoing?: ArrayBuffer
  /**
   * Waits for one message. The bytes are valid until the next `receive` on any channel.
   * Returns null when the other side is gone, 'timeout' after `timeoutMs` (at most; Infinity waits for ever).
   */
  receive(timeoutMs: number): Uint8Array | null | 'timeout'
  close(): void
}

/** The machine names of uname(2). */
export type Machine = 'x86_64' | 'aarch64'

export interface Platform {
  readonly engine: 'node' | 'quickjs'
  readonly machine: Machine
  /** What executes this program: a path, and the arguments that come first. */
  readonly self: readonly string[]
  /** The program's arguments without its own name. */
  readonly args: readonly string[]
  /** The caller's environment. Bytes that are not UTF-8 are kept as lone surrogates (see bytes.ts). */
  readonly env: Readonly<Record<string, string>>
  /** One variable of it, which costs less than all; undefined if it isn't set (getenv(3)). */
  getenv(name: string): string | undefined
  /** Milliseconds since 1970-01-01 UTC, with a fraction. */
  now(): number
  /** Makes memory ready for a command that plans much, `bytes` of it, in time that would be spent waiting. */
  prepare?(bytes: number): void
  /** Sessions with the three executors. `host` runs in the caller's namespaces and is there from the start. */
  readonly host: Channel
  readonly stage: Channel
  readonly init: Channel
  stdout(text: string): void
  stderr(text: string): void
  /** Ends the program. */
  exit(status: number): never
  /** From now on signals are for the host executor, to which `handOver` passes them on; absent where they reach it anyway. */
  expectSignals?(): void
  /** Resolves when there is something to receive from the host; until then signals are passed on. Absent like `expectSignals`. */
  hostAnswers?(): Promise<void>
  /**
   * Leaves the rest to the host executor, to which a silent batch has been sent that ends in exit_group:
   * on QuickJS the brain ends now and frees its memory; on Node it waits for the executor and passes on
   * signals and the exit status. Nothing runs after it.
   */
  handOver(): never | Promise<never>
}
