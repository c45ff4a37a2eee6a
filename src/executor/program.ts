/**
 * The executor's program. It does what protocol.ts says, with nothing but registers, the arena and the slots: there is no
 * stack, so that a child made by FORK may have any. It trusts its brain; the checks are in the batch builder.
 */
import type { Machine } from '../base/platform.ts'
import { CLD_EXITED, MSG_NOSIGNAL, P_PID, SI_CODE, SI_STATUS, SIGPIPE, WEXITED } from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { type SyscallName, syscallNumbers } from '../linux/syscalls.ts'
import {
  add,
  address,
  and,
  back,
  branch,
  data,
  type Instruction,
  jump,
  label,
  left,
  load,
  move,
  type Register,
  right,
  set,
  stack,
  store,
  subtract,
  syscall,
} from './assembler.ts'
import {
  ARENA,
  ARENA_SIZE,
  EXIT_BRAIN_LOST,
  EXIT_BROKEN_PIPE,
  EXIT_ORPHANED,
  Flag,
  HEADER_SIZE,
  Header,
  Kind,
  Mode,
  NOT_RUN,
  OP_SIZE,
  Op,
  REPLY_SIZE,
  Reply,
  SKIPPED,
  SLOTS,
  Slot,
  Test,
} from './protocol.ts'

const EINTR = Errno.EINTR!
/** Results from here on, taken as unsigned, are errors: errno(3) ends at 4095. */
const FIRST_ERROR = -4095
/** In `Op.ERRNOS`: any errno. */
const ANY_ERRNO = 255
const STDERR = 2

const POINTER = 8
const shift = (size: number) => Math.log2(size)
const slot = (index: number) => index * 8
const ascii = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0))

/** What the host says when its brain ended without an exit status. */
const brainLost = ascii(
  'runt: the brain was killed before it was done: by a signal, or for want of memory or stack (cgroup, ulimit -d -s -v)\n',
)

const args = ['a0', 'a1', 'a2', 'a3', 'a4', 'a5'] as const satisfies Register[]

/** Stores `result` in the answer and in the operation's slot. `name` tells its label from others. */
function record(name: string): Instruction[] {
  return [
    store(64, 'result', 'cell'),
    load(16, 't0', 'op', Op.DST),
    branch('t0', 'equal', Slot.NONE, name),
    left('t0', shift(slot(1))),
    set('t1', SLOTS),
    add('t1', 't0'),
    store(64, 'result', 't1'),
    label(name),
  ]
}

/** Turns the word in `arg` into its value. t1 holds the modes of this argument and those after it. */
function resolve(arg: Register): Instruction[] {
  return [
    move('t0', 't1'),
    right('t1', 2),
    and('t0', 3),
    branch('t0', 'equal', Mode.IMMEDIATE, `${arg} done`),
    branch('t0', 'equal', Mode.LOAD32, `${arg} load32`),
    branch('t0', 'equal', Mode.LOAD32_SIGNED, `${arg} load32 signed`),
    load(64, arg, arg),
    jump(`${arg} done`),
    label(`${arg} load32`),
    load(32, arg, arg),
    jump(`${arg} done`),
    label(`${arg} load32 signed`),
    load(-32, arg, arg),
    label(`${arg} done`),
  ]
}

/** How the program starts. */
export type Role =
  /** A stage: it serves the session whose descriptor is the 32-bit word at this address. */
  | { readonly role: 'stage'; readonly sessionWord: number }
  /**
   * The launcher: it first performs the boot batch, which is in the arena from the start. Where no argument is one of `commands`
   * (of four letters or more, or three), it says so in `Slot.ALONE`.
   */
  | { readonly role: 'launcher'; readonly commands: readonly string[] }
  /** A function in the brain: it performs the batch in the arena and leaves the answer in `Slot.ANSWER`. */
  | { readonly role: 'called' }

/** Four bytes of a string as a load has them. */
const word = (text: string, at: number): number =>
  [0, 1, 2, 3].reduce((sum, i) => sum + (text.charCodeAt(at + i) || 0) * 256 ** i, 0)

/** Goes to `found` if an argument is one of the words, which are compared by their first four bytes and their last four, with the NUL. */
function findArgument(words: readonly string[], found: string): Instruction[] {
  return [
    load(64, 'cell', 't1', slot(Slot.ARGV)),
    label('argument'),
    load(64, 'op', 'cell'),
    branch('op', 'equal', 0, 'no argument'),
    add('cell', POINTER),
    load(32, 't0', 'op'),
    ...words.flatMap((text) => [set('a0', word(text, 0)), branch('t0', 'equal', 'a0', text)]),
    jump('argument'),
    ...words.flatMap((text) => [
      label(text),
      load(32, 't0', 'op', text.length - 3),
      set('a0', word(text, text.length - 3)),
      branch('t0', 'equal', 'a0', found),
      jump('argument'),
    ]),
    label('no argument'),
  ]
}

/**
 * The program. While a batch is interpreted, `base` is the arena, `reply` where the answer is built, `op` the
 * operation, `cell` its result in the answer, and `end` the address behind the last operation.
 */
export function program(machine: Machine, start: Role): Instruction[] {
  const call = (name: SyscallName) => set('number', syscallNumbers[machine][name])
  return [
    label('start'),
    set('base', ARENA),
    ...(start.role === 'called' ? [jump('batch'), label('serve'), back] : [...started(start), ...serve(call)]),

    label('batch'),
    set('t1', SLOTS),
    load(32, 'a0', 'base', Header.FLAGS),
    move('t0', 'a0'),
    and('t0', Flag.FRESH),
    branch('t0', 'not-equal', 0, 'fresh'),
    load(64, 't0', 't1', slot(Slot.FAILED)),
    branch('t0', 'equal', 0, 'prepare'),
    and('a0', Flag.SILENT),
    branch('a0', 'not-equal', 0, 'serve'),
    // The answer takes the place of the message.
    move('a1', 'base'),
    set('a2', REPLY_SIZE),
    set('t0', SKIPPED),
    jump('send'),
    label('fresh'),
    set('t0', 0),
    store(64, 't0', 't1', slot(Slot.FAILED)),

    label('prepare'),
    load(32, 'reply', 'base', Header.REPLY_AT),
    add('reply', 'base'),
    load(32, 't0', 'base', Header.COUNT),
    load(32, 'op', 'base', Header.OPERATIONS_AT),
    add('op', 'base'),
    move('end', 't0'),
    left('end', shift(OP_SIZE)),
    add('end', 'op'),
    set('t1', NOT_RUN),
    move('cell', 'reply'),
    label('fill'),
    branch('t0', 'equal', 0, 'filled'),
    store(64, 't1', 'cell', REPLY_SIZE),
    add('cell', 8),
    subtract('t0', 1),
    jump('fill'),
    label('filled'),
    move('cell', 'reply'),
    add('cell', REPLY_SIZE),

    label('operation'),
    branch('op', 'equal', 'end', 'completed'),
    ...args.map((arg, index) => load(64, arg, 'op', Op.ARGS + index * 8)),
    load(16, 't1', 'op', Op.MODES),
    branch('t1', 'equal', 0, 'perform'),
    ...args.flatMap(resolve),

    label('perform'),
    load(8, 't0', 'op', Op.KIND),
    branch('t0', 'not-equal', Kind.SYSCALL, 'not a system call'),
    load(32, 'number', 'op', Op.NUMBER),
    syscall,
    branch('result', 'at-or-above', FIRST_ERROR, 'error'),
    label('next'),
    ...record('recorded, next'),
    add('op', OP_SIZE),
    add('cell', 8),
    jump('operation'),

    label('not a system call'),
    set('result', 0),
    branch('t0', 'equal', Kind.BRANCH, 'branch'),
    branch('t0', 'equal', Kind.JUMP, 'take'),
    branch('t0', 'equal', Kind.STORE32, 'store32'),
    branch('t0', 'equal', Kind.STORE64, 'store64'),
    branch('t0', 'equal', Kind.ADD, 'add'),
    branch('t0', 'equal', Kind.FORK, 'fork'),
    branch('t0', 'equal', Kind.SESSION, 'session'),
    // Kind.FAIL
    subtract('result', 'a0'),

    label('error'),
    ...record('recorded, error'),
    load(32, 't0', 'op', Op.ERRNOS),
    set('t1', 0),
    subtract('t1', 'result'),
    label('expected'),
    branch('t0', 'equal', 0, 'failed'),
    move('a0', 't0'),
    and('a0', 255),
    branch('a0', 'equal', 't1', 'go to target'),
    branch('a0', 'equal', ANY_ERRNO, 'go to target'),
    right('t0', 8),
    jump('expected'),

    label('branch'),
    load(8, 't0', 'op', Op.TEST),
    branch('t0', 'equal', Test.LESS, 'less'),
    branch('t0', 'equal', Test.NOT_EQUAL, 'not equal'),
    branch('a0', 'equal', 'a1', 'taken'),
    jump('next'),
    label('not equal'),
    branch('a0', 'not-equal', 'a1', 'taken'),
    jump('next'),
    label('less'),
    branch('a0', 'less', 'a1', 'taken'),
    jump('next'),
    label('taken'),
    set('result', 1),
    label('take'),
    ...record('recorded, taken'),
    label('go to target'),
    load(16, 'a5', 'op', Op.TARGET),
    label('go to a5'),
    move('t0', 'a5'),
    left('t0', shift(OP_SIZE)),
    load(32, 'op', 'base', Header.OPERATIONS_AT),
    add('op', 'base'),
    add('op', 't0'),
    move('cell', 'a5'),
    left('cell', shift(8)),
    add('cell', 'reply'),
    add('cell', REPLY_SIZE),
    jump('operation'),

    label('store32'),
    store(32, 'a1', 'a0'),
    jump('next'),

    label('store64'),
    store(64, 'a1', 'a0'),
    jump('next'),

    label('add'),
    move('result', 'a0'),
    add('result', 'a1'),
    jump('next'),

    label('fork'),
    load(32, 'number', 'op', Op.NUMBER),
    syscall,
    branch('result', 'at-or-above', FIRST_ERROR, 'error'),
    branch('result', 'not-equal', 0, 'next'),
    ...record('recorded, child'),
    jump('go to a5'),

    label('session'),
    set('t1', SLOTS),
    store(64, 'a0', 't1', slot(Slot.SESSION)),
    store(64, 'result', 't1', slot(Slot.FAILED)),
    jump('next'),

    label('failed'),
    set('t1', SLOTS),
    set('t0', 1),
    store(64, 't0', 't1', slot(Slot.FAILED)),
    jump('answer'),

    label('completed'),
    load(32, 't0', 'base', Header.FLAGS),
    and('t0', Flag.SILENT),
    branch('t0', 'not-equal', 0, 'serve'),

    label('answer'),
    move('t0', 'cell'),
    subtract('t0', 'reply'),
    subtract('t0', REPLY_SIZE),
    right('t0', shift(8)),
    move('a1', 'reply'),
    load(32, 'a2', 'base', Header.REPLY_LENGTH),
    label('send'),
    load(32, 't1', 'base', Header.SEQUENCE),
    store(32, 't1', 'a1', Reply.SEQUENCE),
    store(32, 't0', 'a1', Reply.STOPPED_AT),
    set('a4', 0),
    store(64, 'a4', 'a1', 8),
    ...(start.role === 'called'
      ? [
          set('t1', SLOTS),
          store(64, 'a1', 't1', slot(Slot.ANSWER)),
          store(64, 'a2', 't1', slot(Slot.ANSWER_LENGTH)),
          back,
        ]
      : [...send(call), ...endOfSession(call)]),
  ]
}

type Call = (name: SyscallName) => Instruction

/** The start of a process: what the kernel has put on the stack, and which session there is. */
function started(role: Exclude<Role, { role: 'called' }>): Instruction[] {
  const arguments_ = [
    set('t1', SLOTS),
    stack('t0'),
    load(64, 'a0', 't0'),
    add('t0', POINTER),
    store(64, 't0', 't1', slot(Slot.ARGV)),
    add('a0', 1),
    left('a0', shift(POINTER)),
    add('t0', 'a0'),
    store(64, 't0', 't1', slot(Slot.ENVP)),
  ]
  if (role.role === 'stage')
    return [...arguments_, set('t0', role.sessionWord), load(32, 't0', 't0'), store(64, 't0', 't1', slot(Slot.SESSION))]
  return [
    ...arguments_,
    ...findArgument(role.commands, 'boot'),
    set('t0', 1),
    store(64, 't0', 't1', slot(Slot.ALONE)),
    label('boot'),
    // No descriptor yet: a boot batch that fails early must not be answered on somebody's standard input.
    set('t0', -1),
    store(64, 't0', 't1', slot(Slot.SESSION)),
    jump('batch'),
  ]
}

/** Receives the next batch. */
function serve(call: Call): Instruction[] {
  return [
    label('serve'),
    set('t1', SLOTS),
    load(64, 'a0', 't1', slot(Slot.SESSION)),
    move('a1', 'base'),
    set('a2', ARENA_SIZE),
    call('read'),
    syscall,
    branch('result', 'equal', -EINTR, 'serve'),
    branch('result', 'less', HEADER_SIZE, 'end of session'),
  ]
}

/** Sends the answer of length `a2` at `a1`, and serves on. */
function send(call: Call): Instruction[] {
  return [
    set('a3', MSG_NOSIGNAL),
    set('a4', 0),
    set('a5', 0),
    label('send again'),
    set('t1', SLOTS),
    load(64, 'a0', 't1', slot(Slot.SESSION)),
    call('sendto'),
    syscall,
    branch('result', 'equal', -EINTR, 'send again'),
    jump('serve'),
  ]
}

/** Ends as the brain has ended, where there is one to wait for. */
function endOfSession(call: Call): Instruction[] {
  return [
    label('end of session'),
    set('t1', SLOTS),
    load(64, 'a1', 't1', slot(Slot.BRAIN)),
    set('a0', EXIT_ORPHANED),
    branch('a1', 'equal', 0, 'exit'),
    move('a2', 'base'),
    set('a3', WEXITED),
    set('a4', 0),
    label('wait'),
    set('a0', P_PID),
    call('waitid'),
    syscall,
    branch('result', 'equal', -EINTR, 'wait'),
    branch('result', 'not-equal', 0, 'brain lost'),
    load(32, 't0', 'base', SI_CODE),
    load(32, 'a0', 'base', SI_STATUS),
    branch('t0', 'equal', CLD_EXITED, 'exit'),
    // Who reads our output has enough of it: that is how a pipe ends, and needs no words.
    move('t0', 'a0'),
    set('a0', EXIT_BROKEN_PIPE),
    branch('t0', 'equal', SIGPIPE, 'exit'),
    label('brain lost'),
    set('a0', STDERR),
    address('a1', 'message'),
    set('a2', brainLost.length),
    call('write'),
    syscall,
    set('a0', EXIT_BRAIN_LOST),
    label('exit'),
    call('exit_group'),
    syscall,

    label('message'),
    data(brainLost),
  ]
}
