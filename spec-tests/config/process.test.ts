/** runtime-spec, config.md: "Process". */
import { chmodSync, existsSync, mkdirSync, statSync, symlinkSync } from 'node:fs'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  bundle,
  type Config,
  container,
  execute,
  fails,
  heading,
  inside,
  leavesNothing,
  ok,
  oneLine,
  skip,
  started,
  words,
} from '../harness.ts'

const { test, run } = heading('config/process')

const writable = (config: Config) => {
  config.root.readonly = false
}

test('the arguments reach the program unchanged', () => {
  const args = ['printf', '%s|', '', 'two words', '"quoted"', '$HOME', 'ünïcode', 'a\nb', '\\']
  const c = container((config) => {
    config.process.args = args
  })
  assert.is(
    ok(c.run()).stdout,
    args
      .slice(2)
      .map((arg) => `${arg}|`)
      .join(''),
  )
})

test('ten thousand arguments reach the program', () => {
  const c = container((config) => {
    config.process.args = ['sh', '-c', 'echo $#', 'sh', ...Array.from({ length: 10_000 }, (_, n) => `${n}`)]
  })
  assert.is(ok(c.run()).stdout, '10000\n')
})

test('an argument of 100,000 bytes reaches the program', () => {
  const c = container((config) => {
    config.process.args = ['sh', '-c', 'printf %s "$1" | wc -c', 'sh', 'x'.repeat(100_000)]
  })
  assert.is(ok(c.run()).stdout.trim(), '100000')
})

test('the program is process 1', () => {
  assert.is(inside('echo $$'), '1\n')
})

test('the program is looked up in the PATH of process.env', () => {
  const made = bundle((config) => {
    config.process.env = ['PATH=/nowhere:/opt/tools:/bin']
    config.process.args = ['hello']
  })
  made.file('opt/tools/hello', '#!/bin/sh\necho from PATH')
  assert.is(ok(container(made).run()).stdout, 'from PATH\n')
})

test('the first match in PATH wins', () => {
  const made = bundle((config) => {
    config.process.env = ['PATH=/first:/second']
    config.process.args = ['hello']
  })
  made.file('first/hello', '#!/bin/sh\necho first')
  made.file('second/hello', '#!/bin/sh\necho second')
  assert.is(ok(container(made).run()).stdout, 'first\n')
})

test('a file in PATH that is not executable is passed over', () => {
  const made = bundle((config) => {
    config.process.env = ['PATH=/first:/second']
    config.process.args = ['hello']
  })
  made.file('first/hello', '#!/bin/sh\necho first', 0o644)
  made.file('second/hello', '#!/bin/sh\necho second')
  assert.is(ok(container(made).run()).stdout, 'second\n')
})

test('a directory in PATH with the name of the program is passed over', () => {
  const made = bundle((config) => {
    config.process.env = ['PATH=/first:/second']
    config.process.args = ['hello']
  })
  mkdirSync(join(made.rootfs, 'first/hello'), { recursive: true })
  made.file('second/hello', '#!/bin/sh\necho second')
  assert.is(ok(container(made).run()).stdout, 'second\n')
})

test('a program given as an absolute path needs no PATH', () => {
  const c = container((config) => {
    config.process.env = []
    config.process.args = ['/bin/echo', 'here']
  })
  assert.is(ok(c.run()).stdout, 'here\n')
})

test('a program given with a slash is relative to the working directory', () => {
  const made = bundle((config) => {
    config.process.cwd = '/work'
    config.process.args = ['./tool']
  })
  made.file('work/tool', '#!/bin/sh\npwd')
  assert.is(ok(container(made).run()).stdout, '/work\n')
})

test('a program that is an absolute symbolic link is resolved inside the root', () => {
  const made = bundle((config) => {
    config.process.args = ['/linked', 'through a link']
  })
  made.file('real', '#!/bin/sh\necho "$1"')
  symlinkSync('/real', join(made.rootfs, 'linked'))
  assert.is(ok(container(made).run()).stdout, 'through a link\n')
})

test('argv[0] is the one of the configuration', () => {
  const c = container((config) => {
    config.process.args = ['cat', '/proc/self/cmdline']
  })
  assert.is(ok(c.run()).stdout, 'cat\0/proc/self/cmdline\0')
})

test('the environment is the one of the configuration', () => {
  const c = container((config) => {
    config.process.env = ['PATH=/bin', 'A=1', 'B=with spaces', 'EMPTY=', 'C=a=b']
    config.process.args = ['env']
  })
  const lines = ok(c.run())
    .stdout.trim()
    .split('\n')
    .filter((line) => !line.startsWith('HOME='))
  assert.equal(lines.sort(), ['A=1', 'B=with spaces', 'C=a=b', 'EMPTY=', 'PATH=/bin'])
})

test('of several entries with one name the program gets the last alone', () => {
  const c = container((config) => {
    config.process.env = [
      'TWICE=first',
      'PATH=/nowhere',
      'PATH=/bin',
      'EMPTY=full',
      'TWICE=second',
      'EMPTY=',
      'HOME=/h',
    ]
    config.process.args = ['env']
  })
  const lines = ok(c.run()).stdout.trim().split('\n')
  assert.equal(lines.sort(), ['EMPTY=', 'HOME=/h', 'PATH=/bin', 'TWICE=second'])
})

test('a long environment is cleared of repetitions too', () => {
  const long = 'x'.repeat(50_000)
  const text = inside('env | grep -c ^LONG=; echo $LONG | wc -c; echo $HOME', (config) => {
    config.process.env = ['PATH=/bin', `LONG=${long}`, 'HOME=/h', 'HOME=', `LONG=${long}y`]
  })
  assert.is(text, '1\n50002\n/root\n')
})

test('the user needs no x bit for a program that its capabilities let it execute', () => {
  const made = bundle((config) => {
    const names = ['CAP_DAC_OVERRIDE']
    config.process.capabilities = {
      bounding: names,
      effective: names,
      permitted: names,
      inheritable: names,
      ambient: names,
    }
    config.process.user = { uid: 1000, gid: 1000 }
    config.process.args = ['/closed/program']
  })
  made.file('closed/program', '#!/bin/sh\necho ran\n', 0o700)
  chmodSync(join(made.rootfs, 'closed'), 0o700)
  made.write()
  assert.is(ok(container(made).run()).stdout, 'ran\n')
})

test('all CPUs may be used, whatever the caller was restricted to', () => {
  const cpus = 'grep Cpus_allowed_list /proc/self/status'
  const everywhere = inside(cpus)
  if (!/[-,]/.test(everywhere)) skip('there is but one CPU')
  const c = container((config) => {
    config.process.args = ['sh', '-c', cpus]
  })
  const restricted = execute(['taskset', '-c', '0', ...words(['run', '--bundle', c.bundle.directory, c.id])])
  assert.is(ok(restricted).stdout, everywhere)
  const running = started()
  assert.is(ok(execute(['taskset', '-c', '0', ...words(['exec', running.id, 'sh', '-c', cpus])])).stdout, everywhere)
})

test('an empty HOME is none', () => {
  const home = inside('echo $HOME', (config) => config.process.env!.push('HOME=/elsewhere', 'HOME='))
  assert.is(home, '/root\n')
})

test('HOME is set from /etc/passwd where the configuration has none', () => {
  assert.is(inside('echo $HOME'), '/root\n')
})

test('HOME of the configuration wins', () => {
  const home = inside('echo $HOME', (config) => config.process.env!.push('HOME=/elsewhere'))
  assert.is(home, '/elsewhere\n')
})

test('HOME of a user whom /etc/passwd does not know is /', () => {
  const home = inside('echo $HOME', (config) => {
    config.process.user = { uid: 4242, gid: 4242 }
  })
  assert.is(home, '/\n')
})

test('the working directory is the one of the configuration', () => {
  assert.is(
    inside('pwd', (config) => (config.process.cwd = '/tmp')),
    '/tmp\n',
  )
})

test('a working directory that is missing is created', () => {
  const made = bundle((config) => {
    writable(config)
    config.process.cwd = '/new/place'
  })
  assert.is(inside('pwd', made), '/new/place\n')
  assert.ok(statSync(join(made.rootfs, 'new/place')).isDirectory())
})

test('a working directory that is an absolute symbolic link is resolved inside the root', () => {
  const made = bundle((config) => {
    config.process.cwd = '/link'
  })
  made.file('target/proof', '')
  symlinkSync('/target', join(made.rootfs, 'link'))
  assert.is(inside('ls', made), 'proof\n')
})

test('a working directory on a mount is reached', () => {
  const c = inside('stat -f -c %T .', (config) => {
    config.process.cwd = '/dev/shm'
  })
  assert.is(c, 'tmpfs\n')
})

test('the umask of the configuration is set', () => {
  const umask = inside('umask', (config) => {
    config.process.user.umask = 0o27
  })
  assert.match(umask, /^0?027\n$/)
})

test('without a umask in the configuration it is 022', () => {
  assert.match(inside('umask'), /^0?022\n$/)
})

test('noNewPrivileges true is set', () => {
  assert.match(inside('grep NoNewPrivs /proc/self/status'), /\t1\n/)
})

test('noNewPrivileges false is not set', () => {
  const status = inside('grep NoNewPrivs /proc/self/status', (config) => {
    config.process.noNewPrivileges = false
  })
  assert.match(status, /\t0\n/)
})

test('oomScoreAdj is set', () => {
  const score = inside('cat /proc/self/oom_score_adj', (config) => {
    config.process.oomScoreAdj = 321
  })
  assert.is(score, '321\n')
})

test('the program leads a session and a process group of its own', () => {
  const [pid, , , , group, session] = inside('cat /proc/1/stat').split(' ')
  assert.equal([pid, group, session], ['1', '1', '1'])
})

test('no signal is blocked or ignored in the program', () => {
  const c = container((config) => {
    config.process.args = ['grep', '-E', '^Sig(Blk|Ign)', '/proc/self/status']
  })
  assert.match(ok(c.run()).stdout, /SigBlk:\t0{16}\nSigIgn:\t0{16}\n/)
})

test('the program is not traced and not a child subreaper of the runtime', () => {
  assert.match(inside('grep TracerPid /proc/1/status'), /\t0\n/)
})

/** The nice value that the tests were started with: policies without one of their own leave it as it is. */
const inherited = getPriority()

/** Fields 19, 40 and 41 of proc_pid_stat(5): nice value, real-time priority, policy. */
for (const [scheduler, fields] of [
  [{ policy: 'SCHED_OTHER', nice: 7 }, '7 0 0'],
  [{ policy: 'SCHED_BATCH', nice: 5, flags: ['SCHED_FLAG_RESET_ON_FORK'] }, '5 0 3'],
  [{ policy: 'SCHED_IDLE' }, `${inherited} 0 5`],
  [{ policy: 'SCHED_FIFO', priority: 3 }, `${inherited} 3 1`],
  [{ policy: 'SCHED_RR', priority: 99 }, `${inherited} 99 2`],
  [{ policy: 'SCHED_DEADLINE', runtime: 1e7, deadline: 2e7, period: 3e7 }, `${inherited} 0 6`],
] as const)
  test(`the scheduler ${scheduler.policy} is set`, () => {
    const c = container((config) => {
      config.process.scheduler = scheduler
      config.process.args = ['cut', '-d', ' ', '-f', '19,40,41', '/proc/1/stat']
    })
    const result = c.run()
    const realTime = /FIFO|RR|DEADLINE/.test(scheduler.policy)
    if (realTime && result.status !== 0 && /EPERM|EBUSY|not permitted|busy/i.test(result.stderr))
      skip(`this host lets no cgroup have ${scheduler.policy}`)
    assert.is(ok(result).stdout, `${fields}\n`)
  })

for (const [ioPriority, shown] of [
  [{ class: 'IOPRIO_CLASS_IDLE', priority: 0 }, /^idle/],
  [{ class: 'IOPRIO_CLASS_BE', priority: 6 }, /^best-effort: prio 6/],
  [{ class: 'IOPRIO_CLASS_RT', priority: 2 }, /^realtime: prio 2/],
] as const)
  test(`the I/O priority ${ioPriority.class} is set`, () => {
    const c = container((config) => {
      config.process.ioPriority = ioPriority
      config.process.args = ['/bin/busybox', 'ionice']
    })
    assert.match(ok(c.run()).stdout, shown)
  })

test('the personality of the configuration is set', () => {
  const other = execute(['setarch', 'linux32', 'uname', '-m'])
  if (other.stdout === execute(['uname', '-m']).stdout) skip('the kernel calls the machine the same in 32 bits')
  const machine = inside('uname -m', (config) => {
    config.linux.personality = { domain: 'LINUX32' }
  })
  assert.match(machine, /^(i686|armv8l)\n$/)
})

test('a missing working directory is made in a root that is read-only for the container', () => {
  const made = bundle((config) => {
    config.root.readonly = true
    config.process.cwd = '/new/place'
  })
  assert.is(inside('pwd; touch /x 2>/dev/null || echo read-only', made), '/new/place\nread-only\n')
  assert.ok(existsSync(join(made.rootfs, 'new/place')))
})

const LSM = existsSync('/sys/kernel/security/apparmor') || existsSync('/sys/fs/selinux')

test('an AppArmor profile is refused where the host has no AppArmor, in one line', () => {
  if (existsSync('/sys/kernel/security/apparmor')) skip('this host has AppArmor')
  const c = container((config) => {
    config.process.apparmorProfile = 'a-profile'
  })
  oneLine(fails(c.run(), /apparmor/i))
  leavesNothing()
})

test('an SELinux label is refused where the host has no SELinux, in one line', () => {
  if (LSM) skip('this host has SELinux or AppArmor')
  const c = container((config) => {
    config.process.selinuxLabel = 'system_u:system_r:container_t:s0:c1,c2'
  })
  oneLine(fails(c.run(), /selinux|attr/i))
  leavesNothing()
})

test('empty labels ask for nothing', () => {
  const text = inside('echo ran', (config) => {
    config.process.apparmorProfile = ''
    config.process.selinuxLabel = ''
    config.linux.mountLabel = ''
  })
  assert.is(text, 'ran\n')
})

run()
