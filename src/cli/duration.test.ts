import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseDuration } from './duration.ts'

test('durations are read as Go writes them', () => {
  const all = { '5s': 5e9, '100ms': 1e8, '1m30s': 90e9, '1.5h': 5400e9, '.5s': 5e8, '5.s': 5e9, '1h0m0.5s': 3600.5e9 }
  for (const [text, expected] of Object.entries(all)) assert.is(parseDuration(text), expected, text)
  for (const [text, expected] of Object.entries({ '7ns': 7, '2us': 2000, '2µs': 2000, '2μs': 2000, '0.1ns': 0 }))
    assert.is(parseDuration(text), expected, text)
  assert.is(parseDuration('0'), 0)
  assert.is(parseDuration('+1s'), 1e9)
  assert.is(parseDuration('-1s'), -1e9)
})

test('anything else is no duration', () => {
  for (const text of ['', '5', 's', '1 s', '1d', '1e3s', '1.2.3s', '.s', '5s ', '1s-2s', '5S'])
    assert.is(parseDuration(text), null, text)
})

test('what 64 bits of nanoseconds cannot hold is too long', () => {
  assert.ok(parseDuration('2562047h')! > 9e18)
  assert.is(parseDuration('2562048h'), null)
})

test.run()
