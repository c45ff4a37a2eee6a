import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ContainerProcessState, Seccomp } from '../config/types.ts'
import { openPlatform } from '../engine-node/platform.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch, type OutPointer, type Step } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { type Answer, Session } from '../session/session.ts'
import { agreeableKernel, FakeKernel, type Kernel } from '../session/testing/fake-kernel.ts'
import { compile } from './compile.ts'
import { LISTENER_NAME, listenerOf, planListener, planSeccomp } from './load.ts'
import { usualProfile } from './testing/profiles.ts'

const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
const EPERM = 1
const ENOSYS = 38
const AF_VSOCK = 40

/** Runs work with an executor, a process of its own that may be filtered. */
function withExecutor(work: (host: Session, pid: number) => void): void {
  const platform = openPlatform([])
  try {
    work(new Session('host', platform.host), platform.executorPid)
  } finally {
    platform.close()
  }
}

/** A batch whose calls may all fail. */
function results(host: Session, plan: (b: Batch) => Step[]): (number | undefined)[] {
  const b = new Batch(machine)
  const steps = plan(b)
  const answer = host.run(b)
  return steps.map((step) => answer.value(step))
}

function tried(b: Batch, step: Step): Step {
  const next = b.label()
  step.on(ANY, next)
  b.place(next)
  return step
}

test('the kernel takes a usual profile and keeps to it', () => {
  withExecutor((host, pid) => {
    const profile = usualProfile([])
    const rules = profile.syscalls!.map((rule) => ({
      ...rule,
      names: rule.names.filter((name) => !['mkdirat', 'cachestat'].includes(name)),
    }))
    // Without a rule for them, set_mempolicy_home_node (450) is newer than the profile if nothing above is named.
    const names = ['landlock_restrict_self', 'read', 'write', 'sendto', 'recvfrom', 'getpid', 'socket', 'exit_group']
    const seccomp: Seccomp = {
      ...profile,
      syscalls: [
        ...rules.filter(({ names }) => names[0] === 'socket'),
        { names: names.filter((name) => name !== 'socket'), action: 'SCMP_ACT_ALLOW' },
        { names: ['unlinkat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 },
      ],
    }
    const b = new Batch(machine)
    c.prctl(b, k.PR_SET_NO_NEW_PRIVS, 1)
    planSeccomp(b, compile(seccomp, machine))
    host.run(b)
    const values = results(host, (b) => [
      tried(b, b.call('getpid')),
      tried(b, c.mkdirat(b, -1, 'x', 0o777)),
      tried(b, c.unlinkat(b, -1, 'x')),
      tried(b, c.socket(b, AF_VSOCK, k.SOCK_STREAM)),
      tried(b, c.socket(b, k.AF_UNIX, k.SOCK_STREAM)),
      // Number 446 is named, nothing above it.
      tried(b, b.call('mount_setattr', -1, 0, 0, 0, 0)),
      tried(b, { ...newest(b) } as Step),
    ])
    assert.is(values[0], pid)
    assert.equal(values.slice(1, 4), [-EPERM, -95, -EPERM])
    assert.ok(values[4]! >= 0)
    assert.equal(values.slice(5), [-EPERM, -ENOSYS])
  })
})

test('the kernel takes the largest filters', () => {
  withExecutor((host) => {
    const args = (value: number) => [{ index: 5, op: 'SCMP_CMP_EQ' as const, value }]
    const syscalls = Array.from({ length: 1000 }, (_, value) => ({
      names: ['setdomainname'],
      action: 'SCMP_ACT_TRAP' as const,
      args: args(value + 1),
    }))
    const b = new Batch(machine)
    c.prctl(b, k.PR_SET_NO_NEW_PRIVS, 1)
    planSeccomp(b, compile({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }, machine))
    host.run(b)
  })
})
