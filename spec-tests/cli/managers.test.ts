/** Who manages control groups: what is refused without systemd, and what `--cgroup-manager` takes. */
import { existsSync, readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { container, fails, heading, leavesNothing, ok, oneLine, runBare, runtime, skip, stateRoot } from '../harness.ts'

const { test, only, run } = heading('cli/managers')

const create = (flags: string[], c: ReturnType<typeof container>) =>
  runBare([...flags, '--root', stateRoot, 'create', '--bundle', c.bundle.directory, c.id])

only('runt', 'without systemd --systemd-cgroup is refused, and the error names the way that was tried', () => {
  if (existsSync('/run/systemd/private') || existsSync('/run/dbus/system_bus_socket')) skip('there is a systemd')
  const c = container((config) => {
    config.linux.cgroupsPath = 'system.slice:runt:x'
  })
  const result = create(['--systemd-cgroup'], c)
  fails(
    result,
    /create: --systemd-cgroup: the system bus \(\/run\/dbus\/system_bus_socket\): ENOENT.*: no systemd answers here.*cgroupfs/,
  )
  oneLine(result)
  leavesNothing()
})

test('--systemd-cgroup takes a cgroupsPath of three parts only', () => {
  if (runtime === 'crun') skip('crun takes any path')
  if (runtime === 'runc' && !existsSync('/run/systemd/system')) skip('runc wants systemd first')
  for (const path of ['/a/b', 'system.slice:x']) {
    const c = container((config) => {
      config.linux.cgroupsPath = path
    })
    fails(
      create(['--systemd-cgroup'], c),
      /expected cgroupsPath to be of format .*slice:prefix:name.* for systemd cgroups, got/,
    )
  }
})

only('runt', 'a unit or an annotation that systemd would not take is refused before anything is made', () => {
  const wrong: [string, Record<string, string>, RegExp][] = [
    ['system:runt:x', {}, /linux\.cgroupsPath \(system:runt:x\): invalid slice name: "system"/],
    ['system.slice:runt:a b', {}, /"runt-a b\.scope" is no name of a unit/],
    [
      'system.slice:runt:x',
      { 'org.systemd.property.KillMode': 'mixed' },
      /annotations: org\.systemd\.property\.KillMode=mixed: /,
    ],
    ['system.slice:runt:x', { 'org.systemd.property.X': '5' }, /annotations: org\.systemd\.property\.X: /],
  ]
  for (const [path, annotations, message] of wrong) {
    const c = container((config) => {
      config.linux.cgroupsPath = path
      Object.assign(config, { annotations })
    })
    fails(create(['--systemd-cgroup'], c), message)
    leavesNothing()
  }
})

only('runt crun', '--cgroup-manager=disabled leaves the container in the cgroup of its caller', () => {
  const c = container((config) => {
    config.process.args = ['sleep', '60']
  })
  const result = create(['--cgroup-manager=disabled'], c)
  assert.is(result.status, 0, result.stderr)
  const pid = c.state().pid
  assert.is(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), readFileSync('/proc/self/cgroup', 'utf8'))
  ok(c.start())
  c.until('running')
  ok(c.delete('--force'))
})

run()
