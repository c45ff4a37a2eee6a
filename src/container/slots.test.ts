import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SLOT_COUNT, Slot } from '../executor/protocol.ts'
import { HookSlot, HostSlot, InitSlot, READ_COUNT, SIGNAL } from './slots.ts'

/** A container can have one namespace of each of eight types. */
const namespaces = Array.from({ length: 8 }, (_, order) => InitSlot.NAMESPACES + order)

for (const [name, own] of [
  ['host', Object.values(HostSlot)],
  ['init', [...Object.values(InitSlot), ...namespaces.slice(1)]],
] as const)
  test(`no two things share a slot of the ${name}'s`, () => {
    const all = [...own, ...Object.values(HookSlot), READ_COUNT, SIGNAL]
    assert.is(new Set(all).size, all.length)
    assert.ok(all.every((slot) => slot >= Slot.FIRST_FREE && slot < SLOT_COUNT))
  })

test.run()
