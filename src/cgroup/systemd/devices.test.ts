import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DeviceRule } from '../../config/types.ts'
import { deviceProperties } from './devices.ts'

const ALL: DeviceRule = { allow: true, access: 'rwm' }
const NONE: DeviceRule = { allow: false, access: 'rwm' }
const rule = (text: string): DeviceRule => {
  const [sign, type, major, minor, access] = /^([+-])([bc]) (\S+):(\S+) (\w+)$/.exec(text)!.slice(1) as [
    string,
    string,
    string,
    string,
    string,
  ]
  return {
    allow: sign === '+',
    type,
    ...(major === '*' ? {} : { major: Number(major) }),
    ...(minor === '*' ? {} : { minor: Number(minor) }),
    access,
  }
}

/** The policy, and what is allowed beyond the devices of every container. */
function told(rules: DeviceRule[], unified = true, version = 252, skipped: string[] = []): string[] {
  const usual = new Set(deviceProperties([], unified, version).flatMap(([, { value }]) => lines(value)))
  const properties = deviceProperties(rules, unified, version, skipped)
  assert.equal(properties[0], ['DeviceAllow', { signature: 'a(ss)', value: [] }])
  return properties.flatMap(([name, { value }]) =>
    name === 'DevicePolicy' ? [value as string] : lines(value).filter((line) => !usual.has(line)),
  )
}
const lines = (value: unknown): string[] =>
  Array.isArray(value) ? value.map(([name, access]: [string, string]) => `${name} ${access}`) : []

test('every container may use the usual devices', () => {
  const [, list, policy] = deviceProperties([NONE], true, 252)
  assert.equal(policy, ['DevicePolicy', { signature: 's', value: 'strict' }])
  assert.equal(lines(list![1].value), [
    'char-* m',
    'block-* m',
    '/dev/char/1:3 rwm',
    '/dev/char/1:5 rwm',
    '/dev/char/1:7 rwm',
    '/dev/char/1:8 rwm',
    '/dev/char/1:9 rwm',
    '/dev/char/5:0 rwm',
    '/dev/char/5:2 rwm',
    'char-136 rwm',
  ])
})

const samples: readonly (readonly [name: string, rules: DeviceRule[], told: string[]])[] = [
  ['one device', [NONE, rule('+c 10:200 rw')], ['/dev/char/10:200 rw', 'strict']],
  ['a major number', [NONE, rule('+b 8:* r')], ['block-8 r', 'strict']],
  ['all of a type', [NONE, rule('+b *:* rwm')], ['block-* rwm', 'strict']],
  ['everything', [ALL], ['auto']],
  ['everything after something', [NONE, rule('+c 1:1 r'), ALL], ['auto']],
  ['nothing again', [ALL, NONE], ['strict']],
  ['accesses in two rules', [NONE, rule('+c 10:1 r'), rule('+c 10:1 w')], ['/dev/char/10:1 rw', 'strict']],
  ['what is taken back', [NONE, rule('+c 10:1 rwm'), rule('-c 10:1 w')], ['/dev/char/10:1 rm', 'strict']],
  ['what is taken back with all of its type', [NONE, rule('+c 10:1 rwm'), rule('-c *:* rwm')], ['strict']],
  // Our own program knows better.
  ['a part that is taken back', [NONE, rule('+c 10:* rwm'), rule('-c 10:1 rwm')], ['char-10 rwm', 'strict']],
  ['a minor number alone', [NONE, rule('+c *:7 r')], ['char-* rm', 'strict']],
  ['everything but one', [ALL, rule('-b 8:0 rwm')], ['auto']],
]
for (const [name, rules, expected] of samples)
  test(`v2: ${name}`, () => {
    assert.equal(told(rules), expected)
  })

test('v1: systemd allows no more than the rules, and what it cannot be told is named', () => {
  const skipped: string[] = []
  assert.equal(told([ALL, rule('-b 8:0 rwm')], false, 252, skipped), ['strict'])
  assert.equal(told([NONE, rule('+c *:7 r')], false, 252, skipped), ['strict'])
  assert.equal(told([ALL], false), ['auto'])
  assert.equal(skipped, [
    'linux.resources.devices: systemd cannot allow all devices but some, and allows none',
    'linux.resources.devices: systemd cannot be told of c *:7',
  ])
})

test('a systemd before 240 knows no major numbers', () => {
  const skipped: string[] = []
  const [, list] = deviceProperties([NONE, rule('+b 8:* r')], false, 239, skipped)
  assert.ok(!lines(list![1].value).some((line) => line.startsWith('block-8')))
  assert.ok(skipped.includes('linux.resources.devices: systemd cannot be told of b 8:*'))
})

test.run()
