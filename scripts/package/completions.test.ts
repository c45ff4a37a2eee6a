import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { commands } from '../../src/cli/commands.ts'
import { isThere } from '../machine.ts'
import { bashCompletion, fishCompletion, zshCompletion } from './completions.ts'

const test = suite('completions')
const folder = mkdtempSync(join(tmpdir(), 'runt-completions-'))
const names = commands.map(({ name }) => name)
const scripts = { bash: join(folder, 'runt.bash'), zsh: join(folder, '_runt'), fish: join(folder, 'runt.fish') }
writeFileSync(scripts.bash, bashCompletion())
writeFileSync(scripts.zsh, zshCompletion())
writeFileSync(scripts.fish, fishCompletion())
// Stands in for runt: its containers depend on --root.
writeFileSync(join(folder, 'runt'), '#!/bin/sh\n[ "$1" = --root ] && echo "in$2" || printf "one\\ntwo\\n"\n')
chmodSync(join(folder, 'runt'), 0o755)
test.after(() => rmSync(folder, { recursive: true }))

function run(program: string, ...args: string[]): string[] {
  const env = { PATH: `${folder}:${process.env.PATH}`, HOME: folder, TERM: 'dumb' }
  const done = spawnSync(program, args, { encoding: 'utf8', env, cwd: folder, timeout: 20_000 })
  assert.is(done.status, 0, done.stderr)
  assert.is(done.stderr, '')
  return done.stdout.split('\n').filter((line) => line !== '')
}

/** What bash offers for the last word of a line. */
function bash(...words: string[]): string[] {
  const line = ['runt', ...words].map((word) => `'${word}'`).join(' ')
  // compopt works within a completion only.
  const script = `. '${scripts.bash}'; compopt() { :; }; COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _runt; printf '%s\\n' "\${COMPREPLY[@]}"`
  return run('bash', '-c', script)
}

test('bash completes commands, also after global flags and their values', () => {
  assert.equal(bash('').sort(), [...names].sort())
  assert.equal(bash('--log-format', 'json', '--root', '/r', 'cre'), ['create'])
  assert.equal(bash('--log-format', ''), ['text', 'json'])
  assert.ok(bash('--').includes('--systemd-cgroup'))
})

test("bash completes a command's flags, their choices and ids", () => {
  assert.equal(bash('create', '--bun'), ['--bundle'])
  assert.equal(bash('list', '-f', ''), ['table', 'json'])
  assert.equal(bash('start', ''), ['one', 'two'])
  assert.equal(bash('--root', '/elsewhere', 'start', ''), ['in/elsewhere'])
  assert.equal(bash('create', '--bundle', 'runt.f'), [])
  assert.equal(bash('create', '--pid-file', 'runt.f'), ['runt.fish'])
})

if (isThere('zsh'))
  test('zsh takes the function', () => {
    run('zsh', '-fn', scripts.zsh)
    const text = zshCompletion()
    for (const { name, options } of commands) {
      assert.ok(text.includes(`\n    ${name})\n`), name)
      for (const option of options) assert.ok(text.includes(`--${option.name}[`), `${name} --${option.name}`)
    }
  })
else console.log('skipped: zsh is not installed')

if (isThere('fish'))
  test('fish completes commands, flags, choices and ids', () => {
    const fish = (line: string): string[] =>
      run('fish', '--no-config', '-c', `source ${scripts.fish}; complete -C '${line}'`).map(
        (text) => text.split('\t')[0]!,
      )
    assert.equal(fish('runt cre'), ['create'])
    assert.equal(fish('runt create --bun'), ['--bundle'])
    assert.equal(fish('runt list --format '), ['json', 'table'])
    assert.equal(fish('runt start '), ['one', 'two'])
    assert.equal(fish('runt --root /elsewhere start '), ['in/elsewhere'])
  })
else console.log('skipped: fish is not installed')

test.run()
