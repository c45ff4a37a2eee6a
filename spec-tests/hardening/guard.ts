/**
 * The tests of this folder attack the machine that they run on: with a weakened runtime, or a mistake in a test, they succeed. They
 * run in a throw-away guest of spec-tests/vm only.
 */
import { readFileSync } from 'node:fs'

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Why this machine is not such a guest; null if it is. `cmdline`: of the kernel. `conf`: /run/vm.conf, which the guest's init writes. */
function notAGuest(cmdline: string, conf: string): string | null {
  const words = cmdline
    .trim()
    .split(' ')
    .filter((word) => word.startsWith('vm.'))
    .map((word) => word.slice(3))
  if (!words.some((word) => word.startsWith('init='))) return 'its kernel was not started by spec-tests/vm'
  if (conf !== `${words.join('\n')}\n`) return '/run/vm.conf is not what the init of a guest writes'
  return null
}

/** Ends the process anywhere but in a guest. */
export function refuseElsewhere(): void {
  const reason = notAGuest(read('/proc/cmdline'), read('/run/vm.conf'))
  if (reason === null) return
  console.error(
    `The hardening suite attacks the machine that it runs on, and this is no throw-away guest: ${reason}.\n` +
      'npm run vm -- -- node spec-tests/run.js hardening/',
  )
  process.exit(2)
}
