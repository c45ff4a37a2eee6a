import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from '../base/errors.ts'
import { commands } from './commands.ts'
import { parseCommand } from './parse.ts'
import { readBytes, resourceFlags, resourcesOf } from './resources.ts'

const read = (...args: string[]) => {
  const invocation = parseCommand(['update', ...args, 'box'])
  if (typeof invocation === 'string') throw new Error('help')
  return resourcesOf(invocation.options)
}

test('sizes have units in powers of 1024, in any case', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['512', 512],
    ['512b', 512],
    ['1k', 1024],
    ['1 K', 1024],
    ['64m', 2 ** 26],
    ['64MB', 2 ** 26],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['.5g', 2 ** 29],
    ['2t', 2 ** 41],
    ['1p', 2 ** 50],
    ['9223372036854775807', 9223372036854775807n],
    ['-1', -1],
  ] as const)
    assert.is(readBytes(text), bytes, text)
  for (const text of ['', '-2', 'm', '5x', '1mm', '1ib', '1 2', '1e3', '0x10', '1  k']) assert.is(readBytes(text), null)
})

test('each flag sets its field', () => {
  assert.equal(read('--memory', '64m', '--memory-swap=-1', '--cpu-quota', '-1', '--cpuset-cpus', '0-3'), {
    memory: { limit: 2 ** 26, swap: -1 },
    cpu: { quota: -1, cpus: '0-3' },
  })
  assert.equal(read(), {})
  const entry = commands.find(({ name }) => name === 'update')!
  for (const [flag] of resourceFlags)
    assert.ok(
      entry.options.some(({ name }) => name === flag),
      flag,
    )
})

test('a value that cannot be read is refused with its flag', () => {
  for (const [flag, value] of [
    ['--cpu-period', '-5'],
    ['--cpu-quota', 'x'],
    ['--memory', '1x'],
    ['--pids-limit', '1.5'],
  ] as const)
    assert.throws(
      () => read(flag, value),
      (error: Error) => error instanceof RuntError && error.message.includes(`flag ${flag}: "${value}" is not`),
    )
})

test.run()
