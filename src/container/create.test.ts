import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RuntError } from '../base/errors.ts'
import * as k from '../linux/constants.ts'
import { create } from './create.ts'
import { CREATE_DEFAULTS, type CreateOptions } from './runtime.ts'
import { type FakeHost, fakeHost } from './testing/fake-host.ts'
import { before, firstOf, lastOf, showCall } from './testing/story.ts'

const sample = {
  ociVersion: '1.2.0',
  root: { path: 'rootfs', readonly: true },
  hostname: 'box',
  process: {
    user: { uid: 1000, gid: 1000, additionalGids: [7] },
    args: ['sh'],
    env: ['PATH=/bin', 'HOME=/'],
    cwd: '/tmp',
    noNewPrivileges: true,
    oomScoreAdj: 5,
    rlimits: [{ type: 'RLIMIT_NOFILE', soft: 10, hard: 10 }],
    capabilities: { bounding: ['CAP_KILL'] },
  },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] },
  ],
  linux: {
    namespaces: ['pid', 'mount', 'uts', 'ipc', 'network', 'cgroup'].map((type) => ({ type })),
    cgroupsPath: '/pod/box',
    maskedPaths: ['/proc/kcore'],
    readonlyPaths: ['/proc/sys'],
  },
}

const options: CreateOptions = {
  ...CREATE_DEFAULTS,
  id: 'box',
  bundle: '/bundle',
  pidFile: '/run/box.pid',
}

/** All calls in the order in which they were made: `host: mkdirat -100 "/run/runt/box" 448 0 0 0`. */
interface Told extends FakeHost {
  story: string[]
  error: unknown
}

/** Tells the story of `create`; `fails` maps a pattern of one call to the errno, or the result, that it gives. */
function tell(fails: [RegExp, string | number][] = [], changes: object = {}, files: Record<string, string> = {}): Told {
  const story: string[] = []
  const fake = fakeHost(
    {
      '/bundle/config.json': JSON.stringify({ ...sample, ...changes }),
      '/proc/4711/oom_score_adj': '',
      '/proc/4711/uid_map': '',
      '/proc/4711/gid_map': '',
      '/proc/4711/setgroups': '',
      ...files,
    },
    (executor, call) => {
      const line = `${executor}: ${showCall(call)}`
      story.push(line)
      return fails.find(([pattern]) => pattern.test(line))?.[1]
    },
  )
  let error: unknown = null
  try {
    create(fake.runtime, options)
  } catch (thrown) {
    error = thrown
  }
  return { ...fake, story, error }
}

/** The fake host tells it; errors are thrown. */
function told(changes: object = {}): string[] {
  const { story, error } = tell([], changes)
  if (error) throw error
  return story
}

test('the id is claimed before anything else is made', () => {
  const story = told()
  const made = story.find((line) =>
    /: (mkdirat|mknodat|socket|clone|symlinkat|memfd_create|openat .* 655937) /.test(line),
  )
  assert.is(made, 'host: mkdirat -100 "/run/runt/box" 448 0 0 0')
})

test('the state is there before the first cgroup is made, so that delete finds all there is', () => {
  const story = told()
  before(
    story.slice(0, firstOf(story, /mkdirat .*cgroup/)),
    /write .*"\{\\"format\\":1.*\\"pid\\":0/,
    /^$|renameat .*state.json"/,
  )
  assert.ok(firstOf(story, /renameat .*"\/run\/runt\/box\/state.json"/) < firstOf(story, /mkdirat .*\/sys\/fs\/cgroup/))
})

test('the cgroup is complete before the init joins it, and joined before it can be seen or anything can be run', () => {
  const story = told()
  before(story, /host: write .*"c 136/, /init: openat .*tasks"/)
  before(story, /init: openat .*tasks"/, /init: unshare/)
  before(story, /init: unshare/, /init: fsopen "(tmpfs|cgroup)"/)
  before(story, /init: openat .*tasks"/, /init: pivot_root/)
})

test('mounts come before devices, masks and read-only paths, and all of them before the change of root', () => {
  const story = told()
  const kcore = /init: openat2 .*"\/proc\/kcore"/
  const sys = /init: openat2 .*"\/proc\/sys"/
  before(story, /init: fsopen "(proc|cgroup)"/, /init: mknodat/)
  before(story, /init: mknodat/, kcore)
  before(story, kcore, sys)
  before(story, sys, /init: pivot_root/)
})

test('the identity is changed after the change of root, and no_new_privs is set after that', () => {
  const story = told()
  const calls = (number: number) => new RegExp(`init: prctl ${number} `)
  before(story, /init: pivot_root/, /init: (setgroups|setresgid|setresuid|capset)/)
  before(story, /init: prlimit64/, /init: setresuid/)
  before(story, /init: setgroups/, /init: setresgid/)
  before(story, /init: setresgid/, /init: setresuid/)
  // The bounding set needs CAP_SETPCAP, which the new user has not.
  before(story, calls(k.PR_CAPBSET_DROP), /init: setresuid/)
  before(story, /init: setresuid/, /init: capset/)
  before(story, /init: setresuid/, calls(k.PR_SET_NO_NEW_PRIVS))
})

test('descriptors are closed on exec after all other work, then the init is parked, and execve is last', () => {
  const story = told()
  const init = story.filter((line) => line.startsWith('init: '))
  before(init, /close_range 3 4294967295 4/, /accept4/)
  assert.match(init.at(-1)!, /^init: execve "\/bin\/sh" /)
  assert.ok(firstOf(init, /accept4/) < init.length - 1)
  assert.is(init.filter((line) => line.includes('execve')).length, 1)
})

test('the executor cannot be looked into: neither the stage nor the init after the change of user', () => {
  const story = told()
  const dumpable = new RegExp(`prctl ${k.PR_SET_DUMPABLE} 0 `)
  assert.match(story.filter((line) => line.startsWith('stage: '))[0]!, dumpable)
  const init = story.filter((line) => line.startsWith('init: '))
  assert.ok(lastOf(init, dumpable) > lastOf(init, /setresuid/))
})

test('pid file and final state are written after everything that can fail', () => {
  const story = told()
  before(story, /init: (faccessat2|close_range 3 \d+ 4|capset)/, /host: openat .*"\/run\/box.pid"/)
  const state = story.findLast((line) => /host: write .*\\"format\\":1/.test(line))!
  assert.match(state, /\\"pid\\":4711,\\"startTime\\":\\"987654\\"/)
  assert.ok(firstOf(story, /openat .*"\/run\/box.pid"/) > lastOf(story, /renameat .*"\/run\/runt\/box\/state.json"/))
})

test('where an option is absent its calls are too', () => {
  const story = told({
    hostname: undefined,
    process: { ...sample.process, noNewPrivileges: false, oomScoreAdj: undefined, rlimits: [] },
    linux: { ...sample.linux, maskedPaths: [], namespaces: [{ type: 'pid' }, { type: 'mount' }] },
  })
  for (const absent of [
    /sethostname/,
    /oom_score_adj/,
    /openat2 .*kcore/,
    /unshare/,
    new RegExp(`prctl ${k.PR_SET_NO_NEW_PRIVS} `),
  ])
    assert.not(
      story.some((line) => absent.test(line)),
      String(absent),
    )
})

const message = ({ error }: Told): string => {
  assert.instance(error, RuntError, `no RuntError: ${error}`)
  return (error as RuntError).message
}

/** What has been made is taken back: the processes first, then the cgroup, then the folder that holds the id. */
function takesBack({ story }: Told): void {
  const kill = firstOf(story, new RegExp(`host: kill 4711 ${k.SIGKILL}`))
  const cgroup = firstOf(story, /host: unlinkat .*"\/sys\/fs\/cgroup\/pids\/pod\/box" 512/)
  const folder = firstOf(story, /host: unlinkat -100 "\/run\/runt\/box" 512/)
  assert.ok(kill < cgroup && cgroup < folder, story.slice(kill).join('\n'))
}

const failures: { call: RegExp; errno: string; says: string }[] = [
  {
    call: /init: pivot_root/,
    errno: 'EINVAL',
    says: 'pivot_root: pivot_root(".", "."): EINVAL (Invalid argument)',
  },
  {
    call: /init: fsopen "proc"/,
    errno: 'ENODEV',
    says: 'mounts[0] (/proc): fsopen("proc", 1): ENODEV (No such device)',
  },
  {
    call: /init: sethostname/,
    errno: 'EPERM',
    says: 'hostname: sethostname("box", 3): EPERM (Operation not permitted)',
  },
  {
    call: /init: prlimit64/,
    errno: 'EPERM',
    says: 'process.rlimits (RLIMIT_NOFILE): prlimit64(0, 7, {rlim_cur=10, rlim_max=10}, NULL): EPERM (Operation not permitted)',
  },
  {
    call: /init: setresuid/,
    errno: 'EAGAIN',
    says: 'process.user: setresuid(1000, 1000, 1000): EAGAIN (Resource temporarily unavailable)',
  },
  {
    call: /host: openat .*oom_score_adj/,
    errno: 'EACCES',
    says: 'process.oomScoreAdj: openat(AT_FDCWD, "/proc/4711/oom_score_adj", 0x80001, 0): EACCES (Permission denied)',
  },
]

for (const { call, errno, says } of failures)
  test(`${errno} of ${call.source} is told, and all is taken back`, () => {
    const fake = tell([[call, errno]])
    // A hint may follow; see hints.ts.
    assert.ok(message(fake).startsWith(says), message(fake))
    takesBack(fake)
    assert.equal(fake.warnings, [])
  })

const inUserNamespace = {
  linux: {
    ...sample.linux,
    namespaces: [...sample.linux.namespaces, { type: 'user' }],
    uidMappings: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
    gidMappings: [{ containerID: 0, hostID: 200_000, size: 65_536 }],
  },
  mounts: [...sample.mounts, { destination: '/data', type: 'bind', source: '/secret', options: ['rbind'] }],
}

test('a user namespace: it is created with the others; ids are mapped before the init does anything, and it becomes root then', () => {
  const story = told(inUserNamespace)
  const all = k.CLONE_NEWUSER | k.CLONE_NEWNS | k.CLONE_NEWPID | k.CLONE_NEWNET | k.CLONE_NEWIPC | k.CLONE_NEWUTS
  assert.match(story[firstOf(story, /stage: clone /)]!, new RegExp(`clone ${all | k.CLONE_PARENT | k.SIGCHLD} `))
  const mapped = firstOf(story, /host: write .*"0 200000 65536/)
  assert.ok(mapped < firstOf(story, /init: recvmsg/), story.join('\n'))
  before(story, /init: recvmsg/, /init: open_tree/)
  assert.ok(firstOf(story, /init: setresuid 0/) < firstOf(story, /init: (keyctl|mkdirat|fsopen)/))
})

test('a user namespace: what is out of reach of its root is opened by the stage, in the mount namespace of the init', () => {
  const story = told(inUserNamespace)
  const stage = story.filter((line) => line.startsWith('stage: '))
  before(
    stage,
    /setns \d+ 131072/,
    /openat .*"\/(bundle\/rootfs|secret|dev\/null|sys\/fs\/cgroup\/pids\/pod\/box\/tasks)"/,
  )
  before(stage, /openat/, /sendmsg/)
  assert.match(stage.at(-1)!, /exit_group/)
  const init = story.filter((line) => line.startsWith('init: '))
  assert.not(init.some((line) => /"(\/secret|\/bundle\/rootfs|.*tasks)"/.test(line)))
  before(init, /close_range 80 \d+ 0/, /pivot_root/)
})

test('a user namespace: device nodes are bound, limits are set by the host', () => {
  const story = told(inUserNamespace)
  assert.not(story.some((line) => /mknodat|init: prlimit64/.test(line)))
  firstOf(story, /host: prlimit64 4711 7 /)
})

test('a user namespace that is joined is entered by a process in the middle, which the host waits for', () => {
  const namespaces = [...sample.linux.namespaces, { type: 'user', path: '/run/user.ns' }]
  const middle = new RegExp(`stage: clone ${k.CLONE_VM | k.CLONE_VFORK | k.CLONE_PARENT | k.SIGCHLD} `)
  // The fake kernel goes on as the child, and then as the stage.
  const { story, error } = tell([[middle, 0]], { linux: { ...sample.linux, namespaces } })
  assert.is(error, null)
  const clone = firstOf(story, middle)
  assert.ok(firstOf(story, /stage: openat .*"\/run\/user.ns"/) < clone)
  const entered = firstOf(story, new RegExp(`stage: setns \\d+ ${k.CLONE_NEWUSER} `))
  assert.ok(
    clone < entered &&
      entered <
        firstOf(
          story,
          new RegExp(
            `stage: clone ${k.CLONE_NEWNS | k.CLONE_PARENT | k.SIGCHLD | k.CLONE_NEWPID | k.CLONE_NEWUTS | k.CLONE_NEWIPC | k.CLONE_NEWNET} `,
          ),
        ),
  )
  assert.not(story.some((line) => /uid_map/.test(line)))
})

test('a path that the stage cannot open is told, and all is taken back', () => {
  const fake = tell([[/stage: openat .*"\/secret"/, 'ENOENT']], inUserNamespace)
  assert.match(message(fake), /^mounts\[2\] \(\/data\): source \/secret: openat\(.*ENOENT/)
  takesBack(fake)
})

test('ids that cannot be mapped are told, and all is taken back', () => {
  const fake = tell([[/host: write .*"0 100000 65536/, 'EPERM']], inUserNamespace)
  assert.match(message(fake), /^linux\.uidMappings: write\(.*EPERM/)
  takesBack(fake)
})

test('a time namespace is made by the stage, with its offsets, before the init', () => {
  const linux = {
    ...sample.linux,
    namespaces: [...sample.linux.namespaces, { type: 'time' }],
    timeOffsets: { monotonic: { secs: 5, nanosecs: 7 }, boottime: { secs: -3 } },
  }
  const story = told({ linux })
  before(story, /stage: unshare 128 /, /stage: write .*"monotonic 5 7/)
  before(story, /stage: write .*"monotonic 5 7/, /stage: clone /)
})

/** A user with ids 1000:100, to whom nothing of the host belongs. */
const asUser: [RegExp, string | number][] = [
  [/host: geteuid/, 1000],
  [/host: getegid/, 100],
  [/host: mkdirat .*cgroup/, 'EACCES'],
]
const ofUser = {
  linux: {
    ...inUserNamespace.linux,
    uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
    gidMappings: [{ containerID: 0, hostID: 100, size: 1 }],
  },
  process: { ...sample.process, user: { uid: 0, gid: 0 } },
}

test('a user: its own ids are mapped, no cgroup is made, the OOM score is set before files of ours belong to root', () => {
  const { story, error } = tell(asUser, ofUser)
  assert.is(error, null)
  before(story, /host: write .*"deny"/, /host: write .*"0 1000 1/)
  assert.not(story.some((line) => /init: openat .*tasks"/.test(line)))
  assert.not(story.some((line) => /socketpair|recvmsg/.test(line)))
  const stage = story.filter((line) => line.startsWith('stage: '))
  firstOf(stage, /openat .*"\/proc\/self\/oom_score_adj"/)
  assert.not(stage.some((line) => line.includes(`prctl ${k.PR_SET_DUMPABLE} 0 `)))
})

const dumpable = (story: string[]): string[] => {
  const pattern = new RegExp(`^init: (?:prctl ${k.PR_SET_DUMPABLE} ([01]) |setresuid)`)
  return story.flatMap((line) => pattern.exec(line) ?? []).filter((part) => part?.length === 1)
}
/** A user's container in namespaces that others are in. */
const inPod = {
  ...ofUser,
  linux: {
    ...ofUser.linux,
    uidMappings: [],
    gidMappings: [],
    namespaces: ofUser.linux.namespaces.map((one) =>
      ['user', 'pid'].includes(one.type) ? { ...one, path: `/proc/1/ns/${one.type}` } : one,
    ),
  },
}

test('a user: the init can be looked into by its caller, after each change of ids, unless others could do so too', () => {
  assert.equal(dumpable(tell(asUser, ofUser).story), ['1', '1'])
  assert.equal(dumpable(tell(asUser, inPod).story), ['0', '0'])
  assert.equal(dumpable(tell([], inUserNamespace).story), ['0', '0'])
  const story = tell(asUser, ofUser).story.filter((line) => line.startsWith('init: '))
  assert.ok(lastOf(story, new RegExp(`prctl ${k.PR_SET_DUMPABLE} 1 `)) > lastOf(story, /setresuid/))
})

test('a user: a limit is refused, and the claim is taken back', () => {
  const linux = { ...ofUser.linux, resources: { pids: { limit: 5 } } }
  const fake = tell(asUser, { ...ofUser, linux })
  assert.match(message(fake), /^linux\.resources\.pids\.limit: .*may not make/)
  firstOf(fake.story, /host: unlinkat -100 "\/run\/runt\/box" 512/)
})

test('a user without a user namespace in the config gets one, with all ids that are its own', () => {
  const files = {
    '/etc/passwd': 'root:x:0:0::/:\nguest:x:1000:100::/:\n',
    '/etc/subuid': 'other:5:5\nguest:700000:65536\n',
    '/etc/subgid': '1000:800000:65536\n',
  }
  const { story, error } = tell(asUser, { process: ofUser.process }, files)
  // The fake host ends every program by a signal.
  assert.match(String(error), /linux\.uidMappings: newuidmap: /)
  const helpers = story.filter((line) => /host: memfd_create "runt:newuidmap"/.test(line))
  assert.is(helpers.length, 2, 'one to see whether it is there, one to map')
  const saved = story.map((line) => line.replaceAll('\\', '')).find((line) => line.includes('"type":"user"'))
  assert.match(saved!, /"hostID":1000,"size":1},{"containerID":1,"hostID":700000,"size":65536/)
  assert.match(saved!, /"hostID":100,"size":1},{"containerID":1,"hostID":800000,"size":65536/)
})

test('a user who cannot see the init is told why', () => {
  const hidden: typeof asUser = [...asUser, [/host: openat .*"\/proc\/4711\/stat"/, 'ENOENT']]
  assert.match(
    message(tell(hidden, ofUser)),
    /^the container's init ended during its set-up \(\/proc\/4711\/stat: ENOENT\)/,
  )
  const mountinfo = '22 27 0:21 / /proc rw,relatime - proc proc rw,hidepid=invisible\n'
  const told = message(tell(hidden, inPod, { '/proc/self/mountinfo': mountinfo }))
  assert.match(
    told,
    /^\/proc is mounted with hidepid=invisible, which hides the container's init from you, for it joins/,
  )
})

test('a user sees an init that is hidden for a moment, and not one that is visible for a moment', () => {
  const looks = (hides: (look: number) => boolean, config: object): Told => {
    let look = 0
    const answer: [RegExp, string | number][] = [...asUser]
    const pattern = /host: openat .*"\/proc\/4711\/stat"/
    answer.push([{ test: (line: string) => pattern.test(line) && hides(look++) } as RegExp, 'ENOENT'])
    return tell(answer, config)
  }
  const late = looks((look) => look < 3, ofUser)
  assert.is(late.error, null)
  assert.match(late.written.get('/run/runt/box/state.json') ?? late.story.join('\n'), /987654/)
  assert.match(message(looks((look) => look > 0, inPod)), /init ended during its set-up/)
})

test('root of a user namespace: what is refused is bound from the host, and a cgroup is done without', () => {
  const refused: [RegExp, string | number][] = [
    [/init: mknodat/, 'EPERM'],
    [/init: fsopen "sysfs"/, 'EPERM'],
    [/host: mkdirat .*cgroup/, 'EACCES'],
  ]
  const mounts = [...sample.mounts, { destination: '/sys', type: 'sysfs', source: 'sysfs' }]
  const { story, error } = tell(refused, { mounts }, { '/proc/self/uid_map': '0 1000 1\n' })
  assert.is(error, null)
  firstOf(story, /init: open_tree -100 "\/sys"/)
  firstOf(story, /init: openat -100 "\/dev\/null"/)
  assert.not(story.some((line) => /init: openat .*tasks"/.test(line)))
  // For root of the host these are failures.
  assert.match(message(tell(refused, { mounts })), /EACCES/)
})

test('an id that exists is left alone', () => {
  const fake = tell([[/host: mkdirat .*"\/run\/runt\/box"/, 'EEXIST']])
  assert.is(message(fake), 'container with given ID already exists: box')
  assert.not(fake.story.some((line) => /unlinkat|kill|clone/.test(line)))
})

test('a state folder that cannot be made is named', () => {
  const fake = tell([[/host: mkdirat .*"\/run\/runt\/box"/, 'EROFS']])
  assert.match(message(fake), /^state folder \(\/run\/runt\/box\): mkdirat\(.*: EROFS \(Read-only file system\)/)
  assert.not(fake.story.some((line) => /unlinkat/.test(line)))
})

test('a missing config.json is told before anything is made', () => {
  const fake = tell([[/host: openat .*config.json/, 'ENOENT']])
  assert.match(message(fake), /^\/bundle\/config.json: no such file; the bundle \(--bundle\)/)
  assert.not(fake.story.some((line) => /mkdirat|clone|socket/.test(line)))
})

test('a config that is not valid takes back the claim and the stage, and no cgroup is touched', () => {
  const fake = tell([], { ociVersion: 1 })
  assert.match(message(fake), /ociVersion/)
  firstOf(fake.story, /host: unlinkat -100 "\/run\/runt\/box" 512/)
  assert.not(fake.story.some((line) => /cgroup\/pids/.test(line)))
})

test('a cgroup that exists and is empty is taken over', () => {
  const fake = tell([[/host: mkdirat .*"\/sys\/fs\/cgroup\/cpu\/pod\/box"/, 'EEXIST']])
  assert.is(fake.error, null)
  firstOf(fake.story, /host: openat .*\/cpu\/pod\/box\/cgroup.procs"/)
})

test('where no memfd can be executed, the executor comes from a file that is unlinked before it runs', () => {
  const fake = tell([[/host: memfd_create/, 'EACCES']])
  assert.is(fake.error, null)
  const made = firstOf(fake.story, /host: openat .*"\/run\/runt\/box\/executor"/)
  const gone = lastOf(fake.story, /host: unlinkat .*"\/run\/runt\/box\/executor"/)
  assert.ok(made >= 0 && made < gone)
  assert.ok(gone < firstOf(fake.story, /host: clone /))
})

test('a program that is missing is told by its name', () => {
  const fake = tell([[/init: faccessat2 .*"\/bin\/sh"/, 'ENOENT']])
  assert.is(message(fake), 'exec: "sh": executable file not found in $PATH')
  takesBack(fake)
})

test('a pid file that cannot be written takes the container back', () => {
  const fake = tell([[/host: openat .*box.pid/, 'EACCES']])
  assert.match(message(fake), /^--pid-file \(\/run\/box.pid\): openat\(.*EACCES/)
  takesBack(fake)
})

/** Tells it to a user who may make no cgroup: another one than root, or root of a user namespace. */
function toldWithoutRight(uid: number, resources: object): Told {
  const story: string[] = []
  const files = {
    '/bundle/config.json': JSON.stringify(
      uid === 0
        ? { ...sample, linux: { ...sample.linux, resources } }
        : { ...sample, ...ofUser, linux: { ...ofUser.linux, resources } },
    ),
    '/proc/4711/oom_score_adj': '',
    '/proc/4711/uid_map': '',
    '/proc/4711/gid_map': '',
    '/proc/4711/setgroups': '',
    '/proc/self/uid_map': uid === 0 ? '         0       1000          1\n' : '         0          0 4294967295\n',
  }
  const fake = fakeHost(files, (executor, call) => {
    const line = `${executor}: ${showCall(call)}`
    story.push(line)
    if (call.name === 'geteuid') return uid
    if (call.name === 'getegid') return 100
    return /mkdirat .*cgroup/.test(line) ? 'EACCES' : undefined
  })
  let error: unknown = null
  try {
    create(fake.runtime, options)
  } catch (thrown) {
    error = thrown
  }
  return { ...fake, story, error }
}

test('who may make no cgroup gets a container without one, if no limit is asked for', () => {
  for (const uid of [0, 1000]) {
    const { story, error } = toldWithoutRight(uid, { devices: [{ allow: false }], pids: { limit: -1 } })
    assert.is(error, null)
    assert.not(story.some((line) => /^init: .*sys\/fs\/cgroup\/.*pod/.test(line)))
    const state = story.findLast((line) => /write .*\{\\"format\\":/.test(line))!
    assert.match(state, /\\"folders\\":\[\]/)
  }
})

test('who may make no cgroup and asks for a limit is told which, and what to do', () => {
  for (const uid of [0, 1000]) {
    const { error } = toldWithoutRight(uid, { memory: { limit: 1000 } })
    assert.match(
      String(error),
      /linux\.resources\.memory\.limit: it needs a cgroup with the memory controller, which this user may not make: mkdirat\(.*EACCES.*--systemd-cgroup/,
    )
  }
})

test('root who may make no cgroup is told why', () => {
  const { error } = tell([[/mkdirat .*cgroup/, 'EACCES']])
  assert.match(String(error), /linux\.cgroupsPath: mkdirat\(.*EACCES/)
})

test('device rules that nothing enforces, because no hierarchy is mounted, are warned of', () => {
  const linux = { ...sample.linux, resources: { devices: [{ allow: false, access: 'rwm' }] } }
  const { error, warnings } = tell([], { linux }, { '/proc/self/mountinfo': '' })
  assert.is(error, null)
  assert.equal(warnings, ['linux.resources.devices: not enforced, for no cgroup hierarchy is mounted that could do it'])
})

test('a limit is refused where no hierarchy is mounted', () => {
  const { error } = tell(
    [],
    { linux: { ...sample.linux, resources: { memory: { limit: 5 } } } },
    { '/proc/self/mountinfo': '' },
  )
  assert.match(
    String(error),
    /linux\.resources\.memory\.limit: no cgroup hierarchy with the memory controller is mounted/,
  )
})

test.run()
