/** The three sessions of a command. */
import type { Platform } from '../base/platform.ts'
import { Flag, Slot } from '../executor/protocol.ts'
import { F_SETFD, FD_CLOEXEC } from '../linux/constants.ts'
import { Batch, slot } from '../session/batch.ts'
import { fcntl } from '../session/calls.ts'
import { Session } from '../session/session.ts'
import { hostSlots, initSlots } from './slots.ts'

export interface Sessions {
  host: Session
  stage: Session
  init: Session
}

/** Opens the sessions with the executors of a platform. Only the host's executor is running yet. */
export function openSessions(platform: Platform): Sessions {
  const sessions = {
    host: new Session('host', platform.host, 0x1000_0000, hostSlots),
    stage: new Session('stage', platform.stage, 0x2000_0000, initSlots),
    init: new Session('init', platform.init, 0x3000_0000, initSlots),
  }
  if (platform.engine === 'node') {
    // The launcher's boot batch does this in the production command.
    const batch = new Batch(platform.machine)
    batch.about('sessions')
    batch.add(slot(Slot.SESSION), 1).keep(Slot.STAGE_SESSION)
    batch.add(slot(Slot.SESSION), 2).keep(Slot.INIT_SESSION)
    for (const session of [Slot.SESSION, Slot.STAGE_SESSION, Slot.INIT_SESSION])
      fcntl(batch, slot(session), F_SETFD, FD_CLOEXEC)
    sessions.host.send(batch, Flag.SILENT)
  }
  return sessions
}
