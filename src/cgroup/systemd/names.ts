/** Names of units, and where their cgroups lie (systemd.unit(5), systemd.slice(5)). */
import { RuntError } from '../../base/errors.ts'

/** A unit that is to be a container's cgroup. */
export interface UnitName {
  /** `runt-ID.scope`; or a slice, if the caller asks for one. */
  unit: string
  /** The slice that it lies in. */
  slice: string
}

/** What systemd accepts in the name of a unit, without the suffix. */
const VALID = /^[A-Za-z0-9:_.\\-]+$/
const LENGTH_MAX = 255

/**
 * The unit for `linux.cgroupsPath` of the form `slice:prefix:name`. Where there is none, or no slice in it, the defaults are
 * `prefix`, the id and `slice`. Throws a RuntError.
 */
export function unitOf(cgroupsPath: string | undefined, id: string, prefix: string, slice: string): UnitName {
  const parts = cgroupsPath ? cgroupsPath.split(':') : ['', prefix, id]
  // The words of runc, which engines know.
  if (parts.length !== 3)
    throw new RuntError(
      `linux.cgroupsPath: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got ${JSON.stringify(cgroupsPath)} instead`,
    )
  const [parent, front, name] = parts as [string, string, string]
  const field = cgroupsPath ? `linux.cgroupsPath (${cgroupsPath})` : `container ${id}`
  const unit = { unit: name.endsWith('.slice') ? name : `${front}-${name}.scope`, slice: parent || slice }
  slicePath(unit.slice, field)
  if (unit.unit.endsWith('.slice')) slicePath(unit.unit, field)
  else if (name === '' || !VALID.test(unit.unit) || unit.unit.length > LENGTH_MAX)
    throw new RuntError(
      `${field}: ${JSON.stringify(unit.unit)} is no name of a unit: systemd allows up to ${LENGTH_MAX} letters, digits and ":_.-\\"`,
    )
  return unit
}

/** The cgroup of a slice below that of its manager: `a-b.slice` is `/a.slice/a-b.slice`, the root slice `-.slice` nothing. */
function slicePath(slice: string, field: string): string {
  const stem = slice.slice(0, -'.slice'.length)
  if (!slice.endsWith('.slice') || !VALID.test(stem) || slice.length > LENGTH_MAX)
    throw new RuntError(`${field}: invalid slice name: ${JSON.stringify(slice)}`)
  if (stem === '-') return ''
  let path = ''
  let name = ''
  for (const part of stem.split('-')) {
    if (part === '') throw new RuntError(`${field}: invalid slice name: ${JSON.stringify(slice)}`)
    name += name === '' ? part : `-${part}`
    path += `/${name}.slice`
  }
  return path
}

/** The cgroup of a unit below that of its manager. */
export function unitPath({ unit, slice }: UnitName): string {
  return unit.endsWith('.slice') ? slicePath(unit, unit) : `${slicePath(slice, slice)}/${unit}`
}
