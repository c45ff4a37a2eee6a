import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Slot } from '../executor/protocol.ts'
import { HookSlot, HostSlot, InitSlot, READ_COUNT } from './slots.ts'

/** Namespaces to join have as many slots as there are kinds. */
const namespaces = Array.from({ length: 8 }, (_, index) => InitSlot.NAMESPACES + index)

for (const [name, table, more] of [
  ['host executor', HostSlot, []],
  ['init', InitSlot, namespaces.slice(1)],
] as const) {
  test(`no slot of the ${name} has two meanings`, () => {
    const used = [...Object.values(table), ...Object.values(HookSlot), READ_COUNT, ...more]
    assert.equal(
      [...used].sort((a, b) => a - b),
      [...new Set(used)].sort((a, b) => a - b),
    )
    assert.ok(used.every((number) => number >= Slot.FIRST_FREE))
  })
}

test.run()
