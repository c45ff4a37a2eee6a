/** Runs classic BPF programs as the kernel's seccomp does; net/core/filter.c and kernel/seccomp.c. Refuses what they refuse. */

/** struct seccomp_data. */
export interface Call {
  nr: number
  arch: number
  args?: readonly (number | bigint)[]
}

const MAX_LENGTH = 4096
const DATA_SIZE = 64

/** Throws if the kernel would not take the program. Checks what libseccomp and runt use of the language. */
export function verify(program: Uint8Array): void {
  const count = program.length / 8
  if (!Number.isInteger(count) || count < 1 || count > MAX_LENGTH) throw new Error(`a program of ${count} instructions`)
  const view = new DataView(program.buffer, program.byteOffset, program.length)
  for (let at = 0; at < count; at++) {
    const code = view.getUint16(8 * at, true)
    const k = view.getUint32(8 * at + 4, true)
    const farthest = count - at - 1
    const wrong = (what: string) => new Error(`instruction ${at} of ${count} (0x${code.toString(16)}): ${what}`)
    if (code === 0x20) {
      if (k % 4 !== 0 || k >= DATA_SIZE) throw wrong(`load from ${k}`)
    } else if (code === 0x05) {
      if (k >= farthest) throw wrong('jumps out of the program')
    } else if (code === 0x15 || code === 0x25 || code === 0x35 || code === 0x45) {
      if (Math.max(view.getUint8(8 * at + 2), view.getUint8(8 * at + 3)) >= farthest)
        throw wrong('jumps out of the program')
    } else if (code !== 0x54 && code !== 0x06) throw wrong('unknown')
    if (at === count - 1 && code !== 0x06) throw wrong('is the last but does not return')
  }
}

/** A program made ready to be run often: gives the returned value. */
export function runner(program: Uint8Array): (call: Call) => number {
  verify(program)
  const view = new DataView(program.buffer, program.byteOffset, program.length)
  const words = Array.from({ length: program.length / 8 }, (_, at) => ({
    code: view.getUint16(8 * at, true),
    jt: view.getUint8(8 * at + 2),
    jf: view.getUint8(8 * at + 3),
    k: view.getUint32(8 * at + 4, true),
  }))
  const bytes = new DataView(new ArrayBuffer(DATA_SIZE))
  return ({ nr, arch, args = [] }) => {
    bytes.setUint32(0, nr, true)
    bytes.setUint32(4, arch, true)
    for (let arg = 0; arg < 6; arg++) bytes.setBigUint64(16 + 8 * arg, BigInt.asUintN(64, BigInt(args[arg] ?? 0)), true)
    let a = 0
    for (let at = 0; ; at++) {
      const { code, jt, jf, k } = words[at]!
      if (code === 0x06) return k
      if (code === 0x20) a = bytes.getUint32(k, true)
      else if (code === 0x54) a = (a & k) >>> 0
      else if (code === 0x05) at += k
      else {
        const holds = code === 0x15 ? a === k : code === 0x25 ? a > k : code === 0x35 ? a >= k : (a & k) !== 0
        at += holds ? jt : jf
      }
    }
  }
}
