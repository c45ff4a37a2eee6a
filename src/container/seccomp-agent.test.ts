import { readdirSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openPlatform } from '../engine-node/platform.ts'
import * as k from '../linux/constants.ts'
import { compile } from '../seccomp/compile.ts'
import { Batch, load, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { Session, SessionLost } from '../session/session.ts'
import { agentOf, planFilter, planThread } from './seccomp-agent.ts'
import { HostSlot, InitSlot } from './slots.ts'
import { planReceiveDescriptor } from './terminal.ts'

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

/** An init whose filter lets it do nothing but answer. `host` plays the host, in a child: it has the other end of the channel. */
function filtered(host: (b: Batch, channel: c.Fd) => void): { init: Session; b: Batch; close: () => void } {
  const platform = openPlatform([])
  const init = new Session('init', platform.host)
  const b = new Batch(machine)
  const [child, parent] = [b.label(), b.label()]
  const pair = b.out(8)
  b.call('socketpair', k.AF_UNIX, k.SOCK_SEQPACKET | k.SOCK_CLOEXEC, 0, pair)
  b.set(InitSlot.CHANNEL, load(pair, 32, 0))
  c.clone(b, k.SIGCHLD, child)
  b.jump(parent)
  b.place(child)
  c.close(b, slot(InitSlot.CHANNEL))
  host(b, load(pair, 32, 4))
  c.exitGroup(b, 0)
  b.place(parent)
  c.close(b, load(pair, 32, 4))
  c.prctl(b, k.PR_SET_NO_NEW_PRIVS, 1)
  planThread(b)
  planFilter(
    b,
    compile(
      {
        defaultAction: 'SCMP_ACT_KILL_PROCESS',
        syscalls: [
          { names: ['sendto', 'recvfrom', 'read', 'exit_group'], action: 'SCMP_ACT_ALLOW' },
          { names: ['mkdirat'], action: 'SCMP_ACT_NOTIFY' },
        ],
      },
      machine,
    ),
  )
  return { init, b, close: () => platform.close() }
}

test('the init goes on when the host has the listener, without a system call of its own', () => {
  const { init, b, close } = filtered((child, channel) => {
    const missing = child.label()
    planReceiveDescriptor(child, channel, HostSlot.LISTENER_TAKEN, missing)
    child.call('sendto', channel, 'taken', 5, 0, 0, 0)
    child.place(missing)
  })
  try {
    init.run(b)
  } finally {
    close()
  }
})

test('the init ends when the host has, or gives up', () => {
  const { init, b, close } = filtered((child, channel) => {
    planReceiveDescriptor(child, channel, HostSlot.LISTENER_TAKEN)
  })
  try {
    assert.throws(
      () => init.run(b),
      (error: unknown) => error instanceof SessionLost,
    )
  } finally {
    close()
  }
})

test('where the init fails before it has a filter, the host does not wait', () => {
  const platform = openPlatform([])
  try {
    const init = new Session('init', platform.host)
    const b = new Batch(machine)
    const pair = b.out(8)
    b.call('socketpair', k.AF_UNIX, k.SOCK_SEQPACKET | k.SOCK_CLOEXEC, 0, pair)
    b.set(InitSlot.ROOT, load(pair, 32, 4))
    b.set(InitSlot.CHANNEL, load(pair, 32, 0))
    planThread(b)
    b.about('a hook').fail('ECANCELED')
    assert.throws(() => init.run(b), /a hook/)
    // The thread reads its operations where the next message comes.
    while (readdirSync(`/proc/${platform.executorPid}/task`).length > 1);
    const look = new Batch(machine)
    const count = look.call('recvfrom', slot(InitSlot.ROOT), look.data(new Uint8Array(8)), 8, 0, 0, 0)
    assert.is(init.recover(look).value(count), 0)
  } finally {
    platform.close()
  }
})

test.run()
