import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { overlay } from './update.ts'

test('zero and empty values leave what was', () => {
  const before = { memory: { limit: 5, swap: 6 }, cpu: { shares: 2, cpus: '0' }, pids: { limit: 7 } }
  assert.equal(overlay(before, {}), before)
  assert.equal(overlay(before, { memory: { limit: 0, swap: 8 }, cpu: { shares: 0, cpus: '', mems: '1' }, pids: {} }), {
    memory: { limit: 5, swap: 8 },
    cpu: { shares: 2, cpus: '0', mems: '1' },
    pids: { limit: 7 },
  })
})

test('zero counts where it is a value', () => {
  assert.equal(
    overlay(
      { cpu: { idle: 1, burst: 5 }, memory: { swappiness: 9 }, pids: { limit: 7 } },
      { cpu: { idle: 0, burst: 0 }, memory: { swappiness: 0 }, pids: { limit: 0 } },
    ),
    {
      cpu: { idle: 0, burst: 0 },
      memory: { swappiness: 0 },
      pids: { limit: 0 },
    },
  )
})

test('no limit of memory is none of swap either, unless swap is given', () => {
  assert.equal(overlay({ memory: { limit: 5, swap: 6 } }, { memory: { limit: -1 } }), {
    memory: { limit: -1, swap: -1 },
  })
  assert.equal(overlay({}, { memory: { limit: -1, swap: 9 } }), { memory: { limit: -1, swap: 9 } })
})

test('limits of devices and page sizes take the place of those of the same device or size', () => {
  const before = {
    blockIO: {
      weight: 10,
      throttleReadBpsDevice: [
        { major: 8, minor: 0, rate: 1 },
        { major: 8, minor: 16, rate: 2 },
      ],
    },
    hugepageLimits: [{ pageSize: '2MB', limit: 1 }],
    unified: { 'memory.high': '1', 'pids.max': '2' },
  }
  const change = {
    blockIO: { weight: 0, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 3 }] },
    hugepageLimits: [{ pageSize: '1GB', limit: 0 }],
    unified: { 'pids.max': '3' },
  }
  assert.equal(overlay(before, change), {
    blockIO: {
      weight: 10,
      throttleReadBpsDevice: [
        { major: 8, minor: 16, rate: 2 },
        { major: 8, minor: 0, rate: 3 },
      ],
    },
    hugepageLimits: [
      { pageSize: '2MB', limit: 1 },
      { pageSize: '1GB', limit: 0 },
    ],
    unified: { 'memory.high': '1', 'pids.max': '3' },
  })
})

test('device rules are replaced as a whole, and only by rules', () => {
  const rule = { allow: false }
  assert.equal(overlay({ devices: [rule, rule] }, { devices: [] }), { devices: [rule, rule] })
  assert.equal(overlay({ devices: [rule, rule] }, { devices: [rule] }), { devices: [rule] })
})

test.run()
