/** runtime-spec, config-linux.md: "Network Devices". Each test has a network namespace of its own to play the host's. */
import { spawnSync } from 'node:child_process'
import * as assert from 'uvu/assert'
import {
  type Config,
  container,
  execute,
  fails,
  heading,
  leavesNothing,
  needsFeature,
  ok,
  oneLine,
  type Result,
  skip,
  words,
} from '../harness.ts'

const { test: plain, run } = heading('config-linux/net-devices')

const test = (name: string, body: () => void): void =>
  plain(name, () => {
    needsFeature('netDevices')
    if (spawnSync('ip', ['-V']).status !== 0) skip('no ip (Debian package iproute2)')
    body()
  })

type Devices = Record<string, { name?: string }>

/** Runs a container in the foreground from a "host" that `prepare`, a shell script, has made; `after` is run behind it. */
function withDevices(prepare: string, netDevices: Devices, script: string, more: (config: Config) => void, after = '') {
  const made = container((config) => {
    config.process.args = ['sh', '-c', script]
    config.linux.netDevices = netDevices
    more(config)
  })
  const command = words(['run', '--bundle', made.bundle.directory, made.id])
  // The sysfs of the runtime's mount namespace is not looked at; ip speaks netlink.
  const shell = `set -e; ${prepare}; set +e; "$@"; status=$?; ${after || ':'}; exit $status`
  return execute(['unshare', '--net', 'sh', '-c', shell, 'sh', ...command])
}

const PAIR = 'ip link add h0 type veth peer name h1'
const show = (result: Result): string => ok(result).stdout

test('a device moves to the container under its own name, and is up', () => {
  const text = show(withDevices(PAIR, { h0: {} }, 'ip link show h0', () => {}))
  assert.match(text, /h0@[^<]*<[^>]*\bUP\b/)
})

test('a device can have another name in the container', () => {
  const text = show(withDevices(PAIR, { h0: { name: 'eth7' } }, 'ip -o link | cut -d : -f 2', () => {}))
  assert.match(text, /eth7@/)
  assert.not.match(text, /h0/)
})

test('a template is given a number by the kernel', () => {
  const devices = { h0: { name: 'net%d' }, h1: { name: 'net%d' } }
  const text = show(withDevices(PAIR, devices, 'ip -o link', () => {}))
  assert.match(text, /\bnet0@/)
  assert.match(text, /\bnet1@/)
})

test('its hardware address and MTU stay', () => {
  const prepare = `${PAIR}; ip link set h0 address 02:00:00:00:00:77 mtu 1234`
  const text = show(withDevices(prepare, { h0: {} }, 'ip link show h0', () => {}))
  assert.match(text, /mtu 1234/)
  assert.match(text, /02:00:00:00:00:77/)
})

test('permanent addresses of global scope stay, others do not', () => {
  const prepare = [
    PAIR,
    'ip addr add 10.9.8.7/24 dev h0',
    'ip addr add 10.9.8.8/24 dev h0',
    'ip addr add 10.1.1.1 peer 10.1.1.2/32 dev h0',
    'ip addr add 10.3.3.3/24 dev h0 scope link',
    'ip addr add 10.4.4.4/24 dev h0 valid_lft 600 preferred_lft 600',
    'ip link set h0 up',
    '(ip -6 addr add 2001:db8::7/64 dev h0 nodad || true)',
  ].join('; ')
  const text = show(withDevices(prepare, { h0: { name: 'eth0' } }, 'ip addr show eth0', () => {}))
  assert.match(text, /inet 10\.9\.8\.7\/24 (brd \S+ )?scope global/)
  assert.match(text, /inet 10\.9\.8\.8\/24/)
  assert.match(text, /inet 10\.1\.1\.1 peer 10\.1\.1\.2\/32/)
  assert.not.match(text, /10\.3\.3\.3|10\.4\.4\.4/)
  if (spawnSync('test', ['-e', '/proc/sys/net/ipv6']).status === 0) assert.match(text, /inet6 2001:db8::7\/64/)
})

test('sysctls of a device are set behind its move', () => {
  const text = show(
    withDevices(PAIR, { h0: { name: 'eth0' } }, 'cat /proc/sys/net/ipv4/conf/eth0/forwarding', (config) => {
      config.linux.sysctl = { 'net.ipv4.conf.eth0.forwarding': '1' }
    }),
  )
  assert.is(text, '1\n')
})

test('createRuntime hooks come when the devices have moved', () => {
  const script = 'test -z "$(ip -o link show h0 2>/dev/null)"'
  const more = (config: Config): void => {
    config.hooks = {
      createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', script], env: [`PATH=${process.env.PATH}`] }],
    }
  }
  ok(withDevices(PAIR, { h0: {} }, 'true', more))
})

test('a device that is missing is refused in one line, and no other moves', () => {
  const result = withDevices(PAIR, { h0: {}, gone0: {} }, 'echo ran', () => {}, 'ip -o link show h0')
  oneLine(fails(result, /gone0/))
  assert.match(result.stdout, /h0@/)
  assert.not.match(result.stdout, /ran/)
  leavesNothing()
})

test('a name that is taken in the container is refused in one line', () => {
  const result = withDevices(PAIR, { h0: { name: 'lo' } }, 'echo ran', () => {}, 'ip -o link show h0')
  oneLine(fails(result, /"?h0.*\blo\b/))
  assert.match(result.stdout, /h0@/)
})

test('a device that belongs to its namespace for ever is refused in one line', () => {
  oneLine(
    fails(
      withDevices('ip link set lo up', { lo: { name: 'eth0' } }, 'echo ran', () => {}),
      /netDevices.*lo/,
    ),
  )
})

for (const [name, devices, says] of [
  ['two devices with one name', { h0: { name: 'x' }, h1: { name: 'x' } }, /netDevices/],
  ['a name that is too long', { h0: { name: 'sixteen-letters-' } }, /netDevices/],
  ['a name with a slash', { h0: { name: 'a/b' } }, /netDevices/],
] as [string, Devices, RegExp][])
  test(`${name} is refused in one line`, () =>
    oneLine(
      fails(
        withDevices(PAIR, devices, 'echo ran', () => {}),
        says,
      ),
    ))

test('without a network namespace of the container there is nothing to move to', () => {
  const more = (config: Config): void => {
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'network')
  }
  oneLine(fails(withDevices(PAIR, { h0: {} }, 'echo ran', more), /netDevices.*network namespace/))
  const same = (config: Config): void => {
    more(config)
    config.linux.namespaces.push({ type: 'network', path: '/proc/self/ns/net' })
  }
  oneLine(fails(withDevices(PAIR, { h0: {} }, 'echo ran', same), /netDevices/))
})

run()
