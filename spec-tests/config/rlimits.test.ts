/** runtime-spec, config.md: "POSIX process", rlimits; getrlimit(2). Limits are only lowered: raising needs CAP_SYS_RESOURCE. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { bundle, container, heading, inside, ok } from '../harness.ts'

const { test, run } = heading('config/rlimits')

/** The name in /proc/self/limits. */
const limits: Record<string, string> = {
  RLIMIT_AS: 'Max address space',
  RLIMIT_CORE: 'Max core file size',
  RLIMIT_CPU: 'Max cpu time',
  RLIMIT_DATA: 'Max data size',
  RLIMIT_FSIZE: 'Max file size',
  RLIMIT_LOCKS: 'Max file locks',
  RLIMIT_MEMLOCK: 'Max locked memory',
  RLIMIT_MSGQUEUE: 'Max msgqueue size',
  RLIMIT_NICE: 'Max nice priority',
  RLIMIT_NOFILE: 'Max open files',
  RLIMIT_NPROC: 'Max processes',
  RLIMIT_RSS: 'Max resident set',
  RLIMIT_RTPRIO: 'Max realtime priority',
  RLIMIT_RTTIME: 'Max realtime timeout',
  RLIMIT_SIGPENDING: 'Max pending signals',
  RLIMIT_STACK: 'Max stack size',
}
const values: Record<string, [soft: number, hard: number]> = {
  RLIMIT_AS: [1 << 30, 2 ** 31],
  RLIMIT_CORE: [0, 0],
  RLIMIT_NICE: [0, 0],
  RLIMIT_RTPRIO: [0, 0],
  RLIMIT_STACK: [1 << 20, 1 << 22],
  RLIMIT_MSGQUEUE: [4096, 8192],
  RLIMIT_DATA: [1 << 29, 1 << 30],
  RLIMIT_MEMLOCK: [4096, 8192],
  RLIMIT_FSIZE: [1 << 20, 1 << 21],
  RLIMIT_RTTIME: [1_000_000, 2_000_000],
}

function parse(text: string): Record<string, string[]> {
  return Object.fromEntries(
    text.split('\n').map((line) => [line.slice(0, 26).trim(), line.slice(26).trim().split(/\s+/)]),
  )
}

let found: Record<string, string[]> | undefined
function all(): Record<string, string[]> {
  found ??= parse(
    inside('cat /proc/self/limits', (config) => {
      config.process.rlimits = Object.keys(limits).map((type) => {
        const [soft, hard] = values[type] ?? [100, 200]
        return { type, soft, hard }
      })
    }),
  )
  return found
}

for (const [type, title] of Object.entries(limits)) {
  test(`${type} is set, soft and hard`, () => {
    const [soft, hard] = values[type] ?? [100, 200]
    assert.equal(all()[title]?.slice(0, 2), [String(soft), String(hard)])
  })
}

test('a limit of 2^64-1 is unlimited', () => {
  const made = bundle((config) => {
    config.process.rlimits = [{ type: 'RLIMIT_CPU', soft: 1234567, hard: 1234567 }]
    config.process.args = ['cat', '/proc/self/limits']
  })
  const path = join(made.directory, 'config.json')
  writeFileSync(path, readFileSync(path, 'utf8').replaceAll('1234567', '18446744073709551615'))
  assert.is(parse(ok(container(made).run()).stdout)['Max cpu time']?.[1], 'unlimited')
})

test('limits that the configuration does not name stay as they were', () => {
  const text = inside('cat /proc/self/limits', (config) => {
    config.process.rlimits = []
  })
  assert.is.not(parse(text)['Max open files']?.[0], '1024')
})

run()
