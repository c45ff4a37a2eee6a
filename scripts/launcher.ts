/** Writes dist/runt: the executor with the boot batch, as an ELF file. No compiler is involved. */
import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Machine } from '../src/base/platform.ts'
import { launcherImage } from '../src/executor/elf.ts'
import { bootMessage, SHARED_COMMANDS } from '../src/session/boot.ts'

export function buildLauncher(output: string, machine: Machine): void {
  mkdirSync(dirname(output), { recursive: true })
  writeFileSync(`${output}.new`, launcherImage(machine, bootMessage(machine), SHARED_COMMANDS))
  chmodSync(`${output}.new`, 0o755)
  renameSync(`${output}.new`, output)
}
