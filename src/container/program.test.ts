import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeUtf8 } from '../base/bytes.ts'
import { HEAD_SIZE } from './process.ts'
import { interpreterOf } from './program.ts'

const script = (line: string) => interpreterOf(encodeUtf8(line))?.path

test('the interpreter of a script is the first word of its #! line', () => {
  assert.is(script('#!/bin/sh\necho'), '/bin/sh')
  assert.is(script('#! \t/usr/bin/env python3 -u\n'), '/usr/bin/env')
  assert.is(script('#!/bin/sh'), '/bin/sh')
  assert.is(script('#!\n/bin/sh'), undefined)
  assert.is(script('#!'), undefined)
  assert.is(script(' #!/bin/sh'), undefined)
})

test('the loader of a dynamic ELF file is found', () => {
  const found = interpreterOf(readFileSync(process.execPath).subarray(0, HEAD_SIZE))
  assert.is(found?.kind, 'ELF loader')
  assert.match(found?.path ?? '', /^\/lib.*\/ld-/)
})

/** A 64-bit ELF file with one program header. */
function elf(type: number, offset: number, length: number, interpreter: string): Uint8Array {
  const bytes = new Uint8Array(160)
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  const view = new DataView(bytes.buffer)
  view.setBigUint64(32, 64n, true)
  view.setUint16(54, 56, true)
  view.setUint16(56, 1, true)
  view.setUint32(64, type, true)
  view.setBigUint64(72, BigInt(offset), true)
  view.setBigUint64(96, BigInt(length), true)
  bytes.set(encodeUtf8(interpreter), 120)
  return bytes
}

test('a static file and one whose headers lead nowhere need nothing', () => {
  assert.is(interpreterOf(elf(3, 120, 6, '/ld.so'))?.path, '/ld.s')
  assert.is(interpreterOf(elf(1, 120, 6, '/ld.so')), null)
  assert.is(interpreterOf(elf(3, 2 ** 52, 6, '')), null)
  assert.is(interpreterOf(elf(3, 120, 2 ** 40, '')), null)
  assert.is(interpreterOf(elf(3, 120, 0, '')), null)
  assert.is(interpreterOf(elf(3, 120, 6, '').subarray(0, 100)), null)
  assert.is(interpreterOf(new Uint8Array()), null)
})

test.run()
