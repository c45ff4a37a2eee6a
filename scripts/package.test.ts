/** Makes the packages, in this tree and in a copy of it elsewhere. */
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { VERSION } from '../src/base/version.ts'
import { isThere } from './machine.ts'
import { root } from './tools.ts'

const test = suite('package')
const work = mkdtempSync(join(tmpdir(), 'runt-package-'))
test.after(() => rmSync(work, { recursive: true }))
const own = process.arch === 'arm64' ? 'arm64' : 'amd64'
const cross = own === 'amd64' && isThere('aarch64-linux-gnu-gcc') && isThere('qemu-aarch64-static')
if (!cross) console.log('skipped: the arm64 package needs gcc-aarch64-linux-gnu and qemu-user-static, on x86-64')

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env, cwd = root): string {
  const done = spawnSync(program, args, { encoding: 'utf8', env, cwd, timeout: 300_000 })
  assert.is(done.status, 0, `${program} ${args.join(' ')}: ${done.error ?? done.stderr}`)
  return done.stdout
}

const machines = cross ? ['--machine', 'x86_64', '--machine', 'aarch64'] : []
const SOURCE_DATE_EPOCH = '1700000000'

async function makePackages(tree: string, umask: string): Promise<Map<string, string>> {
  const env = { ...process.env, SOURCE_DATE_EPOCH }
  const words = [process.execPath, '--import', 'tsx', 'scripts/package.ts', ...machines]
  const command = ['-c', 'umask "$0"; exec "$@"', umask, ...words]
  const { stdout } = await promisify(execFile)('sh', command, { env, cwd: tree, timeout: 400_000 })
  return new Map(
    stdout
      .trim()
      .split('\n')
      .map((path) => [
        path,
        createHash('sha256')
          .update(readFileSync(join(tree, path)))
          .digest('hex'),
      ]),
  )
}

let packages: Map<string, string>
let elsewhere: Map<string, string>
test.before(async () => {
  const copy = copyTree()
  // At once, for most of it is emulation of the other machine, on one processor.
  const made = await Promise.all([makePackages(root, '022'), makePackages(copy, '077')])
  ;[packages, elsewhere] = made
})

const path = (pattern: RegExp): string => join(root, [...packages.keys()].find((name) => pattern.test(name))!)

function copyTree(): string {
  const copy = join(work, 'a', 'copy')
  mkdirSync(copy, { recursive: true })
  for (const name of ['src', 'scripts', 'schema', 'docs', 'package.json', 'tsconfig.json', 'tsconfig.core.json'])
    cpSync(join(root, name), join(copy, name), { recursive: true })
  for (const name of ['README.md', 'SECURITY.md', 'CHANGELOG.md', 'NOTICE', 'LICENSE'])
    cpSync(join(root, name), join(copy, name))
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  mkdirSync(join(copy, 'build'))
  for (const name of readdirSync(join(root, 'build')))
    if (/^(libquickjs|musl-dev)_/.test(name)) symlinkSync(join(root, 'build', name), join(copy, 'build', name))
  return copy
}

test('a copy of the tree elsewhere makes packages of the same bytes', () => {
  assert.equal([...elsewhere], [...packages])
})

test('the .deb installs a command that works from /usr/bin, manual, completions and licences', () => {
  const target = join(work, 'installed')
  run('dpkg-deb', ['-x', path(new RegExp(`_${own}\\.deb$`)), target])
  assert.match(run(join(target, 'usr/bin/runt'), ['--version'], {}), new RegExp(`^runt version ${VERSION}\n`))
  const at = (name: string): string => join(target, 'usr/share', name)
  assert.match(gunzipSync(readFileSync(at('man/man8/runt-create.8.gz'))).toString(), /^\.TH RUNT/)
  for (const name of [
    'bash-completion/completions/runt',
    'zsh/vendor-completions/_runt',
    'fish/vendor_completions.d/runt.fish',
  ])
    assert.ok(existsSync(at(name)), name)
  const licences = readFileSync(at('doc/runt/copyright'), 'utf8')
  for (const who of ['Fabrice Bellard', 'Rich Felker', 'TJ Holowaychuk', 'Apache License']) assert.match(licences, who)
})

test('environment and working folder have no effect on the installed command', () => {
  if (process.getuid!() !== 0) return console.log('skipped: the black-box tests of the installed command need root')
  const target = join(work, 'hostile')
  run('dpkg-deb', ['-x', path(new RegExp(`_${own}\\.deb$`)), target])
  const tests = run(process.execPath, ['--import', 'tsx', 'spec-tests/run.ts', 'cli/environment'], {
    ...process.env,
    RUNTIME: join(target, 'usr/bin/runt'),
  })
  assert.match(tests, /\b[1-9]\d* passed, 0 failed, 0 skipped/)
})

test('the fields of the .deb are those of its machine, and it depends on nothing', () => {
  const fields = run('dpkg-deb', ['-f', path(new RegExp(`_${own}\\.deb$`))])
  assert.match(fields, new RegExp(`^Architecture: ${own}$`, 'm'))
  assert.match(fields, new RegExp(`^Version: ${VERSION}$`, 'm'))
  assert.not.match(fields, /^(Pre-)?Depends:/m)
})

test('the archive is one folder for a prefix; its command works there', () => {
  run('tar', ['-xzf', path(new RegExp(`linux-${own}\\.tar\\.gz$`)), '-C', work])
  assert.match(run(join(work, `runt-${VERSION}-linux-${own}`, 'bin/runt'), ['--version'], {}), /^runt version /)
})

/** Runs the command of a packed package. What it depends on is taken from npm's cache, where `npm ci` has put it. */
function npx(tarball: string): void {
  const cache = join(work, 'npm-cache')
  mkdirSync(cache)
  symlinkSync(join(run('npm', ['config', 'get', 'cache']).trim(), '_cacache'), join(cache, '_cacache'))
  const { status, stdout, stderr } = spawnSync(
    'npx',
    ['--offline', '--yes', `--package=${tarball}`, 'runt', '--version'],
    { encoding: 'utf8', cwd: work, env: { ...process.env, npm_config_cache: cache }, timeout: 120_000 },
  )
  if (/ENOTCACHED/.test(stderr)) console.log("skipped: npx runt: npm's cache does not have what the package depends on")
  else {
    assert.is(status, 0, stderr)
    assert.match(stdout, new RegExp(`^runt version ${VERSION}\n`))
  }
}

test('the npm package has the command, the library and its types', () => {
  run('npm', ['run', '--silent', 'build'])
  const [{ filename, files }] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', work]))
  const names: string[] = files.map((file: { path: string }) => file.path)
  assert.not.ok(names.some((name) => name.endsWith('runt-brain') || name.includes('packages/')))
  const modules = join(work, 'npm/node_modules')
  mkdirSync(modules, { recursive: true })
  run('tar', ['-xzf', join(work, filename), '-C', modules])
  renameSync(join(modules, 'package'), join(modules, 'runt'))
  for (const name of ['koffi', '@koromix', 'commander', '@types', 'undici-types'])
    if (existsSync(join(root, 'node_modules', name))) symlinkSync(join(root, 'node_modules', name), join(modules, name))
  const command = join(modules, 'runt/dist/node/runt.js')
  assert.match(run(process.execPath, [command, '--version']), new RegExp(`^runt version ${VERSION}\n`))
  npx(join(work, filename))

  const user = join(work, 'npm/user.ts')
  const compile = (text: string) => {
    writeFileSync(user, text)
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node', user]
    return spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...flags], {
      encoding: 'utf8',
      cwd: join(work, 'npm'),
    })
  }
  const good = compile(`import { type Config, Runt } from 'runt'
const config: Config = { ociVersion: '1.3.0', process: { args: ['a'], cwd: '/', user: { uid: 0, gid: 0 } }, root: { path: 'r' } }
export const status: Promise<number> = new Runt().run('a', { bundle: JSON.stringify(config) }).status
`)
  assert.is(good.status, 0, good.stdout)
  assert.match(compile(`import { Runt } from 'runt'\nnew Runt().run('a', { bundel: '' })\n`).stdout, /bundel/)
})

if (cross)
  test('the arm64 programs run, as far as qemu-user goes', () => {
    const target = join(work, 'arm64')
    run('dpkg-deb', ['-x', path(/_arm64\.deb$/), target])
    const programs = join(target, 'usr/libexec/runt')
    const qemu = (...args: string[]) => spawnSync('qemu-aarch64-static', args, { encoding: 'utf8', timeout: 60_000 })
    // Without an executor at hand the brain can do what needs no system calls of others.
    const brain = qemu(join(programs, 'runt-brain'), '--version')
    assert.match(brain.stdout, /^runt version /, brain.stderr)
    // Alone it has one: where the launcher would execute it in its own place.
    const state = join(work, 'arm64-state')
    const alone = qemu('-0', 'runt (alone)', join(programs, 'runt-brain'), '--root', state, 'state', 'nobody')
    assert.is(alone.stderr, 'runt: state: container does not exist: nobody\n')
    assert.is(alone.status, 1)
    // Nobody tells the kernel to run its brain under qemu, so the launcher comes as far as that.
    const launcher = qemu(join(programs, 'runt'), '--version')
    assert.is(launcher.stderr, `runt: cannot execute its brain: ${dirname(join(programs, 'x'))}/runt-brain\n`)
    assert.is(launcher.status, 255)
  })

test.run()
