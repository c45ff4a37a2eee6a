/** The limits of `linux.resources`, written to the files of a cgroup. */
import { RuntError } from '../base/errors.ts'
import type { DeviceRule, Resources } from '../config/types.ts'
import { AT_FDCWD, O_RDONLY, O_WRONLY } from '../linux/constants.ts'
import { type Batch, load } from '../session/batch.ts'
import { close, openat, read, write, writeFile } from '../session/calls.ts'
import type { Train } from '../session/train.ts'
import { type ColdPaths, explainErrnos, placeColdPaths } from './cold-paths.ts'
import { allowsAll, deviceProgram, planDeviceLines, planDevices, planReplaceDevices } from './devices.ts'
import { ancestors, type CgroupFolder, type CgroupPaths, folderOf, folderPath } from './layout.ts'
import { planWrites, type Write } from './table.ts'

/** The writes that the resources need on this host. Throws a RuntError for what it cannot have at all. */
export function writesFor(paths: CgroupPaths, resources: Resources, ignored: string[], whole = resources): Write[] {
  if (resources.unified && Object.keys(resources.unified).length > 0 && paths.mode !== 'v2')
    throw new RuntError('linux.resources.unified: the controllers of this host are not on cgroup v2')
  const version = (controller: string): 1 | 2 => (paths.mode === 'v2' ? 2 : (folderOf(paths, controller)?.version ?? 1))
  const writes = planWrites(resources, version, ignored, whole)
  return writes.filter(({ field, controller, optional }) => {
    if (folderOf(paths, controller)) return true
    if (!optional)
      throw new RuntError(`linux.resources.${field}: no cgroup hierarchy with the ${controller} controller is mounted`)
    return false
  })
}

/** Limits that one batch takes at most; each is some hundred bytes. */
const CHUNK = 64

/** Plans the writes. In the order given, for the kernel checks some against others. */
export function planLimits(train: Train, paths: CgroupPaths, writes: readonly Write[]): void {
  for (let start = 0; start < writes.length; start += CHUNK) {
    const b = train.next('cgroup')
    const cold: ColdPaths = []
    for (const item of writes.slice(start, start + CHUNK)) planLimit(b, cold, paths, item, writes)
    placeColdPaths(b, cold)
  }
}

function planLimit(b: Batch, cold: ColdPaths, paths: CgroupPaths, item: Write, others: readonly Write[]): void {
  const folder = folderOf(paths, item.controller)!
  const done = b.label()
  const partner = item.partner === undefined ? undefined : others.find(({ field }) => field === item.partner)
  item.files.forEach(({ name, content }, index) => {
    const path = `${folderPath(folder)}/${name}`
    const about = `linux.resources.${item.field}: ${content} written to ${path}`
    const last = index === item.files.length - 1
    const absent = last && item.optional ? done : b.label()
    b.about(about)
    const fd = openat(b, AT_FDCWD, path, O_WRONLY).on(['ENOENT'], absent)
    const written = write(b, fd, content)
    close(b, fd)
    if (item.reasons) explainErrnos(b, cold, written, item.reasons, (reason) => `${about}: ${reason}`)
    if (item.field === REALTIME) {
      const refused = b.label()
      written.on(['EINVAL'], refused)
      const period = others.find(({ field }) => field === 'cpu.realtimePeriod')?.files[0]?.content
      cold.push(() => {
        b.place(refused)
        giveRealtime(b, folder, content, period)
        b.about(about)
        const again = openat(b, AT_FDCWD, path, O_WRONLY)
        write(b, again, content)
        close(b, again)
        b.jump(done)
      })
    }
    if (partner) {
      const refused = b.label()
      written.on(['EINVAL'], refused)
      cold.push(() => {
        b.place(refused)
        planLimit(b, cold, paths, partner, [])
        b.about(about)
        write(b, fd, content)
        close(b, fd)
        b.jump(done)
      })
    }
    if (!last) {
      b.jump(done)
      b.place(absent)
    } else if (!item.optional)
      cold.push(() => {
        b.place(absent)
        b.about(`${about}: ${whyAbsent(item, folder)}`)
        b.fail('ENOENT')
      })
  })
  b.place(done)
}

const WEIGHTS_ABSENT = ': weights of disks take the module bfq, or on cgroup v2 a kernel with CONFIG_BLK_CGROUP_IOCOST'

/** Why a file is missing, for the error. */
function whyAbsent({ controller, field }: Write, { version, mountpoint, path }: CgroupFolder): string {
  const weights = /^blockIO\..*weight$/.test(field) ? WEIGHTS_ABSENT : ''
  const missing = `the ${controller} controller has no such file there${weights}`
  if (version === 1 || field.startsWith('unified')) return missing
  const parent = mountpoint + path.slice(0, path.lastIndexOf('/'))
  const delegated = /\/user@\d+\.service\//.test(path) ? ' (Delegate= of user@.service gives it to users)' : ''
  return `${missing}; unless ${parent}/cgroup.subtree_control lists ${controller}, no cgroup below has it${delegated}`
}

/** "0\n" as the little-endian word that reading it into a buffer of zeros gives. */
const ZERO_LINE = 0x0a30
const REALTIME = 'cpu.realtimeRuntime'

/**
 * Plans to give realtime to the cgroups above: a new one has none, and a cgroup can pass on no more than it has
 * (Documentation/scheduler/sched-rt-group.rst). Those with none get as much as the container asks for.
 */
function giveRealtime(b: Batch, { mountpoint, path }: CgroupFolder, runtime: string, period: string | undefined): void {
  const buffer = b.out(8)
  for (const parent of ancestors(path)) {
    const next = b.label()
    const folder = mountpoint + parent
    b.about(`linux.resources.${REALTIME}: ${runtime} written to ${folder}`)
    b.store(64, buffer, 0)
    read(b, openat(b, AT_FDCWD, `${folder}/cpu.rt_runtime_us`, O_RDONLY), buffer)
    b.branch(load(buffer, 32), 'NOT_EQUAL', ZERO_LINE, next)
    if (period !== undefined) writeFile(b, AT_FDCWD, `${folder}/cpu.rt_period_us`, period)
    writeFile(b, AT_FDCWD, `${folder}/cpu.rt_runtime_us`, runtime)
    b.place(next)
  }
}

/** Device rules that a cgroup may have already: `none`, it is new; `leftovers`, it may have been somebody's; `rules`, it has some. */
export type Attached = 'none' | 'leftovers' | 'rules'

const LONG_PROGRAM = 0x4000

/** Plans the device rules. False if there is no hierarchy for them. */
export function planDeviceRules(
  train: Train,
  paths: CgroupPaths,
  rules: readonly DeviceRule[],
  attached: Attached,
): boolean {
  const folder = folderOf(paths, 'devices')
  if (!folder) return false
  const path = folderPath(folder)
  // Without a program all is allowed. That also works where the kernel or a container around runt forbids BPF.
  const optional = attached !== 'rules' && allowsAll(rules)
  if (folder.version === 1) planDeviceLines(train, folder, rules)
  else if (attached !== 'none' || !optional) {
    const program = deviceProgram(rules)
    // A long program has a message to itself.
    if (program.length > LONG_PROGRAM) train.dispatch()
    const b = train.next('cgroup')
    if (attached === 'none') planDevices(b, path, program)
    else planReplaceDevices(b, path, program, optional)
  }
  return true
}
