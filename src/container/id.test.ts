import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from '../base/errors.ts'
import { checkId, ID_MAX } from './id.ts'

function refusal(id: string): string {
  try {
    checkId(id)
  } catch (error) {
    assert.instance(error, RuntError)
    return (error as RuntError).message
  }
  return ''
}

test('letters, digits, underscore, plus, dash and dot make an id', () => {
  for (const id of ['a', 'A-b_c+d.9', '...', '.a', '-', '0'.repeat(ID_MAX)]) assert.is(refusal(id), '', id)
})

test('an empty id is refused', () => {
  assert.is(refusal(''), 'the container id is empty')
})

test('an id that is no file name is refused', () => {
  for (const id of ['.', '..']) assert.match(refusal(id), `"${id}" is a folder's own name`)
  assert.match(refusal('a'.repeat(ID_MAX + 1)), '256 characters, at most 255')
})

test('the character that an id may not have is named', () => {
  assert.match(refusal('../x'), 'has the character "/"')
  assert.match(refusal('a b'), 'has the character " "')
  assert.match(refusal('a\n'), 'has the character "\\n"')
  assert.match(refusal('a\0'), 'has the character "\\u0000"')
  assert.match(refusal('é'), 'has the character "é"')
  assert.match(refusal('😀'), 'has the character "😀"')
})

test('a long id is cut in the message', () => {
  assert.ok(refusal('/'.repeat(100_000)).length < 300)
})

test.run()
