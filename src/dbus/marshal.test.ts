import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { marshal, unmarshal, type Value, variant } from './marshal.ts'
import { splitTypes } from './signature.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Signature, values, and the bytes that libdbus makes of them. */
const samples: readonly (readonly [signature: string, values: Value[], bytes: string])[] = [
  ['y', [7], '07'],
  ['b', [true], '01000000'],
  ['nq', [-2, 65535], 'feffffff'],
  ['i', [-1], 'ffffffff'],
  ['u', [4294967295], 'ffffffff'],
  ['yx', [1, -2n], '0100000000000000feffffffffffffff'],
  ['t', [0xffff_ffff_ffff_ffffn], 'ffffffffffffffff'],
  ['t', [0x8000_0000_0000_0001n], '0100000000000080'],
  ['d', [1.5], '000000000000f83f'],
  ['s', ['aé'], '0300000061c3a900'],
  ['o', ['/'], '010000002f00'],
  ['g', ['a(sv)'], '056128737629'.concat('00')],
  ['v', [variant('u', 5)], '0175000005000000'],
  ['v', [variant('s', 'x')], '01730000010000007800'],
  ['as', [['a', 'bc']], '0f000000010000006100000002000000626300'],
  ['ay', [new Uint8Array([1, 2])], '020000000102'],
  // The padding before the first struct does not count.
  ['a(st)', [[['a', 1n]]], '1000000000000000'.concat('0100000061000000', '0100000000000000')],
  ['a(st)', [[]], '0000000000000000'],
  ['a{sv}', [[['k', variant('b', false)]]], '1000000000000000'.concat('010000006b000162', '0000000000000000')],
]

for (const [signature, values, bytes] of samples)
  test(`values of type ${signature} are ${bytes.slice(0, 16)}…, and can be read again`, () => {
    assert.is(hex(marshal(signature, values)), bytes)
    assert.equal(unmarshal(signature, marshal(signature, values)), values)
  })

test('a text of any length can be written', () => {
  for (const length of [0, 1, 1000, 1015, 1016, 1017, 5000, 70_000]) {
    const values = ['x'.repeat(length), [['y'.repeat(length), variant('t', 5n)]], 1]
    assert.equal(unmarshal('sa(sv)u', marshal('sa(sv)u', values)), values)
  }
})

test('big-endian messages are read too', () => {
  assert.equal(unmarshal('ut', Buffer.from('00000005000000000000000000000007', 'hex'), false), [5, 7n])
})

const unsendable: readonly (readonly [string, Value])[] = [
  ['y', 256],
  ['n', 40_000],
  ['u', -1],
  ['i', 1.5],
  ['t', 2n ** 64n],
  ['t', -1n],
  ['x', 2n ** 63n],
  ['s', 'a\0b'],
  ['s', 'a\udc80'],
  ['(ss)', ['a']],
  ['v', variant('uu', 5)],
]
for (const [type, value] of unsendable)
  test(`${type} cannot hold ${JSON.stringify(typeof value === 'bigint' ? `${value}n` : value)}`, () => {
    assert.throws(
      () => marshal(type, [value]),
      (error: Error) => error.name === 'RuntError',
    )
  })

const unreadable: readonly (readonly [signature: string, bytes: string])[] = [
  ['u', '0100'],
  ['s', '0400000061'],
  ['s', '010000006161'],
  ['s', 'ffffffff6100'],
  ['as', 'ffffffff'],
  ['as', '0300000001000000'],
  ['au', '0600000001000000010000'],
  ['v', '027575000100000001000000'],
  ['v', '0171'],
  ['g', 'ff61'],
]
for (const [signature, bytes] of unreadable)
  test(`the bytes ${bytes} are no ${signature}`, () => {
    assert.throws(
      () => unmarshal(signature, Buffer.from(bytes, 'hex')),
      (error: Error) => error.name === 'RuntError',
    )
  })

test('variants in variants end somewhere', () => {
  // Each holds the next one.
  const bytes = Buffer.from('017600'.repeat(1000), 'hex')
  assert.throws(() => unmarshal('v', bytes), /nests too deeply/)
})

test('signatures are taken apart into types', () => {
  assert.equal(splitTypes('sa(sa(sv))a{sv}uv'), ['s', 'a(sa(sv))', 'a{sv}', 'u', 'v'])
  assert.equal(splitTypes(''), [])
  for (const wrong of [
    'a',
    '(',
    '()',
    '(s',
    's)',
    'z',
    '{sv}',
    'a{vs}',
    'a{s}',
    'a{sss}',
    'a'.repeat(40),
    'u'.repeat(256),
  ])
    assert.throws(() => splitTypes(wrong), /signature/, wrong)
})

test('bytes that come by chance never do worse than an error', () => {
  let seed = 1
  const random = (): number => {
    seed = (seed * 48271) % 0x7fff_ffff
    return seed
  }
  for (let round = 0; round < 3000; round++) {
    const bytes = Uint8Array.from({ length: random() % 64 }, () => (random() % 3 === 0 ? random() & 255 : random() & 7))
    try {
      unmarshal(['a(sv)', 'v', 'sa{sv}', 'a(yv)', 'aas'][round % 5]!, bytes)
    } catch (error) {
      assert.is((error as Error).name, 'RuntError', String(error))
    }
  }
})

test.run()
