/**
 * The second half of scripts/quickstart.sh: makes a bundle of what the host has, and runs a container of it.
 *
 *     node --import tsx scripts/quickstart.ts RUNT... -- [COMMAND ARGUMENTS...]
 *
 * The root file system is made of empty folders; the host's programs and libraries are bound into it, read-only.
 */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const split = process.argv.indexOf('--', 2)
const runt = process.argv.slice(2, split)
const given = process.argv.slice(split + 1)

const hello = `sleep 1 &
echo "Hello from a container."
echo "hostname: $(uname -n)"
id
echo "All processes in here; this shell is $$:"
for folder in /proc/[0-9]*; do
  read -r name <"$folder/comm" && echo "  \${folder#/proc/} $name"
done`
const args = given.length > 0 ? given : ['sh', '-c', hello]

interface Mount {
  destination: string
  type?: string
  source: string
  options: string[]
}

const bundle = mkdtempSync(join(tmpdir(), 'runt-quickstart-'))
const rootfs = join(bundle, 'rootfs')
mkdirSync(rootfs)

/** The host's programs: a link stays a link (/bin → usr/bin), a folder is bound. */
const binds: Mount[] = []
function bind(path: string): void {
  const place = join(rootfs, path)
  const status = lstatSync(path, { throwIfNoEntry: false })
  if (!status) return
  mkdirSync(dirname(place), { recursive: true })
  if (status.isSymbolicLink()) {
    symlinkSync(readlinkSync(path), place)
    return
  }
  if (status.isDirectory()) mkdirSync(place)
  else writeFileSync(place, '')
  binds.push({ destination: path, source: path, options: ['rbind', 'rro', 'nosuid', 'nodev', 'rprivate'] })
}
for (const path of ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/nix']) bind(path)
for (const name of ['alternatives', 'ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'terminfo']) bind(join('/etc', name))
for (const name of ['dev', 'etc', 'proc', 'root', 'run', 'sys', 'tmp', 'var'])
  mkdirSync(join(rootfs, name), { recursive: true })
chmodSync(bundle, 0o755)
writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\n')

const id = `quickstart-${process.pid}`
const capabilities = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'KILL', 'SETGID', 'SETUID'].map((name) => `CAP_${name}`)
const fileSystem = (destination: string, type: string, ...options: string[]): Mount => ({
  destination,
  type,
  source: type,
  options: ['nosuid', ...options],
})
const config = {
  ociVersion: '1.2.0',
  process: {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args,
    env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'TERM=xterm'],
    cwd: '/',
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    noNewPrivileges: true,
  },
  root: { path: 'rootfs', readonly: true },
  hostname: 'runt',
  mounts: [
    fileSystem('/proc', 'proc', 'noexec', 'nodev'),
    fileSystem('/dev', 'tmpfs', 'noexec', 'strictatime', 'mode=755', 'size=64k'),
    fileSystem('/dev/pts', 'devpts', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'),
    fileSystem('/dev/shm', 'tmpfs', 'noexec', 'nodev', 'mode=1777'),
    fileSystem('/sys', 'sysfs', 'noexec', 'nodev', 'ro'),
    fileSystem('/tmp', 'tmpfs', 'nodev', 'mode=1777'),
    fileSystem('/run', 'tmpfs', 'nodev', 'mode=755'),
    ...binds,
  ],
  linux: {
    namespaces: ['pid', 'mount', 'network', 'uts', 'ipc'].map((type) => ({ type })),
    cgroupsPath: `/runt-${id}`,
    maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'],
    readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
  },
}
writeFileSync(join(bundle, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)

const quoted = (words: readonly string[]) =>
  words.map((word) => (/^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ')
const running = [...runt, 'run', '--bundle', bundle]
console.error(`quickstart: ${quoted([...running, id])}\n`)

const child = spawn(running[0]!, [...running.slice(1), id], { stdio: 'inherit' })
// runt passes signals on to the container. That of Ctrl-C reaches runt by itself.
process.on('SIGINT', () => {})
for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
const status = await new Promise<number>((settle) => {
  child.on('error', (error) => {
    console.error(`quickstart: ${error.message}`)
    settle(1)
  })
  child.on('exit', (status, signal) => settle(status ?? 128 + constants.signals[signal!]))
})
spawnSync(runt[0]!, [...runt.slice(1), 'delete', '--force', id], { stdio: 'ignore' })

const command = quoted(runt)
console.error(`
quickstart: the bundle is still there to play with. Edit config.json in it, and run it again:
  ${quoted(running)} my-container
or step by step:
  ${command} create --bundle ${bundle} my-container
  ${command} start my-container
  ${command} list
  ${command} delete --force my-container
and in the end: rm -r --one-file-system ${bundle}`)
process.exitCode = status
