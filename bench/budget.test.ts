/** The budget of the start: see budget.ts. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Costs, counts, excesses, faults, obstacle, readBudget, renewed, sizes } from './budget.ts'

const test = suite('budget')
const reason = obstacle()
if (reason !== null) console.log(`skipped: sizes and page faults: ${reason}`)

function within(costs: Costs): void {
  const found = excesses(costs, readBudget())
  assert.ok(
    found.length === 0,
    `${found.join('\n')}\nIf it has to be so: npm run budget -- --write, and say in the commit what it is spent on.`,
  )
}

test('a cost above its budget is told with both numbers; some units have a tolerance', () => {
  const budget = { kernel: '6.1', costs: { run: { 'system calls': 100, bytes: 1000, 'page faults': 100 } } }
  const told = (kernel: string, calls: number, bytes: number, pages: number) =>
    excesses({ run: { 'system calls': calls, bytes, 'page faults': pages } }, budget, kernel)
  assert.equal(told('6.1', 100, 1020, 108), [])
  assert.equal(told('6.1', 101, 1021, 109), [
    'run: 101 system calls; the budget is 100',
    'run: 1021 bytes; the budget is 1000, and up to 1020 is tolerated',
    'run: 109 page faults; the budget is 100, and up to 108 is tolerated',
  ])
  assert.equal(told('6.2', 101, 1020, 125), ['run: 101 system calls; the budget is 100'])
  assert.equal(excesses({ create: { batches: 1 } }, budget), ['create: 1 batches, and there is no budget for it'])
})

test('a budget that is written again keeps the numbers that are within their tolerance, and all others follow the costs', () => {
  const costs = (calls: number, bytes: number): Costs => ({ run: { 'system calls': calls, bytes } })
  const budget = { kernel: '6.1', costs: costs(100, 1000) }
  assert.equal(renewed(costs(100, 1020), budget, '6.1'), costs(100, 1000))
  assert.equal(renewed(costs(99, 980), budget, '6.1'), costs(99, 1000))
  assert.equal(renewed(costs(101, 1021), budget, '6.1'), costs(101, 1021))
  assert.equal(renewed(costs(100, 979), budget, '6.1'), costs(100, 979))
  assert.equal(renewed(costs(100, 1001), budget, '6.2'), costs(100, 1001))
  assert.equal(renewed({ ...costs(100, 1001), state: { batches: 1 } }, budget, '6.1'), {
    ...costs(100, 1000),
    state: { batches: 1 },
  })
})

test('each command has the round trips, batches and system calls of its budget', () => within(counts()))

if (reason === null) {
  test('the launcher and the brain are as large as their budget', () => within(sizes()))
  test('each command has the page faults of its budget', () => within(faults()))
}

test.run()
