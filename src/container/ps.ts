/** The `ps` command: the processes of a container as the host sees them. */
import { RuntError } from '../base/errors.ts'
import * as cgroups from '../cgroup/manager.ts'
import { Batch } from '../session/batch.ts'
import { finishReading, planReading, readText } from './files.ts'
import { callProgram } from './host-program.ts'
import type { Runtime } from './runtime.ts'
import { loadState } from './state.ts'

export interface ProcessView {
  pid: number
  parent: number
  /** Real user id. */
  uid: number
  /** Processor time over life time, in per cent. */
  load: number
  /** Milliseconds since 1970. */
  started: number
  /** `pts/0`; `?` for none. */
  terminal: string
  cpuSeconds: number
  command: string
}

/** USER_HZ: the unit of times in /proc/PID/stat, on x86-64 and arm64. */
const TICKS = 100
/** Processes that are looked at with one batch. */
const CHUNK = 16

/** All pids of a container in the runtime's pid namespace, sorted; also those in sub-cgroups, and those left of a stopped container. */
export function pidsOf(runtime: Runtime, id: string): number[] {
  const { host, platform } = runtime
  const { saved } = loadState(runtime, id)
  if (!saved.cgroup) throw new RuntError(`container ${id} has no cgroup that would list its processes`)
  return [...new Set(cgroups.processes(host, platform.machine, saved.cgroup))].sort((a, b) => a - b)
}

/**
 * What the host's ps(1) says of the container's processes: its title line, and the lines with their pids. As with runc the output must have
 * a column PID, and no blanks in the columns before it. Null if the host has no ps, or one that fails even without options of the user:
 * some want things of /proc that not every machine has.
 */
export function hostTable(runtime: Runtime, pids: readonly number[], options: readonly string[]): string | null {
  const words = options.length > 0 ? options : ['-ef']
  const output = callProgram(runtime, 'ps', words)
  if (!output || (output.status !== 0 && options.length === 0)) return null
  const [title = '', ...lines] = output.text.split('\n')
  const column = title.trim().split(/\s+/).indexOf('PID')
  const command = `ps ${words.join(' ')}`
  // When it finds none of the processes that it was asked for, it prints the title, and fails.
  const nothingElse = lines.every((line) => line === '')
  if (column < 0 || (output.status !== 0 && !nothingElse)) {
    const said = /ps: .*/.exec(output.text)?.[0] ?? output.text.split('\n').find((line) => line.trim() !== '')
    throw new RuntError(
      output.status === 0
        ? `${command}: prints no column PID, by which the container's processes are found`
        : `${command}: exit status ${output.status}${said === undefined ? '' : `: ${said.trim()}`}`,
    )
  }
  const wanted = new Set(pids.map(String))
  const own = lines.filter((line) => wanted.has(line.trim().split(/\s+/)[column]!))
  return [title, ...own].map((line) => `${line}\n`).join('')
}

/** What /proc says of processes, for hosts without ps(1). Those that end meanwhile are left out. */
export function look(runtime: Runtime, pids: readonly number[]): ProcessView[] {
  const { host, platform } = runtime
  const uptime = Number.parseFloat(readText(host, platform.machine, '/proc/uptime') ?? '0')
  const boot = platform.now() - uptime * 1000
  const found: ProcessView[] = []
  for (let start = 0; start < pids.length; start += CHUNK) {
    const b = new Batch(platform.machine)
    const readings = pids.slice(start, start + CHUNK).map((pid) => ({
      pid,
      stat: planReading(b, `/proc/${pid}/stat`, 0x800),
      status: planReading(b, `/proc/${pid}/status`, 0x1000),
      line: planReading(b, `/proc/${pid}/cmdline`, 0x800),
    }))
    const answer = host.run(b)
    for (const { pid, stat, status, line } of readings) {
      const [statText, statusText, lineText] = [stat, status, line].map((reading) =>
        finishReading(host, platform.machine, answer, reading),
      )
      if (!('text' in statText!) || !('text' in statusText!) || !('text' in lineText!)) continue
      found.push(view(pid, statText.text, statusText.text, lineText.text, uptime, boot))
    }
  }
  return found
}

/** Reads /proc/PID/stat, status and cmdline; proc_pid_stat(5). */
function view(pid: number, stat: string, status: string, line: string, uptime: number, boot: number): ProcessView {
  // The command name in brackets may hold anything, brackets included. Field n is at index n - 3.
  const open = stat.indexOf('(')
  const close = stat.lastIndexOf(')')
  const fields = stat
    .slice(close + 2)
    .split(' ')
    .map(Number)
  const cpuSeconds = (fields[11]! + fields[12]!) / TICKS
  const age = Math.max(uptime - fields[19]! / TICKS, 1 / TICKS)
  const words = line.split('\0').filter((word, index, all) => word !== '' || index < all.length - 1)
  return {
    pid,
    parent: fields[1]!,
    uid: Number(/^Uid:\s*(\d+)/m.exec(status)?.[1] ?? 0),
    load: Math.min(99, Math.floor((100 * cpuSeconds) / age)),
    started: boot + (fields[19]! / TICKS) * 1000,
    terminal: terminalName(fields[4]!),
    cpuSeconds,
    // Kernel threads and zombies have no arguments. Control characters would reach the caller's terminal.
    command: (words.length > 0 ? words.join(' ') : `[${stat.slice(open + 1, close)}]`).replace(/\p{Cc}/gu, '?'),
  }
}

/** Name of a tty_nr: major number in bits 8 to 15, minor in 0 to 7 and 20 to 31; numbers of Documentation/admin-guide/devices.txt. */
function terminalName(device: number): string {
  const major = (device >> 8) & 0xff
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00)
  if (device === 0) return '?'
  if (major >= 136 && major <= 143) return `pts/${minor + 256 * (major - 136)}`
  if (major === 4) return minor < 64 ? `tty${minor}` : `ttyS${minor - 64}`
  return `${major}:${minor}`
}
