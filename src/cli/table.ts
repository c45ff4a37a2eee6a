/** What `list` prints. */
import type { StateView } from '../container/runtime.ts'

const columns: readonly [title: string, cell: (view: StateView) => string][] = [
  ['ID', (view) => view.id],
  ['PID', (view) => String(view.pid)],
  ['STATUS', (view) => view.status],
  ['BUNDLE', (view) => view.bundle],
  ['CREATED', (view) => view.created],
  ['OWNER', (view) => view.owner],
]

/** Columns are at least this wide, and this far apart. */
const WIDTH = 12
const GAP = 3

/** A table with a title line, laid out as runc's is: scripts cut it by columns. */
export function listTable(views: readonly StateView[]): string {
  const rows = [columns.map(([title]) => title), ...views.map((view) => columns.map(([, cell]) => cell(view)))]
  const widths = columns.map((_, column) => Math.max(WIDTH, ...rows.map((row) => [...row[column]!].length + GAP)))
  const line = (row: string[]): string =>
    row.map((cell, column) => (column === row.length - 1 ? cell : pad(cell, widths[column]!))).join('')
  return rows.map((row) => `${line(row)}\n`).join('')
}

function pad(cell: string, width: number): string {
  return cell + ' '.repeat(width - [...cell].length)
}
