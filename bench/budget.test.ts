/** The budget of the start: see budget.ts. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Costs, counts, excesses, faults, obstacle, readBudget, sizes } from './budget.ts'

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
  const budget = { 'run, minimal': { 'system calls': 100, bytes: 1000 } }
  assert.equal(excesses({ 'run, minimal': { 'system calls': 100, bytes: 1020 } }, budget), [])
  assert.equal(excesses({ 'run, minimal': { 'system calls': 101, bytes: 1021 } }, budget), [
    'run, minimal: 101 system calls; the budget is 100',
    'run, minimal: 1021 bytes; the budget is 1000, and up to 1020 is tolerated',
  ])
  assert.equal(excesses({ create: { batches: 1 } }, budget), ['create: 1 batches, and there is no budget for it'])
})

test('round trips, batches and system calls of each command', () => within(counts()))

if (reason === null) {
  test('the sizes of the launcher and the brain', () => within(sizes()))
  test('the page faults of each command', () => within(faults()))
}

test.run()
