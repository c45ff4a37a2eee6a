/** runtime-spec, config-linux.md: "IntelRdt". What a resctrl does is tested beside the source: few machines have one. */
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import {
  type Config,
  container,
  run as execute,
  fails,
  heading,
  leavesNothing,
  needsFeature,
  oneLine,
  skip,
  started,
} from '../harness.ts'
import { cgroupDirectory } from '../host.ts'

const { test: plain, run } = heading('config-linux/intel-rdt')

const test = (name: string, body: () => void): void =>
  plain(name, () => {
    needsFeature('intelRdt')
    body()
  })
const rdt = (value: Record<string, unknown>) => (config: Config) => {
  config.linux.intelRdt = value
}

test('where no resctrl is mounted intelRdt is refused in one line, and nothing is left', () => {
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(' - resctrl ')) skip('this host has a resctrl')
  for (const value of [{}, { closID: 'gold' }, { l3CacheSchema: 'L3:0=f' }, { enableMonitoring: true }]) {
    const result = fails(container(rdt(value)).run(), /resctrl/)
    oneLine(result)
    assert.is(result.stdout, '')
  }
  leavesNothing()
})

test('where no resctrl is mounted update refuses its schemata, and no limit is set', () => {
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(' - resctrl ')) skip('this host has a resctrl')
  const c = started()
  for (const flags of [
    ['--l3-cache-schema', 'L3:0=f'],
    ['--mem-bw-schema', 'MB:0=20'],
  ]) {
    const result = fails(execute(['update', ...flags, '--pids-limit', '77', c.id]), /resctrl/)
    oneLine(result)
  }
  const directory = cgroupDirectory('pids', c.bundle.config.linux.cgroupsPath)
  if (directory) assert.is.not(readFileSync(`${directory}/pids.max`, 'utf8').trim(), '77')
  for (const flags of [
    ['--l3-cache-schema', 'L3:0=f\nL3:1=f'],
    ['--mem-bw-schema', '0=20'],
  ])
    oneLine(fails(execute(['update', ...flags, c.id]), new RegExp(`${flags[0]}: `)))
})

for (const [name, value, field] of [
  ['a closID that is a path', { closID: 'a/b' }, /intelRdt\.closID/],
  ['a closID that leads up', { closID: '..' }, /intelRdt\.closID/],
  ['a memBwSchema without MB:', { memBwSchema: 'L3:0=f' }, /intelRdt\.memBwSchema/],
  ['a schema of two lines', { memBwSchema: 'MB:0=10\nMB:1=10' }, /intelRdt\.memBwSchema/],
  ['a line of schemata that is two', { schemata: ['L3:0=f\nL3:1=f'] }, /intelRdt\.schemata/],
] as const)
  test(`${name} is refused in one line`, () => oneLine(fails(container(rdt(value)).run(), field)))

run()
