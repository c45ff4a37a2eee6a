/** Virtual machines, for docs/bench/vm.md: how long they take, and what they hold. See `usage`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../scripts/tools.ts'
import { image } from '../spec-tests/vm/image.ts'
import type { Kernel } from '../spec-tests/vm/recipe.ts'
import { held, tree } from './memory.ts'
import { guestDocument } from './report.ts'
import { type Guest, type Guests, rounded } from './results.ts'
import { spread } from './statistics.ts'
import { machine } from './workshop.ts'

const usage = `npm run bench:vm [-- --write]
Measures guests of user-mode Linux and of QEMU; takes a few minutes. --write puts the numbers into docs/bench.
Kernels come from the image of the guests of the tests (docs/testing.md); QEMU from Debian's qemu-system-x86.`

const project = dirname(dirname(fileURLToPath(import.meta.url)))
const READY = 'the guest is ready'

interface Kind {
  readonly title: string
  readonly kernel: Kernel
  readonly rounds: number
  /** MiB that it is given, and by how much the smallest is found exactly. */
  readonly memory: number
  readonly step: number
  /** Milliseconds after which a guest that says nothing has failed. */
  readonly patience: number
  command(linux: string, memory: number, initramfs: string, folder: string): string[]
}

const kinds: readonly Kind[] = [
  {
    title: 'user-mode Linux 6.1',
    kernel: 'uml',
    rounds: 10,
    memory: 64,
    step: 1,
    patience: 10_000,
    command: (linux, memory, initramfs, folder) => [
      linux,
      ...[`mem=${memory}M`, `initrd=${initramfs}`, 'con=null', 'con0=null,fd:1', 'ssl=null', `uml_dir=${folder}`],
      ...['quiet', 'panic=-1'],
    ],
  },
  {
    title: 'QEMU without KVM, Linux 6.1',
    kernel: '6.1',
    rounds: 5,
    memory: 128,
    step: 4,
    patience: 40_000,
    command: (linux, memory, initramfs) => [
      ...['qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
      ...['-serial', 'stdio', '-machine', 'pc', '-accel', 'tcg,thread=multi', '-cpu', 'max,-cx16'],
      ...['-m', String(memory), '-kernel', linux, '-initrd', initramfs],
      ...['-append', 'console=ttyS0 quiet panic=-1'],
    ],
  },
]

/** An archive of a busybox and an init, which is `script`. */
function makeInitramfs(folder: string, name: string, script: string): string {
  const tree = join(folder, name)
  mkdirSync(join(tree, 'bin'), { recursive: true })
  copyFileSync(run('which', ['busybox'], 'busybox-static').trim(), join(tree, 'bin/busybox'))
  for (const applet of ['sh', 'true', 'sleep', 'poweroff']) symlinkSync('busybox', join(tree, 'bin', applet))
  writeFileSync(join(tree, 'init'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  const archive = `${tree}.cpio`
  run('sh', ['-c', `cd '${tree}' && busybox find . | busybox cpio -o -H newc > '${archive}'`], 'busybox-static')
  return archive
}

interface Course {
  readonly wall: number
  readonly ready: boolean
}

/** User-mode Linux has a process for each address space of the guest, all in its group. */
function end(guest: ChildProcess): void {
  try {
    process.kill(-guest.pid!, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/** Runs a guest until it ends, or `patience` is over; `whenReady` looks at it once it has said so, and ends it. */
async function course(
  kind: Kind,
  memory: number,
  initramfs: string,
  folder: string,
  whenReady?: (pid: number) => void,
): Promise<Course> {
  const linux = join((await image()).kernel(kind.kernel), 'linux')
  const [program, ...args] = kind.command(linux, memory, initramfs, folder)
  const begin = performance.now()
  const guest = spawn(program!, args, {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
    env: { PATH: process.env.PATH, TMPDIR: '/dev/shm', HOME: folder },
  })
  const onExit = () => end(guest)
  process.once('exit', onExit)
  const timer = setTimeout(onExit, kind.patience)
  let said = ''
  guest.stdout.setEncoding('utf8').on('data', (text: string) => {
    const before = said.includes(READY)
    said += text
    if (whenReady && !before && said.includes(READY))
      setTimeout(() => {
        whenReady(guest.pid!)
        end(guest)
      }, 1000)
  })
  return new Promise((done, fail) => {
    guest.on('error', fail)
    guest.on('close', () => {
      const wall = performance.now() - begin
      clearTimeout(timer)
      process.off('exit', onExit)
      end(guest)
      done({ wall, ready: said.includes(READY) })
    })
  })
}

/** One process of each address space: threads of user-mode Linux are processes that share one. */
function spaces(pids: readonly number[]): number[] {
  const maps = pids.map((pid) => readFileSync(`/proc/${pid}/maps`, 'utf8'))
  return pids.filter((_, index) => maps.indexOf(maps[index]!) === index)
}

async function measure(kind: Kind, folder: string): Promise<Guest> {
  const short = makeInitramfs(folder, 'short', `/bin/true\necho ${READY}\npoweroff -f`)
  const long = makeInitramfs(folder, 'long', `echo ${READY}\nexec sleep 100000`)
  const walls: number[] = []
  for (let round = -1; round < kind.rounds; round++) {
    const { wall, ready } = await course(kind, kind.memory, short, folder)
    if (!ready) throw new Error(`${kind.title}: the guest did not start`)
    if (round >= 0) walls.push(wall)
  }
  let pss = 0
  await course(kind, kind.memory, long, folder, (pid) => {
    pss = held(spaces(tree(pid))).pss
  })
  let [fails, works] = [0, kind.memory]
  while (works - fails > kind.step) {
    const middle = Math.ceil((works + fails) / 2 / kind.step) * kind.step
    if ((await course(kind, middle, short, folder)).ready) works = middle
    else fails = middle
  }
  const { title, rounds, memory } = kind
  return { title, rounds, wall: rounded(spread(walls)), held: pss, memory, smallest: works }
}

const args = process.argv.slice(2)
if (args.some((word) => word !== '--write')) {
  console.log(usage)
} else {
  const folder = mkdtempSync(join(tmpdir(), 'runt-bench-vm-'))
  // So that what is done on exit is done after a signal, too: a guest does not outlive us.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const guests: Guest[] = []
  const about = machine()
  for (const kind of kinds) {
    rmSync(join(folder, 'short'), { recursive: true, force: true })
    rmSync(join(folder, 'long'), { recursive: true, force: true })
    guests.push(await measure(kind, folder))
  }
  const all: Guests = { date: new Date().toISOString(), machine: about, guests }
  const at = (name: string) => join(project, 'docs/bench', name)
  const results = JSON.parse(readFileSync(at('results.json'), 'utf8'))
  const page = guestDocument(readFileSync(at('vm.md'), 'utf8'), results, all)
  console.log(page)
  if (args.includes('--write')) {
    writeFileSync(at('vm.json'), `${JSON.stringify(all, null, 1)}\n`)
    writeFileSync(at('vm.md'), page)
  }
}
