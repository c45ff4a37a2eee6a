/** Fields that the schema does not know. */
import { join } from './checks.ts'
import { names } from './generated/names.js'
import type { Config } from './types.ts'

/** What a part of config.json may hold: these fields, or the same in each item or value; null: anything. */
export type Names = { readonly fields: Readonly<Record<string, Names>> } | { readonly each: Names } | null

/** Sections of other platforms (config.md, "Platform-specific configuration"). */
const others = ['windows', 'solaris', 'vm', 'zos', 'freebsd']

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
