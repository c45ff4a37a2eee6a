import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Seccomp } from '../config/types.ts'
import { openPlatform } from '../engine-node/platform.ts'
import * as k from '../linux/constants.ts'
import { ANY, Batch, type Step } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import { Session } from '../session/session.ts'
import { FakeKernel, type Kernel } from '../session/testing/fake-kernel.ts'
import { compile } from './compile.ts'
import { planSeccomp } from './load.ts'
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

/** Loads a filter for an executor without rights of its own. */
function filtered(host: Session, seccomp: Seccomp): void {
  const b = new Batch(machine)
  c.prctl(b, k.PR_SET_NO_NEW_PRIVS, 1)
  planSeccomp(b, compile(seccomp, machine))
  host.run(b)
}

test('the kernel takes a usual profile and keeps to it', () => {
  withExecutor((host, pid) => {
    filtered(host, usualProfile(['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']))
    const values = results(host, (b) => [
      tried(b, b.call('getpid')),
      tried(b, c.socket(b, AF_VSOCK, k.SOCK_STREAM)),
      tried(b, c.unshare(b, 0)),
      tried(b, c.socket(b, k.AF_UNIX, k.SOCK_STREAM)),
    ])
    assert.equal(values.slice(0, 3), [pid, -EPERM, -EPERM])
    assert.ok(values[3]! >= 0)
  })
})

test('blocked calls fail with the errno of their rule, calls newer than the profile with ENOSYS', () => {
  withExecutor((host, pid) => {
    filtered(host, {
      defaultAction: 'SCMP_ACT_ERRNO',
      syscalls: [
        { names: ['read', 'sendto', 'getpid', 'exit_group', 'openat2'], action: 'SCMP_ACT_ALLOW' },
        { names: ['unlinkat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 },
        {
          names: ['dup3'],
          action: 'SCMP_ACT_ERRNO',
          errnoRet: 99,
          args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 0xffff_ffff_ffff_fffen }],
        },
      ],
    })
    const values = results(host, (b) => [
      tried(b, b.call('getpid')),
      tried(b, c.mkdirat(b, -1, 'x', 0o777)),
      tried(b, c.unlinkat(b, -1, 'x')),
      tried(b, b.call('dup3', -1, -1, 0)),
      tried(b, b.call('dup3', -2, -1, 0)),
      tried(b, b.call('pidfd_open', pid, 0)),
      tried(b, b.call('mount_setattr', -1, 0, 0, 0, 0)),
    ])
    assert.equal(values, [pid, -EPERM, -95, -EPERM, -99, -EPERM, -ENOSYS])
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
    filtered(host, { defaultAction: 'SCMP_ACT_ALLOW', syscalls })
  })
})

test('SPEC_ALLOW that nobody asked for is left out where the kernel does not know it, and no other flag', () => {
  const flagsSeen: number[] = []
  const old: Kernel = ({ name, args }) => {
    if (name !== 'seccomp') return 0
    flagsSeen.push(Number(args[1]))
    return args[1] === 0 ? 0 : 'EINVAL'
  }
  const load = (seccomp: Seccomp): void => {
    const b = new Batch(machine)
    planSeccomp(b, compile(seccomp, machine))
    new Session('test', new FakeKernel(old)).run(b)
  }
  load({ defaultAction: 'SCMP_ACT_ALLOW' })
  assert.equal(flagsSeen, [4, 0])
  assert.throws(
    () => load({ defaultAction: 'SCMP_ACT_ALLOW', flags: ['SECCOMP_FILTER_FLAG_LOG'] }),
    /^linux\.seccomp \(SECCOMP_FILTER_FLAG_LOG\): seccomp\(1, 2, .*\): EINVAL/,
  )
})

test('a filter that may not be loaded says so', () => {
  const refusing: Kernel = ({ name }) => (name === 'seccomp' ? 'EACCES' : 0)
  const b = new Batch(machine)
  planSeccomp(b, compile({ defaultAction: 'SCMP_ACT_ALLOW' }, machine))
  assert.throws(
    () => new Session('test', new FakeKernel(refusing)).run(b),
    /^linux\.seccomp: seccomp\(1, 4, .*\): EACCES/,
  )
})

test.run()
