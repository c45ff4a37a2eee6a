import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from '../base/errors.ts'
import { rules } from './rules.ts'
import { sysctlPath } from './sysctl-rules.ts'
import { type Changes, ruleMistakes, schemaMistakes } from './testing/mistakes.ts'
import { changed, samples } from './testing/samples.ts'
import {
  checkProcess,
  readChecked,
  readConfig,
  readProcess,
  readResources,
  validateFeatures,
  validateState,
} from './validate.ts'

function errorOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    assert.instance(error, RuntError)
    return (error as RuntError).message
  }
  return 'no error'
}

for (const [name, text] of samples) {
  test(`the ${name} config is accepted without a warning`, () => {
    assert.equal(readConfig(text, 'config.json').warnings, [])
  })
}

test('every mistake is named with its field, its value and what is allowed', () => {
  for (const [changes, expected] of [...schemaMistakes, ...ruleMistakes]) {
    const error = errorOf(() => readConfig(changed('complete', changes), '/b/config.json'))
    assert.is(
      error,
      `/b/config.json: ${expected}`,
      JSON.stringify(changes, (_, value) => String(value)),
    )
  }
})

test('what needs a namespace is refused without one', () => {
  const without = (changes: Changes) => errorOf(() => readConfig(changed('minimal', changes), 'config.json'))
  assert.is(
    without({ linux: { sysctl: { 'net.core.somaxconn': '1' } } }),
    'config.json: linux.sysctl["net.core.somaxconn"]: needs a network namespace in linux.namespaces',
  )
  assert.is(
    without({ linux: { sysctl: { 'kernel.shmmax': '1' } } }),
    'config.json: linux.sysctl["kernel.shmmax"]: needs an ipc namespace in linux.namespaces',
  )
  assert.is(
    without({ linux: { sysctl: { 'user.max_net_namespaces': '1' } } }),
    'config.json: linux.sysctl["user.max_net_namespaces"]: needs a user namespace in linux.namespaces',
  )
  assert.is(
    without({ linux: { netDevices: { eth0: {} } } }),
    'config.json: linux.netDevices: "eth0" needs a network namespace in linux.namespaces',
  )
  assert.is(
    without({ mounts: [{ destination: '/a', options: ['rbind', 'idmap'] }] }),
    'config.json: mounts[0].options: "idmap" needs uidMappings and gidMappings, or a user namespace',
  )
})

test('the top level and the syntax are named too', () => {
  assert.is(
    errorOf(() => readConfig('[]', 'config.json')),
    'config.json: [] is not an object',
  )
  assert.is(
    errorOf(() => readConfig('null', 'config.json')),
    'config.json: null is not an object',
  )
  assert.is(
    errorOf(() => readConfig('{"ociVersion": "1.0.0",\n  "root": {} "process": {}}', '/b/config.json')),
    `/b/config.json:2:14: expected ',' or '}' after the value of "root", found "process"`,
  )
})

test('warnings name what is accepted but has no effect', () => {
  const { warnings, config } = readConfig(
    changed('complete', {
      ociVersion: '1.4.0',
      'process.capabilities.bounding': ['CAP_KILL', 'CAP_FLY', 'kill'],
      'mounts[3].destination': 'sys',
    }),
    'config.json',
  )
  assert.equal(warnings, [
    'mounts[3].destination: "sys" is not absolute, which is deprecated: read as relative to "/"',
    'ociVersion: "1.4.0" is later than 1.3, what runt knows: fields that are new in it have no effect',
    'process.capabilities.bounding: "CAP_FLY" is unknown and ignored',
    'process.capabilities.bounding: "kill" is unknown and ignored',
  ])
  assert.is(config.mounts![3]!.destination, '/sys')
})

test('nulls, empty strings and absent ids are read as engines mean them', () => {
  const { config } = readConfig(
    changed('runc-spec', {
      hooks: null,
      annotations: null,
      'process.rlimits': null,
      'process.user': {},
      'process.ioPriority': { class: 'IOPRIO_CLASS_BE' },
      'linux.resources': {},
      'linux.seccomp': {},
      'linux.rootfsPropagation': '',
      'linux.namespaces[0].path': '',
      'linux.devices': null,
    }),
    'config.json',
  )
  assert.not('hooks' in config)
  assert.not('rlimits' in config.process)
  assert.equal(config.process.user, { uid: 0, gid: 0 })
  assert.is(config.process.ioPriority!.priority, 0)
  assert.not('seccomp' in config.linux!)
  assert.not('rootfsPropagation' in config.linux!)
  assert.not('devices' in config.linux!)
  assert.equal(config.linux!.namespaces![0], { type: 'pid' })
})

test('versions of the 1.x line are accepted with any suffix', () => {
  for (const ociVersion of ['1.0.0', '1.0.0-rc5-dev', '1.0.2-dev', '1.1.0-rc.1', '1.2.1', '1.3.0+dev', '1.3.9']) {
    assert.equal(readConfig(changed('minimal', { ociVersion }), 'config.json').warnings, [])
  }
})

test('64-bit values keep every bit', () => {
  const { config } = readConfig(samples.get('complete')!, 'config.json')
  assert.is(config.process.rlimits![0]!.hard, 18446744073709551615n)
  assert.is(config.process.scheduler!.period, 9007199254740993n)
  assert.is(config.linux!.resources!.memory!.swap, 9223372036854775807n)
  assert.is(config.linux!.resources!.memory!.limit, 536870912)
})

test('a sysctl is a path below /proc/sys and never leaves it', () => {
  assert.is(sysctlPath('net.ipv4.ip_forward'), 'net/ipv4/ip_forward')
  assert.is(sysctlPath('net/ipv4/conf/eth0.100/forwarding'), 'net/ipv4/conf/eth0.100/forwarding')
  assert.is(sysctlPath('net.ipv4.conf.eth0/100.forwarding'), 'net/ipv4/conf/eth0.100/forwarding')
  for (const key of ['', 'net', '/net/x', 'net//x', 'net/../x', 'net..x', 'net.', 'net.././/x']) {
    assert.is(sysctlPath(key), undefined, key)
  }
})

test('every rule has a name of its own and a source', () => {
  assert.is(new Set(rules.map(({ name }) => name)).size, rules.length)
  assert.ok(rules.every(({ spec }) => spec.length > 10))
})

test('a process and resources are read by themselves', () => {
  assert.equal(
    readProcess('{"args": ["sh"], "cwd": "/", "env": ["A=1"], "capabilities": {"ambient": ["x"]}}', 'p.json'),
    {
      process: { args: ['sh'], cwd: '/', env: ['A=1'], capabilities: { ambient: ['x'] }, user: { uid: 0, gid: 0 } },
      warnings: ['process.capabilities.ambient: "x" is unknown and ignored'],
    },
  )
  assert.is(
    errorOf(() => readProcess('{"args": ["sh"], "cwd": "a"}', 'p.json')),
    'p.json: process.cwd: "a" is not an absolute path',
  )
  assert.is(
    errorOf(() => readProcess('null', 'p.json')),
    'p.json: process: missing, it is needed to create a container',
  )
  assert.equal(readResources('{"memory": {"limit": 9223372036854775807, "swap": null}}', '-'), {
    memory: { limit: 9223372036854775807n },
  })
  assert.equal(readResources('{"pids": {"limit": 0}}', '-'), { pids: { limit: 0 } })
  assert.equal(readResources('{"pids": {"limit": 0}}', '-', '1.2.1'), {})
  assert.is(
    errorOf(() => readResources('{"memory": {"swappiness": 200}}', '-')),
    '-: linux.resources.memory.swappiness: 200 is not an integer from 0 to 100',
  )
})

test('what has been checked is read without that, and gives the same', () => {
  for (const [name, text] of samples) {
    const { config, exact } = readConfig(text, 'config.json')
    if (!exact) assert.equal(readChecked(text, 'config.json'), config, name)
  }
  const limits = (hard: string) =>
    `{"ociVersion":"1.0.0","root":{"path":"r"},"process":{"cwd":"/","args":["a"],"rlimits":[{"type":"RLIMIT_CORE","soft":0,"hard":${hard}}]}}`
  assert.is(readConfig(limits('9007199254740991'), 'c').exact, false)
  assert.is(readConfig(limits('18446744073709551615'), 'c').exact, true)
})

test('a process that was put together is held to the rules', () => {
  const process = readProcess('{"args": ["sh"], "cwd": "/"}', 'p.json').process
  assert.equal(checkProcess(process, 'command line'), [])
  assert.is(
    errorOf(() => checkProcess({ ...process, cwd: 'a' }, 'command line')),
    'command line: process.cwd: "a" is not an absolute path',
  )
  const warnings = checkProcess({ ...process, capabilities: { bounding: ['CAP_X'] } }, 'command line')
  assert.match(warnings[0]!, /CAP_X/)
})

test('a state is checked', () => {
  const state = { ociVersion: '1.3.0', id: 'a', status: 'running', pid: 5, bundle: '/b', extra: 1 }
  assert.is(validateState(state, 'state'), state as never)
  const wrong = (changes: object) => errorOf(() => validateState({ ...state, ...changes }, 'state.json'))
  assert.is(
    wrong({ status: 'paused' }),
    'state.json: status: "paused" is not one of "creating", "created", "running", "stopped"',
  )
  assert.is(wrong({ pid: undefined }), 'state.json: pid: missing, a running container has one')
  assert.is(wrong({ pid: -1 }), 'state.json: pid: -1 is not a process id')
  assert.is(wrong({ bundle: undefined }), 'state.json: bundle: missing')
  assert.is(wrong({ annotations: { a: 1 } }), 'state.json: annotations.a: 1 is not a string')
})

test('features are checked', () => {
  const features = { ociVersionMin: '1.0.0', ociVersionMax: '1.3.0', linux: { cgroup: { v1: true } } }
  assert.is(validateFeatures(features, 'features'), features as never)
  const wrong = (changes: object) => errorOf(() => validateFeatures({ ...features, ...changes }, 'features'))
  assert.is(wrong({ ociVersionMax: undefined }), 'features: ociVersionMax: missing')
  assert.is(wrong({ linux: { seccomp: { actions: 'all' } } }), 'features: linux.seccomp.actions: "all" is not an array')
})

test.run()
