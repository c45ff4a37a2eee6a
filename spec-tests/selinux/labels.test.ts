/**
 * runtime-spec: `process.selinuxLabel` (config.md) and `linux.mountLabel` (config-linux.md). For a guest whose SELinux has no policy yet: the
 * tests load one of their own, in which few things are forbidden.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  base,
  type Config,
  run as command,
  container,
  fails,
  heading,
  inside,
  leavesNothing,
  ok,
  oneLine,
  runtime,
  skip,
  started,
} from '../harness.ts'
import { mounts } from '../host.ts'

const { test: plain, only: plainOnly, run } = heading('selinux/labels')

/** The initial SIDs in the order of their numbers (security/selinux/include/initial_sid_to_string.h of the kernel). */
const SIDS =
  'kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet icmp_socket tcp_socket ' +
  'sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix sysctl_vm sysctl_dev kmod policy scmp_packet devnull'
const HOST = 'test_u:test_r:host_t'
const PROGRAM = 'test_u:test_r:program_t'
/** The policy lets no program get there. */
const FORBIDDEN = 'test_u:test_r:forbidden_t'
const DATA = 'test_u:object_r:data_t'

/** What a policy does not know is allowed (`checkpolicy -U allow`), so these are all rules that there are. */
const policy = (): string => {
  const sids = SIDS.split(' ')
  const places = (how: string, names: string, rest = '') =>
    names.split(' ').map((name) => `${how} ${name}${rest} test_u:object_r:host_t${how === 'genfscon' ? '' : ';'}`)
  return [
    ...'process process2 file dir filesystem'.split(' ').map((name) => `class ${name}`),
    ...sids.map((name) => `sid ${name}`),
    'class process { transition dyntransition }',
    'class process2 { nnp_transition nosuid_transition }',
    'class file { entrypoint }',
    'class dir { add_name }',
    'class filesystem { associate }',
    'policycap nnp_nosuid_transition;',
    ...'host_t program_t forbidden_t data_t'.split(' ').map((name) => `type ${name};`),
    'role test_r;',
    'role test_r types { host_t program_t forbidden_t data_t };',
    // Its own type too: the label of the first processes has another number, until they execute something.
    'allow host_t { host_t program_t }:process transition;',
    'allow host_t program_t:process2 { nnp_transition nosuid_transition };',
    'allow { host_t program_t } { host_t data_t }:file entrypoint;',
    'allow { host_t program_t } { host_t data_t }:dir add_name;',
    'allow { host_t program_t data_t } { host_t data_t }:filesystem associate;',
    'user test_u roles { test_r };',
    ...sids.map((name) => `sid ${name} ${HOST}`),
    ...places('fs_use_xattr', 'ext4'),
    ...places('fs_use_trans', 'tmpfs devpts mqueue'),
    ...places('genfscon', 'proc sysfs cgroup2', ' /'),
    '',
  ].join('\n')
}

const own = (): string => readFileSync('/proc/self/attr/current', 'utf8').replace(/\0/, '')

/** Makes the policy that of this machine, which a test may do to a guest only. */
function usePolicy(): void {
  if (!existsSync('/vm/job')) skip('a policy is loaded in guests only')
  if (!/\tselinuxfs$/m.test(readFileSync('/proc/filesystems', 'utf8'))) skip('the kernel has no SELinux, or it is off')
  if (!existsSync('/sys/fs/selinux/load')) spawnSync('mount', ['-t', 'selinuxfs', 'selinuxfs', '/sys/fs/selinux'])
  if (own() === HOST) return
  if (own() !== 'kernel') skip(`this machine has a policy already: ${own()}`)
  const [text, binary] = [join(base, 'policy.conf'), join(base, 'policy')]
  writeFileSync(text, policy())
  const made = spawnSync('checkpolicy', ['-U', 'allow', '-c', '33', '-o', binary, text], { encoding: 'utf8' })
  if (made.error) skip(`checkpolicy: ${made.error.message}`)
  assert.is(made.status, 0, made.stderr)
  writeFileSync('/sys/fs/selinux/load', readFileSync(binary))
  writeFileSync('/sys/fs/selinux/enforce', '1')
  assert.is(own(), HOST)
}

const withPolicy = (body: () => void) => (): void => {
  usePolicy()
  body()
}
const test = (name: string, body: () => void): void => plain(name, withPolicy(body))
const only = (runtimes: string, name: string, body: () => void): void => plainOnly(runtimes, name, withPolicy(body))

const SHOW = 'cat /proc/self/attr/current'
const labelled =
  (more: (config: Config) => void = () => {}) =>
  (config: Config): void => {
    config.process.selinuxLabel = PROGRAM
    more(config)
  }
const bare = (text: string): string => text.replaceAll('\0', '')

test('the program has its label, as root and as another user, with and without noNewPrivileges', () => {
  for (const uid of [0, 1000])
    for (const noNewPrivileges of [true, false])
      assert.is(
        bare(
          inside(
            SHOW,
            labelled((config) => {
              config.process.user.uid = uid
              config.process.noNewPrivileges = noNewPrivileges
            }),
          ),
        ),
        PROGRAM,
      )
})

test('without a label the program has that of the caller', () => {
  assert.is(bare(inside(SHOW)), HOST)
})

test('exec has the label of the container, or that of --process-label', () => {
  const c = started(labelled())
  assert.is(bare(ok(command(['exec', c.id, 'sh', '-c', SHOW])).stdout), PROGRAM)
  const plainOne = started()
  assert.is(bare(ok(command(['exec', plainOne.id, 'sh', '-c', SHOW])).stdout), HOST)
  const words = ['exec', '--process-label', PROGRAM, plainOne.id, 'sh', '-c', SHOW]
  assert.is(bare(ok(command(words)).stdout), PROGRAM)
})

test('a label that the policy does not know is refused', () => {
  const c = container(labelled())
  c.bundle.config.process.selinuxLabel = 'test_u:test_r:nonsense_t'
  c.bundle.write()
  const result = c.run()
  fails(result, /nonsense_t|attr\/(exec|keycreate)|[Ii]nvalid argument/)
  leavesNothing()
})

only('runt', 'an unknown label is named, with its field, in one line', () => {
  const c = container(labelled())
  c.bundle.config.process.selinuxLabel = 'test_u:test_r:nonsense_t'
  c.bundle.write()
  const result = fails(
    c.create(),
    /process\.selinuxLabel \(test_u:test_r:nonsense_t\): .*its policy has no such context/,
  )
  oneLine(result)
  const other = started()
  const words = ['exec', '--process-label', 'nonsense', other.id, 'true']
  oneLine(fails(command(words), /process\.selinuxLabel \(nonsense\): .*its policy has no such context/))
})

test('a label that the policy does not let the program have is refused', () => {
  const c = container(labelled())
  c.bundle.config.process.selinuxLabel = FORBIDDEN
  // The kernel's word depends on it.
  for (const noNewPrivileges of [true, false]) {
    c.bundle.config.process.noNewPrivileges = noNewPrivileges
    c.bundle.write()
    const said = fails(c.run(), /permission denied|not permitted/i)
    if (runtime === 'runt') assert.match(said.stderr, /process\.selinuxLabel/)
  }
  leavesNothing()
})

/** The SELinux label of a key, by KEYCTL_GET_SECURITY (keyctl(2)). */
const KEY_LABEL = `
import ctypes, sys
libc, text = ctypes.CDLL(None), ctypes.create_string_buffer(200)
print(text.value.decode() if libc.syscall(250 if sys.maxsize > 2**32 and sys.argv[2] == 'x64' else 219, 17, int(sys.argv[1], 16), text, 200) > 0 else 'none')
`

test('the session keyring has the label of the program', () => {
  const c = started(
    labelled((config) => {
      config.process.args = ['sh', '-c', "grep -E '_ses' /proc/keys; echo made; sleep 60"]
      config.linux.maskedPaths = []
    }),
  )
  c.says(/made/)
  const [, id] = new RegExp(`^([0-9a-f]+) .* _ses\\.${c.id}\\b`, 'm').exec(c.output()) ?? []
  assert.ok(id, c.output())
  const { stdout } = spawnSync('python3', ['-c', KEY_LABEL, id!, process.arch], { encoding: 'utf8' })
  assert.is(stdout.trim(), PROGRAM)
  // Keys that the program makes have the label that it would give them itself.
  assert.is(bare(ok(command(['exec', c.id, 'cat', '/proc/1/attr/keycreate'])).stdout), '')
})

/** What a file's label is, by getxattr(2). */
const label = (path: string): string =>
  bare(
    spawnSync('python3', ['-c', 'import os, sys; print(os.getxattr(sys.argv[1], "security.selinux").decode())', path], {
      encoding: 'utf8',
    }).stdout.trim(),
  )

test('new file systems have the label for mounts, files of the host keep theirs', () => {
  const c = started((config) => {
    config.linux.mountLabel = DATA
    config.mounts.push({ destination: '/mnt', type: 'tmpfs', source: 'tmpfs' })
    config.mounts.push({ destination: '/host', type: 'bind', source: '/usr', options: ['rbind', 'ro'] })
  })
  const { pid } = c.state()
  const root = `/proc/${pid}/root`
  writeFileSync(`${root}/mnt/file`, '')
  for (const path of ['/dev', '/dev/null', '/dev/shm', '/dev/pts', '/dev/mqueue', '/mnt', '/mnt/file'])
    assert.is(label(root + path), DATA, path)
  for (const path of ['/host', '/bin/busybox', '/proc', '/sys']) assert.is.not(label(root + path), DATA, path)
  const options = mounts(pid).find(({ target }) => target === '/dev/shm')!.superOptions
  assert.ok(
    options.some((word) => word.replaceAll('"', '') === `context=${DATA}`),
    options.join(),
  )
})

test("a mount's own context comes before the label", () => {
  const c = started((config) => {
    config.linux.mountLabel = DATA
    config.mounts.push({ destination: '/mnt', type: 'tmpfs', source: 'tmpfs', options: [`context=${HOST}`] })
  })
  assert.is(label(`/proc/${c.state().pid}/root/mnt`), HOST)
})

only('runt crun', 'run.oci.mount_context_type says which option the label for mounts is', () => {
  const c = started((config) => {
    config.linux.mountLabel = DATA
    config.annotations = { 'run.oci.mount_context_type': 'rootcontext' }
    config.mounts.push({ destination: '/mnt', type: 'tmpfs', source: 'tmpfs' })
  })
  const { pid } = c.state()
  assert.is(label(`/proc/${pid}/root/mnt`), DATA)
  const options = mounts(pid).find(({ target }) => target === '/mnt')!.superOptions
  assert.ok(
    options.some((word) => word.replaceAll('"', '') === `rootcontext=${DATA}`),
    options.join(),
  )
})

test('a label for mounts that the policy does not know is refused', () => {
  const c = container((config) => {
    config.linux.mountLabel = 'test_u:object_r:nonsense_t'
  })
  fails(c.create(), /nonsense_t|[Ii]nvalid argument/)
  leavesNothing()
})

only('runt', 'an unknown label for mounts is named, with its field, in one line', () => {
  const c = container((config) => {
    config.linux.mountLabel = 'test_u:object_r:nonsense_t'
  })
  oneLine(fails(c.create(), /linux\.mountLabel \(test_u:object_r:nonsense_t\)/))
})

run()
