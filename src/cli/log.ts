/**
 * Where messages go. Errors always go to stderr as `runt: MESSAGE`, one line; with --log they also go to that file, in
 * the formats of logrus, which engines parse. Warnings and debug messages go to the file, without one to stderr.
 *
 * Without --log, --log-format json makes the lines on stderr JSON.
 *
 * The file is opened by the host executor before anything else is done: one that cannot be opened fails the command.
 */
import type { Machine } from '../base/platform.ts'
import { HostSlot } from '../container/slots.ts'
import { Flag } from '../executor/protocol.ts'
import { AT_FDCWD, O_APPEND, O_CREAT, O_NOCTTY, O_WRONLY } from '../linux/constants.ts'
import { ANY, Batch, slot } from '../session/batch.ts'
import { openat, write } from '../session/calls.ts'
import type { Session } from '../session/session.ts'

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

/** A message as one line: control characters, those that terminals take for 8-bit ones (C1) too, are shown as their escapes. */
export function oneLine(message: string): string {
  return message.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) =>
    char === '\n' ? '\\n' : char === '\t' ? '\\t' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

export interface LogSettings {
  /** Absolute; null for none. */
  file: string | null
  format: LogFormat
  debug: boolean
  /** No warnings. */
  quiet: boolean
}

export class Log {
  readonly #platform: LogPlatform
  readonly #host: () => Session
  #settings: LogSettings = { file: null, format: 'text', debug: false, quiet: false }

  /** `host` opens the session when it is needed. */
  constructor(platform: LogPlatform, host: () => Session) {
    this.#platform = platform
    this.#host = host
  }

  /** Opens the file. If that fails, so does whoever waits for the host executor next. */
  configure(settings: LogSettings): void {
    this.#settings = settings
    const { file } = settings
    if (file === null) return
    const batch = new Batch(this.#platform.machine).about(`--log ${file}`)
    openat(batch, AT_FDCWD, file, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY, 0o644).keep(HostSlot.LOG)
    this.#host().send(batch, Flag.SILENT)
  }

  /** The last thing of a command: a failure of the host executor before it is forgotten. */
  error(message: string): void {
    const { file, format } = this.#settings
    this.#platform.stderr(
      file === null && format === 'json' ? this.#line('error', message) : `runt: ${oneLine(message)}\n`,
    )
    if (file === null) return
    try {
      const batch = new Batch(this.#platform.machine).about(`--log ${file}`)
      const end = batch.label()
      // It could not be opened, which is what the message is about.
      batch.branch(slot(HostSlot.LOG), 'LESS', 1, end)
      write(batch, slot(HostSlot.LOG), this.#line('error', message))
      batch.place(end)
      this.#host().recover(batch)
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
    if (!this.#settings.quiet) this.#note('warning', message)
  }

  /** Said with --debug only. */
  debug(message: string): void {
    if (this.#settings.debug) this.#note('debug', message)
  }

  #note(level: Level, message: string): void {
    const { file, format } = this.#settings
    if (file === null) {
      this.#platform.stderr(format === 'json' ? this.#line(level, message) : `runt: ${level}: ${oneLine(message)}\n`)
      return
    }
    const batch = new Batch(this.#platform.machine)
    const end = batch.label()
    write(batch, slot(HostSlot.LOG), this.#line(level, message)).on(ANY, end)
    batch.place(end)
    this.#host().send(batch, Flag.SILENT)
  }

  #line(level: Level, message: string): string {
    return logLine(this.#settings.format, level, message, this.#platform.now())
  }
}
