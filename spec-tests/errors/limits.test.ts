/** A caller with hardly anything to spend: limits of its own and of its cgroup are reached, wherever that happens. */
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Container,
  container,
  execute,
  fails,
  heading,
  leavesNothing,
  ok,
  oneLine,
  type Result,
  skip,
  started,
  words,
} from '../harness.ts'
import { mounts, unified, waitFor } from '../host.ts'

const { test, only, run } = heading('errors/limits')

/** Runs a command under a limit as prlimit(1) takes it. Its output goes through a pipe, which no limit of files applies to. */
const under = (limit: string, args: readonly string[]): Result =>
  execute([
    'sh',
    '-c',
    'said=$(prlimit "$@" 2>&1 >/dev/null); status=$?; printf "%s\\n" "$said" >&2; exit $status',
    'sh',
    limit,
    ...words(args),
  ])

const creating = (c: Container): string[] => ['create', '--bundle', c.bundle.directory, c.id]

for (const [what, limit, meaning] of [
  ['no file may have a byte', '--fsize=0', /EFBIG .*ulimit -f/],
  ['files may have 600 bytes', '--fsize=600', /ulimit -f/],
  ['hardly a descriptor may be opened', '--nofile=8:8', /ulimit -n/],
  ['the stack is tiny', '--stack=16384', /ulimit -d -s -v/],
] as const)
  only('runt', `where ${what}, create says which limit it was, and leaves nothing`, () => {
    const c = container()
    const result = under(limit, creating(c))
    fails(result, meaning)
    oneLine(result)
    leavesNothing()
    ok(c.create())
  })

only('runt', 'where files may hardly have a byte, exec says which limit it was, and the container goes on', () => {
  const c = started()
  // The first leaves no room at all; the others for parts of what the process is executed from.
  for (const size of [0, 8, 600, 1500, 2000]) {
    const result = under(`--fsize=${size}`, ['exec', c.id, 'true'])
    fails(result, /executor: .*ulimit -f/)
    oneLine(result)
  }
  ok(execute(words(['exec', c.id, 'true'])))
  assert.is(c.status(), 'running')
})

/** A command in a cgroup of its own that takes `most` processes at a time. */
function withFew(most: number, args: readonly string[]): Result {
  const mount = mounts().find(({ type, superOptions }) =>
    unified ? type === 'cgroup2' : superOptions.includes('pids'),
  )
  if (mount === undefined) skip('this host has no pids controller')
  const folder = join(mount.target, `runt-few-${process.pid}`)
  mkdirSync(folder)
  try {
    if (!existsSync(join(folder, 'pids.max'))) skip('this host has no pids controller')
    writeFileSync(join(folder, 'pids.max'), String(most))
    return execute(['sh', '-c', 'echo 0 >"$0" && exec "$@"', join(folder, 'cgroup.procs'), ...words(args)])
  } finally {
    waitFor(() => {
      try {
        rmdirSync(folder)
        return true
      } catch {
        return false
      }
    }, 5000)
  }
}

for (const [most, who] of [
  [1, 'the brain'],
  [2, 'the stage'],
  [3, 'the init'],
] as const)
  only('runt', `where ${who} is one process too many, run says so and leaves nothing`, () => {
    if (most === 3 && unified) skip('with cgroup2 the init is born in its own cgroup, and counts there')
    const c = container()
    const result = withFew(most, ['run', '--bundle', c.bundle.directory, c.id])
    fails(result, /a limit of processes .*pids\.max/)
    oneLine(result)
    leavesNothing()
    ok(c.create())
  })

test('an exec for which there is no process left fails, and the container goes on', () => {
  const c = started()
  const result = withFew(2, ['exec', c.id, 'true'])
  fails(result)
  assert.is(c.status(), 'running')
  ok(c.delete('--force'))
  leavesNothing()
})

run()
