import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const src = dirname(fileURLToPath(import.meta.url))

/** docs/design.md, section 3. */
const ranks: Record<string, number> = {
  base: 0,
  linux: 1,
  executor: 2,
  session: 3,
  config: 3,
  dbus: 4,
  seccomp: 4,
  cgroup: 5,
  container: 6,
  cli: 7,
  'engine-node': 8,
  'engine-quickjs': 8,
}
const engineFree = Object.keys(ranks).filter((room) => ranks[room]! < 8)

function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    if (statSync(path).isDirectory()) return name === 'testing' ? [] : sources(path)
    return /\.ts$/.test(name) && !/\.test\.ts$/.test(name) ? [path] : []
  })
}

function imports(path: string): string[] {
  const text = readFileSync(path, 'utf8')
  return [...text.matchAll(/^\s*(?:import\s*|(?:import|export)\s[^'"`;=]*?from\s*)'([^']+)'/gm)].map(
    (match) => match[1]!,
  )
}

test('every room has a rank', () => {
  const rooms = readdirSync(src).filter((name) => statSync(join(src, name)).isDirectory())
  assert.equal(
    rooms.filter((room) => !(room in ranks)),
    [],
  )
})

test('a room imports from itself and from lower ranks only', () => {
  const wrong: string[] = []
  for (const path of sources(src)) {
    const room = relative(src, path).split('/')[0]!
    for (const target of imports(path)) {
      if (!target.startsWith('.')) continue
      const other = relative(src, resolve(dirname(path), target)).split('/')[0]!
      if (!(room in ranks) || !(other in ranks) || room === other) continue
      if (ranks[other]! >= ranks[room]!) wrong.push(`${relative(src, path)} imports ${target}`)
    }
  }
  assert.equal(wrong, [])
})

test('engine-free rooms import nothing of an engine and use none of its globals', () => {
  const wrong: string[] = []
  for (const room of engineFree) {
    for (const path of sources(join(src, room))) {
      for (const target of imports(path)) {
        if (target.startsWith('.')) continue
        if (room === 'cli' && target === 'commander') continue
        wrong.push(`${relative(src, path)} imports ${target}`)
      }
      const code = readFileSync(path, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*|'[^'\n]*'|`[^`]*`/g, '')
      const found =
        /(?<![\w.])(process|Buffer|console|setTimeout|TextEncoder|TextDecoder|require|globalThis)\s*[.(]/.exec(code)
      if (found) wrong.push(`${relative(src, path)} uses ${found[1]}`)
    }
  }
  assert.equal(wrong, [])
})

test.run()
