/**
 * Makes src/seccomp/tables.ts: the numbers of all system calls of the machines that runt's seccomp filters know.
 *
 *     node --import tsx scripts/build-syscalls.ts PATH/libseccomp/src/syscalls.csv
 *
 * The argument is the table in libseccomp's source (2.6 or later), which is made from the kernel's own tables. Only
 * numbers are taken from it. Run it when a kernel has brought new system calls, and commit the result.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const columns = ['x86_64', 'x32', 'x86', 'aarch64', 'arm']

const [source] = process.argv.slice(2)
if (source === undefined) throw new Error('usage: build-syscalls.ts PATH/libseccomp/src/syscalls.csv')
const [head, ...lines] = readFileSync(source, 'utf8').trim().split('\n')
const heading = head!.split(',')
const kernel = /\(v?([^ ]+) /.exec(heading[0]!)?.[1] ?? 'unknown'

const rows = lines.map((line) => {
  const cells = line.split(',')
  const numbers = columns.map((column) => {
    const cell = cells[heading.indexOf(column)]
    if (cell === undefined) throw new Error(`${source}: no column ${column}`)
    return cell === 'PNR' ? '-' : String(Number(cell))
  })
  if (!/^\w+$/.test(cells[0]!) || numbers.includes('NaN')) throw new Error(`${source}: ${line}`)
  return [cells[0], ...numbers].join(' ')
})

const text = `/** Made by scripts/build-syscalls.ts from the tables of Linux ${kernel}; do not edit. */

/** A line a system call: its name, then its number on ${columns.join(', ')}; - where it has none. x32 without its bit 30. */
export const SYSCALLS = \`
${rows.sort().join('\n')}
\`
`
writeFileSync(join(dirname(dirname(fileURLToPath(import.meta.url))), 'src/seccomp/tables.ts'), text)
