import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { unknownFields, withoutEffect } from './no-effect.ts'
import type { Config } from './types.ts'

const read = (path: string): Config => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))

test('of a complete config only what is made up is unknown', () => {
  assert.equal(unknownFields(read('testing/good/complete.json')), ['x-unknown'])
})

test('what podman, buildah, containerd and docker write is known', () => {
  const files = readdirSync(new URL('testing/engines', import.meta.url)).filter((name) => name.endsWith('.json'))
  for (const name of files.filter((file) => !file.endsWith('-process.json')))
    assert.equal(unknownFields(read(`testing/engines/${name}`)), [], name)
})

test('misspelled fields are named, wherever they are', () => {
  const config = {
    ociVersion: '1.3.0',
    procces: {},
    annotations: { 'my.own': 'x' },
    mounts: [{ destination: '/a' }, { destination: '/b', optoins: [] }],
    linux: { resorces: {}, resources: { rdma: { mlx5_1: { hcaHandle: 1 } } }, timeOffsets: { boottime: { sec: 1 } } },
    windows: { layerFolders: [] },
  }
  assert.equal(unknownFields(config as unknown as Config), [
    'procces',
    'mounts[1].optoins',
    'linux.resorces',
    'linux.resources.rdma.mlx5_1.hcaHandle',
    'linux.timeOffsets.boottime.sec',
  ])
})

test('names that every object has are fields like others', () => {
  const config = JSON.parse('{ "ociVersion": "1.3.0", "constructor": 1, "linux": { "__proto__": 2 } }')
  assert.equal(unknownFields(config), ['constructor', 'linux.__proto__'])
})

test('ambient capabilities that cannot be raised are named', () => {
  const capabilities = {
    ambient: ['CAP_KILL', 'CAP_CHOWN', 'CAP_FOWNER'],
    inheritable: ['CAP_KILL', 'CAP_CHOWN'],
    permitted: ['CAP_KILL', 'CAP_FOWNER'],
  }
  assert.equal(withoutEffect({ ociVersion: '1.3.0', process: { capabilities }, x: 1 } as unknown as Config), [
    'x: not a field that runt knows; it has no effect',
    'process.capabilities.ambient: CAP_CHOWN, CAP_FOWNER: no effect on what is not inheritable and permitted too',
  ])
  assert.equal(withoutEffect({ ociVersion: '1.3.0', process: {} } as unknown as Config), [])
})

test.run()
