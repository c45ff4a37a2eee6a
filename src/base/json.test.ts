import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from './errors.ts'
import { DEPTH_MAX, parseJson, stringifyJson } from './json.ts'

function errorOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    assert.instance(error, RuntError)
    return (error as RuntError).message
  }
  return 'no error'
}

const mistakes: [text: string, error: string][] = [
  ['', '1:1: expected JSON, found nothing: the file is empty'],
  [' \n ', '2:2: expected JSON, found nothing: the file is empty'],
  ['\ufeff{}', '1:1: starts with a byte order mark; JSON must be UTF-8 without one'],
  ['{"a": 1', `1:8: expected ',' or '}' after the value of "a", found the end of the file`],
  ['{"a":', '1:6: expected a value for "a", found the end of the file'],
  ['{"a": "b', '1:7: this string has no closing quote: the file ends within it'],
  ['[1', `1:3: expected ',' or ']' after a value of the array, found the end of the file`],
  ['{"a": 1,}', `1:9: expected a name in double quotes, found "}": a ',' may not follow the last item`],
  ['[1,\n]', `2:1: expected a value after ',', found "]": a ',' may not follow the last item`],
  ['{\n  // a comment\n}', `2:3: expected a name in double quotes or '}', found "//": JSON has no comments`],
  ['{} # a comment', '1:4: expected the end of the file, found "#": JSON has no comments'],
  ["{'a': 1}", `1:2: expected a name in double quotes or '}', found "'a'": JSON has double quotes only`],
  ['{a: 1}', `1:2: expected a name in double quotes or '}', found "a"`],
  ['{"a" 1}', `1:6: expected ':' after "a", found "1"`],
  ['{"root": {}\n  "process": {}}', `2:3: expected ',' or '}' after the value of "root", found "process"`],
  ['[1 2]', `1:4: expected ',' or ']' after a value of the array, found "2"`],
  ['{"a": True}', '1:7: expected a value for "a", found "True"'],
  ['{"a": NaN}', '1:7: expected a value for "a", found "NaN"'],
  ['{"a": 0755}', '1:7: "0755" is not a number that JSON knows'],
  ['{"a": 0x10}', '1:7: "0x10" is not a number that JSON knows'],
  ['{"a": 1.}', '1:7: "1." is not a number that JSON knows'],
  ['{"a": -}', '1:7: "-" is not a number that JSON knows'],
  ['["a\nb"]', '1:4: expected the closing quote of a string, found a line break'],
  ['["a\tb"]', '1:4: expected the closing quote of a string, found the control character U+0009'],
  ['["a\0"]', '1:4: expected the closing quote of a string, found a NUL byte'],
  ['{}\0', '1:3: expected the end of the file, found a NUL byte'],
  ['["\\x41"]', '1:3: expected an escape such as \\n, \\" or \\u0041, found "\\\\x"'],
  ['{} {}', '1:4: expected the end of the file, found "{"'],
  ['['.repeat(DEPTH_MAX + 1), `1:${DEPTH_MAX + 1}: nested more than ${DEPTH_MAX} levels deep`],
  ['{"a":'.repeat(100_000), `1:${DEPTH_MAX * 5 + 1}: nested more than ${DEPTH_MAX} levels deep`],
]

test('a mistake is named with its line, its column and what was expected', () => {
  for (const [text, expected] of mistakes) {
    assert.is(
      errorOf(() => parseJson(text, '/b/config.json')),
      `/b/config.json:${expected}`,
    )
  }
})

test('nesting is limited where the engine has no limit', () => {
  const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
  assert.ok(Array.isArray(parseJson(deep(DEPTH_MAX), 'f')))
  assert.match(
    errorOf(() => parseJson(deep(DEPTH_MAX + 1), 'f')),
    /^f.*: nested more than 200 levels deep$/,
  )
  assert.match(
    errorOf(() => parseJson(deep(100_000), 'f')),
    /^f.*: nested more than 200 levels deep$/,
  )
})

test('every truncation of a text has an error of one line', () => {
  const text = '{"a": [1, -2.5e3, true, false, null, "x\\n\\u00e9"], "b": {"c": {}, "d": []}}'
  for (let length = 0; length < text.length; length++) {
    assert.match(
      errorOf(() => parseJson(text.slice(0, length), 'f')),
      /^f:1:\d+: [^\n]+$/,
    )
  }
})

test('integers beyond 2^53 keep their value', () => {
  assert.equal(parseJson('[18446744073709551615, -9223372036854775808, 9007199254740991, 9007199254740993]', 'f'), [
    18446744073709551615n,
    -9223372036854775808n,
    9007199254740991,
    9007199254740993n,
  ])
  assert.equal(parseJson('{"a":1234567890123456789}', 'f'), { a: 1234567890123456789n })
  assert.is(parseJson('18446744073709551615', 'f'), 18446744073709551615n)
  assert.equal(parseJson('[1e20, 0.1234567890123456]', 'f'), [1e20, 0.1234567890123456])
})

test('the reader for large integers reads all else as the engine does', () => {
  const text =
    ' {"a": [1, -0.5e-3, true, false, null, "x\\"\\n\\u00e9\\ud83d\\ude00 1234567890123456"], "b": {"__proto__": {"x": 1}, "": []}, "a2": {}, "a": "last" }\n'
  const expected = JSON.parse(text)
  assert.equal(parseJson(`[9999999999999999999, ${text}]`, 'f'), [9999999999999999999n, expected])
})

test('bigints are written as integers, the rest as JSON.stringify does', () => {
  const value = { a: [1, null, undefined, { b: undefined, c: [], d: {} }], 'x"y': 'é\n', e: false }
  for (const indent of [0, 2]) {
    const plain = JSON.stringify({ ...value, big: 7 }, undefined, indent)
    assert.is(stringifyJson({ ...value, big: 7n }, indent), plain)
    assert.is(stringifyJson({ ...value, big: 7 }, indent), plain)
  }
  assert.is(stringifyJson([18446744073709551615n, -1n]), '[18446744073709551615,-1]')
})

test.run()
