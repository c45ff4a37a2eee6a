/** runtime-spec, config-linux.md: "IntelRdt". What a resctrl does is tested beside the source: few machines have one. */
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { type Config, container, fails, heading, leavesNothing, needsFeature, oneLine, skip } from '../harness.ts'

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

for (const [name, value, field] of [
  ['a closID that is a path', { closID: 'a/b' }, /intelRdt\.closID/],
  ['a closID that leads up', { closID: '..' }, /intelRdt\.closID/],
  ['a memBwSchema without MB:', { memBwSchema: 'L3:0=f' }, /intelRdt\.memBwSchema/],
  ['a schema of two lines', { memBwSchema: 'MB:0=10\nMB:1=10' }, /intelRdt\.memBwSchema/],
  ['a line of schemata that is two', { schemata: ['L3:0=f\nL3:1=f'] }, /intelRdt\.schemata/],
] as const)
  test(`${name} is refused in one line`, () => oneLine(fails(container(rdt(value)).run(), field)))

run()
