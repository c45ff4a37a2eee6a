/** runc-events(8): statistics at intervals, news of memory that ran out, the end of the stream. */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  type Container,
  container,
  ended,
  environment,
  fails,
  heading,
  ok,
  oneLine,
  repository,
  run as runtime,
  start,
  started,
  words,
} from '../harness.ts'
import { cgroupDirectory, sleep, unified, waitFor } from '../host.ts'

const { only, run } = heading('cli/events')
/** crun has no such command. */
const test = (name: string, body: () => void | Promise<void>): void => only('runt runc', name, body)

const LIMIT = 16 * 1024 * 1024

/** A program that wants more memory than there is, as a child of the shell. */
const EAT = 'dd if=/dev/zero of=/dev/null bs=64M count=1'

const limited =
  (script: string, limit = LIMIT) =>
  (config: Config) => {
    config.process.args = ['sh', '-c', script]
    config.linux.resources = { ...config.linux.resources, memory: { limit, swap: limit }, pids: { limit: 50 } }
  }

interface Stream {
  child: ChildProcess
  /** Whole lines so far. */
  lines(): string[]
  events(type: string): { type: string; id: string; data?: Record<string, unknown> }[]
}

let streams = 0

function stream(c: Container, ...flags: string[]): Stream {
  const path = join(base, `events-${++streams}.out`)
  const out = openSync(path, 'w')
  const child = start(['events', ...flags, c.id], ['ignore', out, 'ignore'])
  closeSync(out)
  const lines = () => readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return {
    child,
    lines,
    events: (type) =>
      lines()
        .map((line) => JSON.parse(line))
        .filter((event) => event.type === type),
  }
}

/** The stream must end by itself, with success. */
async function ends({ child }: Stream): Promise<void> {
  const status = await Promise.race([ended(child), new Promise((settle) => setTimeout(settle, 10_000, 'no end'))])
  if (status === 'no end') child.kill('SIGKILL')
  assert.is(status, 0)
}

const stats = (c: Container) => JSON.parse(ok(runtime(['events', '--stats', c.id])).stdout).data

test('events prints statistics at every interval, and ends with the container', async () => {
  const c = started()
  const begin = Date.now()
  const s = stream(c, '--interval', '200ms')
  assert.ok(waitFor(() => s.events('stats').length >= 3))
  assert.ok(Date.now() - begin >= 600, 'three intervals take 600 ms')
  for (const { id, data } of s.events('stats')) {
    assert.is(id, c.id)
    assert.ok(data)
  }
  ok(c.kill('KILL'))
  c.until('stopped')
  ok(c.delete())
  await ends(s)
})

test('events of a container that ends between two intervals ends then', async () => {
  const c = started()
  const s = stream(c, '--interval', '1h')
  sleep(300)
  ok(c.kill('KILL'))
  c.until('stopped')
  ok(c.delete())
  await ends(s)
  assert.equal(s.lines(), [])
})

only('runt', 'the end of the stream is that of the container, which need not be deleted first', async () => {
  const c = started()
  const s = stream(c, '--interval', '1h')
  sleep(300)
  ok(c.kill('KILL'))
  await ends(s)
  assert.is(c.status(), 'stopped')
})

test('the default interval is longer than 2 seconds', async () => {
  const c = started()
  const s = stream(c)
  sleep(2000)
  assert.equal(s.lines(), [])
  ok(c.delete('--force'))
  await ends(s)
})

test('events --stats prints one line and ends', () => {
  const c = started(limited('sleep 60'))
  const { stdout } = ok(runtime(['events', '--stats', c.id]))
  assert.is(stdout.split('\n').length, 2)
  const event = JSON.parse(stdout)
  assert.equal([event.type, event.id], ['stats', c.id])
})

test('the statistics have the limits and the use of the container', () => {
  const c = started(limited('i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; sleep 60; true'))
  c.says(/done/)
  assert.ok(waitFor(() => stats(c).pids.current === 2))
  const { cpu, cpuset, memory, pids, blkio, hugetlb, intel_rdt, network_interfaces } = stats(c)
  assert.is(memory.usage.limit, LIMIT)
  assert.ok(memory.usage.usage > 0 && memory.usage.usage < LIMIT)
  assert.ok(Object.keys(memory.raw).length > 10)
  assert.equal(pids, { current: 2, limit: 50 })
  assert.ok(cpu.usage.total > 1_000_000, 'nanoseconds')
  assert.is(typeof cpu.usage.kernel, 'number')
  assert.is(typeof cpu.usage.user, 'number')
  if (!unified) {
    assert.is(
      cpu.usage.percpu.reduce((sum: number, value: number) => sum + value, 0),
      cpu.usage.total,
    )
    assert.is(cpu.usage.percpu_user.length, cpu.usage.percpu.length)
    assert.is(cpuset.cpus.length, new Set(cpuset.cpus).size)
    assert.is(cpuset.sched_relax_domain_level, -1)
  }
  for (const section of [blkio, hugetlb, intel_rdt]) assert.type(section, 'object')
  assert.is(network_interfaces, null)
})

test('statistics of the processor are those of throttling too', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'while :; do :; done']
    config.linux.resources = { ...config.linux.resources, cpu: { quota: 5000, period: 50_000 } }
  })
  assert.ok(waitFor(() => (stats(c).cpu.throttling.throttledPeriods ?? 0) > 2))
  const { periods, throttledPeriods, throttledTime } = stats(c).cpu.throttling
  assert.ok(periods >= throttledPeriods)
  assert.ok(throttledTime > 1_000_000, 'nanoseconds')
})

test('numbers that are too large for JavaScript are exact', () => {
  const c = started()
  const { stdout } = ok(runtime(['events', '--stats', c.id]))
  // "No limit" is the last page below 2^63 on v1, 2^64 - 1 on v2.
  assert.match(stdout, unified ? /"limit":18446744073709551615\b/ : /"limit":92233720368547(71712|10272)\b/)
})

test('a created container has statistics', () => {
  const c = container()
  ok(c.create())
  assert.ok(stats(c).pids.current >= 1)
})

test('a frozen container has statistics', () => {
  const c = started()
  const folder = cgroupDirectory('freezer', c.bundle.config.linux.cgroupsPath)!
  const [file, freeze, thaw] = unified ? ['cgroup.freeze', '1', '0'] : ['freezer.state', 'FROZEN', 'THAWED']
  writeFileSync(join(folder, file!), freeze!)
  try {
    // runc looks at the freezer before it has settled, and waits for ever.
    sleep(100)
    assert.is(stats(c).pids.current, 1)
  } finally {
    writeFileSync(join(folder, file!), thaw!)
  }
})

test('events tells of memory that ran out', async () => {
  const c = started(limited(`while [ ! -e /tmp/go ]; do sleep 0.05; done; ${EAT}; echo "status $?"; sleep 60`))
  const s = stream(c, '--interval', '1h')
  // There is no other sign that it listens.
  sleep(500)
  assert.equal(s.lines(), [])
  c.bundle.file('tmp/go', '')
  c.says(/status 137/)
  assert.ok(waitFor(() => s.events('oom').length > 0))
  assert.is(s.lines()[0], `{"type":"oom","id":"${c.id}"}`)
  assert.is(c.status(), 'running')
  ok(c.delete('--force'))
  await ends(s)
})

test('events tells of memory that ran out as the last thing, too', async () => {
  const c = started(limited(`while [ ! -e /tmp/go ]; do sleep 0.05; done; exec ${EAT}`))
  const s = stream(c, '--interval', '1h')
  sleep(500)
  c.bundle.file('tmp/go', '')
  c.until('stopped')
  assert.ok(waitFor(() => s.events('oom').length > 0))
  ok(c.delete())
  await ends(s)
})

only('runt', 'events --stats works where the container has a folder in some hierarchies only', () => {
  const c = started()
  const folder = cgroupDirectory('blkio', c.bundle.config.linux.cgroupsPath)
  if (unified || !folder || !existsSync(folder)) return
  // Its processes go to the parent.
  writeFileSync(join(folder, '..', 'cgroup.procs'), String(c.state().pid))
  spawnSync('rmdir', [folder])
  assert.ok(stats(c).memory.usage.usage > 0)
})

test('events of a container that has stopped fails', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  for (const flags of [[], ['--stats']]) fails(runtime(['events', ...flags, c.id]), /not running/)
})

test('events of an unknown container fails', () => {
  fails(runtime(['events', '--stats', 'nobody']), /does not exist/)
})

for (const interval of ['0', '0s', '-1s', 'soon', '5'])
  test(`an interval of ${interval} is refused`, () => {
    const c = started()
    fails(runtime(['events', '--interval', interval, c.id]), /interval/)
  })

only('runt', 'a mistake of the interval is told in one line', () => {
  oneLine(fails(runtime(['events', '--interval', '5', 'nobody']), /"5" is no duration such as 5s/))
})

only('runt', 'whoever reads the stream may stop to', () => {
  const c = started()
  const script = '"$@" | head -n 1; echo "status $?" >&2'
  const done = spawnSync('sh', ['-c', script, 'sh', ...words(['events', '--interval', '50ms', c.id])], {
    encoding: 'utf8',
    env: environment(),
    cwd: repository,
    timeout: 10_000,
  })
  assert.is(done.stdout.split('\n').length, 2)
  if (!words([])[0]!.endsWith('node')) assert.is(done.stderr, 'status 0\n')
})

only('runt', 'a stream that is ended by a signal leaves nobody behind', async () => {
  const c = started()
  const s = stream(c, '--interval', '1h')
  sleep(500)
  s.child.kill('SIGTERM')
  assert.is(await ended(s.child), 'SIGTERM')
})

run()
