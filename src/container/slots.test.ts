import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SLOT_COUNT, Slot } from '../executor/protocol.ts'
import { HookSlot, HostSlot, InitSlot, initSlots, NAMESPACE_COUNT, READ_COUNT, SIGNAL } from './slots.ts'

const namespaces = Array.from({ length: NAMESPACE_COUNT }, (_, order) => InitSlot.NAMESPACES + order)

for (const [name, own] of [
  ['host', Object.values(HostSlot)],
  ['init', [...Object.values(InitSlot), ...namespaces.slice(1)]],
] as const)
  test(`no two things share a slot of the ${name}'s`, () => {
    const all = [...own, ...Object.values(HookSlot), READ_COUNT, SIGNAL]
    assert.is(new Set(all).size, all.length)
    assert.ok(all.every((slot) => slot >= Slot.FIRST_FREE && slot < SLOT_COUNT))
  })

test('error messages name what a slot holds, in words', () => {
  assert.is(initSlots[InitSlot.CHILD_FOLDER], 'child folder')
  assert.equal([...new Set(namespaces.map((slot) => initSlots[slot]))], ['namespace'])
})

test.run()
