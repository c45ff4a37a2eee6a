/** Entry of dist/runt-brain. host.c calls the returned function at each start; everything else ran at build time. */
import { main } from '../cli/main.ts'
import { prepareUsual } from '../container/usual.ts'
import { openPlatform } from './platform.ts'

// Done at build time, and part of the program's image.
prepareUsual('x86_64')
prepareUsual('aarch64')

export function start(): number {
  const status = main(openPlatform())
  if (typeof status !== 'number') throw new Error('main returned a promise')
  return status
}
