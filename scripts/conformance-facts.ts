/** On what and where the tests of docs/conformance.md ran. */
import { spawnSync } from 'node:child_process'
import { cpus, release, type } from 'node:os'
import { hierarchies, unified } from '../spec-tests/host.ts'
import type { Facts } from './conformance-table.ts'
import { root } from './tools.ts'

/** File beside the results of the runs. */
export const FACTS = 'facts.json'

/** crun refuses hosts that have both versions of cgroups. */
export const mixed = !unified && hierarchies().some(({ version }) => version === 2)

export const factsOfHost = (): Facts => ({
  date: new Date().toISOString().slice(0, 10),
  commit: spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? '',
  kernel: `${type()} ${release()}`,
  machine: `${process.arch === 'x64' ? 'x86-64' : process.arch}, ${cpus().length} CPUs`,
  cgroups: unified ? 'v2' : mixed ? 'v1, with an empty v2 beside (hidden from crun, which refuses that)' : 'v1',
})
