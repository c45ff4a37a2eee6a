/**
 * What rules about a config share: how a mistake names its field and its value, and the usual mistakes. Each check gives a mistake, or
 * undefined where there is none.
 */
import { rangesIn } from './number-list.ts'
import type { Config, Namespace, NamespaceType } from './types.ts'

/** A value for an error: as JSON, shortened. */
export function show(value: unknown): string {
  const text = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? 'undefined')
  return text.length > 80 ? `${text.slice(0, 76)} ...` : text
}

/** `a.b` for a name, `a["x.y"]` for any other key, `a[0]` for an index. */
export function join(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${key}]`
  if (!/^[A-Za-z_$][\w$-]*$/.test(key)) return `${path}[${JSON.stringify(key)}]`
  return path === '' ? key : `${path}.${key}`
}

/** `"a", "b"`. */
export function list(words: readonly string[]): string {
  return words.map((word) => JSON.stringify(word)).join(', ')
}

/** The first mistake among the items of an array that may be absent. */
export function first<T>(items: readonly T[] | undefined, check: (item: T, index: number) => string | undefined) {
  if (items === undefined) return undefined
  for (let index = 0; index < items.length; index++) {
    const mistake = check(items[index]!, index)
    if (mistake !== undefined) return mistake
  }
  return undefined
}

/** An entry with the type of an earlier one. */
export function duplicate(items: readonly { type: string }[] | undefined, path: string): string | undefined {
  if (items === undefined || items.length < 2) return undefined
  const seen = new Map<string, number>()
  return first(items, ({ type }, index) => {
    const earlier = seen.get(type)
    if (earlier !== undefined) return `${path}[${index}].type: ${show(type)} is there already, in ${path}[${earlier}]`
    seen.set(type, index)
    return undefined
  })
}

/** The entry for a type of namespace: without `path` it is a new one. */
export function namespace(config: Config, type: NamespaceType): Namespace | undefined {
  return config.linux?.namespaces?.find((entry) => entry.type === type)
}

/** A type of namespace in a sentence. */
export function withArticle(type: NamespaceType): string {
  return type === 'ipc' ? 'an ipc' : `a ${type}`
}

export function needsNamespace(config: Config, type: NamespaceType, path: string, value: unknown): string | undefined {
  if (namespace(config, type) !== undefined) return undefined
  return `${path}: ${show(value)} needs ${withArticle(type)} namespace in linux.namespaces`
}

export function range(path: string, value: number | undefined, low: number, high: number): string | undefined {
  if (value === undefined || (value >= low && value <= high)) return undefined
  return `${path}: ${show(value)} is not an integer from ${low} to ${high}`
}

export function absolute(path: string, value: string): string | undefined {
  return value.startsWith('/') ? undefined : `${path}: ${show(value)} is not an absolute path`
}

/** A list as cpuset(7) has it. `limit`: more than the largest number that the kernel can have. */
export function numberList(
  path: string,
  value: string | undefined,
  limit = Number.POSITIVE_INFINITY,
): string | undefined {
  if (value === undefined || value === '') return undefined
  const ranges = rangesIn(value)
  if (ranges === undefined) return `${path}: ${show(value)} is not a list of numbers and ranges such as "0-3,7"`
  const [, last] = ranges.find(([, end]) => end >= limit) ?? []
  return last === undefined ? undefined : `${path}: ${show(value)}: ${last} is not a number from 0 to ${limit - 1}`
}
