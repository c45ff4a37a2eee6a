/** The three sessions of a command. */
import type { Platform } from '../base/platform.ts'
import { Flag, Slot } from '../executor/protocol.ts'
import { Batch } from '../session/batch.ts'
import { Session } from '../session/session.ts'

export interface Sessions {
  host: Session
  stage: Session
  init: Session
}

/** Opens the sessions with the executors of a platform. Only the host's executor is running yet. */
export function openSessions(platform: Platform): Sessions {
  const sessions = {
    host: new Session('host', platform.host, 0x1000_0000),
    stage: new Session('stage', platform.stage, 0x2000_0000),
    init: new Session('init', platform.init, 0x3000_0000),
  }
  if (platform.engine === 'node') {
    // The launcher's boot batch does this in the production command.
    const batch = new Batch(platform.machine)
    batch.set(Slot.STAGE_SESSION, 4)
    batch.set(Slot.INIT_SESSION, 5)
    sessions.host.send(batch, Flag.SILENT)
  }
  return sessions
}
