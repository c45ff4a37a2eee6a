/** The document that a conformance run gives: a table of headings and runtimes, and what stands behind its numbers. */
import { notes } from '../spec-tests/conformance-notes.ts'
import type { Outcome } from '../spec-tests/harness.ts'
import type { HeadingSummary } from '../spec-tests/run.ts'
import { sections } from '../spec-tests/sections.ts'

/** What the machine was. */
export interface Facts {
  date: string
  /** Of this project; empty where that is unknown. */
  commit: string
  kernel: string
  machine: string
  cgroups: string
}

/** One runtime's results. */
export interface Run {
  /** Lines of `--version`. */
  version: string[]
  headings: HeadingSummary[]
}

interface Verdict {
  verdict: 'passed' | 'failed' | 'skipped'
  reason: string
}

/** A known difference is a failure here. A test that is about one runtime's own words is left out for the others. */
function judge({ outcome, reason }: Outcome): Verdict | null {
  if (outcome === 'known') return { verdict: 'failed', reason }
  if (outcome === 'skipped' && reason.startsWith('only for ')) return null
  if (outcome === 'passed') return { verdict: 'passed', reason: '' }
  return { verdict: outcome, reason: reason.split('\n')[0]! }
}

/** A runtime with its verdicts by heading and test. */
interface Column {
  name: string
  version: string
  problems: Map<string, string>
  verdicts: Map<string, Map<string, Verdict>>
}

function columnOf({ version, headings }: Run): Column {
  const [first = ''] = version
  const [, name = 'unknown', number = first] = /^(\S+) version (\S+)/.exec(first) ?? []
  const rest = version.slice(1).filter((line) => /^(spec|commit|engine|libseccomp):/.test(line))
  return {
    name,
    version: [number, ...rest].join(', '),
    problems: new Map(
      headings.filter(({ problem }) => problem !== '').map(({ heading, problem }) => [heading, problem]),
    ),
    verdicts: new Map(
      headings.map(({ heading, outcomes }) => [
        heading,
        new Map(
          outcomes.flatMap((outcome) => {
            const verdict = judge(outcome)
            return verdict ? [[outcome.name, verdict] as const] : []
          }),
        ),
      ]),
    ),
  }
}

export interface Rendered {
  text: string
  /** About headings without a section and failures without a note. */
  warnings: string[]
  /** Of the first runtime. */
  failed: number
}

/** The same results give the same text. */
export function render(facts: Facts, runs: readonly Run[]): Rendered {
  const columns = runs.map(columnOf)
  const warnings: string[] = []
  const run = new Set(columns.flatMap(({ verdicts, problems }) => [...verdicts.keys(), ...problems.keys()]))
  const listed = new Set(sections.map(([heading]) => heading))
  for (const heading of [...run].sort()) if (!listed.has(heading)) warnings.push(`sections.ts knows no ${heading}`)
  const rows = [
    ...sections.filter(([heading]) => run.has(heading)),
    ...[...run]
      .filter((heading) => !listed.has(heading))
      .sort()
      .map((heading) => [heading, ''] as const),
  ]
  const order = rows.map(([heading]) => heading)
  const text = [
    '# Conformance',
    '',
    '<!-- Written by `npm run conformance`; do not change it by hand. -->',
    '',
    ...introduction(facts, columns),
    '',
    ...table(rows, columns),
    '',
    '## What failed',
    '',
    ...failures(order, columns),
    ...bothFail(order, columns, warnings),
    '## What was skipped',
    '',
    ...skips(order, columns),
  ]
  const first = columns[0]
  const failed = first ? count(first, order, 'failed') + first.problems.size : 0
  return { text: `${text.join('\n').trimEnd()}\n`, warnings, failed }
}

function introduction({ date, commit, kernel, machine, cgroups }: Facts, columns: readonly Column[]): string[] {
  return [
    'The black-box tests of `spec-tests/` on several runtimes, in one run. They go along',
    '[runtime-spec](https://github.com/opencontainers/runtime-spec) 1.3, and beyond it along what engines ask of a runtime.',
    'The tests are those of this project: that runt passes most of them is no wonder. What they say of the others was looked',
    'at test by test; the reasons stand below.',
    '',
    `- Date: ${date}${commit && `, commit ${commit}`}`,
    `- Kernel: ${kernel}, ${machine}`,
    `- Control groups: ${cgroups}`,
    ...columns.map(({ name, version }) => `- ${name}: ${version}`),
    '',
    'Cells: passed / failed / skipped. A failure that is known (`spec-tests/known-differences.ts`) is a failure here. Tests about the',
    'words or extra flags of one runtime are not counted for the others.',
  ]
}

const verdictsOf = (column: Column, heading: string): Verdict[] => [...(column.verdicts.get(heading)?.values() ?? [])]
const count = (column: Column, headings: readonly string[], verdict: Verdict['verdict']): number =>
  headings.flatMap((heading) => verdictsOf(column, heading)).filter((one) => one.verdict === verdict).length

function table(rows: readonly (readonly [string, string])[], columns: readonly Column[]): string[] {
  const cell = (column: Column, headings: readonly string[]): string =>
    (['passed', 'failed', 'skipped'] as const).map((verdict) => count(column, headings, verdict)).join(' / ')
  const line = (...cells: string[]): string => `| ${cells.join(' | ')} |`
  return [
    line('heading', 'what it is about', ...columns.map(({ name }) => name)),
    line(...['heading', 'about', ...columns].map(() => '---')),
    ...rows.map(([heading, section]) => line(`\`${heading}\``, section, ...columns.map((one) => cell(one, [heading])))),
    line(
      '**all**',
      '',
      ...columns.map((one) =>
        cell(
          one,
          rows.map(([heading]) => heading),
        ),
      ),
    ),
  ]
}

function failures(order: readonly string[], columns: readonly Column[]): string[] {
  return columns.flatMap((column) => {
    const lines = order.flatMap((heading) => {
      const problem = column.problems.get(heading)
      const failed = [...(column.verdicts.get(heading) ?? [])].filter(([, { verdict }]) => verdict === 'failed')
      return [
        ...(problem === undefined ? [] : [`- \`${heading}\` as a whole: ${plain(problem)}`]),
        ...failed.map(([name, { reason }]) => `- \`${heading}\`: ${plain(name)}: ${plain(reason)}`),
      ]
    })
    return [`### ${column.name}`, '', ...(lines.length > 0 ? lines : ['Nothing.']), '']
  })
}

/** Tests that all but the first runtime fail: the peers may be wrong, or the test. */
function bothFail(order: readonly string[], [, ...peers]: readonly Column[], warnings: string[]): string[] {
  if (peers.length < 2) return []
  const lines: string[] = []
  for (const heading of order) {
    const names = [...(peers[0]!.verdicts.get(heading)?.keys() ?? [])]
    const all = names.filter((name) =>
      peers.every((peer) => peer.verdicts.get(heading)?.get(name)?.verdict === 'failed'),
    )
    for (const name of all) {
      const note = notes[heading]?.[name] ?? notes[heading]?.['*']
      if (note === undefined) warnings.push(`conformance-notes.ts has no word on ${heading}: ${name}`)
      lines.push(`- \`${heading}\`: ${plain(name)}. ${note ?? 'Not looked at yet.'}`)
    }
  }
  const who = peers.map(({ name }) => name).join(' and ')
  return [`## What ${who} both fail, and who is right`, '', ...(lines.length > 0 ? lines : ['Nothing.']), '']
}

/** By reason: many tests have the same. */
function skips(order: readonly string[], columns: readonly Column[]): string[] {
  return columns.flatMap((column) => {
    const reasons = new Map<string, string[]>()
    for (const heading of order)
      for (const [name, { verdict, reason }] of column.verdicts.get(heading) ?? [])
        if (verdict === 'skipped')
          reasons.set(reason, [...(reasons.get(reason) ?? []), `\`${heading}\`: ${plain(name)}`])
    const lines = [...reasons].flatMap(([reason, tests]) => [`- ${plain(reason)}`, ...tests.map((one) => `  - ${one}`)])
    return [`### ${column.name}`, '', ...(lines.length > 0 ? lines : ['Nothing.']), '']
  })
}

/** Text for a line of Markdown. What differs from run to run (paths, pids) is cut out. */
function plain(text: string): string {
  return text
    .replace(/\/tmp\/runt-spec-\w+/g, '/tmp/…')
    .replace(/\/runt-test-\d+/g, '/…')
    .replace(/[\\`*_<>[\]|]/g, '\\$&')
}
