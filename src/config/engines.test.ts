/** Configs that engines wrote, as they are: testing/engines. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { engineSamples } from './testing/samples.ts'
import { readConfig, readProcess } from './validate.ts'

/** Expected warnings by the file's name; the others have none. */
const warned: Record<string, string[]> = {}

for (const [name, text] of engineSamples) {
  test(`what ${name} says is accepted with just the expected warnings`, () => {
    const read = name.endsWith('-process') ? readProcess : readConfig
    assert.equal(read(text, name).warnings, warned[name] ?? [])
  })
}

test('every expected warning is for a file that is there', () => {
  for (const name of Object.keys(warned)) assert.ok(engineSamples.has(name), name)
})

test('what an engine says is found in the right fields', () => {
  const config = (name: string) => readConfig(engineSamples.get(name)!, name).config
  assert.equal(config('docker-limits').linux!.resources!.memory!.limit, 67_108_864)
  assert.equal(config('podman-limits').linux!.resources!.memory!.swap, 134_217_728)
  assert.is(config('podman-terminal').process.terminal, true)
  assert.is(config('docker-user').process.noNewPrivileges, true)
  assert.equal(config('docker-user').process.user, { uid: 1000, gid: 50, additionalGids: [50, 20] })
  assert.is(config('podman-hostnet').linux!.seccomp, undefined)
  assert.is(config('docker-readonly').root!.readonly, true)
})

test.run()
