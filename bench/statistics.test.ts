import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { quantile, shuffledOrders, spread, table } from './statistics.ts'

test('quantiles lie between the neighbouring values', () => {
  assert.is(quantile([3, 1, 2], 0.5), 2)
  assert.is(quantile([1, 2, 3, 4], 0.5), 2.5)
  assert.is(quantile([7], 0.95), 7)
  assert.is(Number.isNaN(quantile([], 0.5)), true)
  assert.equal(spread([10, 20]), { median: 15, p5: 10.5, p95: 19.5 })
})

test('every round has each alternative once, and the seed decides the order', () => {
  const orders = shuffledOrders(5, 20, 7)
  assert.is(orders.length, 20)
  for (const order of orders)
    assert.equal(
      order.toSorted((a, b) => a - b),
      [0, 1, 2, 3, 4],
    )
  assert.equal(shuffledOrders(5, 20, 7), orders)
  assert.not.equal(shuffledOrders(5, 20, 8), orders)
  assert.is(new Set(shuffledOrders(3, 60, 0).map(String)).size, 6)
})

test('a table aligns its first column to the left and the others to the right', () => {
  const rows = [
    ['', 'ms'],
    ['crun', '9.10'],
  ]
  assert.is(table(rows), '        ms\n----  ----\ncrun  9.10')
})

test.run()
