import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Batch } from '../session/batch.ts'
import { makeFolder } from './paths.ts'

test('a path that the kernel would not take is refused before it is planned', () => {
  const path = `/${'a/'.repeat(40_000)}`
  assert.throws(
    () => makeFolder(new Batch('x86_64'), path, 20),
    /^the path "\/a\/a.*has 80000 characters; the kernel takes 4095/,
  )
})

test.run()
