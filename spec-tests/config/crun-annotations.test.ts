/** config.md, "Annotations": those of crun's that change what a container is. docs/annotations.md tells them. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  bundle,
  type Config,
  container,
  environment,
  fails,
  heading,
  inside,
  run as invoke,
  leavesNothing,
  ok,
  oneLine,
  skip,
  started,
  words,
} from '../harness.ts'
import { cgroupDirectory, unified, waitFor } from '../host.ts'
import { withAgent } from '../seccomp-agent.ts'

const { test, only, run } = heading('config/crun-annotations')

test('annotations that nobody knows mean nothing', () => {
  const text = inside('echo ran', (config) => {
    config.annotations = { 'run.oci.no_such_thing': '1', 'org.example': '', 'org.opencontainers.image.os': 'plan9' }
  })
  assert.is(text, 'ran\n')
})

only('runt crun', 'run.oci.keep_original_groups keeps the groups of the caller', () => {
  if (spawnSync('setpriv', ['--version']).status !== 0) skip('no setpriv (Debian package util-linux)')
  for (const [annotations, groups] of [
    [{ 'run.oci.keep_original_groups': '1' }, '0 77 88'],
    [{}, '0 99'],
  ] as const) {
    const made = bundle((config) => {
      config.annotations = { ...annotations }
      config.process.user.additionalGids = [99]
      config.process.args = ['id', '-G']
    })
    const command = ['--groups', '77,88', ...words(['run', '--bundle', made.directory, container(made).id])]
    const { stdout, stderr } = spawnSync('setpriv', command, { encoding: 'utf8', env: environment() })
    assert.is(stdout.trim(), groups, stderr)
  }
})

only('runt crun', 'run.oci.hooks.stdout and .stderr are files that the output of hooks is added to', () => {
  const made = bundle()
  const folder = join(made.directory, 'extra')
  mkdirSync(folder)
  // It reads its state: crun fails where a hook has ended before that is written.
  const script = (name: string) => `cat >/dev/null; echo ${name}; echo ${name} failing >&2`
  const hook = (name: string) => ({ path: '/bin/sh', args: ['sh', '-c', script(name)] })
  made.config.annotations = { 'run.oci.hooks.stdout': join(folder, 'out'), 'run.oci.hooks.stderr': join(folder, 'err') }
  made.config.hooks = {
    createRuntime: [hook('one'), hook('two')],
    createContainer: [hook('three')],
    startContainer: [hook('four')],
    poststop: [hook('five')],
  }
  made.config.process.args = ['true']
  made.write()
  ok(container(made).run())
  const names = ['one', 'two', 'three', 'four', 'five']
  assert.is(readFileSync(join(folder, 'out'), 'utf8'), names.map((name) => `${name}\n`).join(''))
  assert.is(readFileSync(join(folder, 'err'), 'utf8'), names.map((name) => `${name} failing\n`).join(''))
})

only('runt', 'a hook that fails tells where its stderr is', () => {
  const made = bundle()
  const folder = join(made.directory, 'extra')
  mkdirSync(folder)
  made.config.annotations = { 'run.oci.hooks.stderr': join(folder, 'err') }
  for (const kind of ['createRuntime', 'startContainer']) {
    made.config.hooks = { [kind]: [{ path: '/bin/sh', args: ['sh', '-c', 'echo why >&2; exit 3'] }] }
    made.write()
    const result = fails(container(made).run(), /exit status 3; its stderr is in .*\/extra\/err/)
    oneLine(result)
  }
  assert.is(readFileSync(join(folder, 'err'), 'utf8'), 'why\nwhy\n')
})

only('runt crun', 'run.oci.seccomp_fail_unknown_syscall makes an unknown system call an error', () => {
  const made = bundle((config) => {
    config.annotations = { 'run.oci.seccomp_fail_unknown_syscall': '1' }
    config.process.args = ['true']
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['no_such_call'], action: 'SCMP_ACT_ERRNO' }],
    }
  })
  fails(container(made).run(), /no_such_call/)
  made.config.annotations = {}
  made.write()
  ok(container(made).run())
})

/** struct sock_filter, little-endian: code, jt, jf, k. */
const instruction = (code: number, k: number, jt = 0, jf = 0): number[] => [
  code & 0xff,
  code >> 8,
  jt,
  jf,
  k & 0xff,
  (k >> 8) & 0xff,
  (k >> 16) & 0xff,
  (k >> 24) & 0xff,
]

only('runt crun', 'run.oci.seccomp_bpf_data takes the place of linux.seccomp', () => {
  const mkdirs = process.arch === 'arm64' ? [34] : [83, 258]
  const program = [
    // The number of the call; ERRNO 28 (ENOSPC) for these, ALLOW for others.
    instruction(0x20, 0),
    ...mkdirs.map((number, at) => instruction(0x15, number, mkdirs.length - at)),
    instruction(0x06, 0x7fff_0000),
    instruction(0x06, 0x0005_001c),
  ].flat()
  const text = inside('mkdir /dev/shm/d 2>&1; chroot / true 2>&1; grep Seccomp: /proc/self/status', (config) => {
    config.annotations = { 'run.oci.seccomp_bpf_data': Buffer.from(program).toString('base64') }
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
    }
  })
  assert.match(text, /No space left/)
  assert.match(text, /Seccomp:\s+2/)
})

only('runt', 'seccomp_bpf_data that is none is refused in one line', () => {
  for (const data of ['#', 'YWJj', '']) {
    const c = container((config) => {
      config.annotations = { 'run.oci.seccomp_bpf_data': data }
    })
    oneLine(fails(c.run(), /run\.oci\.seccomp_bpf_data/))
  }
})

only('runt crun', 'run.oci.seccomp.receiver is a listenerPath', () => {
  const made = bundle((config) => {
    config.process.args = ['sh', '-c', 'mkdir /dev/shm/d; echo $?']
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_NOTIFY' }],
    }
  })
  chmodSync(made.directory, 0o755)
  withAgent(join(made.directory, 'extra'), { 83: 28, 258: 28, 34: 28 }, (agent) => {
    made.config.annotations = { 'run.oci.seccomp.receiver': agent.path }
    made.write()
    assert.is(ok(container(made).run()).stdout, '1\n')
    assert.ok(waitFor(() => agent.greetings().length === 1))
  })
})

only('runt crun', '$RUN_OCI_SECCOMP_RECEIVER is a listenerPath for create and exec', () => {
  const made = bundle((config) => {
    config.process.args = ['sh', '-c', 'mkdir /dev/shm/d; echo $?; exec sleep 100']
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_NOTIFY' }],
    }
  })
  chmodSync(made.directory, 0o755)
  withAgent(join(made.directory, 'extra'), { 83: 28, 258: 28, 34: 28 }, (agent) => {
    const env = { RUN_OCI_SECCOMP_RECEIVER: agent.path }
    const c = container(made)
    ok(c.run(['--detach'], { env }))
    c.says(/^1\n/)
    const exec = invoke(['exec', c.id, 'sh', '-c', 'mkdir /dev/shm/d; echo $?'], { env })
    assert.is(ok(exec).stdout, '1\n')
    assert.ok(waitFor(() => agent.greetings().length === 2))
  })
})

only('runt crun', 'run.oci.pidfd_receiver gets a pidfd', () => {
  const made = bundle((config) => {
    config.process.args = ['true']
  })
  withAgent(join(made.directory, 'extra'), {}, (agent) => {
    made.config.annotations = { 'run.oci.pidfd_receiver': agent.path }
    made.write()
    // The agent is one for seccomp: what matters is that somebody was connected to.
    const result = container(made).run()
    assert.is(result.status, 0, result.stderr)
  })
  made.config.annotations = { 'run.oci.pidfd_receiver': join(made.directory, 'extra/nobody') }
  made.write()
  fails(container(made).run(), /nobody/)
})

only('runt', 'run.oci.seccomp.plugins, and a kind of context that is none, are refused by name', () => {
  for (const [name, value, pattern] of [
    ['run.oci.seccomp.plugins', '/usr/lib/plugin.so', /seccomp\.plugins"\]: runt loads no libraries; .*listenerPath/],
    ['run.oci.mount_context_type', 'contxt', /mount_context_type"\]: "contxt" is not one of context, fscontext/],
  ] as const) {
    const made = bundle((config) => {
      config.annotations = { [name]: value }
    })
    oneLine(fails(invoke(['run', '--bundle', made.directory, container(made).id]), pattern))
  }
})

const delegated = (config: Config): void => {
  config.annotations = { 'run.oci.delegate-cgroup': 'payload' }
  if (!config.linux.namespaces.some(({ type }) => type === 'cgroup')) config.linux.namespaces.push({ type: 'cgroup' })
  config.linux.resources = { ...config.linux.resources, pids: { limit: 50 } }
  config.process.args = ['sleep', '60']
}

// crun only does so beside run.oci.systemd.subgroup.
only('runt', 'run.oci.delegate-cgroup: a cgroup below that with the limits, for the program and for exec', () => {
  if (!unified) skip('cgroup2 is not the only hierarchy')
  const c = started(delegated)
  const folder = cgroupDirectory('pids', c.bundle.config.linux.cgroupsPath)!
  const text = (name: string): string => readFileSync(join(folder, name), 'utf8')
  assert.equal([text('pids.max'), text('payload/pids.max')], ['50\n', 'max\n'])
  assert.equal([text('cgroup.procs'), text('payload/cgroup.procs')], ['', `${c.state().pid}\n`])
  assert.is(ok(invoke(['exec', c.id, 'cat', '/proc/self/cgroup'])).stdout, '0::/payload\n')
  ok(invoke(['pause', c.id]))
  assert.is(c.status(), 'paused')
  ok(invoke(['resume', c.id]))
  ok(invoke(['update', '--pids-limit', '60', c.id]))
  assert.is(text('pids.max'), '60\n')
  ok(c.delete('--force'))
  assert.not(existsSync(folder))
})

only('runt', 'run.oci.delegate-cgroup: refused for what is no name, and where there is cgroup v1', () => {
  const c = container((config) => {
    delegated(config)
    config.annotations = { 'run.oci.delegate-cgroup': unified ? '../other' : 'payload' }
  })
  const words = unified ? /"\.\.\/other" is not the name of a folder/ : /it takes a cgroup .* cgroup v2 only/
  oneLine(fails(c.create(), words))
  leavesNothing()
})

run()
