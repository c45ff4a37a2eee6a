import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeUtf8, Struct } from '../base/bytes.ts'
import { DT_DIR, readDirents } from './dirents.ts'

/** As the kernel lays it out: padded to a multiple of 8. */
function dirent(name: string, type: number, next: number): Uint8Array {
  const text = encodeUtf8(name)
  const struct = new Struct((19 + text.length + 8) & ~7)
  struct.u64(8, next).u16(16, struct.bytes.length).u8(18, type)
  struct.bytes.set(text, 19)
  return struct.bytes
}

test('names, types and the place to go on are read, without the folder itself and the one above', () => {
  const all = [dirent('.', DT_DIR, 1), dirent('größe', 8, 7), dirent('a', DT_DIR, 2 ** 40), dirent('..', DT_DIR, 99)]
  assert.equal(readDirents(Uint8Array.from(all.flatMap((bytes) => [...bytes]))), {
    entries: [
      { name: 'größe', type: 8 },
      { name: 'a', type: DT_DIR },
    ],
    position: 99n,
  })
})

test.run()
