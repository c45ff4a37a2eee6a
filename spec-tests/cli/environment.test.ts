/** What a caller's environment and working folder must not do to the command: root runs it for others. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  command,
  container,
  execute,
  fails,
  heading,
  run as invoke,
  ok,
  runtime,
  set,
  skip,
  words,
} from '../harness.ts'

const { test, run } = heading('cli/environment')

const ends = (config: Config) => set(config, 'process.args', ['/bin/true'])
const folder = mkdtempSync(join(base, 'hostile-'))
const sprung = join(folder, 'sprung')

/** Variables that make dynamic linkers and JavaScript engines load code; the code leaves a file. */
function traps(): Record<string, string> {
  const source = join(folder, 'trap.c')
  const library = join(folder, 'trap.so')
  const module = join(folder, 'trap.cjs')
  writeFileSync(
    source,
    `#include <fcntl.h>\n__attribute__((constructor)) static void spring(void) { open("${sprung}", O_CREAT, 0600); }\n`,
  )
  const compiled = spawnSync('gcc', ['-shared', '-fPIC', '-o', library, source], { encoding: 'utf8' })
  if (compiled.status !== 0) skip(`gcc cannot make the trap: ${compiled.error?.message ?? compiled.stderr}`)
  writeFileSync(module, `require('node:fs').writeFileSync(${JSON.stringify(sprung)}, '')\n`)
  return {
    LD_PRELOAD: library,
    LD_LIBRARY_PATH: folder,
    LD_AUDIT: library,
    NODE_OPTIONS: `--require=${module}`,
    NODE_PATH: folder,
    QUICKJS_MODULES: folder,
    BASH_ENV: module,
    ENV: module,
  }
}

test('variables that make programs load code have no effect on the command', () => {
  if (runtime !== 'runt' || command[0] === 'node') skip('only for the production command of runt: a static program')
  const env = traps()
  const check = spawnSync('/bin/cat', ['/dev/null'], { env })
  assert.ok(existsSync(sprung), `the trap works: ${check.stderr}`)
  spawnSync('rm', [sprung])
  const c = container(ends)
  ok(invoke(['run', '--bundle', c.bundle.directory, c.id], { env }))
  assert.not.ok(existsSync(sprung), 'code of the environment was run')
})

test('files of the working folder have no effect on the command', () => {
  const cwd = join(folder, 'cwd')
  mkdirSync(join(cwd, 'node_modules/commander'), { recursive: true })
  const trap = `require('node:fs').writeFileSync(${JSON.stringify(sprung)}, '')\n`
  for (const name of ['node_modules/commander/index.js', 'runt.js', 'index.js', 'qjs.js', '.qjsrc'])
    writeFileSync(join(cwd, name), trap)
  writeFileSync(join(cwd, 'package.json'), '{"type":"commonjs"}')
  for (const name of ['runt-brain', 'runt', 'runc', 'crun', 'newuidmap', 'ps']) {
    writeFileSync(join(cwd, name), `#!/bin/sh\n: > '${sprung}'\n`)
    chmodSync(join(cwd, name), 0o755)
  }
  const c = container(ends)
  ok(invoke(['run', '--bundle', c.bundle.directory, c.id], { cwd }))
  assert.not.ok(existsSync(sprung), 'a file of the working folder was run')
})

test('an environment without any variable is enough', () => {
  const c = container(ends)
  const nothing = Object.fromEntries(Object.keys(process.env).map((name) => [name, undefined]))
  const path = command[0]!.includes('/') ? undefined : process.env.PATH
  ok(invoke(['run', '--bundle', c.bundle.directory, c.id], { env: { ...nothing, PATH: path } }))
})

test('an argument with any byte is told in one line that a terminal can show', () => {
  const result = fails(invoke(['state', 'a\u001b[31mb\nc']))
  assert.not.match(result.stderr.trimEnd(), /[\u0000-\u001f\u007f]/)
})

/** A caller that ignores these signals, which execve(2) keeps; for crun and runt that is a shell's `trap ''`, a daemon's SIG_IGN. */
const ignoring = (args: readonly string[]) =>
  execute(['sh', '-c', 'trap \'\' CHLD PIPE USR1 TERM; exec "$@"', 'sh', ...words(args)])

test('a caller that ignores SIGCHLD and other signals: commands work, and the program has their usual effect', () => {
  const look = (config: Config) => set(config, 'process.args', ['grep', 'SigIgn', '/proc/self/status'])
  const foreground = container(look)
  const { stdout } = ok(ignoring(['run', '--bundle', foreground.bundle.directory, foreground.id]), 'run')
  // runc leaves one of the signals that the C library keeps for itself.
  assert.match(stdout, /^SigIgn:\t[0-9a-f]{8}00000000\n$/)
  const c = container((config) => set(config, 'process.args', ['sleep', '1000']))
  ok(ignoring(['create', '--bundle', c.bundle.directory, c.id]), 'create')
  ok(ignoring(['start', c.id]), 'start')
  const inside = ok(ignoring(['exec', c.id, 'grep', 'SigIgn', '/proc/self/status']), 'exec')
  assert.match(inside.stdout, /^SigIgn:\t[0-9a-f]{8}00000000\n$/)
  ok(ignoring(['kill', c.id, 'KILL']), 'kill')
  c.until('stopped')
  ok(ignoring(['delete', c.id]), 'delete')
})

run()
