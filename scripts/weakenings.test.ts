/** The table of the hardening suite, which runs in guests only, follows the source. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import { weaken, weakenings } from '../spec-tests/hardening/weakenings.ts'
import { root } from './tools.ts'

for (const file of new Set(Object.values(weakenings).flatMap((pieces) => pieces.map((piece) => piece.file))))
  test(`the defences in src/${file} can be taken out`, () => {
    weaken(file, readFileSync(join(root, 'src', file), 'utf8'))
  })

test.run()
