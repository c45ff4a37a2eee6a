/**
 * An interpreter of the few eBPF instructions that device programs consist of. It checks what the kernel's verifier would: known
 * instructions, registers that have a value, jumps that go forward and stay inside, no instruction that cannot be reached.
 */

/** struct bpf_cgroup_dev_ctx. */
export interface DeviceAccess {
  type: 'b' | 'c'
  major: number
  minor: number
  /** Some of `rwm`. */
  access: string
}

const SIZE = 8

/** Throws when an instruction is unknown, a jump leads out of the program, or an instruction cannot be reached. */
export function verify(program: Uint8Array): void {
  const view = new DataView(program.buffer, program.byteOffset, program.length)
  const count = program.length / SIZE
  const reached = new Set<number>([0])
  for (let at = 0; at < count; at++) {
    if (!reached.has(at)) throw new Error(`instruction ${at} is never reached`)
    const code = view.getUint8(at * SIZE)
    const target = at + 1 + view.getInt16(at * SIZE + 2, true)
    if ((code & 7) === 5 && code !== 0x95) {
      if (target <= at || target >= count) throw new Error(`instruction ${at} jumps to ${target}`)
      reached.add(target)
    }
    if (code !== 0x95 && code !== 0x05) reached.add(at + 1)
  }
  if (reached.has(count)) throw new Error('the last instruction is not an exit')
}

/** What the program answers. */
export function runProgram(program: Uint8Array, { type, major, minor, access }: DeviceAccess): number {
  const view = new DataView(program.buffer, program.byteOffset, program.length)
  const mask = [...'mrw'].reduce((sum, letter, bit) => sum | (access.includes(letter) ? 1 << bit : 0), 0)
  const context = new Map([
    [0, (mask << 16) | (type === 'b' ? 1 : 2)],
    [4, major],
    [8, minor],
  ])
  // All values fit 32 bits here. R1 points to the context.
  const registers: (number | undefined)[] = []
  for (let at = 0; ; at++) {
    const code = view.getUint8(at * SIZE)
    const dst = view.getUint8(at * SIZE + 1) & 15
    const src = view.getUint8(at * SIZE + 1) >> 4
    const offset = view.getInt16(at * SIZE + 2, true)
    const immediate = view.getInt32(at * SIZE + 4, true)
    const get = (register: number): number => {
      const value = registers[register]
      if (value === undefined) throw new Error(`instruction ${at}: register ${register} has no value`)
      return value
    }
    switch (code) {
      case 0x61: {
        const word = context.get(offset)
        if (src !== 1 || word === undefined) throw new Error(`instruction ${at}: loads from elsewhere`)
        registers[dst] = word
        break
      }
      case 0xb7:
        registers[dst] = immediate
        break
      case 0xbc:
        registers[dst] = get(src)
        break
      case 0x54:
        registers[dst] = get(dst) & immediate
        break
      case 0x74:
        registers[dst] = get(dst) >>> immediate
        break
      case 0x05:
        at += offset
        break
      case 0x55:
        if (get(dst) !== immediate) at += offset
        break
      case 0x45:
        if ((get(dst) & immediate) !== 0) at += offset
        break
      case 0x95:
        return get(0)
      default:
        throw new Error(`instruction ${at}: code 0x${code.toString(16)} is unknown`)
    }
  }
}
