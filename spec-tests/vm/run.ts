/** Runs a command in a throw-away virtual machine; its output and exit status are the command's. See `usage`. */
import { parseArgs } from 'node:util'
import { findStale } from '../../scripts/stale.ts'
import { BuildError } from '../../scripts/tools.ts'
import { GuestError, type Job, type Layout, layouts, runInGuest } from './guest.ts'
import { type Kernel, kernels } from './recipe.ts'

const usage = `npm run vm -- [options] -- COMMAND [ARGUMENT ...]
  --init none|systemd   what is pid 1 (none)
  --cgroups ${Object.keys(layouts).join('|')}  with systemd; without, all is v2 (v2)
  --security apparmor|selinux  the security module; SELinux has no policy until one is loaded (apparmor)
  --kernel ${Object.keys(kernels).join('|')}     (uml)
  --user NAME           root, tester (has subordinate ids) or other (root)
  --env NAME=VALUE      for the command; may be repeated
  --memory MIB          (2048)
  --timeout SECONDS     the guest is ended then, and the status is 124 (300)`

/** As timeout(1) and env(1) have it. */
const TIMED_OUT = 124
const BROKEN = 125

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    init: { type: 'string', default: 'none' },
    cgroups: { type: 'string', default: 'v2' },
    security: { type: 'string', default: 'apparmor' },
    kernel: { type: 'string', default: 'uml' },
    user: { type: 'string', default: 'root' },
    env: { type: 'string', multiple: true, default: [] },
    memory: { type: 'string', default: '2048' },
    timeout: { type: 'string', default: '300' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
const init = values.init === 'systemd' || values.init === 'none' ? values.init : undefined
const layout = values.cgroups in layouts && (init === 'systemd' || values.cgroups === 'v2')
const cgroups = layout ? (values.cgroups as Layout) : undefined
const security = values.security === 'apparmor' || values.security === 'selinux' ? values.security : undefined
const kernel = values.kernel in kernels ? (values.kernel as Kernel) : undefined
const [memory, timeout] = [Number(values.memory), Number(values.timeout)]
if (values.help) {
  console.log(usage)
} else if (!init || !cgroups || !security || !kernel || !(memory > 0 && timeout > 0) || positionals.length === 0) {
  console.error(usage)
  process.exitCode = BROKEN
} else {
  const environment = Object.fromEntries(
    values.env.map((word) => [word.split('=')[0]!, word.slice(word.indexOf('=') + 1)]),
  )
  const stale = findStale([environment.RUNTIME ?? 'dist/runt'])
  if (stale) console.error(`vm: the guest gets the work tree as it is: ${stale.sentence}`)
  try {
    const job: Job = {
      command: positionals,
      init,
      cgroups,
      security,
      kernel,
      user: values.user,
      timeout,
      environment,
      memory,
    }
    process.exitCode = await runInGuest(job, {
      stdout: (text) => process.stdout.write(text),
      stderr: (text) => process.stderr.write(text),
    })
  } catch (error) {
    if (!(error instanceof GuestError || error instanceof BuildError)) throw error
    console.error(`vm: ${error.message}`)
    process.exitCode = error instanceof GuestError && error.message.startsWith('no end') ? TIMED_OUT : BROKEN
  }
}
