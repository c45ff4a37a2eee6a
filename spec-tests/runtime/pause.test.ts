/** pause and resume: not in runtime-spec; as runc has them. */
import { readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Container,
  cgroupRoot,
  container,
  fails,
  heading,
  leavesNothing,
  manager,
  ok,
  oneLine,
  run as runtime,
  started,
} from '../harness.ts'
import { cgroupDirectories, cgroupDirectory, groupOf, processesOf, sleep, unified, waitFor } from '../host.ts'

const { test, run } = heading('runtime/pause')

/** A started container that is paused. */
function paused(script = 'while :; do echo x; sleep 0.02; done'): Container {
  const c = started((config) => {
    config.process.args = ['sh', '-c', script]
  })
  ok(runtime(['pause', c.id]), 'pause')
  return c
}

function refused(words: string[], message: RegExp): void {
  const result = fails(runtime(words), message)
  oneLine(result)
}

test('when pause returns, nothing in the container runs any more', () => {
  const c = paused()
  const before = c.output().length
  sleep(200)
  assert.is(c.output().length, before)
  assert.is(c.status(), 'paused')
  assert.ok(c.state().pid! > 0)
})

test('processes in control groups below are paused too', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'while :; do echo x; sleep 0.02; done']
  })
  const directory = cgroupDirectory('freezer', c.bundle.config.linux.cgroupsPath)!
  ok(runtime(['pause', c.id]))
  const file = join(directory, unified ? 'cgroup.events' : 'freezer.state')
  assert.match(readFileSync(file, 'utf8'), unified ? /^frozen 1$/m : /^FROZEN/)
  ok(runtime(['resume', c.id]))
  assert.match(readFileSync(file, 'utf8'), unified ? /^frozen 0$/m : /^THAWED/)
})

test('a paused container cannot be paused', () => {
  refused(['pause', paused().id], /not running|paused/)
})

test('a stopped container cannot be paused', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  refused(['pause', c.id], /not running|stopped/)
})

test('a running container cannot be resumed', () => {
  refused(['resume', started().id], /not paused|running/)
})

test('a stopped container cannot be resumed', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  refused(['resume', c.id], /not paused|stopped/)
})

test('pause and resume of a container that does not exist fail', () => {
  refused(['pause', 'nobody'], /does not exist/)
  refused(['resume', 'nobody'], /does not exist/)
})

test('a created container can be paused, and started once it is resumed', () => {
  const c = container((config) => {
    config.process.args = ['sh', '-c', 'echo started; sleep 60']
  })
  ok(c.create())
  ok(runtime(['pause', c.id]))
  assert.is(c.status(), 'paused')
  fails(c.start(), /paused/)
  ok(runtime(['resume', c.id]))
  assert.is(c.status(), 'created')
  ok(c.start())
  c.says(/started/)
})

test('exec in a paused container fails, with --ignore-paused it waits for resume', () => {
  const c = paused()
  fails(runtime(['exec', c.id, 'true']), /paused/)
})

test('a paused container cannot be deleted without --force', () => {
  const c = paused()
  fails(c.delete(), /paused/)
  assert.is(c.status(), 'paused')
})

test('delete --force ends a paused container with many processes', () => {
  const c = paused('for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait')
  ok(c.delete('--force'))
  leavesNothing()
})

test('kill KILL ends a paused container', () => {
  const c = paused()
  ok(c.kill('KILL'))
  c.until('stopped')
})

test('kill --all KILL ends a paused container', () => {
  const c = paused('sleep 60 & wait')
  ok(c.kill('--all', 'KILL'))
  c.until('stopped')
})

test('another signal is taken when the container is resumed', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'trap "echo term; exit 0" TERM; echo ready; while :; do sleep 0.05; done']
  })
  c.says(/ready/)
  ok(runtime(['pause', c.id]))
  ok(c.kill('TERM'))
  assert.is(c.status(), 'paused')
  ok(runtime(['resume', c.id]))
  c.says(/term/)
  c.until('stopped')
})

test('list says that a container is paused', () => {
  const c = paused()
  const [row] = JSON.parse(ok(runtime(['list', '--format', 'json'])).stdout) as { id: string; status: string }[]
  assert.equal([row!.id, row!.status], [c.id, 'paused'])
})

test('a container whose parent control group is frozen cannot be resumed by itself, and the error says why', () => {
  const c = started((config) => {
    if (manager !== 'systemd') config.linux.cgroupsPath += '/pod/leaf'
  })
  const parent = dirname(groupOf(c.bundle.config.linux.cgroupsPath))
  const pod = cgroupDirectory('freezer', parent)!
  ok(runtime(['pause', c.id]))
  const file = join(pod, unified ? 'cgroup.freeze' : 'freezer.state')
  writeFileSync(file, unified ? '1' : 'FROZEN')
  try {
    const result = fails(runtime(['resume', c.id]), /frozen/)
    assert.ok(result.stderr.includes(parent), result.stderr)
  } finally {
    writeFileSync(file, unified ? '0' : 'THAWED')
  }
  ok(c.delete('--force'))
  if (manager === 'systemd') return
  for (const path of [parent, `${cgroupRoot}/${c.bundle.name}`])
    for (const directory of cgroupDirectories(path)) rmdirSync(directory)
})

test('processes that fork all the time are killed with their container', () => {
  const c = started((config) => {
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid')
    config.linux.resources = { ...config.linux.resources, pids: { limit: 300 } }
    config.process.args = [
      'sh',
      '-c',
      'for n in 1 2 3 4; do (i=0; while [ $i -lt 3000 ]; do sleep 0.01 & i=$((i+1)); done) 2>/dev/null & done; echo ready; wait',
    ]
  })
  c.says(/ready/)
  ok(c.delete('--force'))
  assert.ok(waitFor(() => processesOf('-', groupOf(c.bundle.config.linux.cgroupsPath), '/nowhere').length === 0))
})

run()
