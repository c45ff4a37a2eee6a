/** The results as text, tables and charts. The blocks of README.md and docs/bench/README.md between markers are written here. */
import { type Bar, barChart, type Panel } from './chart.ts'
import { CONFIRMATIONS, type Memory } from './memory.ts'
import type { Cost, Crowd, Guests, Method, Results } from './results.ts'
import { type Spread, table } from './statistics.ts'

const names: Readonly<Record<string, string>> = { 'runt-node': 'runt on Node.js' }
const nameOf = (runtime: string): string => names[runtime] ?? runtime
/** Whom runt is compared with. */
const isRival = (name: string): boolean => name !== 'floor' && !name.startsWith('runt')

const lifeSteps = 'create + start + delete'

/** Three digits tell enough. */
const digits = (value: number): string =>
  !Number.isFinite(value) ? '-' : value.toFixed(value < 1 ? 2 : value < 100 ? 1 : 0)
const range = ({ p5, p95 }: Spread): string => `${digits(p5)}–${digits(p95)}`
const ratio = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(2))
const count = (value: number | null | undefined): string =>
  value === null || value === undefined ? '-' : String(value)

type Rows = readonly (readonly string[])[]

function markdown([head, ...rows]: Rows): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head!), line(head!.map((_, column) => (column === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

/** The cost of a step, if it was measured. */
const costOf = ({ timings }: Results, measure: string, step: string): Record<string, Cost> =>
  timings.find((timing) => timing.measure === measure)?.costs[step] ?? {}

function methodLines(method: Method): string[] {
  const { machine, rounds, warm, seed, settle } = method
  return [
    `${method.date.slice(0, 10)}; ${Object.entries(machine)
      .map(([key, value]) => `${key} ${value}`)
      .join(', ')}`,
    ...Object.entries(method.versions).map(([name, version]) => `${nameOf(name)}: ${version}`),
    ...method.missing.map((reason) => `left out: ${reason}`),
    `${rounds} rounds after ${warm} that do not count, in which the runtimes take turns in a shuffled order (seed ${seed}), ` +
      `${settle} ms pause before each sample. Measures with a cold page cache and with many containers have a half of the rounds, those of 10 at once a third.`,
    'warm: the programs are in the page cache. cold: before each command the pages of its program and libraries were dropped, ' +
      'save those that other processes had mapped.',
    "wall: from the start of the command to its end. CPU: user and system time of all processes, the container's too. " +
      'peak: largest resident set of one process. Each is a median; p5–p95 in between lie nine samples of ten. ' +
      "runt takes: its share of the other's time within a round, median of all rounds.",
  ]
}

export const methodText = (method: Method): string => methodLines(method).join('\n')

/** All timings of one title as rows: a line for each step and runtime. */
function timeRows(results: Results, title: string): Rows {
  const chosen = results.timings.filter((timing) => timing.title === title)
  return [
    ['', '', 'wall ms', 'p5–p95', 'runt takes', 'p5–p95', 'CPU ms', 'runt takes', 'peak MiB'],
    ...chosen.flatMap(({ costs }) =>
      Object.entries(costs).flatMap(([step, byRuntime]) =>
        inOrder(byRuntime).map(([name, { wall, cpu, peak, runt }], index) => [
          index === 0 ? step : '',
          nameOf(name),
          digits(wall.median),
          range(wall),
          ratio(runt?.wall.median),
          runt ? `${ratio(runt.wall.p5)}–${ratio(runt.wall.p95)}` : '',
          digits(cpu.median),
          ratio(runt?.cpu.median),
          digits(peak),
        ]),
      ),
    ),
  ]
}

const order = ['runt', 'crun', 'runc', 'youki', 'floor', 'runt-node']
function inOrder<T>(byRuntime: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(byRuntime).toSorted(([a], [b]) => order.indexOf(a) - order.indexOf(b))
}

function memoryRows({ memory }: Results): Rows {
  return [
    ['KiB', 'parked RSS', 'PSS', '`run` RSS', 'PSS', 'processes', 'smallest limit'],
    ...inOrder(memory).map(([name, { parked, foreground, limit }]) => [
      nameOf(name),
      ...[parked?.rss, parked?.pss, foreground?.rss, foreground?.pss, foreground?.processes, limit].map(count),
    ]),
  ]
}

const memoryNote =
  "parked: the container's init after create. run: the runtime's own processes while the container lives in the foreground. " +
  `smallest limit: linux.resources.memory.limit under which run of /bin/true works ${CONFIRMATIONS} times in a row.`

function manyRows({ many }: Results): Rows {
  return [
    ['ms', 'containers', 'state', 'list', 'p5–p95', 'create + delete', 'p5–p95', 'KiB each: charged', 'less available'],
    ...inOrder(many).flatMap(([name, crowds]) =>
      Object.entries(crowds).map(([alive, crowd], index) => [
        index === 0 ? nameOf(name) : '',
        alive,
        digits(crowd.state.median),
        digits(crowd.list.median),
        range(crowd.list),
        digits(crowd.createDelete.median),
        range(crowd.createDelete),
        count(crowd.charged),
        count(crowd.available),
      ]),
    ),
  ]
}

const manyNote =
  'So many containers of one runtime live (`sleep`, minimal config); then state of one of them, list, and create + delete of one more. ' +
  'Memory of one container: what the memory controller charges for all, divided; and by how much less memory is available on the whole machine.'

const titles = (results: Results): string[] => [...new Set(results.timings.map(({ title }) => title))]

/** For the terminal. */
export function reportText(results: Results): string {
  const blocks = titles(results).map((title) => `${title}\n${table(timeRows(results, title))}`)
  if (Object.keys(results.memory).length > 0) blocks.push(`${memoryNote}\n${table(memoryRows(results))}`)
  if (Object.keys(results.many).length > 0) blocks.push(`${manyNote}\n${table(manyRows(results))}`)
  if (results.timings.length > 0) blocks.push(`where runt loses:\n${losses(results).join('\n') || 'nowhere'}`)
  return `\n${blocks.join('\n\n')}`
}

/** Where a rival takes less, each with both numbers. */
export function losses(results: Results, measured: (measure: string) => boolean = () => true): string[] {
  const found: string[] = []
  const compare = (what: string, unit: string, all: Readonly<Record<string, number | null | undefined>>) => {
    const own = all.runt
    const better = Object.entries(all).filter(
      ([name, value]) => isRival(name) && typeof value === 'number' && typeof own === 'number' && value < own,
    ) as [string, number][]
    if (better.length > 0)
      found.push(
        `${what}: ${digits(own!)} ${unit}, ${better.map(([name, value]) => `${name} ${digits(value)}`).join(', ')}`,
      )
  }
  const map = <T>(byRuntime: Readonly<Record<string, T>>, of: (value: T) => number | null | undefined) =>
    Object.fromEntries(Object.entries(byRuntime).map(([name, value]) => [name, of(value)]))
  for (const { measure, title, costs } of results.timings.filter((timing) => measured(timing.measure)))
    for (const [step, byRuntime] of Object.entries(costs)) {
      compare(
        `time of ${step} (${title})`,
        'ms',
        map(byRuntime, ({ wall }) => wall.median),
      )
      compare(
        `CPU of ${step} (${title})`,
        'ms',
        map(byRuntime, ({ cpu }) => cpu.median),
      )
      if (measure === 'run-minimal')
        compare(
          `peak memory of ${step} (${title})`,
          'MiB',
          map(byRuntime, ({ peak }) => peak),
        )
    }
  compare(
    'memory of a parked container',
    'KiB',
    map(results.memory, ({ parked }) => parked?.pss),
  )
  compare(
    'memory of a foreground run',
    'KiB',
    map(results.memory, ({ foreground }) => foreground?.pss),
  )
  compare(
    'smallest memory limit',
    'KiB',
    map(results.memory, ({ limit }) => limit),
  )
  for (const alive of new Set(Object.values(results.many).flatMap((crowds) => Object.keys(crowds))))
    for (const [what, of] of [
      ['state', (crowd: Crowd) => crowd.state.median],
      ['list', (crowd: Crowd) => crowd.list.median],
      ['create + delete', (crowd: Crowd) => crowd.createDelete.median],
    ] as const)
      compare(
        `${what} with ${alive} containers`,
        'ms',
        map(results.many, (crowds) => crowds[alive] && of(crowds[alive])),
      )
  return found
}

interface Target {
  readonly what: string
  readonly is: number | undefined
  readonly most: number
}

/** What runt sets out to reach. */
export function targets(results: Results): Target[] {
  const all: Target[] = []
  for (const kind of ['minimal', 'docker']) {
    for (const [measure, step] of [
      ['run', 'run'],
      ['life', lifeSteps],
      ['inside', 'exec'],
    ] as const) {
      const costs = costOf(results, `${measure}-${kind}`, step)
      for (const [name, most] of [
        ['crun', 0.6],
        ['runc', 0.2],
        ['floor', 2.5],
      ] as const)
        all.push({ what: `time of ${step}, ${kind}: share of ${name}'s`, is: costs[name]?.runt?.wall.median, most })
      all.push({ what: `CPU of ${step}, ${kind}: share of crun's`, is: costs.crun?.runt?.cpu.median, most: 0.5 })
    }
    const { runt, crun } = costOf(results, `run-${kind}`, 'run')
    all.push({
      what: `peak memory of run, ${kind}: share of crun's`,
      is: runt && crun && runt.peak / crun.peak,
      most: 1,
    })
  }
  const { runt, crun } = results.memory as { runt?: Memory; crun?: Memory }
  all.push({
    what: "smallest memory limit: share of crun's",
    is: runt?.limit && crun?.limit ? runt.limit / crun.limit : undefined,
    most: 1,
  })
  return all
}

const targetRows = (results: Results): Rows => [
  ['', 'is', 'at most', ''],
  ...targets(results)
    .filter(({ is }) => is !== undefined)
    .map(({ what, is, most }) => [what, ratio(is), String(most), is! <= most ? 'reached' : 'missed']),
]

/** The table of the README: a row for each runtime. */
function overviewRows(results: Results): Rows {
  const columns = (['minimal', 'docker'] as const).flatMap((kind) => [
    { head: `\`run\`, ${kind}`, costs: costOf(results, `run-${kind}`, 'run') },
    { head: `${lifeSteps}, ${kind}`, costs: costOf(results, `life-${kind}`, lifeSteps) },
    { head: `\`exec\`, ${kind}`, costs: costOf(results, `inside-${kind}`, 'exec') },
  ])
  const present = order.filter((name) => columns.some(({ costs }) => costs[name]))
  return [
    ['ms', ...columns.map(({ head }) => head)],
    ...present.map((name) => [
      nameOf(name),
      ...columns.map(({ costs }) => {
        const cost = costs[name]
        return cost ? `${digits(cost.wall.median)}${cost.runt ? ` (${ratio(cost.runt.wall.median)})` : ''}` : ''
      }),
    ]),
  ]
}

function overviewMemoryRows(results: Results): Rows {
  const costs = costOf(results, 'run-minimal', 'run')
  return [
    [
      '',
      'CPU of `run`, ms',
      'peak, MiB',
      'parked container, PSS KiB',
      'foreground `run`, PSS KiB',
      'smallest limit, KiB',
    ],
    ...order
      .filter((name) => costs[name])
      .map((name) => {
        const memory = results.memory[name]
        return [
          nameOf(name),
          digits(costs[name]!.cpu.median),
          digits(costs[name]!.peak),
          ...[memory?.parked?.pss, memory?.foreground?.pss, memory?.limit].map(count),
        ]
      }),
  ]
}

const list = (lines: readonly string[]): string => lines.map((line) => `- ${line}`).join('\n')

/** By marker. */
function blocks(results: Results): Record<string, string> {
  const { method } = results
  const { kernel, cpu, cgroups, load } = method.machine
  const lost = losses(results, (measure) => /^(run|life|inside)-(minimal|docker)$/.test(measure))
  return {
    first: [
      markdown(overviewRows(results)),
      `Medians of ${method.rounds} paired rounds, ${method.date.slice(0, 10)}: ${cpu}, Linux ${kernel}, cgroup ${cgroups}, load ${load} at the start; ` +
        `${Object.entries(method.versions)
          .filter(([name]) => isRival(name))
          .map(([, version]) => version.replace(/ version /, ' '))
          .join(', ')}. In brackets: what runt takes of it.`,
    ].join('\n\n'),
    overview: [
      '![Time](docs/bench/minimal.svg)',
      markdown(overviewMemoryRows(results)),
      lost.length > 0 ? `Where runt loses:\n\n${list(lost)}` : 'None of the rivals takes less of any of this.',
    ].join('\n\n'),
    method: list(methodLines(method)),
    time: [
      ...titles(results).map((title) => `### ${title}\n\n${markdown(timeRows(results, title))}`),
      `Of the programs that were to be cold, at most ${Math.max(0, ...results.timings.map(({ warmKib }) => warmKib))} KiB were not.`,
    ].join('\n\n'),
    memory: `${memoryNote}\n\n${markdown(memoryRows(results))}`,
    many: `${manyNote}\n\n${markdown(manyRows(results))}`,
    targets: markdown(targetRows(results)),
    losses: list(losses(results)) || 'Nowhere.',
  }
}

/** docs/bench/vm.md: a container of runt's beside guests. */
export function guestDocument(text: string, results: Results, { date, machine, guests }: Guests): string {
  const run = costOf(results, 'run-minimal', 'run').runt
  const crowd = Object.values(results.many.runt ?? {}).findLast(({ charged }) => charged !== null)
  const limit = results.memory.runt?.limit
  const row = (what: string, container: number | undefined, of: (guest: Guests['guests'][number]) => number) => [
    what,
    container === undefined ? '-' : digits(container),
    ...guests.map((guest) => digits(of(guest))),
  ]
  const each = crowd?.charged ?? undefined
  const rows = [
    ['', 'container', ...guests.map(({ title }) => title)],
    row('`/bin/true`, from nothing to its end, ms', run?.wall.median, ({ wall }) => wall.median),
    row('p5', run?.wall.p5, ({ wall }) => wall.p5),
    row('p95', run?.wall.p95, ({ wall }) => wall.p95),
    row('memory while `sleep` runs, MiB', each && each / 1024, ({ held }) => held / 1024),
    row('so many of that in a GiB', each && Math.floor((1 << 20) / each), ({ held }) => Math.floor((1 << 20) / held)),
    row('smallest memory, MiB', limit && limit / 1024, ({ smallest }) => smallest),
  ]
  const method = [
    `guests: ${date.slice(0, 10)}, ${Object.entries(machine)
      .map(([key, value]) => `${key} ${value}`)
      .join(', ')}`,
    ...guests.map(
      ({ title, rounds, memory }) => `${title}: ${rounds} rounds; memory held measured with ${memory} MiB of its own`,
    ),
    `container: the numbers of ${results.method.date.slice(0, 10)} in [README.md](README.md)`,
  ]
  return fill(text, { vm: `${markdown(rows)}\n\n${list(method)}` })
}

/** Fills what stands between `<!-- bench NAME -->` and `<!-- end -->`. Throws for a name that there is no block for. */
export function fill(text: string, contents: Readonly<Record<string, string>>): string {
  return text.replace(
    /(<!-- bench (\S+) -->\n)[\s\S]*?(<!-- end -->)/g,
    (_, begin: string, name: string, end: string) => {
      const content = contents[name]
      if (content === undefined) throw new Error(`<!-- bench ${name} -->: there is nothing of this name`)
      return `${begin}\n${content}\n\n${end}`
    },
  )
}

/** The documents with fresh blocks, by path; `read` gives them as they are. */
export function documents(results: Results, read: (path: string) => string): Record<string, string> {
  const contents = blocks(results)
  const filled = ['README.md', 'docs/bench/README.md'].map((path) => [path, fill(read(path), contents)])
  return { ...Object.fromEntries(filled), 'docs/bench/results.json': `${JSON.stringify(results, null, 1)}\n` }
}

function bars<T>(
  byRuntime: Readonly<Record<string, T>>,
  unit: string,
  of: (value: T) => Spread | number | null | undefined,
): Bar[] {
  return inOrder(byRuntime).flatMap(([name, value]) => {
    const found = of(value)
    // On the scale of runt on Node.js nothing could be told from the others.
    if (found === null || found === undefined || name === 'runt-node') return []
    const spread = typeof found === 'number' ? null : found
    const middle = typeof found === 'number' ? found : found.median
    return [
      {
        name: nameOf(name),
        value: middle,
        label: `${digits(middle)} ${unit}`,
        own: name === 'runt',
        ...(spread ? { low: spread.p5, high: spread.p95 } : {}),
      },
    ]
  })
}

/** By path. */
export function charts(results: Results): Record<string, string> {
  const { machine, date } = results.method
  const note = (what: string) => `${what}; ${machine.cpu}, Linux ${machine.kernel}, ${date.slice(0, 10)}`
  const time = (measure: string, step: string, title = step): Panel => ({
    title,
    bars: bars(costOf(results, measure, step), 'ms', ({ wall }) => wall),
  })
  const three = (kind: string) => [
    time(`run-${kind}`, 'run'),
    time(`life-${kind}`, lifeSteps),
    time(`inside-${kind}`, 'exec'),
  ]
  const memory = (title: string, of: (memory: Memory) => number | undefined): Panel => ({
    title,
    bars: bars(results.memory, 'KiB', of),
  })
  const counts = [...new Set(Object.values(results.many).flatMap((crowds) => Object.keys(crowds)))]
  const crowd = (title: string, alive: string, of: (crowd: Crowd) => Spread): Panel => ({
    title: `${title}, ${alive} ${alive === '1' ? 'container' : 'containers'}`,
    bars: bars(results.many, 'ms', (crowds) => crowds[alive] && of(crowds[alive])),
  })
  const all: Record<string, [title: string, note: string, panels: Panel[]]> = {
    minimal: ['A container of /bin/true, minimal config', note('median, p5–p95'), three('minimal')],
    docker: ['The same with a config as docker writes it', note('median, p5–p95'), three('docker')],
    others: [
      'Cold page cache, and ten at once',
      note('median, p5–p95'),
      [
        time('run-cold', 'run', 'run, cold'),
        time('life-cold', lifeSteps, `${lifeSteps}, cold`),
        time('inside-cold', 'exec', 'exec, cold'),
        time('run-10-minimal', 'run', '10 × run at once'),
        time('run-10-docker', 'run', '10 × run at once, docker'),
      ],
    ],
    memory: [
      'Memory',
      note('PSS'),
      [
        memory('a parked container', ({ parked }) => parked?.pss),
        memory('a run in the foreground, while the container lives', ({ foreground }) => foreground?.pss),
        memory('smallest memory limit for /bin/true', ({ limit }) => limit),
      ],
    ],
    many: [
      'With many containers alive',
      note('median, p5–p95'),
      [
        ...counts.map((alive) => crowd('list', alive, (one) => one.list)),
        ...counts.map((alive) => crowd('create + delete of one more', alive, (one) => one.createDelete)),
      ],
    ],
  }
  return Object.fromEntries(
    Object.entries(all)
      .map(
        ([name, [title, about, panels]]) =>
          [name, title, about, panels.filter((panel) => panel.bars.length > 0)] as const,
      )
      .filter(([, , , panels]) => panels.length > 0)
      .map(([name, title, about, panels]) => [`docs/bench/${name}.svg`, barChart(title, about, panels)]),
  )
}
