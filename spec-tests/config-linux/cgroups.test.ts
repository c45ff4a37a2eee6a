/** runtime-spec, config-linux.md: "Control groups". */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  cgroupRoot,
  container,
  heading,
  leavesNothing,
  ok,
  run as runtime,
  skip,
  started,
  withoutSystemd,
} from '../harness.ts'
import { cgroupDirectories, cgroupDirectory, groupOf, hierarchies, lacksController, unified, waitFor } from '../host.ts'

const { test, run } = heading('config-linux/cgroups')

/** The value of a control file of a started container with these resources; v2 name where only cgroup2 is mounted. */
function value(resources: Record<string, unknown>, controller: string, v1: string, v2: string): string {
  if (unified && v2 === '-') skip(`cgroup2 has nothing like ${v1}`)
  if (lacksController(v2)) skip(`the kernel has no controller for ${v2}`)
  if (!cgroupDirectory(controller, cgroupRoot)) skip(`the controller ${controller} is not mounted`)
  const c = started((config) => {
    config.linux.resources = { ...config.linux.resources, ...resources }
  })
  const directory = cgroupDirectory(controller, c.bundle.config.linux.cgroupsPath)!
  const file = join(directory, unified ? v2 : v1)
  if (!existsSync(file)) skip(`the kernel has no ${file}`)
  return readFileSync(file, 'utf8').trim()
}

test('the container process is in cgroupsPath in every hierarchy', () => {
  const c = started()
  const lines = readFileSync(`/proc/${c.state().pid}/cgroup`, 'utf8').trim().split('\n')
  for (const line of lines) {
    const [, controllers, path] = line.split(':')
    if (controllers === '' && !hierarchies().some(({ version }) => version === 2)) continue
    assert.is(path, groupOf(c.bundle.config.linux.cgroupsPath), line)
  }
})

test('the created container is in its control group before it is started', () => {
  const c = container()
  ok(c.create())
  for (const directory of cgroupDirectories(c.bundle.config.linux.cgroupsPath)) {
    assert.match(
      readFileSync(join(directory, 'cgroup.procs'), 'utf8'),
      new RegExp(`^${c.state().pid}$`, 'm'),
      directory,
    )
  }
})

test('a nested cgroupsPath is created with its parents', () => {
  withoutSystemd('parents are slices: systemd/scope')
  const c = started((config) => {
    config.linux.cgroupsPath = `${config.linux.cgroupsPath}/deep/er`
  })
  assert.ok(cgroupDirectories(c.bundle.config.linux.cgroupsPath).length > 0)
  ok(c.delete('--force'))
  assert.equal(cgroupDirectories(c.bundle.config.linux.cgroupsPath), [])
  for (const directory of cgroupDirectories(`${cgroupRoot}/${c.bundle.name}`)) {
    rmdirSync(join(directory, 'deep'))
    rmdirSync(directory)
  }
})

test('the control groups are gone after delete', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  ok(c.delete())
  assert.equal(cgroupDirectories(c.bundle.config.linux.cgroupsPath), [])
})

test('the control groups are gone after run', () => {
  const c = container((config) => {
    config.process.args = ['true']
  })
  ok(c.run())
  leavesNothing()
})

test('a control group that the container made below its own is gone after delete', () => {
  const c = started()
  const directory = cgroupDirectory('pids', c.bundle.config.linux.cgroupsPath)
  if (!directory) skip('the controller pids is not mounted')
  mkdirSync(join(directory, 'child'))
  ok(c.delete('--force'))
  leavesNothing()
})

/** cpu.weight for shares: linear, or since runc 1.4 and crun 1.23 by a curve that gives 100 for the default of 1024. */
function weights(shares: number): RegExp {
  const log = Math.log2(shares)
  const curve = Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))
  return new RegExp(`^(${1 + Math.floor(((shares - 2) * 9999) / 262142)}|${curve})$`)
}

for (const [title, resources, controller, v1, v2, want1, want2] of [
  [
    'memory.limit',
    { memory: { limit: 33_554_432 } },
    'memory',
    'memory.limit_in_bytes',
    'memory.max',
    '33554432',
    '33554432',
  ],
  [
    'memory.reservation',
    { memory: { reservation: 16_777_216 } },
    'memory',
    'memory.soft_limit_in_bytes',
    'memory.low',
    '16777216',
    '16777216',
  ],
  ['memory.swappiness', { memory: { swappiness: 17 } }, 'memory', 'memory.swappiness', '-', '17', ''],
  [
    'memory.limit -1',
    { memory: { limit: -1 } },
    'memory',
    'memory.limit_in_bytes',
    'memory.max',
    /^9223372036854\d+$/,
    'max',
  ],
  [
    'memory.disableOOMKiller',
    { memory: { disableOOMKiller: true } },
    'memory',
    'memory.oom_control',
    '-',
    /^oom_kill_disable 1/,
    '',
  ],
  ['pids.limit', { pids: { limit: 42 } }, 'pids', 'pids.max', 'pids.max', '42', '42'],
  ['pids.limit -1', { pids: { limit: -1 } }, 'pids', 'pids.max', 'pids.max', 'max', 'max'],
  ['cpu.shares', { cpu: { shares: 512 } }, 'cpu', 'cpu.shares', 'cpu.weight', '512', weights(512)],
  [
    'cpu.quota',
    { cpu: { quota: 50_000, period: 100_000 } },
    'cpu',
    'cpu.cfs_quota_us',
    'cpu.max',
    '50000',
    '50000 100000',
  ],
  [
    'cpu.period',
    { cpu: { quota: 20_000, period: 50_000 } },
    'cpu',
    'cpu.cfs_period_us',
    'cpu.max',
    '50000',
    '20000 50000',
  ],
  ['cpu.cpus', { cpu: { cpus: '0' } }, 'cpuset', 'cpuset.cpus', 'cpuset.cpus', '0', '0'],
  ['cpu.mems', { cpu: { mems: '0' } }, 'cpuset', 'cpuset.mems', 'cpuset.mems', '0', '0'],
  ['cpu.idle', { cpu: { idle: 1 } }, 'cpu', 'cpu.idle', 'cpu.idle', '1', '1'],
  [
    'cpu.burst',
    { cpu: { quota: 50_000, period: 100_000, burst: 10_000 } },
    'cpu',
    'cpu.cfs_burst_us',
    'cpu.max.burst',
    '10000',
    '10000',
  ],
  [
    'hugepageLimits',
    { hugepageLimits: [{ pageSize: '2MB', limit: 4_194_304 }] },
    'hugetlb',
    'hugetlb.2MB.limit_in_bytes',
    'hugetlb.2MB.max',
    '4194304',
    '4194304',
  ],
] as const) {
  test(`${title} is set`, () => {
    const found = value(resources, controller, v1, v2)
    const want = unified ? want2 : want1
    if (typeof want === 'string') assert.is(found, want)
    else assert.match(found, want)
  })
}

test('memory.swap is set', () => {
  const found = value(
    { memory: { limit: 33_554_432, swap: 67_108_864 } },
    'memory',
    'memory.memsw.limit_in_bytes',
    'memory.swap.max',
  )
  assert.is(found, unified ? '33554432' : '67108864')
})

// What podman writes for --pids-limit=-1 has the version 1.0.2-dev.
for (const [version, meaning, want] of [
  ['1.0.2-dev', 'no limit', 'max'],
  ['1.3.0', 'a limit', '1'],
] as const) {
  test(`pids.limit 0 is ${meaning} in a configuration of version ${version}`, () => {
    if (want === 'max') withoutSystemd('no limit means DefaultTasksMax')
    const c = started((config) => {
      config.ociVersion = version
      config.linux.resources = { ...config.linux.resources, pids: { limit: 0 } }
    })
    const directory = cgroupDirectory('pids', c.bundle.config.linux.cgroupsPath)
    if (!directory) skip('the controller pids is not mounted')
    assert.is(readFileSync(join(directory, 'pids.max'), 'utf8').trim(), want)
  })
}

test('resources.unified is set on cgroup2', () => {
  if (!unified) skip('cgroup2 is not the only hierarchy')
  assert.is(value({ unified: { 'pids.max': '77' } }, 'pids', 'pids.max', 'pids.max'), '77')
})

test('the pids limit holds', () => {
  const c = container((config) => {
    config.linux.resources = { ...config.linux.resources, pids: { limit: 5 } }
    config.process.args = ['sh', '-c', 'for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; true']
  })
  assert.match(c.run().stderr, /can't fork|Resource temporarily unavailable/)
})

test('the memory limit holds', () => {
  const c = container((config) => {
    config.linux.resources = { ...config.linux.resources, memory: { limit: 16_777_216 } }
    config.process.args = [
      'sh',
      '-c',
      'dd if=/dev/zero of=/dev/shm/file bs=1M count=60 2>/dev/null; dd if=/dev/zero of=/dev/null bs=60M count=1',
    ]
  })
  assert.is.not(c.run().status, 0)
})

test('the container sees its limit in its own control group mount', () => {
  const file = unified ? '/sys/fs/cgroup/pids.max' : '/sys/fs/cgroup/pids/pids.max'
  const c = container((config) => {
    config.linux.resources = { ...config.linux.resources, pids: { limit: 99 } }
    config.process.args = ['cat', file]
    // Without it, some show the root of cgroup2.
    if (unified) config.linux.namespaces.push({ type: 'cgroup' })
  })
  assert.is(ok(c.run()).stdout, '99\n')
})

test('pause stops the container and resume lets it go on', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'while :; do echo x; sleep 0.02; done']
  })
  c.says(/x/)
  ok(runtime(['pause', c.id]))
  assert.is(c.status(), 'paused')
  const before = c.output().length
  ok(runtime(['resume', c.id]))
  assert.is(c.status(), 'running')
  c.says(new RegExp(`^[x\\n]{${before + 4},}`))
})

test('delete --force ends a paused container', () => {
  const c = started()
  ok(runtime(['pause', c.id]))
  ok(c.delete('--force'))
  leavesNothing()
})

test('update changes the limits of a running container', () => {
  const c = started()
  ok(runtime(['update', '--pids-limit', '33', '--memory', '67108864', c.id]))
  const pids = cgroupDirectory('pids', c.bundle.config.linux.cgroupsPath)!
  assert.is(readFileSync(join(pids, 'pids.max'), 'utf8').trim(), '33')
  const memory = cgroupDirectory('memory', c.bundle.config.linux.cgroupsPath)!
  assert.is(readFileSync(join(memory, unified ? 'memory.max' : 'memory.limit_in_bytes'), 'utf8').trim(), '67108864')
})

test('update takes resources from standard input', () => {
  const c = started()
  ok(runtime(['update', '--resources', '-', c.id], { stdin: JSON.stringify({ pids: { limit: 34 } }) }))
  const pids = cgroupDirectory('pids', c.bundle.config.linux.cgroupsPath)!
  assert.is(readFileSync(join(pids, 'pids.max'), 'utf8').trim(), '34')
})

test('events --stats prints one JSON object with the usage', () => {
  const c = started()
  const { type, id, data } = JSON.parse(ok(runtime(['events', '--stats', c.id])).stdout)
  assert.equal([type, id], ['stats', c.id])
  assert.ok(data.pids.current >= 1)
  assert.ok(data.memory.usage.usage > 0)
})

/** Makes `count` cgroups, one in the other, below a folder; calls `body` in the last one, and removes what is left of them. */
function nest(folder: string, count: number, body: () => void): void {
  const here = process.cwd()
  const name = 'x'.repeat(100)
  process.chdir(folder)
  try {
    for (let level = 0; level < count; level++) {
      mkdirSync(name)
      process.chdir(name)
    }
    body()
  } finally {
    process.chdir(here)
    try {
      unnest(folder, name)
    } catch {}
    process.chdir(here)
  }
}

/** Nothing is left to do, unless the runtime has left something: then it may be frozen, with SIGKILL pending. */
function unnest(folder: string, name: string): void {
  process.chdir(folder)
  let depth = 0
  for (; existsSync(name); depth++) {
    process.chdir(name)
    if (existsSync('freezer.state')) writeFileSync('freezer.state', 'THAWED')
  }
  waitFor(() => readFileSync('cgroup.procs', 'utf8') === '', 2000)
  for (; depth > 0; depth--) {
    process.chdir('..')
    rmdirSync(name)
  }
}

test('cgroups below that nest deeper than a path can say are removed with the container', () => {
  const c = started()
  nest(cgroupDirectory('pids', c.bundle.config.linux.cgroupsPath)!, 50, () => {
    ok(c.delete('--force'))
    leavesNothing()
  })
})

for (const [where, depth] of [
  ['below its cgroup', 2],
  ['deeper than a path can say', 50],
] as const)
  test(`delete --force ends a container that has frozen itself ${where}`, () => {
    const c = started()
    const folder = cgroupDirectory('freezer', c.bundle.config.linux.cgroupsPath)
    if (folder === null || unified) skip('what is frozen by cgroup2 can be killed; no hierarchy of the freezer')
    nest(folder, depth, () => {
      writeFileSync('cgroup.procs', String(c.state().pid))
      writeFileSync('../freezer.state', 'FROZEN')
      ok(c.delete('--force'))
      leavesNothing()
    })
  })

for (const [where, depth] of [
  ['below its cgroup', 2],
  ['deeper than a path can say', 50],
] as const) {
  for (const flags of [[], ['--all']])
    test(`${['kill', ...flags, 'KILL'].join(' ')} ends a container that has frozen itself ${where}`, () => {
      const c = started()
      const folder = cgroupDirectory('freezer', c.bundle.config.linux.cgroupsPath)
      if (folder === null || unified) skip('what is frozen by cgroup2 can be killed; no hierarchy of the freezer')
      nest(folder, depth, () => {
        writeFileSync('cgroup.procs', String(c.state().pid))
        writeFileSync('../freezer.state', 'FROZEN')
        ok(c.kill(...flags, 'KILL'))
        c.until('stopped')
        ok(c.delete())
      })
    })

  test(`ps and kill --all know a process ${where}`, () => {
    const c = started((config) => {
      config.process.args = ['sh', '-c', 'sleep 1000 & wait']
    })
    const folder = cgroupDirectory('pids', c.bundle.config.linux.cgroupsPath)
    if (folder === null) skip('no hierarchy of the pids controller')
    nest(folder, depth, () => {
      const { pid } = c.state()
      const child = (): string => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
      assert.ok(waitFor(() => child() !== ''))
      const below = child()
      writeFileSync('cgroup.procs', below)
      assert.ok(JSON.parse(ok(runtime(['ps', '--format', 'json', c.id])).stdout).includes(Number(below)))
      ok(c.kill('--all', 'KILL'))
      c.until('stopped')
      ok(c.delete('--force'))
    })
  })
}

run()
