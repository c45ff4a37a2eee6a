import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Config } from '../config/types.ts'
import { unsupported } from './unsupported.ts'

const config = (linux: Config['linux'] = {}, more: Partial<Config> = {}): Config => ({
  ociVersion: '1.3.0',
  root: { path: 'rootfs' },
  process: { args: ['sh'], cwd: '/', user: { uid: 0, gid: 0 } },
  linux,
  ...more,
})

test('what is asked for and not done is named', () => {
  const hooks = Array.from({ length: 17 }, () => ({ path: '/x', env: [`A=${'x'.repeat(40_000)}`] }))
  assert.is(unsupported(config({}, { hooks: { poststop: hooks } })), undefined)
  assert.is(unsupported(config({}, { hooks: { startContainer: hooks } })), 'hooks.startContainer: more than 16 hooks')
})

test('empty values ask for nothing', () => {
  assert.is(unsupported(config()), undefined)
  assert.is(unsupported(config({ netDevices: {}, mountLabel: '' }, { hooks: { prestart: [] } })), undefined)
})

test.run()
