/** What `list` and `ps` print. */
import type { ProcessView } from '../container/ps.ts'
import type { StateView } from '../container/runtime.ts'

const titles = ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER']
const cells = (view: StateView): string[] => [
  view.id,
  String(view.pid),
  view.status,
  view.bundle,
  view.created,
  view.owner,
]

/** Columns are at least this wide, and this far apart. */
const WIDTH = 12
const GAP = 3

/** A table with a title line, laid out as runc's is: scripts cut it by columns. */
export function listTable(views: readonly StateView[]): string {
  const rows = [titles, ...views.map(cells)]
  // A host may have a thousand containers, and hardly ever a cell with more code units than code points.
  const wide = /[\ud800-\udbff]/.test(views.map(({ id, bundle }) => id + bundle).join())
  const excess = (cell: string): number => cell.length - [...cell].length
  const widths = titles.map(() => WIDTH)
  for (const row of rows)
    for (let column = 0; column < row.length - 1; column++) {
      const cell = row[column]!
      const width = GAP + cell.length - (wide ? excess(cell) : 0)
      if (width > widths[column]!) widths[column] = width
    }
  const lines = rows.map((row) => {
    let line = ''
    for (let column = 0; column < row.length - 1; column++) {
      const cell = row[column]!
      line += cell.padEnd(widths[column]! + (wide ? excess(cell) : 0))
    }
    return `${line}${row.at(-1)}\n`
  })
  return lines.join('')
}

const TITLES = ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD']
/** Columns of text; numbers are set to the right. */
const TEXTS = new Set(['UID', 'STIME', 'TTY', 'CMD'])
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** The columns of ps(1) -f; users as numbers, for their names are the container's business. */
export function processTable(processes: readonly ProcessView[], now = new Date()): string {
  const rows = processes.map((process) => {
    const { uid, pid, parent, load, started, terminal, cpuSeconds, command } = process
    return [
      String(uid),
      String(pid),
      String(parent),
      String(load),
      startTime(new Date(started), now),
      terminal,
      clock(cpuSeconds),
      command,
    ]
  })
  const all = [TITLES, ...rows]
  const widths = TITLES.map((_, column) => Math.max(...all.map((row) => row[column]!.length)))
  const cell = (text: string, column: number): string => {
    if (column === TITLES.length - 1) return text
    return TEXTS.has(TITLES[column]!) ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)
  }
  return all.map((row) => `${row.map(cell).join(' ')}\n`).join('')
}

const two = (number: number): string => String(Math.floor(number)).padStart(2, '0')

function startTime(start: Date, now: Date): string {
  if (now.getTime() - start.getTime() < 24 * 3600_000) return `${two(start.getHours())}:${two(start.getMinutes())}`
  return `${MONTHS[start.getMonth()]}${two(start.getDate())}`
}

function clock(seconds: number): string {
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`
}
