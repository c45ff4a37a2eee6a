import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { VERSION } from '../base/version.ts'
import * as k from '../linux/constants.ts'
import type { Call } from '../session/testing/fake-kernel.ts'
import { exec } from './exec.ts'
import { EXEC_DEFAULTS, type ExecOptions } from './runtime.ts'
import { fakeHost } from './testing/fake-host.ts'
import { firstOf, inOrder, showCall } from './testing/story.ts'

const config = {
  ociVersion: '1.2.0',
  root: { path: 'rootfs' },
  process: {
    user: { uid: 0, gid: 0 },
    args: ['init'],
    env: ['PATH=/bin', 'HOME=/'],
    cwd: '/tmp',
    capabilities: { bounding: ['CAP_KILL'], inheritable: ['CAP_KILL'] },
  },
  linux: { namespaces: ['pid', 'mount', 'cgroup'].map((type) => ({ type })) },
}
const saved = {
  format: 1,
  ociVersion: '1.3.0',
  id: 'box',
  bundle: '/bundle',
  rootfs: '/bundle/rootfs',
  created: '2026-01-01T00:00:00.000000000Z',
  annotations: {},
  owner: 0,
  program: '/bin/sh',
  pid: 4711,
  startTime: '987654',
  keyring: true,
  cgroup: {
    mode: 'hybrid',
    folders: [
      { version: 1, controllers: ['pids'], mountpoint: '/sys/fs/cgroup/pids', path: '/box' },
      { version: 2, controllers: [], mountpoint: '/sys/fs/cgroup/unified', path: '/box' },
    ],
  },
}
const options: ExecOptions = { ...EXEC_DEFAULTS, id: 'box', command: ['sh'], detach: true, pidFile: '/run/exec.pid' }

function tell(
  fails: [RegExp, string][] = [],
  changes: Partial<ExecOptions> = {},
  { startTime = saved.startTime, state = saved as object, copy = config as object } = {},
) {
  const story: string[] = []
  const files = {
    '/run/runt/box/state.json': JSON.stringify(state),
    '/run/runt/box/config.json': JSON.stringify(copy),
    '/proc/4711/stat': `4711 (x) S 1 4711 4711 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 ${startTime} 0 0`,
  }
  const fake = fakeHost(files, (executor, call) => {
    const line = `${executor}: ${showCall(call)}`
    story.push(line)
    if (call.name === 'recvmsg') return receive(call)
    // The session of a process ends when it executes its program.
    if (/^init: execve /.test(line)) fake.init.gone = true
    return fails.find(([pattern]) => pattern.test(line))?.[1]
  })
  let message = ''
  try {
    exec(fake.runtime, { ...options, ...changes })
  } catch (error) {
    message = (error as Error).message
  }
  return { ...fake, story, message }
}

/** A message with a descriptor: struct msghdr points to its control data at 32. */
function receive({ args, memory }: Call): number {
  const control = new DataView(memory(args[1]! + 32, 8).slice().buffer).getUint32(0, true)
  memory(control, 24)[12] = k.SCM_RIGHTS
  return 3
}

test('the stage hides, joins the cgroups by the paths of the host, then the namespaces, then forks', () => {
  const { story, message } = tell()
  assert.is(message, '')
  inOrder(
    story,
    /host: pidfd_open 4711 /,
    /stage: prctl 4 0/,
    /stage: openat .*"\/sys\/fs\/cgroup\/pids\/box"/,
    /stage: open_tree .*"\/sys\/fs\/cgroup\/unified\/box"/,
    // CLONE_NEWPID | CLONE_NEWNS; the cgroup namespace is the process's own business.
    /stage: setns \d+ 537001984 /,
    /stage: clone3 /,
    /init: execve /,
  )
  assert.ok(story.findLastIndex((line) => /"\/proc\/4711\/stat"/.test(line)) > firstOf(story, /pidfd_open/))
})

test('the pid file is written before the program runs, after all that can fail', () => {
  const { story } = tell()
  inOrder(story, /init: capset/, /host: openat .*"\/run\/exec.pid"/, /init: execve/)
})

test('a pid that now is another process is never entered', () => {
  const { story, message } = tell([], {}, { startTime: '987655' })
  assert.is(message, 'cannot exec in a stopped container')
  assert.not(story.some((line) => /^stage: (clone|setns|openat)|^init:/.test(line)))
  firstOf(story, /^host: kill \d+ 9 /)
})

test('the copy of the config is checked unless this version has done so', () => {
  const copy = { ...config, hostname: 5 }
  const by = (checked: string | undefined) => tell([], {}, { state: { ...saved, checked }, copy }).message
  assert.is(by(VERSION), '')
  assert.match(by('0.0.1'), /config.json: hostname: 5 is not a string/)
  assert.match(by(undefined), /config.json: hostname: 5 is not a string/)
})

test('a container that ends meanwhile is told as stopped', () => {
  assert.is(tell([[/stage: setns/, 'ESRCH']]).message, 'cannot exec in a stopped container')
  assert.is(tell([[/host: pidfd_open/, 'ESRCH']]).message, 'cannot exec in a stopped container')
})

for (const [call, errno, says] of [
  [/stage: setns/, 'EPERM', /^container box: its namespaces \(pid, mount\): setns\(.*EPERM/],
  [/stage: openat .*pids\/box"/, 'ENOENT', /^joining the cgroup: openat\(.*ENOENT/],
  [/init: setresuid/, 'EAGAIN', /^process.user: setresuid/],
  [/init: openat2 .*"\/tmp"/, 'ENOENT', /^process.cwd \(\/tmp\): openat2/],
  [/init: faccessat2 .*"\/bin\/sh"/, 'ENOENT', /^exec: "sh": executable file not found in \$PATH/],
  [/host: openat .*exec.pid/, 'EACCES', /^--pid-file \(\/run\/exec.pid\): openat/],
] as const)
  test(`${errno} of ${call.source} is told, and the processes are ended`, () => {
    const { story, message } = tell([[call, errno]])
    assert.match(message, says)
    firstOf(story, /host: kill \d+ 9/)
    assert.not(
      story.some((line) => /unlinkat .*\/run\/runt/.test(line)),
      'the container is left alone',
    )
    assert.not(story.some((line) => /init: execve/.test(line)))
  })

test('a terminal is the container’s, and on its way to the console socket before the program runs', () => {
  const { story, message } = tell([], { terminal: true, consoleSocket: '/run/console' })
  assert.is(message, '')
  inOrder(
    story,
    /host: connect /,
    /host: socketpair /,
    /host: execveat|host: clone /,
    /stage: setns/,
    /init: openat2 .*"\/dev\/ptmx"/,
    /init: sendmsg/,
    /init: dup3 \d+ 2 /,
    /init: setresuid/,
    /host: recvmsg/,
    /host: sendmsg/,
    /init: execve/,
  )
})

test('what cannot be had is refused before anything of ours enters the container', () => {
  for (const [changes, says] of [
    [{ terminal: true }, /process.terminal: cannot allocate tty/],
    [{ consoleSocket: '/s' }, /--console-socket/],
    [{ cwd: 'relative' }, /process.cwd.*"relative"/],
    [{ env: ['NAMELESS'] }, /process.env.*NAMELESS/],
    [{ command: [] }, /no program/],
  ] as const) {
    const { story, message } = tell([], changes)
    assert.match(message, says)
    assert.not(story.some((line) => /^stage: (clone|setns|openat)|^init:/.test(line)))
  }
})

test.run()
