import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { buildBrain, ownMachine } from '../../scripts/brain.ts'
import { buildLauncher } from '../../scripts/launcher.ts'
import { root } from '../../scripts/tools.ts'
import { decodeUtf8 } from '../base/bytes.ts'
import { SHARED_COMMANDS } from '../session/boot.ts'
import { describeFilters } from './testing/filters.ts'
import { planEverything, planMistakes } from './testing/plan.ts'

const here = dirname(fileURLToPath(import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'runt-native-'))
const runt = join(folder, 'runt')
const test = suite('native')

test.before(async () => {
  buildLauncher(runt, ownMachine)
  await buildBrain(join(here, 'testing/brain.ts'), `${runt}-brain`)
})

test.after(() => rmSync(folder, { recursive: true }))

function run(args: readonly string[], env: Record<string, string> = {}) {
  const { status, signal, stdout, stderr } = spawnSync(runt, args, { env, timeout: 20_000 })
  return { status, signal, stdout: stdout.toString(), stderr: stderr.toString() }
}

/** Runs with arguments that are not text, by way of a shell. */
function runBytes(args: readonly Uint8Array[]): string {
  const words = args.map(
    (bytes) => `"$(printf '${[...bytes].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')}')"`,
  )
  const { stdout } = spawnSync('sh', ['-c', `exec '${runt}' units ${words.join(' ')}`], { timeout: 20_000 })
  return stdout.toString()
}

test('the exit status of the brain is that of the command', () => {
  assert.is(run(['0']).status, 0)
  assert.is(run(['7']).status, 7)
})

/** A command that other executors take part in, and one that none does; see SHARED_COMMANDS. */
const ways = { 'with its launcher': ['run'], alone: [] }

test('the brain takes the place of the launcher, unless a command is named that other executors take part in', () => {
  assert.is(run(['process']).stdout, 'runt-brain')
  for (const command of SHARED_COMMANDS) {
    assert.is(run(['process', command]).stdout, 'runt')
    for (const other of [
      command.slice(1),
      `${command}s`,
      `${command} `,
      command.slice(0, 4).padEnd(command.length, '-'),
    ])
      if (!SHARED_COMMANDS.includes(other)) assert.is(run(['process', '', 'x', other]).stdout, 'runt-brain', other)
  }
})

for (const [way, more] of Object.entries(ways)) {
  test(`${way}: answers come in order, also when they are late, and what follows a failure is skipped`, () => {
    assert.is(run(['answers', ...more]).stdout, '8,4000,80,9,9 true')
  })

  test(`${way}: it is the caller's child that performs batches`, () => {
    const child = spawn(runt, ['pid', ...more], { stdio: ['ignore', 'pipe', 'ignore'] })
    return new Promise<void>((resolve, reject) => {
      child.stdout.on('data', (text) =>
        String(text) === String(child.pid) ? resolve() : reject(new Error(`pid ${text}`)),
      )
    })
  })

  test(`${way}: after handing over the launcher ends on its own`, () => {
    assert.is(run(['hand-over', ...more]).status, 42)
  })
}

test('waiting for a message ends after the time', () => {
  assert.is(run(['timeout', 'run']).status, 0)
})

test('the environment reaches the brain, all of it and a variable', () => {
  assert.is(run(['env', 'A'], { A: 'b=c é' }).stdout, 'b=c é b=c é')
  assert.is(run(['env', 'A'], {}).stdout, 'unset unset')
})

test('a bug is reported with its stack, status 255', () => {
  const { status, stderr } = run(['bug'])
  assert.is(status, 255)
  assert.match(stderr, /^runt: internal error: TypeError: a bug\n {4}at start \(runt.js:\d+:\d+\)\n/)
})

test('bytes survive as in the TypeScript conversions, both ways', () => {
  const interesting = [
    0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xb2, 0xb3, 0xbf, 0xc0, 0xc2, 0xc3, 0xdf, 0xe0, 0xe2, 0xed, 0xef, 0xf0,
    0xf1, 0xf4, 0xf5, 0xff,
  ]
  let seed = 1
  const random = (limit: number) => {
    seed = (seed * 48271) % 0x7fff_ffff
    return seed % limit
  }
  const samples = [new TextEncoder().encode('naïve 漢字 😀')]
  for (let i = 0; i < 400; i++)
    samples.push(Uint8Array.from({ length: 1 + random(8) }, () => interesting[random(interesting.length)]!))
  const lines = runBytes(samples).trimEnd().split('\n')
  assert.is(lines.length, samples.length)
  lines.forEach((line, i) => {
    const { units, bytes } = JSON.parse(line)
    const text = decodeUtf8(samples[i]!)
    assert.equal(
      units,
      Array.from({ length: text.length }, (_, k) => text.charCodeAt(k)),
    )
    assert.equal(bytes, [...samples[i]!])
  })
})

test('a batch is the same bytes, whoever writes its operations', () => {
  const [message, mistakes] = run(['plan']).stdout.split('\n')
  assert.is(message, planEverything(ownMachine))
  assert.is(mistakes, planMistakes(ownMachine))
  assert.match(mistakes!, /process\.cwd: .*contains a NUL byte; .*contains a NUL byte; .*a label that has no place/)
})

test('a filter is the same bytes, whoever looks up names and writes search trees', () => {
  const { stdout } = run(['filters'])
  assert.is(stdout, describeFilters())
  assert.match(stdout, /^\d{4} /m)
  assert.match(stdout, /more than the 4096 instructions/)
})

test('a lone surrogate that stands for no byte is written as U+FFFD', () => {
  assert.is(run(['lone']).stdout, '\ufffdx\ufffd')
})

test('large data is parsed and written', () => {
  assert.is(run(['large']).status, 0)
})

test('memory can be made ready, however much is asked for', () => {
  assert.is(run(['prepare']).status, 0)
})

test('commander parses, and reports mistakes', () => {
  assert.is(run(['parse', 'greet', 'you', '--times', '3']).stdout, 'you 3')
  assert.match(run(['parse', 'greet', '--help']).stdout, /^Usage: test greet \[options\] <name>\n/)
  const unknown = run(['parse', 'great', 'you'])
  assert.is(unknown.status, 1)
  assert.match(unknown.stderr, /unknown command 'great'\n\(Did you mean greet\?\)/)
})

test('a missing or broken brain is named', () => {
  const other = join(folder, 'other')
  copyFileSync(runt, other)
  const missing = spawnSync(other)
  assert.is(missing.status, 255)
  assert.is(missing.stderr.toString(), `runt: its brain is missing: ${other}-brain\n`)
  writeFileSync(`${other}-brain`, 'text', { mode: 0o755 })
  const broken = spawnSync(other)
  assert.is(broken.status, 255)
  assert.is(broken.stderr.toString(), `runt: cannot execute its brain: ${other}-brain\n`)
})

/** A tape of a command with these arguments that is told nothing but the end of the stage's session; see scripts/rehearsal.ts. */
function tape(...args: readonly string[]): Uint8Array {
  const record = (kind: number, text: string) =>
    [...Uint32Array.of(kind, text.length)].flatMap((n) => [n, 0, 0, 0]).concat(...Buffer.from(text))
  return Uint8Array.from([...['runt', ...args].flatMap((arg) => record(1, arg)), ...record(4, '')])
}

test('a brain whose heap was sorted by rehearsals does the same; a rehearsal that fails stops the build', async () => {
  const sorted = join(folder, 'sorted')
  copyFileSync(runt, sorted)
  const entry = join(here, 'testing/brain.ts')
  await buildBrain(entry, `${sorted}-brain`, ownMachine, [tape('parse', 'greet', 'you'), tape('units', 'é')])
  assert.is.not(readFileSync(`${sorted}-brain`).equals(readFileSync(`${runt}-brain`)), true)
  const { stdout } = spawnSync(sorted, ['parse', 'greet', 'you', '--times', '3'], { timeout: 20_000 })
  assert.is(stdout.toString(), 'you 3')
  assert.is(spawnSync(sorted, ['large'], { timeout: 20_000 }).status, 0)
  const failure = await buildBrain(entry, `${sorted}-brain`, ownMachine, [tape('7')]).catch((error) => String(error))
  assert.match(String(failure), /rehearsal: .*tape0 ended with status 0x700/)
  const silence = await buildBrain(entry, `${sorted}-brain`, ownMachine, [tape('pid')]).catch((error) => String(error))
  assert.match(String(silence), /rehearsal: the tape of session 3 ends before the command/)
})

/** KiB of the heap that the build has made, in memory after names and shapes that it does not know were looked for. */
async function residentHeap(program: string): Promise<number> {
  const launcher = spawn(program, ['strangers', 'run'], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    for await (const text of launcher.stdout!) if (String(text) === '3300') break
    const brain = readFileSync(`/proc/${launcher.pid}/task/${launcher.pid}/children`, 'utf8').trim()
    const mapping = /^20000000-[\s\S]*?^Rss: +(\d+) kB/m.exec(readFileSync(`/proc/${brain}/smaps`, 'utf8'))
    return Number(mapping![1])
  } finally {
    launcher.kill('SIGKILL')
  }
}

test('what lies in chains of hash tables lies together, first what rehearsed commands come by', async () => {
  const resident = [await residentHeap(runt)]
  for (const args of [['units', 'é'], ['strangers']]) {
    const sorted = join(folder, args[0]!)
    copyFileSync(runt, sorted)
    await buildBrain(join(here, 'testing/brain.ts'), `${sorted}-brain`, ownMachine, [tape(...args)])
    resident.push(await residentHeap(sorted))
  }
  const [strewn, together, first] = resident
  assert.ok(together! < strewn! / 2, `${together} KiB; ${strewn} KiB where nothing is sorted`)
  assert.ok(first! < together! / 2, `${first} KiB; ${together} KiB where it is not rehearsed`)
})

test('dist/runt, if it is built, knows its version', () => {
  const built = join(root, 'dist/runt')
  if (!existsSync(built)) return
  const { status, stdout } = spawnSync(built, ['--version'], { timeout: 20_000 })
  assert.is(status, 0)
  assert.match(stdout.toString(), /\d+\.\d+\.\d+/)
})

test.run()
