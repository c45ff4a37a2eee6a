import * as assert from 'uvu/assert'
import { heading, inside, withoutNamespaces } from '../harness.ts'

const { test, run } = heading('config/hostname')

test('the hostname of the configuration is set in the new uts namespace', () => {
  assert.is(
    inside('hostname', (config) => (config.hostname = 'a-box.example')),
    'a-box.example\n',
  )
})

test('without a hostname the container keeps the one of the host', () => {
  const outside = inside('hostname', (config) => {
    delete config.hostname
    withoutNamespaces(config, 'uts')
  })
  assert.is(
    inside('hostname', (config) => {
      delete config.hostname
    }),
    outside,
  )
})

test('the domainname of the configuration is set', () => {
  const domain = inside('cat /proc/sys/kernel/domainname', (config) => (config.domainname = 'example.org'))
  assert.is(domain, 'example.org\n')
})

run()
