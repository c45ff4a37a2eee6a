/** `linux.memoryPolicy` (config-linux.md, "Memory policy"): from which NUMA nodes the process gets its memory. */
import { Struct } from '../base/bytes.ts'
import { numbersIn } from '../config/number-list.ts'
import type { MemoryPolicy } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import type { Batch } from '../session/batch.ts'

/** Plans set_mempolicy(2), for this process and what it becomes. */
export function planMemoryPolicy(b: Batch, policy: MemoryPolicy | undefined): void {
  if (!policy) return
  b.about('linux.memoryPolicy')
  const { mode, nodes, flags = [] } = policy
  const value = flags.reduce((sum, flag) => sum | k.MEMORY_POLICY_FLAGS[flag]!, k.MEMORY_POLICIES[mode]!)
  if (!nodes) {
    b.call('set_mempolicy', value, 0, 0)
    return
  }
  const mask = new Struct(k.NODES_MAX / 8).bytes
  for (const node of numbersIn(nodes)) mask[node >> 3]! |= 1 << (node & 7)
  // The kernel takes the number of bits for one more than it is.
  const shown = `${[mode, ...flags].join(' | ')}, nodes ${nodes}`
  b.call(
    'set_mempolicy',
    value,
    b.data(mask, () => `{${shown}}`),
    k.NODES_MAX + 1,
  )
}
