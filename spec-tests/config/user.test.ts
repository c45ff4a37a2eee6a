/** runtime-spec, config.md: "User". */
import * as assert from 'uvu/assert'
import { bundle, type Config, container, heading, inside, ok } from '../harness.ts'

const { test, run } = heading('config/user')

const as = (uid: number, gid: number, additionalGids?: number[]) => (config: Config) => {
  config.process.user = { uid, gid, ...(additionalGids ? { additionalGids } : {}) }
}

test('all four user and group ids are those of the configuration', () => {
  const status = inside('grep -E "^(Uid|Gid)" /proc/self/status', as(1000, 2000))
  assert.is(status, 'Uid:\t1000\t1000\t1000\t1000\nGid:\t2000\t2000\t2000\t2000\n')
})

test('the supplementary groups are the additionalGids and no others', () => {
  const groups = inside('grep ^Groups /proc/self/status', as(1000, 2000, [5, 77, 65534]))
  assert.equal(
    groups
      .replace('Groups:', '')
      .trim()
      .split(/\s+/)
      .map(Number)
      .sort((a, b) => a - b),
    [5, 77, 65534],
  )
})

test('a group id above 2^31 is set', () => {
  assert.is(inside('id -g', as(0, 4294967294)), '4294967294\n')
})

test('without additionalGids there are no supplementary groups', () => {
  const groups = inside('grep ^Groups /proc/self/status', as(1000, 2000)).replace('Groups:', '').trim()
  assert.ok(groups === '' || groups === '2000', groups)
})

test('root has no supplementary groups of the caller', () => {
  const groups = inside('grep ^Groups /proc/self/status').replace('Groups:', '').trim()
  assert.ok(groups === '' || groups === '0', groups)
})

test('a user without a name in /etc/passwd is no mistake', () => {
  assert.is(inside('id -u', as(123456, 123456)), '123456\n')
})

test('a program that only root may execute is refused to another user', () => {
  const made = bundle((config) => {
    as(1000, 1000)(config)
    config.process.args = ['/secret']
  })
  made.file('secret', '#!/bin/sh\necho ran', 0o700)
  const result = container(made).run()
  assert.is.not(result.status, 0)
  assert.not.match(result.stdout, /ran/)
})

test('an unprivileged user can write to the descriptors of the caller', () => {
  assert.is(inside('echo out; echo out2 >> /dev/stdout', as(1000, 1000)).replace('out2', 'out'), 'out\nout\n')
})

test('an unprivileged user owns nothing of the root file system', () => {
  const result = inside('touch /file 2>/dev/null && echo wrote || echo refused', (config) => {
    as(1000, 1000)(config)
    config.root.readonly = false
  })
  assert.is(result, 'refused\n')
})

test('the container runs with the ids after exec', () => {
  const c = container((config) => {
    as(7, 8)(config)
    config.process.args = ['id', '-u']
  })
  assert.is(ok(c.run()).stdout, '7\n')
})

run()
