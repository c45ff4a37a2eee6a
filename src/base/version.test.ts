import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { VERSION } from './version.ts'

test('the version is that of package.json', () => {
  const path = new URL('../../package.json', import.meta.url)
  assert.is(VERSION, JSON.parse(readFileSync(path, 'utf8')).version)
})

test.run()
