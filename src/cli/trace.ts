/** With --debug: every system call of every executor, as strace(1) shows them. */
import type { Sessions } from '../container/sessions.ts'
import { renderCall, renderResult } from '../session/render.ts'

/**
 * Collects the calls from now on. The returned function gives the lines and ends the collecting: to log them takes
 * system calls itself. Of silent batches, which are not answered, only the calls are known, not what came of them.
 */
export function traceCalls(sessions: Sessions): () => string[] {
  const lines: string[] = []
  const all = [sessions.host, sessions.stage, sessions.init]
  for (const session of all)
    session.observer = (name, batch, answer) => {
      for (let index = 0; index < batch.count; index++) {
        const step = batch.stepAt(index)
        if (step.name === null || (answer && answer.value(step) === undefined)) continue
        lines.push(`${name}: ${answer ? renderResult(step, answer) : renderCall(step)}`)
      }
    }
  return () => {
    for (const session of all) session.observer = null
    return lines
  }
}
