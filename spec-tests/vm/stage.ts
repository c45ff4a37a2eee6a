/** What `npm test` runs in guests: the stage `vm` of scripts/test.ts. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { BuildError, root as repository } from '../../scripts/tools.ts'
import { GuestError, type Job, runInGuest } from './guest.ts'
import { image } from './image.ts'

interface Run {
  name: string
  /** Parts of headings; see spec-tests/run.ts. */
  headings: readonly string[]
  job: Partial<Job>
}

/**
 * Slow ones first, for two run at a time. What depends on neither kernel nor cgroups is left to the host; what needs many minutes
 * without hardware virtualization (all headings, other kernels) to who asks for it: `npm run vm`.
 */
const runs: readonly Run[] = [
  { name: 'systemd', headings: ['systemd/'], job: { init: 'systemd' } },
  {
    name: 'cgroup v2',
    headings: ['config-linux/cgroups', 'config-linux/block-io', 'config-linux/devices', 'runtime/lifecycle'],
    job: {},
  },
  { name: 'hardening', headings: ['hardening/descriptors', 'hardening/procfs'], job: {} },
  { name: 'hardening', headings: ['hardening/host', 'hardening/mounts'], job: {} },
  { name: 'cgroup v2', headings: ['runtime/pause', 'runtime/update', 'runtime/kill'], job: {} },
  {
    name: 'cgroups by systemd',
    headings: ['config-linux/cgroups', 'runtime/pause'],
    job: { init: 'systemd', environment: { CGROUP_MANAGER: 'systemd' } },
  },
  { name: 'rootless', headings: ['rootless/'], job: { init: 'systemd', user: 'tester' } },
  { name: 'SELinux', headings: ['selinux/'], job: { security: 'selinux' } },
]

/** How many guests run at a time, and how long each may take, in seconds. */
const AT_A_TIME = 2
const TIMEOUT = 900

export interface Counts {
  passed: number
  failed: number
  skipped: number
}

const failure: Counts = { passed: 0, failed: 1, skipped: 0 }

async function oneRun({ name, headings, job }: Run): Promise<Counts> {
  const title = `--- ${name}: ${headings.join(' ')}`
  const begin = Date.now()
  let text = ''
  const add = (piece: Buffer): void => {
    text += piece.toString()
  }
  const defaults = {
    init: 'none',
    cgroups: 'v2',
    security: 'apparmor',
    kernel: 'uml',
    user: 'root',
    timeout: TIMEOUT,
    memory: 2048,
    environment: {},
  } as const
  const command = ['node', 'spec-tests/run.js', ...headings]
  try {
    const status = await runInGuest({ ...defaults, ...job, command }, { stdout: add, stderr: add })
    console.log(`${title} (${((Date.now() - begin) / 1000).toFixed(0)} s)\n${text.trim()}\n`)
    const counts = /^(\d+) passed, (\d+) failed, (\d+) skipped \(/m.exec(text)
    if (!counts) return failure
    const [passed, failed, skipped] = counts.slice(1).map(Number) as [number, number, number]
    return { passed, failed: status === 0 ? failed : Math.max(1, failed), skipped }
  } catch (error) {
    if (!(error instanceof GuestError || error instanceof BuildError)) throw error
    console.log(`${title}\n${text.trim()}\n${error.message}\n`)
    return failure
  }
}

let prepared: Promise<unknown> | undefined

/** Begins with the image, while other stages run. */
export function prepare(): void {
  prepared ??= image()
  // It is told by the stage.
  prepared.catch(() => {})
}

/** Runs them all. Where no guest can be made, that is a failure. */
export async function vmStage(): Promise<Counts> {
  try {
    await (prepared ?? image())
  } catch (error) {
    if (!(error instanceof BuildError)) throw error
    console.log(`no guests: ${error.message}`)
    return failure
  }
  const sum: Counts = { passed: 0, failed: 0, skipped: 0 }
  const waiting = runs.filter(({ headings }) =>
    headings.some((part) => existsSync(join(repository, 'spec-tests', part.split('/')[0]!))),
  )
  const worker = async (): Promise<void> => {
    for (let run = waiting.shift(); run; run = waiting.shift()) {
      const counts = await oneRun(run)
      for (const key of ['passed', 'failed', 'skipped'] as const) sum[key] += counts[key]
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, worker))
  return sum
}
