import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readStat } from './state.ts'

const rest = 'S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0\n'

test('state and start time are found behind any command name', () => {
  for (const name of ['sh', 'a b', ') R 1 (', ')', '', 'a\n)'])
    assert.equal(readStat(`4711 (${name}) ${rest}`), { ended: false, state: 'S', startTime: '987654' }, name)
})

test('a real file is read', () => {
  const { ended, startTime } = readStat(readFileSync('/proc/self/stat', 'utf8'))
  assert.not(ended)
  assert.match(startTime, /^\d+$/)
})

test('a process whose first thread has ended has not, as long as there are others', () => {
  const zombie = (threads: number) => readStat(`1 (sh) Z 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 ${threads} 0 9 0 0\n`).ended
  assert.ok(zombie(1))
  assert.not(zombie(2))
  assert.ok(readStat('1 (sh) X 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 9 0 0\n').ended)
})

test.run()
