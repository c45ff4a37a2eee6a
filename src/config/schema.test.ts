/**
 * The compiled validators against two judges: ajv on our own schemas (the compiled code must decide the same), and the
 * schema that the runtime-spec publishes (what it refuses we refuse, but for the differences listed here).
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from '../base/errors.ts'
import { parseJson, stringifyJson } from '../base/json.ts'
import { validate } from './generated/config.js'
import { schemaMistakes } from './testing/mistakes.ts'
import { changed, engineSamples, samples } from './testing/samples.ts'
import { readConfig } from './validate.ts'

const here = dirname(fileURLToPath(import.meta.url))
const OWN = join(here, '../../schema')
const GENERATED = join(here, 'generated')
/** Debian's golang-github-opencontainers-specs-dev. Bookworm has runtime-spec 1.1-rc. */
const OFFICIAL = '/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema'
const MUTATIONS = 2000

function load(folder: string, entry: string): ValidateFunction {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    strict: false,
    validateSchema: false,
    meta: false,
    logger: false,
  })
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.json'))) {
    const schema = JSON.parse(readFileSync(join(folder, name), 'utf8'))
    delete schema.$schema
    ajv.addSchema(schema, schema.$id === undefined ? name : undefined)
  }
  return ajv.getSchema(entry)!
}

/** Without nulls, which are absent to us; and for ajv, which knows no bigints, without those. */
function plain(value: unknown, bigints = false): unknown {
  if (typeof value === 'bigint' && !bigints) return Number(value)
  if (Array.isArray(value)) return value.map((item) => plain(item, bigints))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => (item === null ? [] : [[key, plain(item, bigints)]])),
  )
}

/** Where the official schema refuses and we do not, and why. Paths are JSON pointers. */
const accepted: { path: RegExp; keyword?: string; data?: RegExp; why: string }[] = [
  { path: /^\/(windows|solaris|vm|zos|freebsd)\b/, why: 'sections of other platforms are not looked at' },
  {
    path: /^\/linux\/namespaces\/\d+\/type$/,
    keyword: 'enum',
    data: /^time$/,
    why: 'time namespaces are newer than 1.1-rc',
  },
  { path: /^\/linux\/devices\/\d+\/fileMode$/, keyword: 'maximum', why: 'podman sends the type bits of st_mode along' },
  {
    path: /^\/linux\/rootfsPropagation$/,
    keyword: 'enum',
    data: /^(r(shared|slave|private|unbindable))?$/,
    why: 'dockerd and podman send "rprivate" and its like, Go an empty string',
  },
  { path: /^\/linux\/resources\/pids$/, keyword: 'required', why: 'config-linux.md of 1.3 says OPTIONAL' },
  { path: /^\/linux\/seccomp$/, keyword: 'required', why: 'Go writes an unset seccomp section as {}' },
  {
    path: /^\/linux\/seccomp\/defaultAction$/,
    keyword: 'enum',
    data: /^$/,
    why: 'Go writes an unset seccomp section with an empty action',
  },
  {
    path: /^\/linux\/seccomp\/architectures\/\d+$/,
    keyword: 'enum',
    data: /^SCMP_ARCH_(LOONGARCH64|M68K|SH|SHEB|RISCV64)$/,
    why: 'libseccomp 2.6 knows more machines than 1.1-rc',
  },
  {
    path: /^\/linux\/seccomp\/flags\/\d+$/,
    keyword: 'enum',
    data: /^SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV$/,
    why: 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is newer than 1.1-rc',
  },
  { path: /^\/linux\/intelRdt\/memBwSchema$/, keyword: 'pattern', data: /^$/, why: 'Go writes an unset string as ""' },
  { path: /^\/linux\/intelRdt\/enable(CMT|MBM)$/, why: 'unknown since 1.3' },
]

/** Where we refuse and the official schema does not, of the schema mistakes: by the beginning of our error. */
const refused: { error: RegExp; why: string }[] = [
  { error: /^process\.(scheduler|ioPriority)\b/, why: 'newer than 1.1-rc' },
  { error: /^linux\.(netDevices|memoryPolicy|timeOffsets)\b/, why: 'newer than 1.1-rc' },
  {
    error: /^(process\.rlimits|linux\.resources\.memory\.limit).* is not an integer from/,
    why: 'doubles cannot tell 2^64 from 2^64 - 1',
  },
  { error: /^linux\.resources\.blockIO\.throttle.*rate: missing/, why: 'config-linux.md says REQUIRED' },
  { error: /^linux\.personality\.domain: missing/, why: 'config-linux.md says REQUIRED' },
]

function isAccepted(errors: ErrorObject[]): boolean {
  // anyOf only repeats what its branches say.
  const own = errors.filter(({ keyword }) => keyword !== 'anyOf')
  return own.every((error) =>
    accepted.some(
      ({ path, keyword, data }) =>
        path.test(error.instancePath) &&
        (keyword === undefined || keyword === error.keyword) &&
        (data === undefined || data.test(String(error.data))),
    ),
  )
}

/** A linear congruential generator (Knuth's MMIX), so that every run makes the same mutations. */
class Random {
  #state = 1n

  below(limit: number): number {
    this.#state = BigInt.asUintN(64, this.#state * 6364136223846793005n + 1442695040888963407n)
    return Number(this.#state >> 33n) % limit
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!
  }
}

/** Parents and keys of all values below. */
function places(value: unknown, found: [Record<string, unknown>, string][] = []): [Record<string, unknown>, string][] {
  if (typeof value !== 'object' || value === null) return found
  for (const [key, item] of Object.entries(value)) {
    found.push([value as Record<string, unknown>, key])
    places(item, found)
  }
  return found
}

const values: readonly unknown[] = [
  ...['', 'x', '/a', '1.0.0', 'SCMP_ACT_ALLOW', 'a\0b'],
  ...[0, 1, -1, 1.5, 512, 2 ** 31, 2 ** 32, -(2 ** 31) - 1, 1e300],
  ...[true, false, null, [], {}, [null], ['x'], [0], { a: 1 }, { a: 'b' }, [[]], [{}]],
]

const texts = [...samples.values()]
const random = new Random()
const mutants: unknown[] = Array.from({ length: MUTATIONS }, () => {
  const config = parseJson(random.pick(texts), 'sample')
  for (let count = 1 + random.below(2); count > 0; count--) {
    const all = places(config)
    if (all.length === 0) break
    const [parent, key] = random.pick(all)
    if (random.below(4) === 0 && !Array.isArray(parent)) delete parent[key]
    else parent[key] = structuredClone(random.pick(values))
  }
  return config
})

function ours(text: string): string | undefined {
  try {
    readConfig(text, 'config.json')
    return undefined
  } catch (error) {
    assert.instance(error, RuntError, String((error as Error).stack))
    assert.not.match((error as RuntError).message, /\n|undefined|\[object/)
    return (error as RuntError).message
  }
}

test('the compiled validator decides as ajv does on the schema', () => {
  const judge = load(OWN, 'config.json')
  let wrong = 0
  for (const mutant of mutants) {
    const expected = judge(plain(mutant))
    if (!expected) wrong++
    if (validate(plain(mutant, true)) !== expected) assert.unreachable(JSON.stringify(judge.errors))
  }
  assert.ok(wrong > MUTATIONS / 4 && wrong < MUTATIONS, `${wrong} of ${MUTATIONS} mutants are wrong`)
})

test('the validators stay small: their bytecode is loaded at each start', () => {
  const size = (name: string) => statSync(join(GENERATED, `${name}.js`)).size
  assert.ok(size('config') < 32_768, `config.js has ${size('config')} bytes`)
  assert.ok(size('state') < 2048, `state.js has ${size('state')} bytes`)
})

test('no mutation makes validation throw anything but a RuntError of one line', () => {
  for (const mutant of mutants) ours(stringifyJson(mutant))
})

if (existsSync(OFFICIAL)) {
  const official = load(OFFICIAL, 'config-schema.json')

  test('the official schema accepts every sample, but for listed differences', () => {
    const frame = { ociVersion: '1.0.2', root: { path: 'rootfs' } }
    for (const [name, text] of [...samples, ...engineSamples]) {
      const value = parseJson(text, name)
      if (official(plain(name.endsWith('-process') ? { ...frame, process: value } : value))) continue
      assert.ok(isAccepted(official.errors!), `${name}: ${JSON.stringify(official.errors)}`)
    }
  })

  test('the official schema refuses the schema mistakes, but for listed differences', () => {
    const found = (text: string) => (official(plain(parseJson(text, 'config.json'))) ? [] : official.errors!)
    const place = ({ instancePath, keyword, params }: ErrorObject) => JSON.stringify([instancePath, keyword, params])
    const before = new Set(found(samples.get('complete')!).map(place))
    for (const [changes, error] of schemaMistakes) {
      const refuses = found(changed('complete', changes)).some((each) => !before.has(place(each)))
      const listed = refused.some((difference) => difference.error.test(error))
      assert.ok(refuses || listed, error)
    }
  })

  test('what the official schema refuses is refused, but for listed differences', () => {
    for (const mutant of mutants) {
      if (official(plain(mutant)) || isAccepted(official.errors!)) continue
      if (ours(stringifyJson(mutant)) === undefined) assert.unreachable(JSON.stringify(official.errors))
    }
  })
} else {
  console.log(`skipped: no comparison with the official schema, ${OFFICIAL} is not there`)
}

test.run()
