/** Notices that a built program is missing, or older than its sources: tests and measurements would be about other code. */
import { readdirSync, statSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { root } from './tools.ts'

/** What is built, of which files besides src and schema, and by what. */
const builds = [
  {
    programs: ['dist/runt', 'dist/runt-brain'],
    scripts: ['build-native', 'brain', 'launcher', 'libraries', 'rehearsal', 'build-schema'],
    command: 'npm run build:native',
  },
  { programs: ['dist/node/runt.js'], scripts: ['build', 'build-schema'], command: 'npm run build' },
]

export interface Staleness {
  missing: boolean
  /** In one line: which program is older than which file, and what to do. */
  sentence: string
}

/**
 * What is wrong with the program of the project's own among the words of a command line; null if all is well, or if it is another one.
 * It looks at times only, so a `git checkout` there and back is a reason too. `folder`: where the project lies.
 */
export function findStale(words: readonly string[], folder = root): Staleness | null {
  const paths = words.map((word) => relative(folder, resolve(folder, word)))
  const build = builds.find(({ programs }) => paths.includes(programs[0]!))
  if (!build) return null
  const { command } = build
  const missing = build.programs.find((program) => timeOf(join(folder, program)) === null)
  if (missing) return { missing: true, sentence: `${missing} is missing: ${command} makes it` }
  const scripts = build.scripts.map((name) => join(folder, `scripts/${name}.ts`))
  const newest = newestOf([...sourcesIn(join(folder, 'src')), ...sourcesIn(join(folder, 'schema')), ...scripts])
  const old = build.programs.find((program) => timeOf(join(folder, program))! < newest.time)
  if (!old) return null
  const source = relative(folder, newest.path)
  return { missing: false, sentence: `${old} is older than ${source}: ${command} makes it anew` }
}

/** All files but tests, and what the build itself makes. */
function sourcesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'testing' || entry.name === 'generated' ? [] : sourcesIn(path)
    return entry.name.endsWith('.test.ts') ? [] : [path]
  })
}

function newestOf(paths: readonly string[]): { path: string; time: number } {
  return paths
    .map((path) => ({ path, time: timeOf(path) ?? 0 }))
    .reduce((newest, one) => (one.time > newest.time ? one : newest), { path: '', time: 0 })
}

/** When a file was written, in milliseconds; null where there is none. */
function timeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? null
}
