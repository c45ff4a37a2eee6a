/** Whether what was read from a state.json has the shape of a state. A damaged one must not be taken for orders. */
import type { Saved } from './state.ts'

type Check = (value: unknown) => boolean

const text: Check = (value) => typeof value === 'string'
const flag: Check = (value) => typeof value === 'boolean'
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0
/** Absolute, and nowhere back up: cgroups are removed by it. */
const path: Check = (value) =>
  typeof value === 'string' && value.startsWith('/') && !value.includes('\0') && !`${value}/`.includes('/../')

const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)

const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check)

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const shape = (fields: Readonly<Record<string, Check>>): Check => {
  const entries = Object.entries(fields)
  return (value) => isObject(value) && entries.every(([name, check]) => check(value[name]))
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

const fields: Readonly<Partial<Record<keyof Saved, Check>>> = {
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
  cgroup: (value) => value === null || cgroup(value),
  keyring: flag,
  program: text,
  sharesPids: optional(flag),
  hooks: optional(shape({ poststart: listOf(hook), poststop: listOf(hook) })),
  seccompAgent: optional(shape({ path: text, metadata: optional(text) })),
  served: optional(shape({ home: (value) => value === null || text(value) })),
  rdt: optional(shape({ joined: listOf(path), made: listOf(path) })),
  stack: optional(shape({ rootfs: path, on: count, root: optional(count) })),
}

const entries = Object.entries(fields)

/** Name of the first field that is not as `create` writes it; undefined if all are. */
export function wrongField(value: unknown): string | undefined {
  if (!isObject(value)) return 'the object'
  return entries.find(([name, check]) => !check(value[name]))?.[0]
}
