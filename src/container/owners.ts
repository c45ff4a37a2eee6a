/** The users whose containers they are, by name. */
import { Batch } from '../session/batch.ts'
import { finishReading, planReading } from './files.ts'
import { nameOf } from './passwd.ts'
import type { Runtime, StateView } from './runtime.ts'

const NAMELESS = '#'

/** An owner as long as nobody has looked for the name; that of root nobody has to look for. */
export const ownerText = (uid: number): string => (uid === 0 ? 'root' : `${NAMELESS}${uid}`)

/** The states with the names that the host's /etc/passwd has; `#1000` for a user that it doesn't, as runc has it. */
export function withOwners(runtime: Runtime, views: StateView[]): StateView[] {
  if (!views.some(({ owner }) => owner.startsWith(NAMELESS))) return views
  const { host, platform } = runtime
  const b = new Batch(platform.machine)
  const reading = planReading(b, '/etc/passwd', 0x4000)
  const passwd = finishReading(host, platform.machine, host.run(b), reading)
  return views.map((view) => {
    const name = view.owner.startsWith(NAMELESS) && nameOf(passwd, Number(view.owner.slice(NAMELESS.length)))
    return name ? { ...view, owner: name } : view
  })
}
