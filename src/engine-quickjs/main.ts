/** Entry of dist/runt-brain. host.c calls the returned function at each start; everything else ran at build time. */
import { main } from '../cli/main.ts'
import { prepareUsual } from '../container/usual.ts'
import { host } from './host.ts'
import { openPlatform } from './platform.ts'

// Done at build time, and part of the program's image.
prepareUsual(host.machine)

export function start(): number {
  const status = main(openPlatform())
  if (typeof status !== 'number') throw new Error('main returned a promise')
  return status
}
