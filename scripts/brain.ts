/** Builds the brain: the bundle, then the two links that src/engine-quickjs/host.c describes. */
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { arch } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { build, type Plugin } from 'esbuild'
import type { Machine } from '../src/base/platform.ts'
import { calledProgram } from '../src/executor/elf.ts'
import { ARENA, CALLED_TEXT, DATA, DATA_END, MESSAGE_MAX, RESULTS, SLOTS, Slot } from '../src/executor/protocol.ts'
import { findLibraries } from './libraries.ts'
import { BuildError, root, run } from './tools.ts'

const source = join(root, 'src/engine-quickjs')

export const ownMachine: Machine = arch() === 'arm64' ? 'aarch64' : 'x86_64'

/** Commander's imports of Node.js, and what host.c does faster: text conversions, operations of batches, loops over system calls. */
const substitutes: Plugin = {
  name: 'quickjs',
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, importer }) => {
      const file = join(source, 'shims', `${path.slice('node:'.length).replace('_', '-')}.ts`)
      return existsSync(file) ? { path: file } : { errors: [{ text: `${importer} imports ${path}; QuickJS has none` }] }
    })
    for (const slow of ['base/bytes.ts', 'session/operation.ts', 'seccomp/search.ts']) {
      const name = basename(slow)
      build.onResolve({ filter: new RegExp(`/${name}$`) }, ({ path, resolveDir }) =>
        resolveDir !== source && join(resolveDir, path) === join(root, 'src', slow)
          ? { path: join(source, name) }
          : undefined,
      )
    }
  },
}

/** One script whose completion value is the entry's export `start`. Not minified: its size costs nothing at run time, and stacks stay readable. */
async function bundleBrain(entry: string): Promise<string> {
  const result = await build({
    entryPoints: [entry],
    absWorkingDir: root,
    // Names in the bundle are paths from here, wherever node_modules really lies.
    preserveSymlinks: true,
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'runt',
    // V8's extension, which commander calls; QuickJS fills in stacks by itself.
    banner: { js: 'Error.captureStackTrace ??= () => {}' },
    footer: { js: 'runt.start' },
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['import', 'require'],
    target: 'es2023',
    plugins: [substitutes],
    logLevel: 'warning',
  })
  return result.outputFiles[0]!.text
}

/** Builds the brain of the production command. */
export async function buildProductionBrain(output: string, machine: Machine): Promise<void> {
  const schema = join(root, 'scripts/build-schema.ts')
  if (existsSync(schema)) run(process.execPath, ['--import', 'tsx', schema], 'nodejs')
  // Not before the schema is there.
  const { rehearse } = await import('./rehearsal.ts')
  await buildBrain(join(source, 'main.ts'), output, machine, rehearse())
}

/** Address of the section .image, far from everything else in a small-model program. */
const IMAGE = '0x20000000'
const NO_EXECUTABLE_STACK = '.section .note.GNU-stack,"",%progbits\n'
/** Address space for the heap of the first link. */
const EMPTY_IMAGE = `.section .image,"aw",%nobits
.balign 65536
.globl image, image_end
image: .zero 0x4000000
image_end:
${NO_EXECUTABLE_STACK}`
const filledImage = (path: string) => `.section .image,"aw",%progbits
.balign 65536
.globl image, image_end
image: .incbin "${path}"
image_end:
${NO_EXECUTABLE_STACK}`

/** The executor that the brain calls when it is alone, and its memory, at the addresses that batches are made for. */
const executor = (path: string) => `.section .called,"ax",%progbits
.globl called
called: .incbin "${path}"
.section .arena,"aw",%nobits
.globl arena
arena: .zero ${DATA_END - ARENA}
${NO_EXECUTABLE_STACK}`

/**
 * Builds the program `output` from the module `entry`. Does nothing when it is there and made of the same inputs.
 * `tapes` are what is rehearsed (rehearsal.ts), so that what commands need lies together.
 */
export async function buildBrain(
  entry: string,
  output: string,
  machine: Machine = ownMachine,
  tapes: readonly Uint8Array[] = [],
): Promise<void> {
  const foreign = machine !== ownMachine
  const prefix = foreign ? `${machine}-linux-gnu-` : ''
  const compiler = `${prefix}gcc`
  const packages = foreign ? `gcc-${machine.replace('_', '-')}-linux-gnu` : 'gcc'

  const version = run(compiler, ['--version'], packages).split('\n')[0]!
  const { quickjsInclude, muslInclude, quickjs, musl } = findLibraries(machine)
  const bundle = await bundleBrain(entry)

  const compile = ['-O2', '-fno-pie', '-ffunction-sections', '-fdata-sections']
  const { ARGV, ENVP, ANSWER, ANSWER_LENGTH } = Slot
  for (const [name, value] of Object.entries({ DATA, MESSAGE_MAX, RESULTS, SLOTS, ARGV, ENVP, ANSWER, ANSWER_LENGTH }))
    compile.push(`-D${name}=${value}`)
  compile.push('-nostdinc', '-isystem', muslInclude, '-isystem', quickjsInclude)
  const link = ['-nostdlib', '-static', '-no-pie', '-Wl,--gc-sections', '-Wl,-z,norelro', '-Wl,-z,noexecstack']
  link.push('-Wl,--build-id=none')
  for (const [section, address] of Object.entries({ called: CALLED_TEXT, arena: ARENA }))
    link.push(`-Wl,--section-start=.${section}=0x${address.toString(16)}`)
  link.push(`-Wl,--section-start=.image=${IMAGE}`, join(musl, 'crt1.o'), join(musl, 'crti.o'))
  const libraries = [
    quickjs,
    '-Wl,--start-group',
    join(musl, 'libc.a'),
    '-lgcc',
    '-Wl,--end-group',
    join(musl, 'crtn.o'),
  ]
  const called = calledProgram(machine).bytes
  const key = createHash('sha256')
    .update(JSON.stringify([version, machine, compile, link, libraries, bundle, EMPTY_IMAGE]))
    .update(readFileSync(join(source, 'host.c')))
    .update(readFileSync(join(source, 'rehearsal.h')))
    .update(called)
  for (const tape of tapes) key.update(tape)
  const kept = join(root, 'build', `brain-${machine}-${key.digest('hex').slice(0, 16)}`)
  if (!existsSync(kept)) {
    const work = join(root, 'build', `brain.${process.pid}`)
    const at = (name: string) => join(work, name)
    mkdirSync(work, { recursive: true })
    try {
      writeFileSync(at('runt.js'), bundle)
      writeFileSync(at('called'), called)
      writeFileSync(at('executor.S'), executor(at('called')))
      writeFileSync(at('empty.S'), EMPTY_IMAGE)
      writeFileSync(at('filled.S'), filledImage(at('image')))
      run(compiler, [...compile, '-c', join(source, 'host.c'), '-o', at('host.o')], packages)
      const linkWith = (image: string, target: string) =>
        run(compiler, [...link, '-o', at(target), at('host.o'), at('executor.S'), at(image), ...libraries], packages)
      linkWith('empty.S', 'first')
      const execute = (program: string, ...args: readonly string[]) =>
        foreign
          ? run(`qemu-${machine}-static`, [at(program), ...args], 'qemu-user-static')
          : run(at(program), args, packages)
      if (tapes.length > 0) {
        run(compiler, [...compile, '-DREHEARSAL', '-c', join(source, 'host.c'), '-o', at('rehearsal.o')], packages)
        run(
          compiler,
          [...link, '-o', at('rehearsal'), at('rehearsal.o'), at('executor.S'), at('empty.S'), ...libraries],
          packages,
        )
        const files = tapes.map((tape, index) => {
          writeFileSync(at(`tape${index}`), tape)
          return at(`tape${index}`)
        })
        // Once more with all in its place but what lies in chains: see rehearsal.h.
        for (let times = 0; times < 2; times++) execute('rehearsal', at('runt.js'), at('heat'), ...files)
      }
      execute('first', at('runt.js'), at('image'), ...(tapes.length > 0 ? [at('heat')] : []))
      linkWith('filled.S', 'second')
      const symbols = (file: string) =>
        run(`${prefix}nm`, [at(file)], 'binutils')
          .split('\n')
          .filter((line) => !/ image(_end)?$/.test(line))
          .join('\n')
      if (symbols('first') !== symbols('second'))
        throw new BuildError('the two links of runt-brain differ in their addresses')
      run(`${prefix}strip`, ['-o', at('stripped'), at('second')], 'binutils')
      renameSync(at('stripped'), kept)
    } finally {
      rmSync(work, { recursive: true })
    }
  }
  mkdirSync(dirname(output), { recursive: true })
  // A new file and a rename: the old program may be running. Written at once, as it would be read from the disk: then the page cache has
  // it in larger pieces (ext4 since Linux 6.16), and mapping it takes a twelfth less of a small command's time than after a copy.
  writeFileSync(`${output}.new`, readFileSync(kept))
  chmodSync(`${output}.new`, 0o755)
  renameSync(`${output}.new`, output)
}
