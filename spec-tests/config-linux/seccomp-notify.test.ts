/** runtime-spec, config-linux.md: "Seccomp", `listenerPath`; "The Container Process State". */
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Bundle,
  bundle,
  container,
  run as execute,
  fails,
  heading,
  leavesNothing,
  ok,
  oneLine,
  start,
} from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'
import { withAgent } from '../seccomp-agent.ts'

const { test, run } = heading('config-linux/seccomp-notify')

const arm = process.arch === 'arm64'
const MKDIRAT = arm ? 34 : 258
const MKDIR = arm ? -1 : 83
const EXECVE = arm ? 221 : 59
/** As the errno of a call that is made by nobody else: EXFULL. */
const EXFULL = 54
const failing = { [MKDIR]: EXFULL, [MKDIRAT]: EXFULL }

/** A bundle whose program is a script, with a filter that notifies of these calls. */
function notifying(script: string, names = ['mkdir', 'mkdirat']): Bundle {
  return bundle((config) => {
    config.process.args = ['sh', '-c', script]
    config.annotations = { 'org.example.word': 'é' }
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      listenerPath: '/nowhere',
      listenerMetadata: 'about it',
      syscalls: [{ names, action: 'SCMP_ACT_NOTIFY' }],
    }
  })
}

function listener(made: Bundle, path: string): void {
  const seccomp = made.config.linux.seccomp as { listenerPath: string }
  seccomp.listenerPath = path
  made.write()
}

/** The folder of the bundle that tests may use. */
const extra = (made: Bundle): string => join(made.directory, 'extra')

test('run hands the listener to the agent, with the container process state, once', () => {
  const made = notifying('mkdir /dev/shm/d; echo $?')
  withAgent(extra(made), failing, (agent) => {
    listener(made, agent.path)
    const result = ok(container(made).run())
    assert.is(result.stdout, '1\n')
    assert.match(result.stderr, /Exchange full/)
    const [greeting, ...more] = agent.greetings()
    assert.is(more.length, 0)
    assert.equal(greeting!.links, ['anon_inode:seccomp notify'])
    const { state } = greeting!
    assert.match(state.ociVersion, /^1\.\d+\.\d+/)
    assert.equal(state.fds, ['seccompFd'])
    assert.is(state.metadata, 'about it')
    assert.ok(state.pid > 0)
    assert.is(state.state.id, made.name)
    assert.is(state.state.pid, state.pid)
    assert.is(state.state.bundle, made.directory)
    assert.is(state.state.annotations!['org.example.word'], 'é')
    assert.ok(['creating', 'created'].includes(state.state.status), state.state.status)
  })
})

for (const command of ['run', 'exec'])
  test(`a state of any length reaches the agent, ${command}`, () => {
    const made = notifying(command === 'run' ? 'mkdir /dev/shm/d; echo $?' : 'while :; do sleep 1; done')
    made.config.annotations = { long: 'é'.repeat(150_000), 'org.example.word': 'é' }
    withAgent(extra(made), failing, (agent) => {
      listener(made, agent.path)
      const one = container(made)
      if (command === 'run') assert.is(ok(one.run()).stdout, '1\n')
      else {
        ok(one.run(['--detach']))
        assert.match(execute(['exec', one.id, 'mkdir', '/dev/shm/d']).stderr, /Exchange full/)
      }
      const { state, links } = agent.greetings().at(-1)!
      assert.equal(links, ['anon_inode:seccomp notify'])
      assert.is(state.state.annotations!.long, made.config.annotations!.long)
    })
  })

test('the connection to the agent is closed behind the state', () => {
  const made = notifying('exec sleep 60')
  withAgent(extra(made), failing, (agent) => {
    listener(made, agent.path)
    const c = container(made)
    // It goes on: its end would close everything.
    start(['run', '--bundle', made.directory, c.id])
    assert.ok(waitFor(() => agent.greetings().length === 1))
    assert.ok(waitFor(() => agent.closed() === 1))
  })
})

test('a container that was created and is then started has the agent too', () => {
  const made = notifying('mkdir /dev/shm/d; echo $?')
  withAgent(extra(made), failing, (agent) => {
    listener(made, agent.path)
    const created = container(made)
    ok(created.create(), 'create')
    const { pid } = created.state()
    ok(created.start(), 'start')
    created.says(/^1\n/)
    assert.equal(
      agent.greetings().map(({ state }) => state.pid),
      [pid],
    )
  })
})

test('a process of exec has a listener of its own', () => {
  const made = notifying('while :; do sleep 1; done')
  withAgent(extra(made), failing, (agent) => {
    listener(made, agent.path)
    const one = container(made)
    ok(one.run(['--detach']))
    const result = execute(['exec', one.id, 'mkdir', '/dev/shm/d'])
    assert.is(result.status, 1)
    assert.match(result.stderr, /Exchange full/)
    const [first, second] = agent.greetings().map(({ state }) => state)
    assert.is(second!.state.pid, first!.pid)
    assert.is.not(second!.pid, first!.pid)
    assert.is(second!.state.status, 'running')
  })
})

test('the agent is asked without noNewPrivileges too, and as another user', () => {
  const made = notifying('mkdir /dev/shm/d; echo $?; grep -E "^(CapPrm|CapEff|NoNewPrivs)" /proc/self/status')
  made.config.process.noNewPrivileges = false
  made.config.process.user = { uid: 1000, gid: 1000 }
  made.config.process.capabilities = {}
  withAgent(extra(made), failing, (agent) => {
    listener(made, agent.path)
    const { stdout } = ok(container(made).run())
    assert.is(stdout.replace(/\s+/g, ' '), '1 CapPrm: 0000000000000000 CapEff: 0000000000000000 NoNewPrivs: 0 ')
  })
})

test('an agent may be asked about every call that a runtime makes itself', () => {
  // runc refuses write here.
  const names =
    'sendmsg sendto recvfrom recvmsg read write close openat fcntl accept4 capset prctl nanosleep ppoll mmap exit_group execve wait4 futex'
  const made = notifying('echo done', names.split(' '))
  withAgent(extra(made), {}, (agent) => {
    listener(made, agent.path)
    assert.is(ok(container(made).run()).stdout, 'done\n')
    assert.ok(agent.calls().includes(EXECVE))
  })
})

test('a program that cannot be executed is an error, also with an agent', () => {
  const made = notifying('')
  made.file('bin/foreign', 'not a program', 0o755)
  made.config.process.args = ['/bin/foreign']
  withAgent(extra(made), failing, (agent) => {
    listener(made, agent.path)
    fails(container(made).run(), /foreign/)
  })
  leavesNothing()
})

test('a socket that is missing is refused in one line, and leaves nothing', () => {
  const made = notifying('echo ran')
  listener(made, join(extra(made), 'agent.sock'))
  for (const flags of [[], ['--detach']]) {
    const result = fails(container(made).run(flags), /agent\.sock.*(no such file|ENOENT)/i)
    oneLine(result)
    assert.is(result.stdout, '')
  }
  oneLine(fails(container(made).create(), /agent\.sock.*(no such file|ENOENT)/i))
  leavesNothing()
})

test('where the agent is gone by the time of start, the program does not run', () => {
  const made = notifying('echo ran')
  const one = container(made)
  withAgent(extra(made), failing, (agent) => {
    listener(made, agent.path)
    ok(one.create(), 'create')
  })
  waitFor(() => false, 50)
  const result = one.start()
  if (result.status === 0) assert.ok(waitFor(() => one.output() === 'ran\n'))
  else {
    oneLine(fails(result, /agent\.sock.*(ECONNREFUSED|refused)/))
    assert.is(one.output(), '')
  }
  ok(one.delete('--force'))
})

test('listenerPath is ignored where no rule notifies', () => {
  const made = notifying('echo ran')
  made.config.linux.seccomp = { defaultAction: 'SCMP_ACT_ALLOW', listenerPath: '/no/such/socket' }
  made.write()
  assert.is(ok(container(made).run()).stdout, 'ran\n')
})

test('an agent may be asked about every call, by the default action', () => {
  const made = notifying('mkdir /dev/shm/d; echo $?')
  withAgent(extra(made), failing, (agent) => {
    made.config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_NOTIFY',
      listenerPath: agent.path,
      syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW' }],
    }
    made.write()
    assert.is(ok(container(made).run()).stdout, '1\n')
    assert.ok(agent.calls().includes(EXECVE))
  })
})

test('SCMP_ACT_NOTIFY without listenerPath is refused', () => {
  const made = bundle()
  made.config.linux.seccomp = { defaultAction: 'SCMP_ACT_NOTIFY' }
  made.write()
  fails(container(made).run(), /listenerPath|NOTIFY/i)
  made.config.linux.seccomp = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }],
  }
  made.write()
  fails(container(made).run(), /listenerPath/i)
})

test('the flags of a filter are taken, with an agent too', () => {
  const flags = [
    'SECCOMP_FILTER_FLAG_TSYNC',
    'SECCOMP_FILTER_FLAG_LOG',
    'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
    'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
  ]
  const made = notifying('mkdir /dev/shm/d; echo $?')
  withAgent(extra(made), failing, (agent) => {
    listener(made, agent.path)
    Object.assign(made.config.linux.seccomp!, { flags })
    made.write()
    assert.is(ok(container(made).run()).stdout, '1\n')
  })
})

test('the init waits for nobody once the agent has the listener', () => {
  const made = notifying('while :; do sleep 1; done')
  withAgent(extra(made), failing, (agent) => {
    listener(made, agent.path)
    const one = container(made)
    ok(one.run(['--detach']))
    assert.ok(waitFor(() => agent.greetings().length === 1))
    assert.ok(isAlive(agent.greetings()[0]!.state.pid))
    assert.is(one.status(), 'running')
  })
})

run()
