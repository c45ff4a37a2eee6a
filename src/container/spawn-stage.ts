/** Starts the stage: a child of the host executes the executor's image from a sealed memfd. */
import { SESSION_WORD, STAGE_IMAGE, STAGE_IMAGE_SIZE } from '../executor/elf.ts'
import { SLOTS, Slot, TEXT } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { type Batch, type Step, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { planNullStreams } from './null-streams.ts'
import { HostSlot, SIGNAL } from './slots.ts'

/** Name of the file in the state folder that replaces the memfd where none can be executed. It exists for a moment only. */
export const EXECUTOR_FILE = 'executor'

export interface Spawn {
  /** Result: pid of the stage. */
  pid: Step
  /** Result: number of the init's end of its session, in the stage. */
  initSession: Step
}

/**
 * Plans, in the host, to start the stage. Nobody can write to the file that stage and init are executed from: a container that opens
 * /proc/PID/exe of its init finds a sealed copy, never the host's runt (CVE-2019-5736).
 *
 * `folder`: the container's state folder. `handed`: slots of descriptors that move to the stage; the host closes its own. `preserved`: how
 * many of the caller's descriptors, from 3 on, the program will get. No others get into the stage, because until the program's execve a
 * path such as /proc/self/fd/9/bin/sh would lead out of the container (CVE-2024-21626).
 */
export function planSpawn(
  b: Batch,
  engine: 'node' | 'quickjs',
  folder: string,
  preserved: number,
  handed: readonly number[] = [HostSlot.LISTENER],
): Spawn {
  b.about('executor')
  const memfd = slot(HostSlot.MEMFD)
  // The launcher carries the image; on Node the host itself was executed from it.
  const image = engine === 'quickjs' ? STAGE_IMAGE : TEXT
  const other = b.label()
  const made = b.label()
  const without = b.label()
  const ready = b.label()
  const first = c
    .memfdCreate(b, 'runt', k.MFD_CLOEXEC | k.MFD_ALLOW_SEALING | k.MFD_EXEC)
    .on(['EINVAL', 'ENOSYS', 'EACCES', 'EPERM'], other)
    .keep(HostSlot.MEMFD)
  b.place(made)
  planImage(b, image)
  c.fcntl(b, memfd, k.F_ADD_SEALS, k.F_SEAL_SEAL | k.F_SEAL_SHRINK | k.F_SEAL_GROW | k.F_SEAL_WRITE)
  b.jump(ready)

  b.place(other)
  b.branch(first, 'NOT_EQUAL', -Errno.EINVAL!, without)
  // MFD_EXEC came with Linux 6.3; earlier kernels do not know it, and always make executable ones.
  c.memfdCreate(b, 'runt', k.MFD_CLOEXEC | k.MFD_ALLOW_SEALING).keep(HostSlot.MEMFD)
  b.jump(made)

  // No memfd, or none that may be executed (sysctl vm.memfd_noexec). Then the image goes to a file that is unlinked at once: nobody can
  // have it open for writing, and a container that gets at it finds a copy that nothing else will execute.
  b.place(without)
  const path = `${folder}/${EXECUTOR_FILE}`
  b.about(`executor (no memfd can be executed here; ${path} instead)`)
  c.openat(b, k.AT_FDCWD, path, k.O_RDWR | k.O_CREAT | k.O_EXCL | k.O_NOFOLLOW, 0o700).keep(HostSlot.MEMFD)
  planImage(b, image)
  const readOnly = c.openat(b, k.AT_FDCWD, path, k.O_RDONLY)
  c.close(b, memfd)
  b.set(HostSlot.MEMFD, readOnly)
  c.unlinkat(b, k.AT_FDCWD, path)
  b.place(ready)
  b.about('executor')

  const passed = [Slot.STAGE_SESSION, Slot.INIT_SESSION, ...handed]
  const child = b.label()
  const parent = b.label()
  const end = b.label()
  const initSession = b.add(slot(Slot.INIT_SESSION), 0)
  const pid = c.clone(b, k.SIGCHLD, child)
  b.jump(parent)
  b.place(child)
  b.session(slot(Slot.STAGE_SESSION))
  b.call('close_range', 3 + preserved, 0xffff_ffff, k.CLOSE_RANGE_CLOEXEC)
  planNullStreams(b)
  b.about('executor')
  // These calls take a while; the brain parses config.json meanwhile.
  c.defaultActions(b, SIGNAL)
  for (const fd of passed) c.fcntl(b, slot(fd), k.F_SETFD, 0)
  b.call('execveat', memfd, '', b.strings(['runt:stage']), b.strings([]), k.AT_EMPTY_PATH)
  b.place(parent)
  for (const fd of passed) c.close(b, slot(fd))
  c.close(b, memfd)
  b.place(end)
  return { pid, initSession }
}

/** Writes the image, with the number of the stage's session descriptor in its place. */
function planImage(b: Batch, image: number): void {
  const whole = b.label()
  const written = b.call('write', slot(HostSlot.MEMFD), image, STAGE_IMAGE_SIZE)
  // A part of it would be executed, and killed.
  b.branch(written, 'EQUAL', STAGE_IMAGE_SIZE, whole)
  b.fail('ENOSPC')
  b.place(whole)
  b.call('pwrite64', slot(HostSlot.MEMFD), SLOTS + 8 * Slot.STAGE_SESSION, 4, SESSION_WORD)
}
