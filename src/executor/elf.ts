/** ELF images of the executor: static ET_EXEC files of one text and one data segment. Source: elf(5). */
import type { Machine } from '../base/platform.ts'
import { arm64 } from './arm64.ts'
import { type Assembled, assemble, type Encoder } from './assembler.ts'
import { program } from './program.ts'
import { ARENA, CALLED_TEXT, DATA_END, DATA_OFFSET, MESSAGE_MAX, TEXT } from './protocol.ts'
import { x86_64 } from './x86-64.ts'

const EHDR_SIZE = 64
const PHDR_SIZE = 56
const PHDR_COUNT = 3
const EM: Record<Machine, number> = { x86_64: 62, aarch64: 183 }
const encoders: Record<Machine, Encoder> = { x86_64, aarch64: arm64 }

const ET_EXEC = 2
const PT_LOAD = 1
const PT_GNU_STACK = 0x6474e551
const PF_X = 1
const PF_W = 2
const PF_R = 4
/** The largest page of arm64 kernels. */
const ALIGNMENT = 0x10000n

/** File offset of the 32-bit word in a stage image that says which descriptor the session is. */
export const SESSION_WORD = EHDR_SIZE + PHDR_COUNT * PHDR_SIZE
const CODE = SESSION_WORD + 8
/** Bytes of a stage image on every machine. The code is shorter; zeroes follow it. */
export const STAGE_IMAGE_SIZE = 0xa00
/** Address in the launcher of a complete stage image whose session is descriptor 3. */
export const STAGE_IMAGE = TEXT + STAGE_IMAGE_SIZE

/** Header and code: the first `STAGE_IMAGE_SIZE` bytes of both images. */
function head(machine: Machine, assembled: Assembled, textSize: number, dataSize: number): Uint8Array {
  if (CODE + assembled.bytes.length > STAGE_IMAGE_SIZE) throw new Error('the executor has outgrown STAGE_IMAGE_SIZE')
  const image = new Uint8Array(STAGE_IMAGE_SIZE)
  const view = new DataView(image.buffer)

  // ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE
  image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0])
  view.setUint16(16, ET_EXEC, true)
  view.setUint16(18, EM[machine], true)
  view.setUint32(20, 1, true) // e_version
  view.setBigUint64(24, BigInt(TEXT + CODE), true) // e_entry
  view.setBigUint64(32, BigInt(EHDR_SIZE), true) // e_phoff
  view.setUint16(52, EHDR_SIZE, true)
  view.setUint16(54, PHDR_SIZE, true)
  view.setUint16(56, PHDR_COUNT, true)
  view.setUint16(58, 64, true) // e_shentsize; there are no sections

  const segment = (index: number, type: number, flags: number, rest: readonly number[], alignment: bigint) => {
    const at = EHDR_SIZE + index * PHDR_SIZE
    const [offset, address, fileSize, memorySize] = rest as [number, number, number, number]
    view.setUint32(at, type, true)
    view.setUint32(at + 4, flags, true)
    const words = [offset, address, address, fileSize, memorySize].map(BigInt)
    for (const [word, value] of [...words, alignment].entries()) view.setBigUint64(at + 8 + word * 8, value, true)
  }
  segment(0, PT_LOAD, PF_R | PF_X, [0, TEXT, textSize, textSize], ALIGNMENT)
  segment(1, PT_LOAD, PF_R | PF_W, [DATA_OFFSET, ARENA, dataSize, DATA_END - ARENA], ALIGNMENT)
  segment(2, PT_GNU_STACK, PF_R | PF_W, [0, 0, 0, 0], 16n)

  image.set(assembled.bytes, CODE)
  return image
}

/** The stage's program, laid out where its image will have it. */
export function stageProgram(machine: Machine): Assembled {
  const role = { role: 'stage', sessionWord: TEXT + SESSION_WORD } as const
  return assemble(program(machine, role), encoders[machine], TEXT + CODE)
}

/** The launcher's program, laid out where its image will have it. */
export function launcherProgram(machine: Machine, commands: readonly string[] = []): Assembled {
  return assemble(program(machine, { role: 'launcher', commands }), encoders[machine], TEXT + CODE)
}

/** The executor that the brain calls when it is alone. */
export function calledProgram(machine: Machine): Assembled {
  return assemble(program(machine, { role: 'called' }), encoders[machine], CALLED_TEXT)
}

/**
 * An executor that serves the session on descriptor `sessionFd` from its start. To change the descriptor later, write
 * its number at `SESSION_WORD`. The data segment has no bytes in the file: slots and arena start as zeroes.
 */
export function stageImage(machine: Machine, sessionFd = 3): Uint8Array {
  const image = head(machine, stageProgram(machine), STAGE_IMAGE_SIZE, 0)
  new DataView(image.buffer).setUint32(SESSION_WORD, sessionFd, true)
  return image
}

/**
 * An executor that first performs `bootBatch` (a whole message, whose addresses count from `ARENA`) and then serves the
 * session that the batch has put into `Slot.SESSION`. An answer to the boot batch goes to that session too, so it is
 * best silent. If it leaves no session, the launcher exits with `EXIT_ORPHANED`.
 * `commands`: see `Role`. At `STAGE_IMAGE` lies a stage image of `STAGE_IMAGE_SIZE` bytes, to be written into a memfd.
 */
export function launcherImage(machine: Machine, bootBatch: Uint8Array, commands: readonly string[] = []): Uint8Array {
  if (bootBatch.length > MESSAGE_MAX) throw new Error('the boot batch is longer than a message')
  const textSize = 2 * STAGE_IMAGE_SIZE
  const image = new Uint8Array(DATA_OFFSET + bootBatch.length)
  image.set(head(machine, launcherProgram(machine, commands), textSize, bootBatch.length))
  image.set(stageImage(machine), STAGE_IMAGE - TEXT)
  image.set(bootBatch, DATA_OFFSET)
  return image
}
