import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as c from './calls.ts'
import { Session } from './session.ts'
import { FakeKernel } from './testing/fake-kernel.ts'
import { Train } from './train.ts'

function open(): { train: Train; plan: (path: string) => void; made: () => string[] } {
  const fake = new FakeKernel()
  const train = new Train(new Session('test', fake), 'x86_64')
  return {
    train,
    plan: (path) => void c.mkdirat(train.next(path), -100, path, 0o755),
    made: () => fake.log.map((line) => line.split('"')[1]!),
  }
}

test('pieces are sent while the rest is planned', () => {
  const { train, plan, made } = open()
  plan('/a')
  train.piece()
  assert.equal(made(), ['/a'])
  plan('/b')
  assert.equal(made(), ['/a'])
  train.depart()
  assert.equal(made(), ['/a', '/b'])
})

test('a piece without an operation is no message', () => {
  const { train, made } = open()
  train.piece()
  assert.equal(made(), [])
})

test('what is held back is sent in its order', () => {
  const { train, plan, made } = open()
  train.hold()
  plan('/a')
  train.piece()
  plan('/b')
  train.depart()
  assert.equal(made(), [])
  train.release()
  assert.equal(made(), ['/a', '/b'])
})

test('between pieces it is asked whether the time has come, until it has', () => {
  const { train, plan, made } = open()
  let asked = 0
  train.hold(() => {
    if (++asked === 2) train.release()
    return asked === 2
  })
  plan('/a')
  train.piece()
  assert.equal(made(), [])
  plan('/b')
  train.piece()
  assert.equal(made(), ['/a', '/b'])
  plan('/c')
  train.piece()
  assert.equal(made(), ['/a', '/b', '/c'])
  assert.is(asked, 2)
})

test('a second part is held back when the first has gone', () => {
  const { train, plan, made } = open()
  let due = false
  train.hold(() => {
    if (due) train.release()
    return due
  })
  plan('/a')
  train.depart()
  train.hold()
  plan('/b')
  due = true
  train.piece()
  assert.equal(made(), ['/a'])
  train.release()
  assert.equal(made(), ['/a', '/b'])
})

test('what was held back can be forgotten, and nobody is asked any more', () => {
  const { train, plan, made } = open()
  train.hold(() => {
    assert.unreachable()
    return true
  })
  plan('/a')
  train.depart()
  train.drop()
  plan('/b')
  train.piece()
  assert.equal(made(), ['/b'])
})

test.run()
