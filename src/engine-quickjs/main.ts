/** Entry of dist/runt-brain. host.c calls the returned function at each start; everything else ran at build time. */
import { main } from '../cli/main.ts'
import { openPlatform } from './platform.ts'

export function start(): number {
  const status = main(openPlatform())
  if (typeof status !== 'number') throw new Error('main returned a promise')
  return status
}
