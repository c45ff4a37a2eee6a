import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { validateFeatures } from '../config/validate.ts'
import { features } from './features.ts'

for (const machine of ['x86_64', 'aarch64'] as const)
  test(`what features prints on ${machine} conforms to the schema`, () => {
    const printed = validateFeatures(JSON.parse(JSON.stringify(features(machine))), 'features')
    assert.is(printed.ociVersionMax, '1.3.0')
  })

test.run()
