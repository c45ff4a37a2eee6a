/**
 * Where messages go. Errors always go to stderr as `runt: MESSAGE`, one line; with --log they also go to that file, in
 * the formats of logrus, which engines parse. Warnings and debug messages go to the file, without one to stderr.
 *
 * The file is opened by the host executor when there is something to write, and closed again.
 */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import { AT_FDCWD, O_APPEND, O_CREAT, O_WRONLY } from '../linux/constants.ts'
import { ANY, Batch, Flag } from '../session/batch.ts'
import { close, openat, write } from '../session/calls.ts'
import { CallError, type Session } from '../session/session.ts'

export type LogFormat = 'text' | 'json'
export type Level = 'error' | 'warning' | 'debug'

/** What of a platform the log needs. */
export interface LogPlatform {
  readonly machine: Machine
  now(): number
  stderr(text: string): void
}

/** Longest message, in characters: with every character escaped it still fits one batch. */
const MESSAGE_LENGTH = 16_000

/** One line of a log, in the format of logrus. `time` in milliseconds since 1970-01-01 UTC. */
export function logLine(format: LogFormat, level: Level, message: string, time: number): string {
  const stamp = new Date(time).toISOString().replace(/\.\d+Z$/, 'Z')
  const msg = message.slice(0, MESSAGE_LENGTH)
  return format === 'json'
    ? `${JSON.stringify({ level, msg, time: stamp })}\n`
    : `time="${stamp}" level=${level} msg=${JSON.stringify(msg)}\n`
}

/** A message as one line: control characters are shown as their escapes. */
export function oneLine(message: string): string {
  return message.replace(/[\u0000-\u001f\u007f\u2028\u2029]/g, (char) =>
    char === '\n' ? '\\n' : char === '\t' ? '\\t' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

export interface LogSettings {
  /** Absolute; null for none. */
  file: string | null
  format: LogFormat
  debug: boolean
}

export class Log {
  readonly #platform: LogPlatform
  readonly #host: () => Session
  #settings: LogSettings = { file: null, format: 'text', debug: false }

  /** `host` opens the session when it is needed. */
  constructor(platform: LogPlatform, host: () => Session) {
    this.#platform = platform
    this.#host = host
  }

  configure(settings: LogSettings): void {
    this.#settings = settings
  }

  /** The last thing of a command: a failure of the host executor before it is forgotten. */
  error(message: string): void {
    this.#platform.stderr(`runt: ${oneLine(message)}\n`)
    const { file } = this.#settings
    if (file === null) return
    try {
      const batch = new Batch(this.#platform.machine).about(`--log ${file}`)
      close(batch, this.#append(batch, file, 'error', message))
      settle(this.#host(), batch)
    } catch (error) {
      this.#platform.stderr(`runt: ${oneLine(error instanceof Error ? error.message : String(error))}\n`)
    }
  }

  /** A bug of runt's, with the stack. */
  crash(error: unknown): void {
    this.error(`internal error: ${error}`)
    const stack = error instanceof Error ? (error.stack ?? '') : ''
    const frames = stack.split('\n').filter((line) => /^\s+at /.test(line))
    if (frames.length > 0) this.#platform.stderr(`${frames.join('\n')}\n`)
  }

  /** May come in the middle of a command, while answers are on their way; so it waits for none and cannot fail. */
  warning(message: string): void {
    if (this.#settings.file === null) this.#platform.stderr(`runt: warning: ${oneLine(message)}\n`)
    else this.#note('warning', message)
  }

  /** Said with --debug only. */
  debug(message: string): void {
    if (!this.#settings.debug) return
    if (this.#settings.file === null) this.#platform.stderr(`runt: debug: ${oneLine(message)}\n`)
    else this.#note('debug', message)
  }

  #note(level: Level, message: string): void {
    const batch = new Batch(this.#platform.machine)
    const end = batch.label()
    const written = batch.label()
    const fd = this.#append(batch, this.#settings.file!, level, message)
    batch.steps[fd.index]!.on(ANY, end)
    batch.steps[fd.index + 1]!.on(ANY, written)
    batch.place(written)
    close(batch, fd)
    batch.place(end)
    this.#host().send(batch, Flag.SILENT)
  }

  /** Opens the file and appends a line. Gives the descriptor. */
  #append(batch: Batch, file: string, level: Level, message: string): ReturnType<typeof openat> {
    const fd = openat(batch, AT_FDCWD, file, O_WRONLY | O_APPEND | O_CREAT, 0o644)
    write(batch, fd, logLine(this.#settings.format, level, message, this.#platform.now()))
    return fd
  }
}

/**
 * Runs a batch after a command ended, however it ended: the host executor forgets a failure, and failures that nobody
 * has waited for are passed over. Throws the CallError of this batch.
 */
export function settle(host: Session, batch: Batch): void {
  host.send(batch, Flag.FRESH)
  for (;;) {
    try {
      host.wait(batch)
      return
    } catch (error) {
      if (error instanceof CallError && !batch.steps.includes(error.step)) continue
      throw error instanceof RuntError ? error : new RuntError(String(error))
    }
  }
}
