/**
 * Where messages go. Errors always go to stderr as `runt: MESSAGE`, one line; with --log they also go to that file, in
 * the formats of logrus, which engines parse, or to systemd's journal or syslog. Warnings and debug messages go there only; without
 * --log to stderr.
 *
 * Without --log, --log-format json makes the lines on stderr JSON.
 *
 * The file is opened by the host executor before anything else is done: one that cannot be opened fails the command. A daemon that is
 * not there does not: it may be about to start again.
 */
import type { Machine } from '../base/platform.ts'
import { HostSlot } from '../container/slots.ts'
import { Flag } from '../executor/protocol.ts'
import {
  AF_UNIX,
  AT_FDCWD,
  O_APPEND,
  O_CREAT,
  O_NOCTTY,
  O_WRONLY,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
} from '../linux/constants.ts'
import { ANY, Batch, slot } from '../session/batch.ts'
import { openat, socket, unixAddress, write } from '../session/calls.ts'
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

/** The daemons that take messages as datagrams, and where. */
const daemons = { journald: '/run/systemd/journal/socket', syslog: '/dev/log' }

/** Whose log: a file by its absolute path, or what a daemon is to call us. */
export interface LogTarget {
  kind: 'file' | keyof typeof daemons
  name: string
}

/** Priorities of syslog(3). */
const priorities: Record<Level, number> = { error: 3, warning: 4, debug: 7 }
/** The facility LOG_USER. */
const USER = 1 << 3

/** One datagram: systemd's native protocol (fields as lines), or what syslog(3) sends, whose time stamps are the daemon's business. */
function datagram({ kind, name }: LogTarget, level: Level, message: string): string {
  const text = oneLine(message.slice(0, MESSAGE_LENGTH))
  return kind === 'journald'
    ? `PRIORITY=${priorities[level]}\nSYSLOG_IDENTIFIER=${name}\nMESSAGE=${text}\n`
    : `<${USER | priorities[level]}>${name}: ${text}`
}

export interface LogSettings {
  /** null for none. */
  target: LogTarget | null
  format: LogFormat
  debug: boolean
  /** No warnings. */
  quiet: boolean
}

export class Log {
  readonly #platform: LogPlatform
  readonly #host: () => Session
  #settings: LogSettings = { target: null, format: 'text', debug: false, quiet: false }

  /** `host` opens the session when it is needed. */
  constructor(platform: LogPlatform, host: () => Session) {
    this.#platform = platform
    this.#host = host
  }

  /** Opens the log. If that fails, so does whoever waits for the host executor next. */
  configure(settings: LogSettings): void {
    this.#settings = settings
    const { target } = settings
    if (target === null) return
    const { kind, name } = target
    const batch = new Batch(this.#platform.machine).about(`--log ${name}`)
    if (kind === 'file') {
      openat(batch, AT_FDCWD, name, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY, 0o644).keep(HostSlot.LOG)
    } else {
      const end = batch.label()
      const daemon = socket(batch, AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK).keep(HostSlot.LOG)
      const { pointer, length } = unixAddress(batch, daemons[kind])
      batch.call('connect', daemon, pointer, length).on(ANY, end)
      batch.place(end)
    }
    this.#host().send(batch, Flag.SILENT)
  }

  /** The last thing of a command: a failure of the host executor before it is forgotten. */
  error(message: string): void {
    const { target, format } = this.#settings
    this.#platform.stderr(
      target === null && format === 'json' ? this.#line('error', message) : `runt: ${oneLine(message)}\n`,
    )
    if (target === null) return
    try {
      const batch = new Batch(this.#platform.machine).about(`--log ${target.name}`)
      const end = batch.label()
      // It could not be opened, which is what the message is about.
      batch.branch(slot(HostSlot.LOG), 'LESS', 1, end)
      const written = write(batch, slot(HostSlot.LOG), this.#line('error', message))
      if (target.kind !== 'file') written.on(ANY, end)
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
    const { target, format } = this.#settings
    if (target === null) {
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
    const { target, format } = this.#settings
    return target === null || target.kind === 'file'
      ? logLine(format, level, message, this.#platform.now())
      : datagram(target, level, message)
  }
}
