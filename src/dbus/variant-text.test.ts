import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Value, variant } from './marshal.ts'
import { parseVariant } from './variant-text.ts'

const samples: readonly (readonly [text: string, signature: string, value: Value])[] = [
  ['5', 'i', 5],
  ['-5', 'i', -5],
  ['+5', 'i', 5],
  ['0x1F', 'i', 31],
  ['010', 'i', 8],
  ['1.5', 'd', 1.5],
  ['2.', 'd', 2],
  ['1e3', 'd', 1000],
  ['-inf', 'd', -Infinity],
  ['true', 'b', true],
  [' false ', 'b', false],
  ["'a b'", 's', 'a b'],
  ['"it\'s"', 's', "it's"],
  ["'a\\n\\'\\u00e9\\\\'", 's', "a\n'é\\"],
  ['uint64 18446744073709551615', 't', 18446744073709551615n],
  ['int64 -5', 'x', -5n],
  ['byte 0x10', 'y', 16],
  ['uint16 7', 'q', 7],
  ['double 3', 'd', 3],
  ["objectpath '/a'", 'o', '/a'],
  ["signature 'as'", 'g', 'as'],
  ["['a', 'b']", 'as', ['a', 'b']],
  ["['a', 'b',]", 'as', ['a', 'b']],
  ['[uint32 1, 2]', 'au', [1, 2]],
  ['@as []', 'as', []],
  ['@at [1, 2]', 'at', [1n, 2n]],
  ['@u 5', 'u', 5],
  ["('/dev/null', 'rw')", '(ss)', ['/dev/null', 'rw']],
  ["[('/dev/sda', uint64 5)]", 'a(st)', [['/dev/sda', 5n]]],
  ["@(st) ('a', 5)", '(st)', ['a', 5n]],
  ['<uint32 5>', 'v', variant('u', 5)],
  [
    "{'a': 1, 'b': 2}",
    'a{si}',
    [
      ['a', 1],
      ['b', 2],
    ],
  ],
  ["@a{sv} {'a': <true>}", 'a{sv}', [['a', variant('b', true)]]],
  ["b'ab'", 'ay', new Uint8Array([97, 98, 0])],
]

for (const [text, signature, value] of samples)
  test(`${text} is a value of type ${signature}`, () => {
    assert.equal(parseVariant(text), { signature, value })
  })

const wrong: readonly (readonly [text: string, message: string])[] = [
  ['', 'expected a value at character 1'],
  ['hello', 'expected a value at character 1'],
  ['5 6', 'expected the end at character 3'],
  ["'abc", "expected the end of a string, ' at character 6"],
  ['[1, ', 'expected a value at character 5'],
  ['[]', 'expected a type for the empty array, such as @as [] at character 3'],
  ["[1, 'a']", 'expected a value of type i at character 8'],
  ['uint32', 'expected a value at character 7'],
  ["uint32 'a'", 'expected a value of type u at character 11'],
  ['uint32 1.5', 'expected a value of type u at character 8'],
  ['12abc', 'expected a value at character 1'],
  ['@ 5', 'expected one type after @ at character 1'],
  ['@uu 5', 'expected one type after @ at character 4'],
  ['{1: 2', 'expected , at character 6'],
]
for (const [text, message] of wrong)
  test(`${JSON.stringify(text)} is none: ${message}`, () => {
    assert.throws(
      () => parseVariant(text),
      (error: Error) => error.name === 'RuntError' && error.message === message,
    )
  })

test('brackets nest to a limit', () => {
  assert.throws(() => parseVariant('<'.repeat(100_000)), /fewer brackets/)
  assert.throws(() => parseVariant(`${'uint32 '.repeat(100_000)}5`), /expected/)
})

test.run()
