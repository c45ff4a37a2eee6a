import { spawnSync } from 'node:child_process'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { commands, globalOptions } from '../../src/cli/commands.ts'
import { isThere } from '../machine.ts'
import { manualPages, roff } from './manual.ts'
import { exitStatus, texts } from './manual-texts.ts'

const test = suite('manual')
const pages = manualPages()

test('every command but help has a page that names its flags and arguments', () => {
  for (const entry of commands) {
    if (entry.name === 'help') continue
    const page = pages.get(`runt-${entry.name}.8`)
    assert.ok(page, entry.name)
    for (const { name } of entry.options) assert.ok(page.includes(`\\-\\-${roff(name)}\\fR`), `${entry.name} --${name}`)
    for (const { name } of entry.arguments) assert.ok(page.includes(`\\fI${roff(name)}\\fR`), `${entry.name} ${name}`)
  }
})

test('the page of runt names all commands and global flags', () => {
  const page = pages.get('runt.8')!
  for (const { name } of globalOptions) assert.ok(page.includes(`\\-\\-${roff(name)}\\fR`), name)
  for (const name of pages.keys()) if (name !== 'runt.8') assert.ok(page.includes(roff(name.slice(0, -2))), name)
})

test('what pages say beyond the table is about commands that there are', () => {
  const names: string[] = commands.map(({ name }) => name)
  for (const name of [...Object.keys(texts.commands), ...Object.keys(exitStatus)])
    assert.ok(name === 'default' || names.includes(name), name)
})

test('text cannot become a request of roff', () => {
  assert.is(roff(".so 'x' \\fB a-b"), '\\&.so \\(aqx\\(aq \\efB a\\-b')
})

if (isThere('mandoc'))
  test('mandoc has nothing against the pages', () => {
    for (const [name, text] of pages) {
      const done = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning'], { input: text, encoding: 'utf8' })
      // Pages without a date are the same in every build.
      const complaints = done.stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date'))
      assert.equal(complaints, [], name)
    }
  })
else console.log('skipped: mandoc is not installed')

test.run()
