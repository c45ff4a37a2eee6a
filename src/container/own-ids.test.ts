import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { subordinateIds } from './own-ids.ts'

test('the ids of a user follow each other from 1 on, whatever it is called by; other lines mean nothing', () => {
  const text = '# users\nother:1:5\nguest:700000:65536\n\nguest:x:5\nguest:3:0\n1000:900000:10 \nguest2:1:1\n'
  assert.equal(subordinateIds(text, ['1000', 'guest']), [
    { containerID: 1, hostID: 700_000, size: 65_536 },
    { containerID: 65_537, hostID: 900_000, size: 10 },
  ])
  assert.equal(subordinateIds('', ['1000', undefined]), [])
})

test.run()
