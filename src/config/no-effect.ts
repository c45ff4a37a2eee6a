/** What of a config has no effect, and is no error either. */
import { join } from './checks.ts'
import { names } from './generated/names.js'
import type { Config } from './types.ts'

/** What a part of config.json may hold: these fields, or the same in each item or value; null: anything. */
export type Names = { readonly fields: Readonly<Record<string, Names>> } | { readonly each: Names } | null

/** Sections of other platforms (config.md, "Platform-specific configuration"). */
const others = ['windows', 'solaris', 'vm', 'zos', 'freebsd']

/** A sentence for each thing in a config that has no effect. To look for them takes time: it is for who wants to know. */
export function withoutEffect(config: Config): string[] {
  const unknown = unknownFields(config).map((field) => `${field}: not a field that runt knows; it has no effect`)
  const { ambient = [], inheritable = [], permitted = [] } = config.process.capabilities ?? {}
  const vain = ambient.filter((name) => !inheritable.includes(name) || !permitted.includes(name))
  if (vain.length === 0) return unknown
  // buildah writes such configs, and no runtime fails.
  const names = vain.join(', ')
  return [...unknown, `process.capabilities.ambient: ${names}: no effect on what is not inheritable and permitted too`]
}

/**
 * Fields that mean nothing to runt, such as `linux.resorces`. To pass them over is what runtime-spec wants (config.md, "Extensibility"),
 * for they may be of a later version; but they may be misspelled too, and then something is missing that was asked for.
 */
export function unknownFields(config: Config): string[] {
  return unknownIn(config, names, '').filter((field) => !others.includes(field))
}

function unknownIn(value: unknown, known: Names, path: string): string[] {
  if (known === null || typeof value !== 'object' || value === null) return []
  const entries: [string | number, unknown][] = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  return entries.flatMap(([key, item]) => {
    const field = join(path, key)
    if ('each' in known) return unknownIn(item, known.each, field)
    return Object.hasOwn(known.fields, key) ? unknownIn(item, known.fields[key]!, field) : [field]
  })
}
