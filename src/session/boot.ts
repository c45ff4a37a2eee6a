/** What the launcher (dist/runt) does first: it starts the brain and gives it three sessions, or becomes the brain. */
import type { Machine } from '../base/platform.ts'
import { EXIT_BRAIN_LOST, Flag, Slot } from '../executor/protocol.ts'
import {
  AF_UNIX,
  AT_FDCWD,
  CLONE_VFORK,
  CLONE_VM,
  F_DUPFD_CLOEXEC,
  F_GETFD,
  O_RDONLY,
  PR_SET_PDEATHSIG,
  SIG_BLOCK,
  SIGCHLD,
  SIGKILL,
  SIGXFSZ,
  SOCK_CLOEXEC,
  SOCK_SEQPACKET,
} from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, at, Batch, type Label, load, type OutPointer, type Step, slot } from './batch.ts'
import * as calls from './calls.ts'

const STDERR = 2
/** A set of signals with this one alone. */
const bit = (signal: number): bigint => 1n << BigInt(signal - 1)
/** SIGHUP, SIGINT, SIGQUIT, SIGTSTP. */
const TERMINAL_SIGNALS = 0b111n | bit(20)

/** The brain finds its sessions here; src/engine-quickjs/platform.ts. */
const BRAIN_DESCRIPTORS = [3, 4, 5] as const
/** The launcher's own descriptors are moved up to here or beyond: out of the way of the numbers above. */
const OWN_DESCRIPTORS = 10
/** A slot: what execve has answered, in the launcher or its child. */
const EXECUTION = Slot.FIRST_FREE
/**
 * Commands that need the launcher beside the brain: because other executors take part (run, create, exec), because only the small launcher
 * is to stay while they wait (run, exec, events), or because the brain plans while the executor works (list). All others are done in one
 * process: see `bootMessage`.
 */
export const SHARED_COMMANDS: readonly string[] = ['run', 'create', 'exec', 'list', 'events']
/** The name by which a brain knows that it is alone: its argv[0]. As in src/engine-quickjs/host.c. */
const ALONE = 'runt (alone)'

/** Longest path of the brain: PATH_MAX less the suffix. */
const PATH_ROOM = 4096 - 8

/** "-brain" and its NUL as a little-endian 64-bit word, for one store. */
const SUFFIX = '-brain'
const SUFFIX_WORD = [...SUFFIX].reduceRight((word, char) => (word << 8n) | BigInt(char.charCodeAt(0)), 0n)

/**
 * The boot batch as a message, for `launcherImage`. It makes three SOCK_SEQPACKET pairs, keeps one end of each in
 * `Slot.SESSION`, `STAGE_SESSION` and `INIT_SESSION`, and executes the program next to the launcher whose name ends in `-brain`,
 * with the other ends as its descriptors 3, 4 and 5, the launcher's arguments and its environment. The caller's descriptors stay
 * open in the launcher and are closed in the brain. The brain does not outlive the launcher (PR_SET_PDEATHSIG).
 *
 * If no argument is one of `SHARED_COMMANDS` (then `Slot.ALONE` is 1), there is nobody to share the work with: the launcher executes the
 * brain in its own place, and that performs its batches by calling the executor's code, which it has a copy of.
 *
 * The child shares memory with the waiting launcher (as vfork(2) does), which is cheaper than copying page tables. That
 * is safe because the executor has no stack and a child's operations store their results in places of their own.
 *
 * When something fails, a line on stderr says what, and the exit status is 255.
 */
export function bootMessage(machine: Machine): Uint8Array {
  const b = new Batch(machine)
  const failures: { label: Label; text: string }[] = []
  const must = (step: Step, text: string): Step => {
    let failure = failures.find((known) => known.text === text)
    if (!failure) {
      failure = { label: b.label(), text }
      failures.push(failure)
    }
    return step.on(ANY, failure.label)
  }
  const noSession =
    'cannot make the sessions with its brain: socketpair or fcntl failed; the limit of open files (ulimit -n) has to be 20 or more'

  const path = b.out(PATH_ROOM + 8)
  const length = must(
    b.call('readlinkat', AT_FDCWD, '/proc/self/exe', path, PATH_ROOM),
    'cannot find its own path: readlink /proc/self/exe failed; /proc has to be mounted',
  )
  b.store(64, b.add(path, length), SUFFIX_WORD)
  // A caller may ignore SIGCHLD, and execve(2) keeps that: then there would be no child to wait for, waitid(2).
  must(calls.defaultAction(b, SIGCHLD), 'rt_sigaction failed')
  // A write beyond RLIMIT_FSIZE is an error to be told (EFBIG), not our end. Programs that are executed later unblock all signals.
  must(calls.sigprocmask(b, SIG_BLOCK, bit(SIGXFSZ)), 'rt_sigprocmask failed')

  // If the caller has closed standard streams, what is opened next would get their numbers and be taken for them. So /dev/null stands in,
  // opened for reading only: who writes to it is told that it is closed (EBADF), as before.
  const planStreams = (opened: Label): void => {
    const next = b.label()
    b.place(next)
    const stream = b.call('openat', AT_FDCWD, '/dev/null', O_RDONLY, 0).on(ANY, opened)
    b.branch(stream, 'LESS', STDERR, next)
    b.branch(stream, 'EQUAL', STDERR, opened)
    calls.close(b, stream)
    b.jump(opened)
  }
  const failed = b.label()
  const execute = (): Step => b.call('execve', path, slot(Slot.ARGV), slot(Slot.ENVP)).on(ANY, failed).keep(EXECUTION)

  const shared = b.label()
  b.branch(slot(Slot.ALONE), 'EQUAL', 0, shared)
  b.store(64, slot(Slot.ARGV), ALONE)
  const few = b.label()
  const lone = b.label()
  for (const stream of [0, 1, STDERR]) b.call('fcntl', stream, F_GETFD).on(ANY, few)
  b.place(lone)
  execute()
  b.place(few)
  planStreams(lone)

  b.place(shared)
  const keep = [Slot.SESSION, Slot.STAGE_SESSION, Slot.INIT_SESSION]
  const moved = (pair: OutPointer, end: 0 | 1): Step => {
    const step = must(calls.fcntl(b, load(pair, 32, 4 * end), F_DUPFD_CLOEXEC, OWN_DESCRIPTORS), noSession)
    calls.close(b, load(pair, 32, 4 * end))
    return step
  }
  const pairs = keep.map(() => b.out(8))
  const brainEnds = keep.map((kept, i) => {
    const pair = pairs[i]!
    must(b.call('socketpair', AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), noSession)
    moved(pair, 0).keep(kept)
    return moved(pair, 1)
  })

  // The first descriptor is the lowest that was free.
  const streams = b.label()
  const opened = b.label()
  b.branch(load(pairs[0]!, 32, 0), 'LESS', STDERR + 1, streams)
  b.place(opened)

  const child = b.label()
  const end = b.label()
  must(
    calls.clone(b, CLONE_VM | CLONE_VFORK | SIGCHLD, child),
    'cannot fork its brain: a limit of processes (ulimit -u, pids.max of a cgroup) or of memory is reached',
  ).keep(Slot.BRAIN)
  for (const own of brainEnds) calls.close(b, own)
  b.jump(end)

  b.place(child)
  brainEnds.forEach((own, i) => {
    must(b.call('dup3', own, BRAIN_DESCRIPTORS[i]!, 0), noSession)
  })
  const closed = b.label()
  // Linux 5.9. Without it the brain holds the caller's descriptors too, which does no harm.
  b.call('close_range', 6, 0xffff_ffff, 0).on(ANY, closed)
  b.place(closed)
  must(calls.prctl(b, PR_SET_PDEATHSIG, SIGKILL), 'prctl(PR_SET_PDEATHSIG) failed')
  // Ctrl-C on a terminal is for the launcher, which may pass it on to a container and need the brain afterwards.
  must(calls.sigprocmask(b, SIG_BLOCK, TERMINAL_SIGNALS), 'rt_sigprocmask failed')
  execute()

  const complain = (text: string) => calls.write(b, STDERR, text)
  b.place(failed)
  const missing = b.label()
  const named = b.label()
  b.branch(slot(EXECUTION), 'EQUAL', -Errno.ENOENT!, missing)
  complain('runt: cannot execute its brain: ')
  b.jump(named)
  b.place(missing)
  complain('runt: its brain is missing: ')
  b.place(named)
  b.call('write', STDERR, at(path, 0), b.add(length, SUFFIX.length))
  complain('\n')
  b.call('exit_group', EXIT_BRAIN_LOST)

  b.place(streams)
  planStreams(opened)

  for (const { label, text } of failures) {
    b.place(label)
    complain(`runt: ${text}\n`)
    b.call('exit_group', EXIT_BRAIN_LOST)
  }
  b.place(end)
  return b.encode(0, Flag.SILENT)
}
