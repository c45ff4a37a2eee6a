/**
 * Makes a folder by a program that mounts things in it, and that may be interrupted at any time. The program has a mount and a pid
 * namespace of its own, and works in `FOLDER.PID`: when it ends, however, all its processes and mounts are gone, and at its
 * success the folder gets its name.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { BuildError, run } from '../../scripts/tools.ts'
import { mountsBelow } from '../host.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Makes `folder`; the program gets as its last argument where to work. A signal ends the program, and then, when all is cleaned up,
 * this process. If this process is killed, the program is too, and `removeStale` cleans up.
 */
export async function make(folder: string, program: readonly string[]): Promise<void> {
  const making = `${folder}.${process.pid}`
  mkdirSync(making, { recursive: true })
  const alone = ['unshare', '--mount', '--propagation', 'private', '--pid', '--mount-proc', '--kill-child']
  const words = ['--pdeathsig', 'KILL', ...alone, ...program, making]
  // In a session of its own, the terminal's signals are for this process only.
  const builder = spawn('setpriv', words, { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
  let signal: NodeJS.Signals | undefined
  const onSignal = (name: NodeJS.Signals): void => {
    signal = name
    builder.kill('SIGKILL')
  }
  for (const name of SIGNALS) process.on(name, onSignal)
  try {
    let said = ''
    builder.stderr.on('data', (text: Buffer) => {
      said += text.toString()
    })
    const status = await new Promise<number | string>((settle, fail) => {
      builder.on('error', (error) => fail(new BuildError(`setpriv (Debian package util-linux): ${error.message}`)))
      builder.on('close', (code, by) => settle(code ?? by!))
    })
    if (status !== 0) throw new BuildError(said.trim().replace(/^build: /, '') || `${program[0]}: status ${status}`)
    // Somebody else may have been faster.
    if (!existsSync(folder)) renameSync(making, folder)
  } finally {
    remove(making)
    for (const name of SIGNALS) process.off(name, onSignal)
    if (signal) process.exit(128 + constants.signals[signal])
  }
}

/** Removes what makers that were killed have left in a folder. */
export function removeStale(folder: string): void {
  for (const name of readdirSync(folder)) {
    const maker = /^[0-9a-f]{16}\.(\d+)$/.exec(name)?.[1]
    if (maker !== undefined && !existsSync(`/proc/${maker}`)) remove(join(folder, name))
  }
}

/** Removes a folder, and nothing of what may be mounted in it. */
function remove(folder: string): void {
  const targets = mountsBelow(folder).reverse()
  // All first: with a mount in a shared copy of the host's /dev, say, the host's own would go.
  for (const target of targets) run('mount', ['--make-private', target], 'mount')
  for (const target of targets) run('umount', [target], 'mount')
  run('rm', ['-rf', '--one-file-system', folder], 'coreutils')
}
