/**
 * The device rules of a cgroup (config-linux.md, "Allowed Device list"): lines for the v1 devices controller, a generated
 * eBPF program for v2.
 *
 * All is denied to begin with, and what every container may use is allowed last. Rules apply in order: the last one that
 * names a device decides, for each access (read, write, mknod) by itself. A rule of type `a` is for all devices and all
 * accesses, whatever else stands in it (Documentation/admin-guide/cgroup-v1/devices.rst). The v1 controller alone cannot deny one
 * device of a range that a rule before has allowed: it takes back what it was given, literally, and nothing else.
 */
import { decodeUtf8, Struct } from '../base/bytes.ts'
import { RuntError } from '../base/errors.ts'
import type { Machine } from '../base/platform.ts'
import type { DeviceRule } from '../config/types.ts'
import { MESSAGE_MAX } from '../executor/protocol.ts'
import {
  AT_FDCWD,
  BPF_CGROUP_DEVICE,
  BPF_DEVCG_ACC_MKNOD,
  BPF_DEVCG_ACC_READ,
  BPF_DEVCG_ACC_WRITE,
  BPF_DEVCG_DEV_BLOCK,
  BPF_DEVCG_DEV_CHAR,
  BPF_F_ALLOW_MULTI,
  BPF_F_REPLACE,
  BPF_PROG_ATTACH,
  BPF_PROG_DETACH,
  BPF_PROG_GET_FD_BY_ID,
  BPF_PROG_LOAD,
  BPF_PROG_QUERY,
  BPF_PROG_TYPE_CGROUP_DEVICE,
  O_DIRECTORY,
  O_RDONLY,
  O_WRONLY,
} from '../linux/constants.ts'
import { Errno } from '../linux/errno.ts'
import { ANY, at, Batch, type Label, load, type Step } from '../session/batch.ts'
import { close, openat, write } from '../session/calls.ts'
import type { Session } from '../session/session.ts'
import type { Train } from '../session/train.ts'
import { type ColdPaths, explainErrnos, placeColdPaths, type Reasons } from './cold-paths.ts'
import { type CgroupFolder, folderPath } from './layout.ts'

const FIELD = 'linux.resources.devices'
/** Shown by bpftool. */
const NAME = 'runt_devices'

const char = (major: number | undefined, minor: number | undefined, access = 'rwm'): DeviceRule => ({
  allow: true,
  type: 'c',
  ...(major === undefined ? {} : { major }),
  ...(minor === undefined ? {} : { minor }),
  access,
})

/** Devices every container may use (config-linux.md, "Default Devices"), terminals, and mknod of any. */
export const DEFAULT_RULES: readonly DeviceRule[] = [
  char(undefined, undefined, 'm'),
  { allow: true, type: 'b', access: 'm' },
  char(1, 3),
  char(1, 5),
  char(1, 7),
  char(1, 8),
  char(1, 9),
  char(5, 0),
  char(5, 2),
  char(136, undefined),
]

export const isAll = (rule: DeviceRule): boolean => !rule.type || rule.type === 'a'
/** -1 and absence mean any. */
export const isAny = (value: number | undefined): value is undefined => value === undefined || value < 0

/** Whether the rules deny nothing. */
export function allowsAll(rules: readonly DeviceRule[]): boolean {
  const last = rules.findLastIndex(isAll)
  return last >= 0 && rules.slice(last).every(({ allow }) => allow)
}

// cgroup v1.

/** Rules as the v1 devices controller takes them. All is denied unless the first rule settles that; the defaults come last. */
export function deviceLines(rules: readonly DeviceRule[]): { field: string; file: string; line: string }[] {
  const lines = rules.map((rule, index) => deviceLine(`${FIELD}[${index}]`, rule))
  if (!rules[0] || !isAll(rules[0])) lines.unshift(deviceLine(FIELD, { allow: false }))
  return [...lines, ...DEFAULT_LINES]
}

/** The accesses of a rule, without letters that mean nothing. */
export const accessesOf = ({ access = '' }: DeviceRule): string =>
  access === '' || access === 'rwm' ? 'rwm' : [...'rwm'].filter((letter) => access.includes(letter)).join('')

function deviceLine(field: string, rule: DeviceRule): { field: string; file: string; line: string } {
  const number = (value: number | undefined): string => (isAny(value) ? '*' : String(value))
  return {
    field,
    file: rule.allow ? 'devices.allow' : 'devices.deny',
    line: isAll(rule) ? 'a' : `${rule.type} ${number(rule.major)}:${number(rule.minor)} ${accessesOf(rule)}`,
  }
}

const DEFAULT_LINES = DEFAULT_RULES.map((rule) => deviceLine(FIELD, rule))

/** Lines that one batch takes at most. */
const LINES = 200

/** Plans the writes of the rules to the v1 devices controller. */
export function planDeviceLines(train: Train, folder: CgroupFolder, rules: readonly DeviceRule[]): void {
  planLines(train, folder, deviceLines(rules))
}

function planLines(train: Train, folder: CgroupFolder, lines: ReturnType<typeof deviceLines>): void {
  for (let start = 0; start < lines.length; start += LINES) {
    const b = train.next(FIELD)
    const open = new Map<string, Step>()
    for (const { field, file, line } of lines.slice(start, start + LINES)) {
      const path = `${folderPath(folder)}/${file}`
      b.about(`${field}: ${line} written to ${path}`)
      let fd = open.get(file)
      if (!fd) {
        fd = openat(b, AT_FDCWD, path, O_WRONLY)
        open.set(file, fd)
      }
      write(b, fd, line)
    }
    for (const fd of open.values()) close(b, fd)
  }
}

/** What devices.list of a cgroup says that has all these rules; null where that is not all: it does not tell what is denied of all. */
export function deviceList(rules: readonly DeviceRule[]): string[] | null {
  let all = false
  const allowed = new Map<string, Set<string>>()
  for (const { file, line } of deviceLines(rules)) {
    const allow = file === 'devices.allow'
    if (line === 'a') {
      all = allow
      allowed.clear()
      continue
    }
    if (all) continue
    const device = line.slice(0, line.lastIndexOf(' '))
    const access = allowed.get(device) ?? new Set()
    allowed.set(device, access)
    for (const letter of line.slice(device.length + 1)) {
      if (allow) access.add(letter)
      else access.delete(letter)
    }
  }
  return all ? null : [...allowed].map(([device, access]) => `${device} ${[...access].join('')}`)
}

/** The lines of devices.list. */
export function readDeviceList(host: Session, machine: Machine, folder: CgroupFolder): string[] {
  let text = ''
  for (let at = 0, length = -1; length !== 0; at += length) {
    const b = new Batch(machine).about(`${folderPath(folder)}/devices.list`)
    const buffer = b.out(0x1_0000)
    const fd = openat(b, AT_FDCWD, `${folderPath(folder)}/devices.list`, O_RDONLY)
    const count = b.call('pread64', fd, buffer, buffer.length, at)
    close(b, fd)
    const answer = host.recover(b)
    length = answer.value(count)!
    text += decodeUtf8(answer.bytes(buffer, length))
  }
  return text.split('\n').filter((line) => line !== '')
}

/** Plans to make one devices.list the other. What is new is allowed first, so that nothing is denied that both allow. */
export function planDeviceChange(
  train: Train,
  folder: CgroupFolder,
  before: readonly string[],
  after: readonly string[],
): void {
  const missing = (from: readonly string[], list: readonly string[], file: string): ReturnType<typeof deviceLines> => {
    const known = new Map(list.map((line) => [line.slice(0, line.lastIndexOf(' ')), line]))
    return from.flatMap((line) => {
      const device = line.slice(0, line.lastIndexOf(' '))
      const there = known.get(device)?.slice(device.length) ?? ''
      const letters = [...line.slice(device.length + 1)].filter((letter) => !there.includes(letter)).join('')
      return letters === '' ? [] : [{ field: FIELD, file, line: `${device} ${letters}` }]
    })
  }
  // A cgroup that may use all devices has the line "a *:* rwm" alone, and takes no change of a part of that.
  const everything = (list: readonly string[]): boolean => list.some((line) => line.startsWith('a'))
  if (everything(before) === everything(after))
    planLines(train, folder, [...missing(after, before, 'devices.allow'), ...missing(before, after, 'devices.deny')])
  else {
    const allow = after.map((line) => ({ field: FIELD, file: 'devices.allow', line }))
    planLines(train, folder, [{ field: FIELD, file: 'devices.deny', line: 'a' }, ...allow])
  }
}

// cgroup v2.

/** Bytes of struct bpf_insn. */
export const INSTRUCTION_SIZE = 8

/**
 * What fits a message beside the operations that load it: some 2,000 rules. The kernel itself takes a million instructions of those with
 * CAP_BPF (Linux 5.2), which a program for devices needs in any case.
 */
const INSTRUCTIONS_MAX = (MESSAGE_MAX - 0x2000) / INSTRUCTION_SIZE

/** Operation codes (Documentation/bpf/standardization/instruction-set.rst); `32` works on the lower half of a register. */
const LDX_W = 0x61
const MOV_K = 0xb7
const MOV32_X = 0xbc
const AND32_K = 0x54
const RSH32_K = 0x74
const JA = 0x05
const JNE_K = 0x55
const JSET_K = 0x45
const EXIT = 0x95

/** Registers: the answer, the context, and what the program keeps. */
const R0 = 0
const CONTEXT = 1
const TYPE = 2
/** The accesses that are asked for and that no rule has decided yet. */
const ACCESS = 3
const MAJOR = 4
const MINOR = 5

/** Accesses of a rule as the kernel's mask. */
function accessMask(access: string | undefined): number {
  const letters = access || 'rwm'
  return (
    (letters.includes('m') ? BPF_DEVCG_ACC_MKNOD : 0) |
    (letters.includes('r') ? BPF_DEVCG_ACC_READ : 0) |
    (letters.includes('w') ? BPF_DEVCG_ACC_WRITE : 0)
  )
}
const ALL_ACCESSES = accessMask('rwm')

type Instruction = readonly [code: number, dst: number, src: number, offset: number, immediate: number]
const ins = (code: number, dst: number, immediate: number, offset = 0): Instruction => [code, dst, 0, offset, immediate]
const answer = (allow: boolean): Instruction[] => [ins(MOV_K, R0, allow ? 1 : 0), ins(EXIT, 0, 0)]

/** A rule: decides, or goes on behind itself. */
function ruleBlock(rule: DeviceRule): Instruction[] {
  const mask = accessMask(rule.access)
  const verdict: Instruction[] = []
  if (mask !== ALL_ACCESSES) {
    if (rule.allow) verdict.push(ins(AND32_K, ACCESS, ~mask & ALL_ACCESSES), ins(JNE_K, ACCESS, 0, 2))
    else verdict.push(ins(JSET_K, ACCESS, mask, 1), ins(JA, 0, 0, 2))
  }
  verdict.push(...answer(rule.allow))
  const block: Instruction[] = []
  const wanted: [register: number, value: number | undefined][] = [
    [TYPE, rule.type === 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR],
    [MAJOR, rule.major],
    [MINOR, rule.minor],
  ]
  const tests = wanted.filter((test): test is [number, number] => !isAny(test[1]))
  tests.forEach(([register, value], index) => {
    block.push(ins(JNE_K, register, value, tests.length - index - 1 + verdict.length))
  })
  return [...block, ...verdict]
}

/**
 * The instructions of a BPF_PROG_TYPE_CGROUP_DEVICE program (struct bpf_insn) that answers 1 where the rules and the defaults
 * allow an access, and 0 where they don't. Later rules are asked first; the program ends when every access asked for is
 * allowed or one is denied. Throws a RuntError when the rules make it longer than INSTRUCTIONS_MAX.
 */
export function deviceProgram(rules: readonly DeviceRule[]): Uint8Array {
  const code: Instruction[] = [
    // struct bpf_cgroup_dev_ctx: access_type (access << 16 | type), major, minor.
    [LDX_W, TYPE, CONTEXT, 0, 0],
    [MOV32_X, ACCESS, TYPE, 0, 0],
    ins(AND32_K, TYPE, 0xffff),
    ins(RSH32_K, ACCESS, 16),
    [LDX_W, MAJOR, CONTEXT, 4, 0],
    [LDX_W, MINOR, CONTEXT, 8, 0],
  ]
  // Nothing can be reached behind a rule for all devices, and the verifier refuses what cannot be reached.
  const settled = rules.findLastIndex(isAll)
  const ordered = [...rules.slice(settled + 1), ...DEFAULT_RULES]
  for (const rule of ordered.reverse()) for (const instruction of ruleBlock(rule)) code.push(instruction)
  code.push(...answer(rules[settled]?.allow ?? false))
  if (code.length > INSTRUCTIONS_MAX)
    throw new RuntError(
      `${FIELD}: ${rules.length} rules make a BPF program of ${code.length} instructions; at most ${INSTRUCTIONS_MAX} are possible`,
    )
  const struct = new Struct(code.length * INSTRUCTION_SIZE)
  code.forEach(([operation, dst, src, offset, immediate], index) => {
    const start = index * INSTRUCTION_SIZE
    struct
      .u8(start, operation)
      .u8(start + 1, (src << 4) | dst)
      .u16(start + 2, offset)
      .u32(start + 4, immediate)
  })
  return struct.bytes
}

/**
 * Bytes handed to bpf(2) as union bpf_attr: more than any command here has, for the kernel also writes to it. What lies beyond
 * a command's fields must be zero.
 */
const ATTR_SIZE = 128

/** Ends the batch with a sentence of our own where a bpf(2) fails with one of up to four errnos; at EAGAIN it goes on at `again`, if given. */
const explainBpf = (
  b: Batch,
  cold: ColdPaths,
  step: Step,
  call: string,
  reasons: Reasons,
  again: Label | null = null,
): void => explainErrnos(b, cold, step, reasons, (reason) => `${FIELD}: ${reason}: bpf(${call})`, again)

const LOAD_REASONS = {
  ENOSYS: 'on cgroup v2 they need BPF, which the kernel lacks (CONFIG_BPF_SYSCALL)',
  EINVAL: 'on cgroup v2 they need BPF programs for cgroups, which the kernel lacks (CONFIG_CGROUP_BPF)',
  EPERM:
    'on cgroup v2 they need BPF, which takes CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) in the initial user namespace; a container around runt may forbid it too',
}
const ATTACH_REASONS = {
  EPERM: 'a cgroup above has a BPF program for devices that allows none below it',
}

/**
 * BPF_PROG_LOAD. The result is the program's descriptor, which is closed on execve. On EAGAIN it is to be done again, at `again`: the
 * verifier gives up a long program when there is other work for the process, as on a busy machine; libbpf tries again, too.
 */
function loadProgram(b: Batch, program: Uint8Array, again: Label): Step {
  const count = program.length / INSTRUCTION_SIZE
  const attr = new Struct(ATTR_SIZE).u32(0, BPF_PROG_TYPE_CGROUP_DEVICE).u32(4, count)
  // prog_name.
  for (let i = 0; i < NAME.length; i++) attr.u8(48 + i, NAME.charCodeAt(i))
  // The license: only helpers, of which the program uses none, ask for one that is compatible with the GPL.
  const pointers = { 8: b.data(program), 16: b.string('Apache-2.0') }
  b.about(FIELD)
  b.place(again)
  return b.call('bpf', BPF_PROG_LOAD, b.structure(attr.bytes, pointers, `program of ${count} instructions`), ATTR_SIZE)
}

/** BPF_PROG_ATTACH or BPF_PROG_DETACH. `replaced`: descriptor of the program that the new one takes the place of. */
function changeProgram(b: Batch, command: number, cgroup: Step, program: Step, replaced?: Step): Step {
  const flags =
    command === BPF_PROG_DETACH ? 0 : replaced === undefined ? BPF_F_ALLOW_MULTI : BPF_F_ALLOW_MULTI | BPF_F_REPLACE
  const attr = b.data(new Struct(ATTR_SIZE).u32(8, BPF_CGROUP_DEVICE).u32(12, flags).bytes, () => '{BPF_CGROUP_DEVICE}')
  b.about(FIELD)
  b.store(32, attr, cgroup)
  b.store(32, at(attr, 4), program)
  if (replaced !== undefined) b.store(32, at(attr, 16), replaced)
  return b.call('bpf', command, attr, ATTR_SIZE)
}

/**
 * Loads a program and attaches it to a new cgroup (its absolute path), where it lasts as long as the cgroup. Programs of the cgroups
 * above go on to apply: an access needs all of them to allow it (BPF_F_ALLOW_MULTI, Linux 4.15).
 */
export function planDevices(b: Batch, folder: string, program: Uint8Array): void {
  const cold: ColdPaths = []
  const reload = b.label()
  const loaded = loadProgram(b, program, reload)
  explainBpf(b, cold, loaded, 'BPF_PROG_LOAD', LOAD_REASONS, reload)
  const cgroup = openat(b, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY)
  explainBpf(b, cold, changeProgram(b, BPF_PROG_ATTACH, cgroup, loaded), 'BPF_PROG_ATTACH', ATTACH_REASONS)
  close(b, cgroup)
  close(b, loaded)
  placeColdPaths(b, cold)
}

/** The kernel attaches no more programs to one cgroup (BPF_CGROUP_MAX_PROGS). */
const PROGRAMS_MAX = 64

/**
 * As `planDevices`, for a cgroup that may have a program already, runt's or somebody else's: the new one takes its place in one step
 * (BPF_F_REPLACE, Linux 5.6). Of several, all but one are detached first, so that there is no moment without any.
 * `optional`, for a program that allows everything: where BPF is not to be had, nothing is done.
 */
export function planReplaceDevices(b: Batch, folder: string, program: Uint8Array, optional = false): void {
  const cold: ColdPaths = []
  const again = b.label()
  const fresh = b.label()
  const single = b.label()
  const attached = b.label()
  const end = b.label()
  const reload = b.label()
  const loaded = loadProgram(b, program, reload)
  if (optional) {
    const failed = b.label()
    loaded.on(ANY, failed)
    cold.push(() => {
      b.place(failed)
      b.branch(loaded, 'EQUAL', -Errno.EAGAIN!, reload)
      b.jump(end)
    })
  } else explainBpf(b, cold, loaded, 'BPF_PROG_LOAD', LOAD_REASONS, reload)
  const cgroup = openat(b, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY)

  const ids = b.data(new Uint8Array(4 * PROGRAMS_MAX))
  const query = b.structure(new Struct(ATTR_SIZE).u32(4, BPF_CGROUP_DEVICE).bytes, { 16: ids }, '{BPF_CGROUP_DEVICE}')
  const count = load(query, 32, 24)
  const id = b.data(new Uint8Array(ATTR_SIZE), () => '{prog_id}')
  b.store(32, query, cgroup)
  b.place(again)
  b.store(32, at(query, 24), PROGRAMS_MAX)
  const queried = b.call('bpf', BPF_PROG_QUERY, query, ATTR_SIZE)
  if (optional) queried.on(ANY, attached)
  b.branch(count, 'EQUAL', 0, fresh)
  b.store(32, id, load(ids, 32))
  const old = b.call('bpf', BPF_PROG_GET_FD_BY_ID, id, ATTR_SIZE)
  b.branch(count, 'EQUAL', 1, single)
  changeProgram(b, BPF_PROG_DETACH, cgroup, old)
  close(b, old)
  b.jump(again)

  b.place(single)
  explainBpf(b, cold, changeProgram(b, BPF_PROG_ATTACH, cgroup, loaded, old), 'BPF_PROG_ATTACH', ATTACH_REASONS)
  close(b, old)
  b.jump(attached)
  b.place(fresh)
  explainBpf(b, cold, changeProgram(b, BPF_PROG_ATTACH, cgroup, loaded), 'BPF_PROG_ATTACH', ATTACH_REASONS)
  b.place(attached)
  close(b, cgroup)
  close(b, loaded)
  b.place(end)
  placeColdPaths(b, cold)
}
