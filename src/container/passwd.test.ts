import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { homeOf, nameOf } from './passwd.ts'

const text = [
  'root:x:0:0:root:/root:/bin/sh',
  '# a comment',
  '',
  'broken:x:1000',
  'app:x:1001:1001::/home/app:',
  'other:x:1001:1001::/home/other:',
  'bare:x:1002:1002:::',
  'odd:x:1003:1003::home:',
].join('\n')

test('the home of a user is the one of the first line with its id', () => {
  assert.is(homeOf({ text }, 0), '/root')
  assert.is(homeOf({ text }, 1001), '/home/app')
})

test('a user without a usable home, and one that is not there, has /', () => {
  for (const uid of [1000, 1002, 1003, 42]) assert.is(homeOf({ text }, uid), '/')
  assert.is(homeOf({ text: '' }, 0), '/')
  assert.is(homeOf({ errno: 'ENOENT' }, 0), '/')
})

test('the name of a user is the one of the first line with its id', () => {
  assert.is(nameOf({ text }, 0), 'root')
  assert.is(nameOf({ text }, 1001), 'app')
})

test('a user that is not there has no name', () => {
  assert.is(nameOf({ text: `${text}\n:x:7:7:::` }, 7), undefined)
  assert.is(nameOf({ text }, 42), undefined)
  assert.is(nameOf({ errno: 'ENOENT' }, 0), undefined)
})

test.run()
