/**
 * A classic BPF program, written from its end to its beginning: jumps only go forward, so their targets are there already
 * when they are written. A place in the program is its distance from the end: the last instruction is at 0.
 */
import { RuntError } from '../base/errors.ts'
import { BPF_MAXINSNS, Bpf } from './kernel.ts'

/** Farthest that a conditional jump reaches, less the two instructions that may come between. */
const REACH = 255 - 2

export class Program {
  /** Two words an instruction, struct sock_filter of linux/filter.h: code, jt and jf in the first, k in the second. */
  private readonly words = new Uint32Array(2 * BPF_MAXINSNS)
  private length = 0
  /** What has been returned so far, and the nearest place that does. */
  private readonly returned: number[] = []
  private readonly returnsAt: number[] = []

  private push(code: number, k: number): number {
    const at = this.length
    if (at === BPF_MAXINSNS)
      throw new RuntError(
        `linux.seccomp: the rules need more than the ${BPF_MAXINSNS} instructions that the kernel takes (BPF_MAXINSNS)`,
      )
    const word = 2 * (BPF_MAXINSNS - 1 - at)
    this.words[word] = code
    this.words[word + 1] = k
    this.length = at + 1
    return at
  }

  /** A place that ends the program with this value. */
  return(value: number): number {
    const known = this.returned.indexOf(value)
    if (known >= 0) return this.returnsAt[known]!
    this.returned.push(value)
    const at = this.push(Bpf.RETURN, value)
    this.returnsAt.push(at)
    return at
  }

  /** Loads the word at an offset of struct seccomp_data and goes on at `next`. */
  load(offset: number, next: number): number {
    this.lead(next)
    return this.push(Bpf.LOAD, offset)
  }

  /** Masks the loaded word and goes on at `next`. */
  and(mask: number, next: number): number {
    this.lead(next)
    return this.push(Bpf.AND, mask)
  }

  /** Makes the next instruction in the program, for one that cannot jump, lead to `target`. */
  private lead(target: number): void {
    const distance = this.length - target - 1
    if (distance > 0) this.push(Bpf.JUMP, distance)
  }

  /** Compares the loaded word with k, unsigned, and goes on at one of two places. */
  jump(code: number, k: number, yes: number, no: number): number {
    const before = this.length - 1
    if (before - yes >= REACH || before - no >= REACH) {
      const nearYes = this.near(yes)
      return this.put(code, k, nearYes, this.near(no))
    }
    return this.push(code | ((before - yes) << 16) | ((before - no) << 24), k)
  }

  private put(code: number, k: number, yes: number, no: number): number {
    const before = this.length - 1
    return this.push(code | ((before - yes) << 16) | ((before - no) << 24), k)
  }

  /** A place within reach of a conditional jump that is as good as `target`. */
  private near(target: number): number {
    const distance = this.length - target - 1
    if (distance <= REACH) return target
    const word = 2 * (BPF_MAXINSNS - 1 - target)
    if (this.words[word] !== Bpf.RETURN) return this.push(Bpf.JUMP, distance)
    // No need to jump for that.
    const value = this.words[word + 1]!
    const known = this.returned.indexOf(value)
    if (this.length - this.returnsAt[known]! - 1 > REACH) this.returnsAt[known] = this.push(Bpf.RETURN, value)
    return this.returnsAt[known]!
  }

  /** The program, struct sock_filter by struct sock_filter. */
  bytes(): Uint8Array {
    return new Uint8Array(this.words.buffer, 8 * (BPF_MAXINSNS - this.length), 8 * this.length)
  }
}
