/** The story of a command on a fake host: its system calls as lines, in the order in which they were made. */
import * as assert from 'uvu/assert'
import { ARENA, SLOTS } from '../../executor/protocol.ts'
import type { Call } from '../../session/testing/fake-kernel.ts'

/** `mkdirat -100 "/run/runt/box" 448 0 0 0`: a pointer to text is shown as the text. */
export function showCall({ name, args, text }: Call): string {
  const words = args.map((arg) => {
    const isText = arg >= ARENA && arg < SLOTS && /^[ -~\n]+$/.test(text(arg))
    return isText ? JSON.stringify(text(arg)) : String(arg)
  })
  return `${name} ${words.join(' ')}`
}

/** Index of the first line that matches; there has to be one. */
export function firstOf(story: readonly string[], pattern: RegExp): number {
  const index = story.findIndex((line) => pattern.test(line))
  assert.ok(index >= 0, `no ${pattern} in:\n${story.join('\n')}`)
  return index
}

/** Index of the last line that matches; there has to be one. */
export const lastOf = (story: readonly string[], pattern: RegExp): number =>
  story.length - 1 - firstOf([...story].reverse(), pattern)

/** Asserts that every call of the first kind comes before every call of the second. */
export function before(story: readonly string[], earlier: RegExp, later: RegExp): void {
  assert.ok(lastOf(story, earlier) < firstOf(story, later), `${earlier} is not before ${later}:\n${story.join('\n')}`)
}

/** Asserts that the first lines that match the patterns come in this order. */
export function inOrder(story: readonly string[], ...patterns: RegExp[]): void {
  const places = patterns.map((pattern) => firstOf(story, pattern))
  assert.equal(
    places,
    [...places].sort((a, b) => a - b),
    story.join('\n'),
  )
}
