import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SPEC_VERSION } from '../base/version.ts'
import { withoutEffect } from '../config/no-effect.ts'
import { openPlatform } from '../engine-node/platform.ts'
import { Session } from '../session/session.ts'
import { exampleSpec, writeSpec } from './spec.ts'

const types = (spec: ReturnType<typeof exampleSpec>): string[] => spec.linux!.namespaces!.map(({ type }) => type)

test('the example runs sh with its own namespaces', () => {
  const spec = exampleSpec({ unified: false, rootless: null })
  assert.is(spec.ociVersion, SPEC_VERSION)
  assert.equal(spec.process.args, ['sh'])
  assert.equal(types(spec), ['pid', 'network', 'ipc', 'uts', 'mount'])
  assert.equal(types(exampleSpec({ unified: true, rootless: null })).at(-1), 'cgroup')
})

test('all of the example has an effect', () => {
  for (const rootless of [null, { uid: 1000, gid: 100 }])
    assert.equal(withoutEffect(exampleSpec({ unified: true, rootless })), [])
})

test('the example of an unprivileged user maps that user and mounts nothing it may not', () => {
  const spec = exampleSpec({ unified: true, rootless: { uid: 1000, gid: 100 } })
  assert.equal(types(spec), ['pid', 'ipc', 'uts', 'mount', 'cgroup', 'user'])
  assert.equal(spec.linux!.uidMappings, [{ containerID: 0, hostID: 1000, size: 1 }])
  assert.equal(spec.linux!.gidMappings, [{ containerID: 0, hostID: 100, size: 1 }])
  assert.is(spec.linux!.resources, undefined)
  const mounts = new Map(spec.mounts!.map((mount) => [mount.destination, mount]))
  assert.is(mounts.get('/sys')!.source, '/sys')
  assert.not(mounts.get('/dev/pts')!.options!.some((option) => option.startsWith('gid=')))
})

test('config.json is written once, and never over another', () => {
  const folder = mkdtempSync(join(tmpdir(), 'runt-spec-'))
  const platform = openPlatform()
  try {
    const host = new Session('host', platform.host)
    const path = join(folder, 'config.json')
    writeSpec(host, platform.machine, join(folder, 'config.json'), false)
    const text = readFileSync(path, 'utf8')
    assert.match(text, /^\{\n\t"ociVersion": "/)
    assert.is(JSON.parse(text).hostname, 'runt')
    assert.is(statSync(path).mode & 0o111, 0)
    writeFileSync(path, 'mine')
    assert.throws(
      () => writeSpec(host, platform.machine, join(folder, 'config.json'), true),
      'config.json exists. Remove it first',
    )
    assert.is(readFileSync(path, 'utf8'), 'mine')
    assert.throws(() => writeSpec(host, platform.machine, join(folder, 'none/config.json'), false), 'ENOENT')
  } finally {
    platform.close()
    rmSync(folder, { recursive: true })
  }
})

test.run()
