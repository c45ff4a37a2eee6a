/** Starts the stage: the executor's image in a sealed memfd, executed by a child of the host. */
import { SESSION_WORD, STAGE_IMAGE, STAGE_IMAGE_SIZE } from '../executor/elf.ts'
import { SLOTS, Slot, TEXT } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { type Batch, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { HostSlot } from './slots.ts'

export interface Spawn {
  /** Result: pid of the stage. */
  pid: Step
  /** Result: number of the init's end of its session, in the stage. */
  initSession: Step
}

/**
 * The file that stage and init are executed from cannot be written by anyone: a container that gets at /proc/PID/exe of the
 * init finds a sealed copy, never the host's runt (CVE-2019-5736).
 */
export function planSpawn(b: Batch, engine: 'node' | 'quickjs'): Spawn {
  b.about('executor')
  const plain = b.label()
  const made = b.label()
  // MFD_EXEC came with Linux 6.3; earlier kernels do not know it, and always make executable ones.
  c.memfdCreate(b, 'runt', k.MFD_CLOEXEC | k.MFD_ALLOW_SEALING | k.MFD_EXEC)
    .on(['EINVAL'], plain)
    .keep(HostSlot.MEMFD)
  b.jump(made)
  b.place(plain)
  c.memfdCreate(b, 'runt', k.MFD_CLOEXEC | k.MFD_ALLOW_SEALING).keep(HostSlot.MEMFD)
  b.place(made)
  const memfd = slot(HostSlot.MEMFD)
  // The launcher carries the image; on Node the host itself was executed from it.
  b.call('write', memfd, engine === 'quickjs' ? STAGE_IMAGE : TEXT, STAGE_IMAGE_SIZE)
  b.call('pwrite64', memfd, SLOTS + 8 * Slot.STAGE_SESSION, 4, SESSION_WORD)
  c.fcntl(b, memfd, k.F_ADD_SEALS, k.F_SEAL_SEAL | k.F_SEAL_SHRINK | k.F_SEAL_GROW | k.F_SEAL_WRITE)

  const child = b.label()
  const parent = b.label()
  const end = b.label()
  const initSession = b.add(slot(Slot.INIT_SESSION), 0)
  const pid = c.clone(b, k.SIGCHLD, child)
  b.jump(parent)
  b.place(child)
  b.session(slot(Slot.STAGE_SESSION))
  for (const fd of [Slot.STAGE_SESSION, Slot.INIT_SESSION, HostSlot.LISTENER]) c.fcntl(b, slot(fd), k.F_SETFD, 0)
  b.call('execveat', memfd, '', b.strings(['runt:stage']), b.strings([]), k.AT_EMPTY_PATH)
  b.place(parent)
  for (const fd of [Slot.STAGE_SESSION, Slot.INIT_SESSION, HostSlot.LISTENER]) c.close(b, slot(fd))
  c.close(b, memfd)
  b.place(end)
  return { pid, initSession }
}
