/** A batch with every kind of argument, planned by both engines for native.test.ts. */
import type { Machine } from '../../base/platform.ts'
import { at, Batch, blank, load, slot } from '../../session/batch.ts'

const numbers = [0, 1, -1, -100, 2 ** 31, -(2 ** 31), 2 ** 32 - 1, 2 ** 32 + 5, -(2 ** 40) - 3, 2 ** 53 - 1, 2 ** 63]
const large = [0n, -1n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n)]

function plan(b: Batch): Batch {
  for (const number of numbers) b.call('read', number, -number)
  for (const number of large) b.call('prctl', number)
  const step = b.about('texts').call('openat', slot(20), '/naïve/漢字/\udcff', '', 0)
  b.call('write', step, Uint8Array.of(1, 2, 3), 'again').keep(21)
  b.call('write', step, 'again', b.data(Uint8Array.of(9)))
  b.store(64, load(b.data(new Uint8Array(16)), 64, 8), load(b.data(new Uint8Array(8)), 32))
  b.call('close_range', 1, 2, 3, 4, 5, slot(255))
  return b
}

/** The message of the batch, as text. */
export function planEverything(machine: Machine): string {
  const b = plan(new Batch(machine))
  b.insert(plan(new Batch(machine)).template())
  const pattern = new Batch(machine).about(`mount of ${blank(1)}`)
  pattern.call('mount', blank(0), `/to/${blank(1)}/${blank(0)}`, 0, 0, blank(0))
  b.insert(pattern.template(), ['from', 'naïve'])
  // Texts that the data has to grow for.
  for (const text of ['x'.repeat(1500), '漢'.repeat(1500), `\udcff${'y'.repeat(5000)}`]) b.call('chdir', text)
  // More than there is room for at first.
  for (let fd = 0; fd < 100; fd++) b.call('close', fd)
  const out = b.out(100)
  const other = b.out(3)
  const end = b.label()
  b.branch(load(other, 32), 'LESS', load(out, 64, 8), end)
  b.call('read', 0, at(out, 40), out).on(['EINTR', 'EAGAIN'], end)
  b.call('prctl', 0, b.structure(new Uint8Array(32), { 0: out, 8: b.string('x'), 24: at(other, 1) }), 1)
  b.place(end)
  b.call('execve', 'x', b.strings(['a', 'b', 'a']), 0)
  return b.encode(7, 0).join()
}

/** What is wrong with an argument that cannot be sent, and with a jump to nowhere. */
export function planMistakes(machine: Machine): string {
  const mistake = (plan: (b: Batch) => void): string => {
    try {
      plan(new Batch(machine))
      return 'nothing'
    } catch (error) {
      return `${error}`
    }
  }
  return [
    mistake((b) => b.about('process.cwd').call('chdir', '/a\0b')),
    mistake((b) => b.string('/\udcff\0')),
    mistake((b) => {
      b.jump(b.label())
      b.encode(1, 0)
    }),
  ].join('; ')
}
