/** runc-list(8), runc-spec(8), runc-features(8). */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  container,
  execute,
  fails,
  heading,
  ok,
  runBare,
  run as runtime,
  started,
} from '../harness.ts'

const { test, run } = heading('cli/list')

test('list without containers prints the header only', () => {
  assert.match(ok(runtime(['list'])).stdout.trim(), /^ID\s+PID\s+STATUS\s+BUNDLE\s+CREATED\s+OWNER$/)
})

test('list prints a line a container: id, pid, status, bundle, creation, owner', () => {
  const c = started()
  const lines = ok(runtime(['list']))
    .stdout.trim()
    .split('\n')
  assert.is(lines.length, 2)
  const [id, pid, status, bundle, created, owner] = lines[1]!.trim().split(/\s+/)
  assert.equal([id, Number(pid), status, bundle], [c.id, c.state().pid, 'running', c.bundle.directory])
  assert.ok(Math.abs(Date.parse(created!) - Date.now()) < 60_000, created)
  assert.is(owner, 'root')
})

for (const flag of ['-q', '--quiet']) {
  test(`list ${flag} prints the ids only`, () => {
    const all = [started(), container()]
    ok(all[1]!.create())
    assert.equal(
      ok(runtime(['list', flag]))
        .stdout.trim()
        .split('\n')
        .sort(),
      all.map(({ id }) => id).sort(),
    )
  })
}

for (const flags of [['-f', 'json'], ['--format', 'json'], ['--format=json']]) {
  test(`list ${flags.join(' ')} prints an array of states`, () => {
    const c = started()
    const [state, ...rest] = JSON.parse(ok(runtime(['list', ...flags])).stdout)
    assert.is(rest.length, 0)
    assert.equal(
      [state.id, state.pid, state.status, state.bundle],
      [c.id, c.state().pid, 'running', c.bundle.directory],
    )
    assert.ok(Math.abs(Date.parse(state.created) - Date.now()) < 60_000)
  })
}

test('list -f json without containers is null or an empty array', () => {
  const value = JSON.parse(ok(runtime(['list', '-f', 'json'])).stdout)
  assert.ok(value === null || value.length === 0)
})

test('list shows stopped and created containers with their status', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  const other = container()
  ok(other.create())
  const text = ok(runtime(['list'])).stdout
  assert.match(text, new RegExp(`^${c.id}\\s+0\\s+stopped`, 'm'))
  assert.match(text, new RegExp(`^${other.id}\\s+\\d+\\s+created`, 'm'))
})

test('list shows a paused container', () => {
  const c = started()
  const other = started()
  ok(runtime(['pause', c.id]))
  const text = ok(runtime(['list'])).stdout
  assert.match(text, new RegExp(`^${c.id}\\s+\\d+\\s+paused`, 'm'))
  assert.match(text, new RegExp(`^${other.id}\\s+\\d+\\s+running`, 'm'))
  ok(runtime(['resume', c.id]))
})

test('list knows each of many containers', () => {
  const all = Array.from({ length: 24 }, () => container())
  for (const c of all) ok(c.create())
  for (const c of all.slice(0, 8)) ok(c.start())
  for (const c of all.slice(8, 12)) ok(c.kill('KILL'))
  for (const c of all.slice(8, 12)) c.until('stopped')
  const states: { id: string; status: string; pid: number }[] = JSON.parse(
    ok(runtime(['list', '--format', 'json'])).stdout,
  )
  const status = (index: number): string => (index < 8 ? 'running' : index < 12 ? 'stopped' : 'created')
  assert.equal(
    Object.fromEntries(states.map((state) => [state.id, state.status])),
    Object.fromEntries(all.map(({ id }, index) => [id, status(index)])),
  )
  for (const { id, pid } of states) assert.is(pid, all.find((c) => c.id === id)!.state().pid, id)
})

test('list with an unknown format fails', () => {
  fails(runtime(['list', '--format', 'xml']))
})

test('list of a root that is missing is empty', () => {
  assert.match(ok(runBare(['--root', join(base, 'missing'), 'list'])).stdout, /^ID/)
  execute(['rm', '-rf', join(base, 'missing')])
})

function spec(...flags: string[]): Config {
  const directory = join(base, 'spec')
  mkdirSync(directory)
  ok(runtime(['spec', ...flags], { cwd: directory }))
  const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8'))
  execute(['rm', '-r', directory])
  return config
}

test('spec writes a default configuration', () => {
  const config = spec()
  assert.match(config.ociVersion, /^1\./)
  assert.equal(config.process.args, ['sh'])
  assert.is(config.process.terminal, true)
  assert.is(config.process.cwd, '/')
  assert.equal(config.root, { path: 'rootfs', readonly: true })
  for (const type of ['pid', 'network', 'ipc', 'uts', 'mount']) {
    assert.ok(
      config.linux.namespaces.some((one) => one.type === type),
      type,
    )
  }
  for (const target of ['/proc', '/dev', '/dev/pts', '/dev/shm', '/dev/mqueue', '/sys', '/sys/fs/cgroup']) {
    assert.ok(
      config.mounts.some(({ destination }) => destination === target),
      target,
    )
  }
})

test('spec --rootless writes a configuration with a user namespace and no network namespace', () => {
  const config = spec('--rootless')
  const types = config.linux.namespaces.map(({ type }) => type)
  assert.ok(types.includes('user'))
  assert.not(types.includes('network'))
  assert.is((config.linux.uidMappings as { size: number }[])[0]!.size, 1)
})

test('spec --bundle DIR writes there', () => {
  const directory = join(base, 'spec-bundle')
  mkdirSync(directory)
  ok(runtime(['spec', '--bundle', directory]))
  assert.ok(existsSync(join(directory, 'config.json')))
  execute(['rm', '-r', directory])
})

test('spec does not overwrite a configuration', () => {
  const directory = join(base, 'spec-there')
  mkdirSync(directory)
  writeFileSync(join(directory, 'config.json'), 'mine')
  fails(runtime(['spec'], { cwd: directory }), /config\.json/)
  assert.is(readFileSync(join(directory, 'config.json'), 'utf8'), 'mine')
  execute(['rm', '-r', directory])
})

test('the configuration that spec writes runs', () => {
  const config = spec()
  const c = container((own) => {
    const { cgroupsPath } = own.linux
    Object.assign(own, config)
    own.linux.cgroupsPath = cgroupsPath
    own.process.terminal = false
    own.process.args = ['echo', 'ran']
  })
  assert.is(ok(c.run()).stdout, 'ran\n')
})

test('features prints one JSON object with versions, hooks, namespaces and capabilities', () => {
  const features = JSON.parse(ok(runtime(['features'])).stdout)
  assert.match(features.ociVersionMin, /^1\./)
  assert.match(features.ociVersionMax, /^1\./)
  assert.ok(features.hooks.includes('createRuntime'))
  assert.ok(features.mountOptions.includes('nosuid'))
  assert.ok(features.linux.namespaces.includes('pid'))
  assert.ok(features.linux.capabilities.includes('CAP_KILL'))
})

run()
