/** Whether what was read from a state.json has the shape of a state. A damaged one must not be taken for orders. */
import type { Saved, Shown } from './state.ts'

type Check = (value: unknown) => boolean

// A state has a hundred values, and each command checks them: plain loops, and few calls.
const text: Check = (value) => typeof value === 'string'
const flag: Check = (value) => typeof value === 'boolean'
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0
/** Absolute, and nowhere back up: cgroups are removed by it. */
const path: Check = (value) =>
  typeof value === 'string' &&
  value[0] === '/' &&
  !value.includes('\0') &&
  !(value.includes('/..') && `${value}/`.includes('/../'))

const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)

const listOf =
  (check: Check): Check =>
  (value) => {
    if (!Array.isArray(value)) return false
    for (let index = 0; index < value.length; index++) if (!check(value[index])) return false
    return true
  }

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const shape = (fields: Readonly<Record<string, Check>>): Check => {
  const wrong = wrongIn(fields)
  return (value) => isObject(value) && wrong(value) === undefined
}

/** Gives the name of the first field that is not as it should be. */
function wrongIn(fields: Readonly<Record<string, Check>>): (value: Record<string, unknown>) => string | undefined {
  const names = Object.keys(fields)
  const checks = Object.values(fields)
  return (value) => {
    for (let index = 0; index < names.length; index++) if (!checks[index]!(value[names[index]!])) return names[index]
    return undefined
  }
}

const hook = shape({ path, args: optional(listOf(text)), env: optional(listOf(text)), timeout: optional(count) })

const folder = shape({
  version: (value) => value === 1 || value === 2,
  controllers: listOf(text),
  mountpoint: path,
  path: (value) => path(value) && value !== '/',
})

const texts: Check = (value) => isObject(value) && Object.values(value).every(text)

const unit = shape({
  unit: (value) => typeof value === 'string' && /^[^/]+\.(scope|slice)$/.test(value),
  slice: text,
  description: text,
  user: flag,
  buses: listOf(shape({ name: text, socket: text, direct: flag })),
  properties: texts,
})

const cgroup = shape({ mode: text, folders: listOf(folder), systemd: optional(unit) })

/** In the order in which `create` writes them: what others see, then what is for runt only. */
const shown: Readonly<Record<keyof Shown | 'format', Check>> = {
  format: (value) => value === 1,
  ociVersion: text,
  id: text,
  pid: count,
  startTime: text,
  bundle: path,
  rootfs: path,
  created: text,
  annotations: texts,
  owner: count,
  freezer: (value) => value === null || path(value),
}
const own: Readonly<Partial<Record<keyof Saved, Check>>> = {
  cgroup: (value) => value === null || cgroup(value),
  keyring: flag,
  program: text,
  checked: optional(text),
  sharesPids: optional(flag),
  hooks: optional(shape({ poststart: listOf(hook), poststop: listOf(hook) })),
  seccompAgent: optional(shape({ path: text, metadata: optional(text) })),
  served: optional(shape({ home: (value) => value === null || text(value) })),
  rdt: optional(shape({ joined: listOf(path), made: listOf(path) })),
  filter: optional(count),
  stack: optional(shape({ rootfs: path, on: count, root: optional(count) })),
}

// Earlier versions did not write `freezer`.
const wrongInAll = wrongIn({ ...shown, freezer: optional(shown.freezer), ...own })
const wrongInShown = wrongIn(shown)

/** Name of the first field that is not as `create` writes it; undefined if all are. */
export function wrongField(value: unknown): string | undefined {
  return isObject(value) ? wrongInAll(value) : 'the object'
}

/** Where in a state the rest begins. Within a string its quotes would have backslashes. */
const REST = ',"cgroup":'

/**
 * What others may see, by the first bytes of a state: a tenth of the work of reading all of it. Null if they don't look as `create`
 * writes them, or are too few.
 */
export function glimpse(start: string): Shown | null {
  const end = start.indexOf(REST)
  if (end < 0) return null
  try {
    const value: unknown = JSON.parse(`${start.slice(0, end)}}`)
    return isObject(value) && wrongInShown(value) === undefined ? (value as unknown as Shown) : null
  } catch {
    return null
  }
}
