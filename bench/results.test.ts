import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { costsOf, type Sample } from './results.ts'

const sample = (round: number, name: string, walls: number[], error: string | null = null): Sample => ({
  round,
  name,
  steps: walls.map((wall) => ({ wall_ns: wall * 1e6, cpu_us: wall * 500, rss_kib: 1024 * wall, faults: 1 })),
  warm_kib: 0,
  error,
})

test('ratios are those of the same round, not of the medians', () => {
  const samples = [
    ...[sample(0, 'runt', [1]), sample(1, 'runt', [10]), sample(2, 'runt', [100])],
    ...[sample(0, 'crun', [200]), sample(1, 'crun', [20]), sample(2, 'crun', [200])],
  ]
  const { runt, crun } = costsOf(samples, [0])
  assert.is(runt!.wall.median, 10)
  assert.is(crun!.wall.median, 200)
  assert.is(crun!.runt!.wall.median, 0.5)
  assert.is(runt!.runt, undefined)
})

test('several steps are one: times are added, the peak is the largest', () => {
  const { crun } = costsOf([sample(0, 'crun', [1, 100, 3])], [0, 2])
  assert.is(crun!.wall.median, 4)
  assert.is(crun!.cpu.median, 2)
  assert.is(crun!.peak, 3)
})

test('what failed does not count, and a round without runt gives no ratio', () => {
  const samples = [
    sample(0, 'runt', [5]),
    sample(1, 'runt', [], 'no'),
    sample(0, 'crun', [10]),
    sample(1, 'crun', [99]),
    sample(0, 'runc', [], 'no'),
  ]
  const costs = costsOf(samples, [0])
  assert.is(costs.crun!.samples, 2)
  assert.is(costs.crun!.runt!.wall.median, 0.5)
  assert.not('runc' in costs)
})

test.run()
