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
  readonly words = new Uint32Array(2 * BPF_MAXINSNS)
  length = 0
  readonly returns: Uint32Array
  private readonly checks: number
  /** Where verdicts are carried out, those on checks first; -1 for one that is not in the program yet. Of several places the nearest. */
  readonly places: Int32Array

  /** `returns`: by verdict, what the program returns. Verdicts below 0, down to -checks, have places of their own. */
  constructor(returns: readonly number[], checks: number) {
    this.returns = Uint32Array.from(returns)
    this.checks = checks
    this.places = new Int32Array(checks + returns.length).fill(-1)
  }

  private push(code: number, k: number): number {
    const at = this.length
    if (at === BPF_MAXINSNS) throw tooLong()
    const word = 2 * (BPF_MAXINSNS - 1 - at)
    this.words[word] = code
    this.words[word + 1] = k
    this.length = at + 1
    return at
  }

  /** A place that carries out a verdict. */
  leaf(verdict: number): number {
    return verdict < 0 ? this.places[this.checks + verdict]! : this.return(verdict)
  }

  /** A place that ends the program with the value of a verdict. */
  return(verdict: number): number {
    const known = this.places[this.checks + verdict]!
    return known >= 0 ? known : this.end(verdict)
  }

  private end(verdict: number): number {
    const at = this.push(Bpf.RETURN, this.returns[verdict]!)
    this.places[this.checks + verdict] = at
    return at
  }

  /** From here on a verdict below 0 is carried out there. */
  setCheck(verdict: number, place: number): void {
    this.places[this.checks + verdict] = place
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
    let before = this.length - 1
    if (before - yes > REACH || before - no > REACH) {
      yes = this.near(yes)
      no = this.near(no)
      before = this.length - 1
    }
    return this.push(code | ((before - yes) << 16) | ((before - no) << 24), k)
  }

  /** A place within reach of a conditional jump that is as good as `target`. */
  private near(target: number): number {
    const distance = this.length - target - 1
    if (distance <= REACH) return target
    const word = 2 * (BPF_MAXINSNS - 1 - target)
    if (this.words[word] !== Bpf.RETURN) return this.push(Bpf.JUMP, distance)
    // No need to jump for that.
    const verdict = this.returns.indexOf(this.words[word + 1]!)
    const known = this.return(verdict)
    return this.length - known - 1 <= REACH ? known : this.end(verdict)
  }

  /** The program, struct sock_filter by struct sock_filter. */
  bytes(): Uint8Array {
    return new Uint8Array(this.words.buffer, 8 * (BPF_MAXINSNS - this.length), 8 * this.length)
  }
}

export const tooLong = (): RuntError =>
  new RuntError(
    `linux.seccomp: the rules need more than the ${BPF_MAXINSNS} instructions that the kernel takes (BPF_MAXINSNS)`,
  )
