import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseJson, stringifyJson } from '../../base/json.ts'

const folder = join(dirname(fileURLToPath(import.meta.url)), 'good')

/** The configs of testing/good by name: what engines write, and `complete`, which has every field of the spec. */
export const samples: ReadonlyMap<string, string> = new Map(
  readdirSync(folder).map((name) => [name.replace('.json', ''), readFileSync(join(folder, name), 'utf8')]),
)

/** The text of a sample with values changed, by path as `patch` has them. */
export function changed(name: string, changes: Record<string, unknown>): string {
  const config = parseJson(samples.get(name)!, name)
  for (const [path, value] of Object.entries(changes)) patch(config, path, value)
  return stringifyJson(config)
}

/** Sets the value at a path such as `linux.devices[0].type` (undefined deletes it); parents must exist. */
function patch(config: unknown, path: string, value: unknown): void {
  const keys = [...path.matchAll(/\["([^"]+)"\]|\[(\d+)\]|([^.[\]]+)/g)].map((key) => key[1] ?? key[2] ?? key[3]!)
  const last = keys.pop()!
  const parent = keys.reduce((node, key) => (node as Record<string, unknown>)[key], config) as Record<string, unknown>
  if (value === undefined) delete parent[last]
  else parent[last] = value
}

const written = join(dirname(fileURLToPath(import.meta.url)), 'engines')

/** The files of testing/engines by name: what engines wrote; see the README there. `*-process` are for `exec --process`. */
export const engineSamples: ReadonlyMap<string, string> = new Map(
  readdirSync(written)
    .filter((name) => name.endsWith('.json'))
    .map((name) => [name.replace('.json', ''), readFileSync(join(written, name), 'utf8')]),
)
