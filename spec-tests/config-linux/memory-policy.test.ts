/** runtime-spec, config-linux.md: "Memory policy". */
import { existsSync } from 'node:fs'
import * as assert from 'uvu/assert'
import {
  type Config,
  container,
  run as execute,
  fails,
  heading,
  inside,
  needsFeature,
  ok,
  oneLine,
  STAYS,
  skip,
  started,
} from '../harness.ts'

const { test: plain, run } = heading('config-linux/memory-policy')

const test = (name: string, body: () => void): void =>
  plain(name, () => {
    needsFeature('memoryPolicy')
    body()
  })

const policy = (value: Record<string, unknown>) => (config: Config) => {
  config.linux.memoryPolicy = value
}
/** Whether the kernel is built with CONFIG_NUMA; user-mode Linux is not. */
const numa = existsSync('/proc/self/numa_maps')
const onNuma = (name: string, body: () => void): void =>
  test(name, () => {
    if (!numa) skip('the kernel has no memory policies (CONFIG_NUMA)')
    body()
  })

/** The policy of the program's stack, as numa_maps shows it. */
const SHOW = 'grep stack /proc/self/numa_maps | cut -d " " -f 2'

for (const [value, shown] of [
  [{ mode: 'MPOL_DEFAULT' }, 'default'],
  [{ mode: 'MPOL_BIND', nodes: '0' }, 'bind:0'],
  [{ mode: 'MPOL_INTERLEAVE', nodes: '0-0' }, 'interleave:0'],
  [{ mode: 'MPOL_PREFERRED', nodes: '0' }, 'prefer:0'],
  [{ mode: 'MPOL_LOCAL' }, 'local'],
  [{ mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_STATIC_NODES'] }, 'bind=static:0'],
  [{ mode: 'MPOL_INTERLEAVE', nodes: '0', flags: ['MPOL_F_RELATIVE_NODES'] }, 'interleave=relative:0'],
] as const)
  onNuma(`the policy ${shown} is set`, () => assert.is(inside(SHOW, policy(value)).trim(), shown))

onNuma('a process of exec has the policy too', () => {
  const c = started((config) => {
    config.process.args = ['sh', '-c', STAYS]
    config.linux.memoryPolicy = { mode: 'MPOL_BIND', nodes: '0' }
  })
  assert.is(ok(execute(['exec', c.id, 'sh', '-c', SHOW])).stdout.trim(), 'bind:0')
})

for (const [name, value, field] of [
  ['an unknown mode', { mode: 'MPOL_NO' }, /memoryPolicy\.mode/],
  ['an unknown flag', { mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_NO'] }, /memoryPolicy\.flags/],
  ['a mode without its nodes', { mode: 'MPOL_BIND' }, /memoryPolicy\.nodes/],
  ['nodes for a mode without', { mode: 'MPOL_DEFAULT', nodes: '0' }, /memoryPolicy\.nodes/],
  ['nodes that are no list', { mode: 'MPOL_BIND', nodes: '0-' }, /memoryPolicy\.nodes/],
  ['a node that cannot be', { mode: 'MPOL_BIND', nodes: '0-1024' }, /memoryPolicy\.nodes.*1024/],
] as const)
  test(`${name} is refused in one line`, () => oneLine(fails(container(policy(value)).run(), field)))

onNuma('a node that is not there is refused in one line', () => {
  const c = container(policy({ mode: 'MPOL_BIND', nodes: '1023' }))
  oneLine(fails(c.run(), /memoryPolicy.*(EINVAL|invalid)/i))
})

test('a kernel without memory policies refuses them in one line', () => {
  if (numa) skip('the kernel has memory policies')
  oneLine(fails(container(policy({ mode: 'MPOL_DEFAULT' })).run(), /memoryPolicy.*(CONFIG_NUMA|not implemented)/i))
})

run()
