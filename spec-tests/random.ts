/** Numbers in [0, 1) that can be had again with the same seed: a linear congruential generator modulo 2^32. */
export function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
