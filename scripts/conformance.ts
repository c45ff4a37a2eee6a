/**
 * Runs the black-box tests on several runtimes and writes one table of all results.
 *
 *     npm run conformance [-- [--output FILE] [--jobs N] [--runtime "PATH [ARGUMENTS]"]... [part of a heading ...]]
 *     npm run conformance -- --from FOLDER [--output FILE]
 *
 * Without --runtime: dist/runt, and runc and crun where they are installed. Without a heading: all that are about what any runtime
 * does on any host. The table goes to docs/conformance.md, or to FILE.
 * What the runs gave is kept in build/conformance/; --from makes the table of that again. The stages spec, spec-runc and spec-crun of
 * `npm test` leave the same there.
 * The exit status is 1 if a test failed on the first runtime, or a run did not come to its end.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Summary } from '../spec-tests/run.ts'
import { FACTS, factsOfHost, mixed } from './conformance-facts.ts'
import { type Facts, type Run, render } from './conformance-table.ts'
import { isThere } from './machine.ts'
import { root } from './tools.ts'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    output: { type: 'string', default: 'docs/conformance.md' },
    jobs: { type: 'string', short: 'j', default: '2' },
    runtime: { type: 'string', multiple: true },
    from: { type: 'string' },
  },
})

/** How long one runtime may take, in milliseconds. */
const TIMEOUT = 1_800_000
/** Folders of spec-tests/ with tests: of runt's own code (faults), and of guests (docs/testing.md). */
const LEFT_OUT = ['faults', 'hardening', 'rootless', 'selinux', 'soak', 'systemd', 'vm']

const headings = (): string[] =>
  readdirSync(join(root, 'spec-tests'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !LEFT_OUT.includes(entry.name))
    .map(({ name }) => `${name}/`)

const hides = (runtime: string): boolean => mixed && /(^|\/)crun\b/.test(runtime)

function runtimes(): string[] {
  if (flags.runtime) return flags.runtime
  const peers = ['runc', 'crun'].filter(isThere)
  for (const name of ['runc', 'crun']) if (!peers.includes(name)) console.log(`${name} is not installed`)
  return ['dist/runt', ...peers]
}

function perform(runtime: string, file: string): Run | null {
  console.log(`\n=== ${runtime}`)
  const args = ['--import', 'tsx', 'spec-tests/run.ts', '--json', file, '--jobs', flags.jobs]
  if (hides(runtime)) args.push('--hide-unified')
  spawnSync(process.execPath, [...args, ...(positionals.length > 0 ? positionals : headings())], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, RUNTIME: runtime },
    timeout: TIMEOUT,
  })
  if (existsSync(file)) return load(file)
  console.log(`${runtime}: the tests did not come to their end`)
  return null
}

function load(file: string): Run {
  const { version, headings }: Summary = JSON.parse(readFileSync(file, 'utf8'))
  return {
    version: version.split('\n'),
    headings: headings.filter(({ heading }) => !LEFT_OUT.includes(heading.split('/')[0]!)),
  }
}

function main(): number {
  const folder = flags.from ?? join(root, 'build/conformance')
  const runs: Run[] = []
  let facts: Facts
  let whole = true
  if (flags.from === undefined) {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    facts = factsOfHost()
    writeFileSync(join(folder, FACTS), JSON.stringify(facts))
    for (const [index, runtime] of runtimes().entries()) {
      const run = perform(runtime, join(folder, `${index}.json`))
      if (run) runs.push(run)
      else whole = false
    }
  } else {
    facts = JSON.parse(readFileSync(join(folder, FACTS), 'utf8'))
    const files = readdirSync(folder).filter((name) => /^\d+\.json$/.test(name))
    runs.push(...files.sort().map((name) => load(join(folder, name))))
  }
  const { text, warnings, failed } = render(facts, runs)
  for (const warning of warnings) console.log(`note: ${warning}`)
  // A part of the tests is no document.
  if (positionals.length > 0 && flags.output === 'docs/conformance.md') console.log(`\n${text}`)
  else writeFileSync(resolve(root, flags.output), text)
  return whole && failed === 0 ? 0 : 1
}

process.exitCode = main()
