/** runtime-spec, config.md: "Annotations"; runtime.md: "State". */
import * as assert from 'uvu/assert'
import { container, heading, ok, started } from '../harness.ts'

const { test, run } = heading('config/annotations')

const some = {
  'com.example.gpu-cores': '2',
  'org.opencontainers.image.os': 'linux',
  empty: '',
  'with blanks and "quotes"': 'line one\nline two',
  ünïcode: '✓ 𝄞',
}

test('annotations of any name and value are in the state', () => {
  const c = started((config) => {
    config.annotations = some
  })
  const { annotations = {} } = c.state()
  // Runtimes may add some of their own.
  for (const [name, value] of Object.entries(some)) assert.is(annotations[name], value, name)
})

test('a container without annotations has no state of somebody else', () => {
  const c = container()
  ok(c.create())
  for (const name of Object.keys(some)) assert.is(c.state().annotations?.[name], undefined)
})

test('annotations may be empty', () => {
  const c = started((config) => {
    config.annotations = {}
  })
  assert.is(c.status(), 'running')
})

test('many annotations, and long ones, are kept', () => {
  const many = Object.fromEntries(
    Array.from({ length: 500 }, (_, index) => [`example.${index}`, `${index}`.repeat(30)]),
  )
  const long = 'x'.repeat(100_000)
  const c = started((config) => {
    config.annotations = { ...many, long }
  })
  const { annotations = {} } = c.state()
  assert.is(annotations['example.499'], '499'.repeat(30))
  assert.is(annotations.long?.length, long.length)
})

run()
