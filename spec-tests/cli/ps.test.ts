/** runc-ps(8): the processes of a container, as pids or in the words of the host's ps(1). */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  type Container,
  container,
  execute,
  fails,
  heading,
  ok,
  oneLine,
  pidsIn,
  run as runtime,
  skip,
  started,
  withoutNamespaces,
} from '../harness.ts'
import { cgroupDirectory, isAlive, unified, waitFor } from '../host.ts'

const { test, only, run } = heading('cli/ps')
/** crun has no table, and passes no options on. */
const table = (name: string, body: () => void): void => only('runt runc', name, body)

const args =
  (...words: string[]) =>
  (config: Config): void => {
    config.process.args = words
  }
const script = (text: string) => args('sh', '-c', text)

/** The table without its title. */
const rows = (c: Container, ...options: string[]): string[] => {
  const host = execute(['ps', '-ef'])
  if (host.status !== 0) skip(`ps does not work here: ${host.stderr.trim()}`)
  return ok(runtime(['ps', c.id, ...options]))
    .stdout.split('\n')
    .slice(1, -1)
}

test('ps --format json prints the pids of the container as the host sees them', () => {
  const c = started()
  assert.equal(JSON.parse(ok(runtime(['ps', '--format', 'json', c.id])).stdout), [c.state().pid])
})

test('ps prints a table', () => {
  const c = started()
  assert.match(ok(runtime(['ps', c.id])).stdout, new RegExp(`PID[\\s\\S]*\\b${c.state().pid}\\b`))
})

test('ps lists all processes of the container with their commands', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'sleep 61 & sleep 62 & wait']
  })
  const pattern = /^UID +PID +PPID +C +STIME +TTY +TIME +CMD\n/
  assert.ok(
    waitFor(
      () =>
        ok(runtime(['ps', c.id]))
          .stdout.trim()
          .split('\n').length === 4,
    ),
  )
  const { stdout } = ok(runtime(['ps', c.id]))
  assert.match(stdout, pattern)
  assert.match(stdout, /\d\d:\d\d:\d\d sleep 61\n/)
  assert.match(stdout, /\d\d:\d\d:\d\d sleep 62\n/)
})

test('ps of a stopped container is empty', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  assert.equal(JSON.parse(ok(runtime(['ps', '--format', 'json', c.id])).stdout) ?? [], [])
})

test('ps --format json has the processes that exec brought', () => {
  const c = started()
  ok(runtime(['exec', '--detach', c.id, 'sleep', '61']))
  assert.is(pidsIn(c.id).length, 2)
})

test('ps --format json has processes in cgroups below', () => {
  const c = started(script('sleep 61 & wait; true'))
  assert.ok(waitFor(() => pidsIn(c.id).length === 2))
  // In every hierarchy that somebody may look at.
  for (const controller of unified ? ['memory'] : ['pids', 'devices', 'freezer', 'memory']) {
    const folder = join(cgroupDirectory(controller, c.bundle.config.linux.cgroupsPath)!, 'below')
    mkdirSync(folder)
    writeFileSync(join(folder, 'cgroup.procs'), String(pidsIn(c.id).at(-1)))
  }
  assert.is(pidsIn(c.id).length, 2)
})

test('ps --format json has many processes', () => {
  const c = started((config) => {
    script('i=0; while [ $i -lt 600 ]; do sleep 61 & i=$((i+1)); done; echo done; wait')(config)
    config.linux.resources = { ...config.linux.resources, pids: { limit: 700 } }
  })
  assert.ok(
    waitFor(() => pidsIn(c.id).length === 601, 20_000),
    `601 processes, not ${pidsIn(c.id).length}`,
  )
  assert.is(new Set(pidsIn(c.id)).size, 601)
})

test('ps of a container without a pid namespace has its processes only', () => {
  const c = started((config) => {
    withoutNamespaces(config, 'pid')
    script('sleep 61 & wait; true')(config)
  })
  assert.ok(waitFor(() => pidsIn(c.id).length === 2))
  assert.ok(pidsIn(c.id).includes(c.state().pid!))
})

test('ps of a stopped container has the processes that it left', () => {
  const c = started((config) => {
    withoutNamespaces(config, 'pid')
    script('sleep 61 & echo $!')(config)
  })
  c.until('stopped')
  const left = Number(c.output())
  assert.ok(isAlive(left))
  assert.equal(pidsIn(c.id), [left])
})

test('ps of a created container has its init', () => {
  const c = container()
  ok(c.create())
  assert.equal(pidsIn(c.id), [c.state().pid])
})

table('options behind the id are for ps', () => {
  const c = started()
  const { pid } = c.state()
  assert.match(rows(c, '-aux')[0]!, new RegExp(`^root +${pid} .* sleep 60$`))
  assert.match(rows(c, '-e', '-o', 'pid,args').join('\n'), new RegExp(`^ *${pid} sleep 60$`))
  assert.equal(rows(c, '-p', '1'), [])
})

table('the users of the table have the names that the host knows', () => {
  const c = started()
  assert.match(rows(c)[0]!, /^root /)
})

table('ps of a stopped container is a title', () => {
  const c = started(args('true'))
  c.until('stopped')
  assert.match(ok(runtime(['ps', c.id])).stdout, /^UID +PID .*\n$/)
})

table('options that leave no column PID are refused', () => {
  fails(runtime(['ps', started().id, '-eo', 'comm']), /PID/)
})

table('options that ps does not know are refused', () => {
  fails(runtime(['ps', started().id, '--nonsense']), /exit status 1.*unknown gnu long option/)
})

only('runt', 'a mistake in the options of ps is told in one line', () => {
  oneLine(fails(runtime(['ps', started().id, '--nonsense']), /ps --nonsense: exit status 1: error: unknown gnu long/))
})

only('runt', 'a ps that fails halfway is not believed', () => {
  const c = started()
  const { pid } = c.state()
  const folder = join(base, 'failing')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'ps'), '#!/bin/sh\nprintf "UID PID\\nroot 1"; echo "ps: no boot time" >&2; exit 1\n', {
    mode: 0o755,
  })
  const env = { PATH: `${folder}:${process.env.PATH}` }
  assert.match(ok(runtime(['ps', c.id], { env })).stdout, new RegExp(`^0 +${pid} .* sleep 60$`, 'm'))
  oneLine(fails(runtime(['ps', c.id, '-A'], { env }), /ps -A: exit status 1: ps: no boot time$/m))
})

only('runt', 'the format may stand behind the id', () => {
  const c = started()
  for (const words of [['-f', 'json'], ['--format', 'json'], ['--format=json']])
    assert.equal(JSON.parse(ok(runtime(['ps', c.id, ...words])).stdout), [c.state().pid])
})

only('runt', 'a host without ps has a table all the same, but no options', () => {
  const c = started()
  const folder = join(base, 'programs')
  mkdirSync(folder)
  symlinkSync(process.execPath, join(folder, 'node'))
  const env = { PATH: folder }
  const { stdout } = ok(runtime(['ps', c.id], { env }))
  assert.match(stdout, new RegExp(`^UID +PID PPID .*\\n0 +${c.state().pid} .* sleep 60\\n$`))
  oneLine(fails(runtime(['ps', c.id, '-aux'], { env }), /no program ps in \$PATH/))
  assert.equal(JSON.parse(ok(runtime(['ps', '-f', 'json', c.id], { env })).stdout), [c.state().pid])
})

run()
