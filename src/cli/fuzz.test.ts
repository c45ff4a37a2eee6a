/** Whatever stands on the command line: a result, or lines that a terminal can show; no exception, no stack. The kernel is a fake. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Platform } from '../base/platform.ts'
import { caseCount, Random, seedOf, strings } from '../base/testing/random.ts'
import { fakeHost } from '../container/testing/fake-host.ts'
import { commands, globalOptions, type OptionEntry } from './commands.ts'
import { main } from './main.ts'

const test = suite('fuzz of the command line')
const seed = seedOf('command line')

class Exit extends Error {}

function word(random: Random, options: readonly OptionEntry[]): string[] {
  if (random.chance(1, 6)) return [random.pick(strings).replaceAll('\0', '')]
  if (random.chance(1, 4)) return [random.pick(['a', '-', '--', '-1', '+1', '9', 'KILL', 'sh', '--help', '-h'])]
  if (options.length === 0) return []
  const option = random.pick(options)
  const flag = option.short && random.chance(1, 2) ? `-${option.short}` : `--${option.name}`
  const value = random.pick([
    ...(option.choices ?? []),
    '1',
    'a',
    'a=b',
    '5s',
    '/x',
    random.pick(strings).replaceAll('\0', ''),
  ])
  if (option.value === undefined && !random.chance(1, 10)) return [flag]
  return random.chance(1, 3) ? [`${flag}=${value}`] : random.chance(1, 10) ? [flag] : [flag, value]
}

function commandLine(random: Random): string[] {
  const entry = random.pick(commands)
  const line: string[] = []
  while (random.chance(1, 3)) line.push(...word(random, globalOptions))
  line.push(random.chance(1, 15) ? random.pick(strings).replaceAll('\0', '') : entry.name)
  if (!random.chance(1, 4)) line.push('a')
  while (!random.chance(1, 3)) line.push(...word(random, entry.options))
  return line
}

test('any command line ends in a status and lines that a terminal can show', async () => {
  const random = new Random(seed)
  const statuses = new Map<number, number>()
  for (let number = 0; number < caseCount(3000); number++) {
    const args = commandLine(random)
    const { runtime } = fakeHost({ '/bundle/config.json': '{}' })
    let err = ''
    const platform: Platform = {
      ...runtime.platform,
      args,
      stderr: (text) => {
        err += text
      },
      exit(status) {
        throw new Exit(String(status))
      },
    }
    let status: number
    try {
      status = await main(platform)
    } catch (error) {
      if (!(error instanceof Exit)) console.log(`case ${number}: ${JSON.stringify(args)}`)
      if (!(error instanceof Exit)) throw error
      status = Number(error.message)
    }
    const what = `case ${number}: ${JSON.stringify(args).slice(0, 2000)}: ${err.slice(0, 500)}`
    assert.ok(Number.isInteger(status) && status >= 0 && status <= 255, what)
    assert.not.match(err, /internal error|\n {4}at /, what)
    assert.not.match(err.replaceAll('\n', ''), /[\0-\x1f\x7f]/, what)
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
  }
  console.log(`command line: ${[...statuses].map(([status, count]) => `${count} with status ${status}`).join(', ')}`)
  assert.ok(statuses.get(0)! > 0 && statuses.get(1)! > 0)
})

test.run()
