/** runtime-spec, runtime.md: "State" and "Query State". */
import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import * as assert from 'uvu/assert'
import { base, container, fails, heading, ok, run as runtime, skip, started } from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'

const { test, only, run } = heading('runtime/state')

test('the state of a created container has all the fields of the spec', () => {
  const c = container((config) => {
    config.annotations = { 'org.example.key': 'value', empty: '' }
  })
  ok(c.create())
  const state = c.state()
  assert.match(state.ociVersion, /^1\.\d+\.\d+/)
  assert.is(state.id, c.id)
  assert.is(state.status, 'created')
  assert.is(state.bundle, c.bundle.directory)
  assert.ok(isAlive(state.pid!))
  assert.is(state.annotations?.['org.example.key'], 'value')
  assert.is(state.annotations?.empty, '')
})

test('the state is one JSON object and stderr is empty', () => {
  const c = container()
  ok(c.create())
  const result = ok(runtime(['state', c.id]))
  assert.type(JSON.parse(result.stdout), 'object')
  assert.is(result.stderr, '')
})

test('the pid is the one of the container process as the host sees it', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', 'cut -d " " -f 1 /proc/self/stat; echo ready; sleep 60']
  })
  c.says(/ready/)
  assert.ok(isAlive(c.state().pid!))
})

test('the bundle is absolute also when it was given as a relative path', () => {
  const c = container()
  ok(runtime(['create', '--bundle', basename(c.bundle.directory), c.id], { cwd: base }))
  assert.is(c.state().bundle, c.bundle.directory)
})

test('the bundle is absolute also when it is the working directory', () => {
  const c = container()
  ok(runtime(['create', c.id], { cwd: c.bundle.directory }))
  assert.is(c.state().bundle, c.bundle.directory)
})

test('a bundle given through a symbolic link works', () => {
  const c = container()
  const link = join(base, 'c99999')
  symlinkSync(c.bundle.directory, link)
  ok(runtime(['create', '--bundle', link, c.id]))
  assert.ok([link, c.bundle.directory].includes(c.state().bundle))
})

test('the pid of a stopped container is 0 or absent', () => {
  const c = started((config) => {
    config.process.args = ['true']
  })
  c.until('stopped')
  assert.ok(!c.state().pid)
})

test('created, running and stopped follow each other', () => {
  const c = container()
  ok(c.create())
  const seen = [c.status()]
  ok(c.start())
  seen.push(c.status())
  ok(c.kill('KILL'))
  c.until('stopped')
  seen.push(c.status())
  assert.equal(seen, ['created', 'running', 'stopped'])
})

test('annotations stay in the state of a stopped container', () => {
  const c = started((config) => {
    config.process.args = ['true']
    config.annotations = { key: 'a "quoted"\nvalue, ünïcode' }
  })
  c.until('stopped')
  assert.is(c.state().annotations?.key, 'a "quoted"\nvalue, ünïcode')
})

only('runt', 'a container whose first thread has ended goes on as long as others do', () => {
  if (!existsSync('/usr/bin/python3')) skip('needs python3')
  // exit(2), not exit_group(2).
  const number = process.arch === 'arm64' ? 93 : 60
  const c = started((config) => {
    for (const folder of ['/usr', '/lib', '/lib64'])
      if (existsSync(folder))
        config.mounts.push({ destination: folder, source: folder, type: 'bind', options: ['rbind', 'ro'] })
    const program = `import ctypes, threading, time
threading.Thread(target=time.sleep, args=[1000]).start()
ctypes.CDLL(None).syscall(${number}, 0)`
    config.process.args = ['/usr/bin/python3', '-c', program]
  })
  const { pid } = c.state()
  assert.ok(
    waitFor(() => /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))),
    'the thread has not ended',
  )
  assert.equal([c.status(), c.state().pid], ['running', pid])
  assert.match(ok(runtime(['list'])).stdout, /running/)
  fails(c.delete())
  ok(c.kill('KILL'))
  c.until('stopped')
})

run()
