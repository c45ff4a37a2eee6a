import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as phrases from './phrases.ts'

test('sentences hold the parts that engines look for', () => {
  assert.match(phrases.unknownId('x'), 'container does not exist')
  assert.match(phrases.existingId('x'), 'already exists')
  assert.match(phrases.notRunning('x'), 'container not running')
  assert.match(phrases.cannotStart('stopped'), 'cannot start a container that has stopped')
  assert.match(phrases.cannotStart('running'), 'cannot start an already running container')
  assert.is(phrases.cannotStart('paused'), 'cannot start a container in the paused state')
  assert.is(
    phrases.cannotDelete('x', 'running'),
    'cannot delete container x that is not stopped: running; --force kills it first',
  )
})

test('a missing program is named, and by its kind', () => {
  assert.is(phrases.programMissing('sh'), 'exec: "sh": executable file not found in $PATH')
  assert.is(phrases.programMissing('/bin/x'), 'exec: "/bin/x": no such file or directory')
  assert.match(phrases.programDenied('/etc/passwd'), '"/etc/passwd": permission denied')
  assert.match(phrases.programForeign('/x'), 'exec format error')
})

test.run()
