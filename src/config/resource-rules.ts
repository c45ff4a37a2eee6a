/** Rules about `linux.resources` (config-linux.md, "Control groups"). */
import { MAJOR_MAX, MINOR_MAX } from '../linux/constants.ts'
import { first, join, numberList, range, show } from './checks.ts'
import type { Resources } from './types.ts'

/** The first mistake, as `check` of a rule gives it. */
export function resourcesMistake(resources: Resources): string | undefined {
  const path = 'linux.resources'
  const { memory, cpu, blockIO } = resources
  const rules = first(resources.devices, ({ type, major, minor, access }, index) => {
    const field = `${path}.devices[${index}]`
    if (type && !/^[abc]$/.test(type)) return `${field}.type: ${show(type)} is not one of "a", "b", "c"`
    // Other letters mean nothing, as with runc and crun.
    if (access && !/[rwm]/.test(access)) return `${field}.access: ${show(access)} has none of "r", "w" and "m"`
    return range(`${field}.major`, major, -1, MAJOR_MAX) ?? range(`${field}.minor`, minor, -1, MINOR_MAX)
  })
  if (rules !== undefined) return rules
  if (memory?.swappiness !== undefined && memory.swappiness > 100) {
    return `${path}.memory.swappiness: ${show(memory.swappiness)} is not an integer from 0 to 100`
  }
  const bursts = cpu?.burst !== undefined && cpu.quota !== undefined && cpu.quota > 0 && cpu.burst > cpu.quota
  if (bursts)
    return `${path}.cpu.burst: ${show(cpu.burst)} is larger than linux.resources.cpu.quota, ${show(cpu.quota)}`
  const lists = numberList(`${path}.cpu.cpus`, cpu?.cpus) ?? numberList(`${path}.cpu.mems`, cpu?.mems)
  if (lists !== undefined) return lists
  const weights = first(blockIO?.weightDevice, ({ weight, leafWeight }, index) => {
    if (weight !== undefined || leafWeight !== undefined) return undefined
    return `${path}.blockIO.weightDevice[${index}]: needs weight or leafWeight`
  })
  if (weights !== undefined) return weights
  const pages = first(resources.hugepageLimits, ({ pageSize }, index) => {
    if (/^[1-9]\d*[KMG]B$/.test(pageSize)) return undefined
    return `${path}.hugepageLimits[${index}].pageSize: ${show(pageSize)} is not a size such as "2MB"`
  })
  if (pages !== undefined) return pages
  for (const [device, { hcaHandles, hcaObjects }] of Object.entries(resources.rdma ?? {})) {
    if (hcaHandles === undefined && hcaObjects === undefined) {
      return `${join(`${path}.rdma`, device)}: needs hcaHandles or hcaObjects`
    }
  }
  for (const key of Object.keys(resources.unified ?? {})) {
    // A path would leave the container's cgroup.
    if (key === '' || key === '.' || key === '..' || key.includes('/')) {
      return `${join(`${path}.unified`, key)}: not the name of a file in a cgroup`
    }
  }
  return undefined
}
