/**
 * Starts a throw-away virtual machine, runs a command in it, and ends it. What the command does to the machine is gone
 * afterwards. The guest has the work tree, as it was at the start, under the same path as on the host.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { build } from 'esbuild'
import { root as repository, run } from '../../scripts/tools.ts'
import { type Image, image } from './image.ts'
import { type Kernel, guest as scripts } from './recipe.ts'

/** Which control groups systemd mounts; systemd(1), "Kernel Command Line". */
export const layouts = {
  v2: ['systemd.unified_cgroup_hierarchy=1'],
  hybrid: ['systemd.unified_cgroup_hierarchy=0', 'systemd.legacy_systemd_cgroup_controller=0'],
  v1: ['systemd.unified_cgroup_hierarchy=0', 'systemd.legacy_systemd_cgroup_controller=1'],
} as const

export type Layout = keyof typeof layouts

export interface Job {
  command: readonly string[]
  /** What is pid 1: systemd, or a shell script that does nothing else. */
  init: 'none' | 'systemd'
  /** Other layouts than v2 take systemd. */
  cgroups: Layout
  security: 'apparmor' | 'selinux'
  kernel: Kernel
  user: string
  /** The guest is ended after this time, in seconds. */
  timeout: number
  /** For the command, besides PATH and what a login sets. */
  environment: Readonly<Record<string, string>>
  /** MiB */
  memory: number
}

/** Where the output goes, piece by piece. */
export interface Sinks {
  stdout(text: Buffer): void
  stderr(text: Buffer): void
}

/** The guest broke, or took too long; the message ends with what it said last. */
export class GuestError extends Error {}

/** What guests have no use for: archives of this size travel with every start. */
const LEFT_OUT = ['.git', 'build', 'node_modules/@biomejs', 'node_modules/@typescript', 'node_modules/typescript']

/** The black-box tests' time-outs in a guest, times those on a host. */
const PATIENCE = 6

/** Where the work tree lies in a guest: wherever it is on the host, nothing is mounted over it. */
const TREE = '/tree'

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

/**
 * The black-box tests as JavaScript, beside their sources: most guests are slow, and compilation is a large part of a
 * test file's time. What tests runt's innards is left out.
 */
async function bundleTests(folder: string): Promise<void> {
  const tests = join(repository, 'spec-tests')
  const files = readdirSync(tests, { recursive: true, encoding: 'utf8' })
    .filter((name) => name === 'run.ts' || (name.endsWith('.test.ts') && !name.startsWith('faults/')))
    .map((name) => join(tests, name))
  await build({
    entryPoints: files,
    outdir: folder,
    outbase: tests,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: ['esbuild', 'koffi'],
    logLevel: 'error',
  })
}

/** The guest's second disk: an archive of the command and the tree. */
async function pack(job: Job, folder: string): Promise<string> {
  const environment = { RUNT_SPEC_PATIENCE: String(PATIENCE), ...job.environment }
  const exports = Object.entries(environment).map(([name, value]) => `export ${name}=${quoted(value)}`)
  const lines = [...exports, `cd ${TREE}`, `exec ${job.command.map(quoted).join(' ')}`]
  writeFileSync(join(folder, 'job'), `${lines.join('\n')}\n`, { mode: 0o755 })
  const archive = join(folder, 'archive')
  const without = LEFT_OUT.map((name) => `--exclude=./${name}`)
  const renamed = ['--transform=s,^\\.,tree,rSh', '--transform=s,^spec-tests,tree/spec-tests,rSh']
  const parts = [
    [folder, 'job', 'spec-tests'],
    [scripts, 'boot', 'agent'],
    [repository, '.'],
  ]
  await bundleTests(join(folder, 'spec-tests'))
  const words = parts.flatMap(([from, ...names]) => ['-C', from!, ...names])
  run('tar', ['-cf', archive, '--anchored', ...without, ...renamed, ...words], 'tar')
  return archive
}

/**
 * KVM where it is the processor's own virtualization. Elsewhere, as with KVM on PVM in some clouds, /dev/kvm may be
 * there but runs no common kernel; then QEMU emulates. Its cmpxchg16b (7.2) breaks Linux 6.12, and so do threads: a processor may still
 * run a breakpoint that the kernel has patched away ("Oops: int3", when the first cpuset is made).
 */
function processor(): string[] {
  const hardware = ['kvm_intel', 'kvm_amd'].some((name) => existsSync(`/sys/module/${name}`))
  if (hardware && existsSync('/dev/kvm')) return ['-accel', 'kvm', '-cpu', 'host']
  return ['-accel', 'tcg,thread=single,tb-size=512', '-cpu', 'max,-cx16']
}

/** The command line of a guest. Its descriptors: 1 and 2 the console, 3 stdout, 4 stderr, 5 the exit status. */
function machine(job: Job, from: Image, archive: string, folder: string): string[] {
  const uml = job.kernel === 'uml'
  const kernel = from.kernel(job.kernel)
  const parameters = [
    `vm.init=${job.init}`,
    `vm.user=${job.user}`,
    `vm.tree=${TREE}`,
    // It ends itself, should the host's process be gone by then.
    `vm.timeout=${job.timeout + 5}`,
    `vm.disk=${uml ? 'ubdb' : 'vdb'}`,
    'loglevel=4',
    'systemd.show_status=1',
    'panic=-1',
    `${job.security}=1`,
    `security=${job.security}`,
    ...layouts[job.cgroups],
  ]
  if (uml) {
    const disks = [`ubd0=${join(folder, 'changes')},${from.root}`, `ubd1r=${archive}`]
    const channels = ['con=null', 'con0=null,fd:1', 'ssl0=null,fd:3', 'ssl1=null,fd:4', 'ssl2=null,fd:5']
    const boot = ['root=/dev/ubda', 'rw', 'init=/vm/init', `uml_dir=${folder}`]
    return [join(kernel, 'linux'), `mem=${job.memory}M`, ...disks, ...channels, ...boot, ...parameters]
  }
  const drive = (id: string, options: string) => [
    '-drive',
    `id=${id},if=none,format=raw,cache=unsafe,file.locking=off,${options}`,
    '-device',
    `virtio-blk-pci,drive=${id}`,
  ]
  const channel = (id: string, descriptor: number) => [
    '-chardev',
    `socket,id=${id},fd=${descriptor}`,
    '-device',
    `virtserialport,chardev=${id},name=${id}`,
  ]
  return [
    'qemu-system-x86_64',
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
    ...['-machine', 'pc', ...processor(), '-smp', '2', '-m', String(job.memory)],
    ...['-kernel', join(kernel, 'linux'), '-initrd', join(kernel, 'initramfs')],
    ...['-append', ['console=ttyS0', 'mitigations=off', ...parameters].join(' ')],
    ...drive('root', `file=${from.root},snapshot=on`),
    ...drive('archive', `file=${archive},readonly=on`),
    ...['-device', 'virtio-serial-pci'],
    ...channel('out', 3),
    ...channel('err', 4),
    ...channel('status', 5),
  ]
}

/** The machine's memory is a sparse file, which should not go to a disk. */
function memoryFolder(bytes: number): string {
  try {
    const { bavail, bsize } = statfsSync('/dev/shm')
    if (bavail * bsize > bytes) return '/dev/shm'
  } catch {}
  return tmpdir()
}

/** How much of the console is kept. */
const TAIL = 4000

/** A guest does not outlive who has started it. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

function end(guest: ChildProcess): void {
  // User-mode Linux has a process for each address space of the guest, all in its group.
  try {
    process.kill(-guest.pid!, 'SIGKILL')
  } catch {}
}

/** Runs a command in a new guest and returns its exit status. Throws GuestError if there is none. */
export async function runInGuest(job: Job, sinks: Sinks): Promise<number> {
  const from = await image()
  const folder = mkdtempSync(join(tmpdir(), 'runt-vm-'))
  try {
    const archive = await pack(job, folder)
    const [program, ...words] = machine(job, from, archive, folder)
    const guest = spawn(program!, words, {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      detached: true,
      env: { PATH: process.env.PATH, TMPDIR: memoryFolder(job.memory * 2 ** 20), HOME: folder },
    })
    const onExit = (): void => {
      end(guest)
      rmSync(folder, { recursive: true, force: true })
    }
    const onSignal = (signal: NodeJS.Signals): never => process.exit(128 + constants.signals[signal])
    process.once('exit', onExit)
    for (const signal of SIGNALS) process.on(signal, onSignal)
    let console = ''
    let status = ''
    const listen = (number: number, to: (text: Buffer) => void): void => {
      ;(guest.stdio[number] as Readable).on('data', to).on('error', () => {})
    }
    for (const number of [1, 2])
      listen(number, (text) => {
        console = (console + text.toString()).slice(-TAIL)
      })
    listen(3, (text) => sinks.stdout(text))
    listen(4, (text) => sinks.stderr(text))
    listen(5, (text) => {
      status += text.toString()
      if (status.endsWith('\n')) end(guest)
    })
    let late = false
    const timer = setTimeout(() => {
      late = true
      end(guest)
    }, job.timeout * 1000)
    const problem = await new Promise<string>((settle) => {
      guest.on('error', (error) => settle(error.message))
      guest.on('close', (code, signal) => settle(`the guest ended (${signal ?? code}) before the command did`))
    })
    clearTimeout(timer)
    process.off('exit', onExit)
    for (const signal of SIGNALS) process.off(signal, onSignal)
    end(guest)
    if (/^\d+\n$/.test(status)) return Number(status)
    const reason = late ? `no end within ${job.timeout} s` : problem
    throw new GuestError(`${reason}. The console's last words:\n${console.trim()}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
