/** The limits of `linux.resources`, written to the files of a cgroup. */
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { DeviceRule, Resources } from '../config/types.ts'
import { AT_FDCWD, O_WRONLY } from '../linux/constants.ts'
import type { Batch } from '../session/batch.ts'
import { close, openat, write } from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import { Train } from '../session/train.ts'
import { type Aside, placeAside } from './aside.ts'
import { allowsAll, deviceProgram, planDeviceLines, planDevices, planReplaceDevices } from './devices.ts'
import { type CgroupPaths, folderOf, folderPath } from './layout.ts'
import { planWrites, type Write } from './table.ts'

/** The writes that the resources need here. Throws a RuntError for what this host cannot have at all. */
export function writesFor(paths: CgroupPaths, resources: Resources, ignored: string[], whole = resources): Write[] {
  if (resources.unified && Object.keys(resources.unified).length > 0 && paths.mode !== 'v2')
    throw new RuntError('linux.resources.unified: the controllers of this host are not on cgroup v2')
  const writes = planWrites(resources, (controller) => folderOf(paths, controller)?.version ?? 1, ignored, whole)
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
    const aside: Aside = []
    for (const item of writes.slice(start, start + CHUNK)) planLimit(b, aside, paths, item, writes)
    placeAside(b, aside)
  }
}

function planLimit(b: Batch, aside: Aside, paths: CgroupPaths, item: Write, others: readonly Write[]): void {
  const folder = folderOf(paths, item.controller)!
  const done = b.label()
  const partner = folder.version === 1 ? others.find(({ field }) => field === item.partner) : undefined
  item.files.forEach(({ name, content }, index) => {
    const path = `${folderPath(folder)}/${name}`
    const about = `linux.resources.${item.field}: ${content} written to ${path}`
    const last = index === item.files.length - 1
    const absent = last && item.optional ? done : b.label()
    b.about(about)
    const fd = openat(b, AT_FDCWD, path, O_WRONLY).on(['ENOENT'], absent)
    const written = write(b, fd, content)
    close(b, fd)
    if (partner) {
      const refused = b.label()
      written.on(['EINVAL'], refused)
      aside.push(() => {
        b.place(refused)
        planLimit(b, aside, paths, partner, [])
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
      aside.push(() => {
        b.place(absent)
        b.about(`${about}: the ${item.controller} controller has no such file there`)
        b.fail('ENOENT')
      })
  })
  b.place(done)
}

/** What a cgroup may have of device rules when new ones are planned: it is new; it may have been somebody's; it has some. */
export type Attached = 'none' | 'leftovers' | 'rules'

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
  const b = train.next('cgroup')
  if (folder.version === 1) planDeviceLines(b, folder, rules)
  else if (attached !== 'none') planReplaceDevices(b, path, deviceProgram(rules), optional)
  else if (!optional) planDevices(b, path, deviceProgram(rules))
  return true
}

/** `Driver.update` on files alone. */
export function updateLimits(
  host: Session,
  machine: Machine,
  paths: CgroupPaths,
  change: Resources,
  whole: Resources,
): readonly string[] {
  const ignored: string[] = []
  const train = new Train(host, machine)
  planLimits(train, paths, writesFor(paths, change, ignored, whole))
  if (change.devices?.length && !planDeviceRules(train, paths, change.devices, 'rules'))
    throw new RuntError('linux.resources.devices: no devices hierarchy is mounted')
  host.wait(train.depart())
  return ignored
}
