import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readStat } from './state.ts'

const rest = 'S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0\n'

test('state and start time are found behind any command name', () => {
  for (const name of ['sh', 'a b', ') R 1 (', ')', '', 'a\n)'])
    assert.equal(readStat(`4711 (${name}) ${rest}`), { state: 'S', startTime: '987654' }, name)
})

test('a real file is read', () => {
  const { state, startTime } = readStat(readFileSync('/proc/self/stat', 'utf8'))
  assert.is(state, 'R')
  assert.match(startTime, /^\d+$/)
})

test.run()
