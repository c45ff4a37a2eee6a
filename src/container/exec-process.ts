/** The process that `exec` is to start: put together from the container's own, the file of --process and the command line. */
import { RuntError } from '../base/errors.ts'
import { VERSION } from '../base/version.ts'
import type * as cgroups from '../cgroup/manager.ts'
import type { Config, Process } from '../config/types.ts'
import { checkProcess, readChecked, readConfig, readProcess } from '../config/validate.ts'
import { AGENT_VARIABLE } from './annotations.ts'
import { placeBelow } from './enter.ts'
import type { ExecOptions, Runtime } from './runtime.ts'
import type { Saved } from './state.ts'
import { checkTerminal } from './terminal.ts'

/** What an exec is to do: the container's config, the process, and the cgroup that it joins. */
export interface Plan {
  config: Config
  wanted: Process
  cgroup: cgroups.CgroupPaths | null
}

/**
 * `configText`: the container's config; `processText`: the file of --process, if there is one. Throws a RuntError for what cannot be had.
 */
export function interpretExec(
  runtime: Runtime,
  options: ExecOptions,
  saved: Saved,
  configText: string,
  processText: string | null,
): Plan {
  const path = `container ${options.id}: config.json`
  const agent = runtime.platform.getenv(AGENT_VARIABLE)
  const config =
    saved.checked === VERSION ? readChecked(configText, path, agent) : readConfig(configText, path, agent).config
  const base = processText === null ? null : readProcess(processText, `--process (${options.process})`)
  // An exec has a terminal only if it asks for one, whatever the container has.
  const { terminal: _, consoleSize: __, ...own } = config.process
  const wanted = combine(base ? inherit(base.process, own) : { ...own, args: [] }, options)
  if (wanted.args.length === 0) throw new RuntError('no program: name one after the id, or a file with --process')
  const warnings = checkProcess(wanted, 'command line')
  for (const warning of base || options.capabilities.length > 0 ? warnings : []) runtime.warn(warning)
  const { consoleSocket, detach } = options
  checkTerminal({ terminal: wanted.terminal, consoleSocket, foreground: !detach })
  return { config, wanted, cgroup: saved.cgroup && placeBelow(saved.cgroup, options.cgroups) }
}

/** If a file of `--process` leaves these fields out, they are the container's, as with runc and crun: no confinement is to be lost. */
const INHERITED = [
  'capabilities',
  'apparmorProfile',
  'selinuxLabel',
  'oomScoreAdj',
  'scheduler',
  'ioPriority',
  'execCPUAffinity',
] as const

function inherit(given: Process, own: Partial<Process>): Process {
  const whole = { ...given }
  for (const name of INHERITED) {
    if (given[name] === undefined || given[name] === '') Object.assign(whole, { [name]: own[name] })
  }
  return whole
}

/** The process with the changes of the command line. */
function combine(base: Process, options: ExecOptions): Process {
  const wanted: Process = { ...base, user: { ...base.user } }
  if (options.command.length > 0) wanted.args = [...options.command]
  if (options.cwd !== null) wanted.cwd = options.cwd
  if (options.terminal) wanted.terminal = true
  if (options.noNewPrivileges) wanted.noNewPrivileges = true
  if (options.apparmorProfile !== null) wanted.apparmorProfile = options.apparmorProfile
  if (options.selinuxLabel !== null) wanted.selinuxLabel = options.selinuxLabel
  if (options.user) {
    wanted.user.uid = options.user.uid
    wanted.user.gid = options.user.gid ?? wanted.user.gid
  }
  if (options.additionalGids.length > 0)
    wanted.user.additionalGids = [...(wanted.user.additionalGids ?? []), ...options.additionalGids]
  if (options.capabilities.length > 0) {
    const { bounding = [], effective = [], permitted = [], inheritable = [], ambient = [] } = wanted.capabilities ?? {}
    const added = (set: string[]): string[] => [...set, ...options.capabilities]
    wanted.capabilities = {
      bounding: added(bounding),
      effective: added(effective),
      permitted: added(permitted),
      inheritable,
      ambient: [...ambient, ...options.capabilities.filter((name) => inheritable.includes(name))],
    }
  }
  for (const entry of options.env) {
    const key = `${entry.split('=', 1)[0]}=`
    // Earlier entries go: programs (getenv(3)) take the first of several with one key.
    wanted.env = [...(wanted.env ?? []).filter((other) => !other.startsWith(key)), entry]
  }
  return wanted
}
