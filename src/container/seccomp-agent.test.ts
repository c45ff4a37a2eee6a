import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openPlatform } from '../engine-node/platform.ts'
import { SLOTS } from '../executor/protocol.ts'
import * as k from '../linux/constants.ts'
import { compile } from '../seccomp/compile.ts'
import { Batch } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { Session } from '../session/session.ts'
import { agentOf, planFilter } from './seccomp-agent.ts'
import { InitSlot } from './slots.ts'

const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
const seccomp = {
  defaultAction: 'SCMP_ACT_ALLOW' as const,
  listenerPath: '/run/agent',
  syscalls: [{ names: ['mkdirat'], action: 'SCMP_ACT_NOTIFY' as const }],
}

test('a filter has an agent where a rule notifies one, and not for a listenerPath alone', () => {
  assert.equal(agentOf(seccomp, compile(seccomp, machine)), { path: '/run/agent', metadata: undefined })
  const silent = { ...seccomp, syscalls: [] }
  assert.is(agentOf(silent, compile(silent, machine)), undefined)
  assert.is(agentOf(undefined, null), undefined)
})

test('the init goes on when another has written to its memory, without a system call of its own', () => {
  const first = openPlatform([])
  const second = openPlatform([])
  try {
    const init = new Session('init', first.host)
    const host = new Session('host', second.host)
    const b = new Batch(machine)
    c.prctl(b, k.PR_SET_NO_NEW_PRIVS, 1)
    // Nothing but the end of the turns could be done after this filter.
    planFilter(
      b,
      compile(
        {
          defaultAction: 'SCMP_ACT_KILL_PROCESS',
          syscalls: [
            { names: ['sendto', 'recvfrom'], action: 'SCMP_ACT_ALLOW' },
            { names: ['mkdirat'], action: 'SCMP_ACT_NOTIFY' },
          ],
        },
        machine,
      ),
    )
    init.send(b)
    const look = new Batch(machine)
    const memory = c.openat(look, k.AT_FDCWD, `/proc/${first.executorPid}/mem`, k.O_RDWR)
    c.sleep(look, 20)
    const listener = look.out(8)
    look.call('pread64', memory, listener, 8, SLOTS + 8 * InitSlot.LISTENER)
    const taken = look.data(new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]))
    look.call('pwrite64', memory, taken, 8, SLOTS + 8 * InitSlot.TAKEN)
    assert.ok(host.run(look).long(listener) > 2n)
    init.wait(b)
  } finally {
    first.close()
    second.close()
  }
})

test.run()
