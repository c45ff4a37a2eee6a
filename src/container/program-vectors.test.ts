import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeUtf8 } from '../base/bytes.ts'
import { environmentOf, isLarge, layOut } from './program-vectors.ts'

const process = (args: string[], env?: string[]) => ({ args, cwd: '/', user: { uid: 0, gid: 0 }, ...(env && { env }) })

test('of several entries with one name the last is left, and no empty HOME', () => {
  const env = ['A=1', 'AB=1', 'B=', 'A=2', 'HOME=/x', 'A==', 'HOME=']
  assert.equal(environmentOf({ env }), ['AB=1', 'B=', 'A=='])
  assert.equal(environmentOf({ env: ['HOME=', 'HOME=/x'] }), ['HOME=/x'])
  assert.equal(environmentOf({}), [])
})

test('many strings and long ones are large', () => {
  assert.not(isLarge(process(['sh'], ['A=1'])))
  assert.ok(isLarge(process(new Array(2000).fill('x'))))
  assert.ok(isLarge(process(['sh'], [`A=${'x'.repeat(100_000)}`])))
})

test('a block holds both vectors, a free place at the end of the environment, and the strings', () => {
  const base = 0x2000_0000
  const block = layOut(process(['é', ''], ['A=1']), base)
  const view = new DataView(block.buffer)
  const pointer = (index: number) => Number(view.getBigUint64(index * 8, true))
  const text = (index: number) => {
    const start = pointer(index) - base
    return decodeUtf8(block.subarray(start, block.indexOf(0, start)))
  }
  assert.equal([text(0), text(1)], ['é', ''])
  assert.is(pointer(2), 0)
  assert.is(text(3), 'A=1')
  assert.equal([pointer(4), pointer(5)], [0, 0])
  assert.is(block.length, 6 * 8 + 3 + 1 + 4)
})

test.run()
