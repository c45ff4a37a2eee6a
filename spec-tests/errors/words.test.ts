/**
 * The words that runt has for the mistakes that people make by hand: one line, the whole of it. What must be refused, by any runtime, is
 * in the other files of this folder.
 */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Bundle,
  base,
  bundle,
  command,
  container,
  execute,
  heading,
  leavesNothing,
  ok,
  type Result,
  run as runtime,
  set,
  started,
  withRuntime,
} from '../harness.ts'

const { only, run } = heading('errors/words')

/** That the command failed with this line. `{bundle}` stands for the bundle's folder. */
function says(result: Result, line: string, where: Bundle | null = null): void {
  assert.is.not(result.status, 0)
  assert.is(result.stderr, `runt: ${where ? line.replaceAll('{bundle}', where.directory) : line}\n`)
}

/** Text in place of config.json. */
const texts: [what: string, text: (json: string) => string, line: string][] = [
  ['is empty', () => '', '{bundle}/config.json:1:1: expected JSON, found nothing: the file is empty'],
  [
    'lacks a comma',
    () => '{\n  "ociVersion": "1.0.2"\n  "process": {}\n}',
    `{bundle}/config.json:3:3: expected ',' or '}' after the value of "ociVersion", found "process"`,
  ],
  [
    'has a comma too much',
    () => '{\n  "ociVersion": "1.0.2",\n}',
    '{bundle}/config.json:3:1: expected a name in double quotes, found "}": a \',\' may not follow the last item',
  ],
  [
    'has a comment',
    () => '{\n  // mine\n}',
    '{bundle}/config.json:2:3: expected a name in double quotes or \'}\', found "//": JSON has no comments',
  ],
  [
    'is cut off',
    (json) => json.slice(0, json.indexOf('"process"')),
    '{bundle}/config.json:3:3: expected a name in double quotes, found the end of the file',
  ],
  ['is a list', () => '[]', '{bundle}/config.json: [] is not an object'],
]

for (const [what, change, line] of texts)
  only('runt', `a config.json that ${what} is told with its place`, () => {
    const made = bundle()
    writeFileSync(join(made.directory, 'config.json'), change(JSON.stringify(made.config, null, 2)))
    says(container(made).run(), `run: ${line}`, made)
    leavesNothing()
  })

/** A field with a value that is a mistake. */
const fields: [path: string, value: unknown, line: string][] = [
  ['process.args', 'sh', '{bundle}/config.json: process.args: "sh" is not an array'],
  ['process.args', [], '{bundle}/config.json: process.args: is empty, at least the program is needed'],
  ['process.args', ['nosuch'], 'exec: "nosuch": executable file not found in $PATH'],
  ['process.args', [''], 'exec: "": executable file not found in $PATH'],
  ['process.args', ['/no/such'], 'exec: "/no/such": no such file or directory'],
  ['process.args', ['/etc'], 'exec: "/etc": permission denied: /etc is a folder, or lacks the x bit for this user'],
  ['process.cwd', 'tmp', '{bundle}/config.json: process.cwd: "tmp" is not an absolute path'],
  ['process.env', ['A'], '{bundle}/config.json: process.env[0]: "A" is not NAME=VALUE'],
  ['process.user.uid', '0', '{bundle}/config.json: process.user.uid: "0" is not an integer from 0 to 4294967295'],
  [
    'process.terminal',
    true,
    'process.terminal: cannot allocate tty if runt will detach without setting console socket: give --console-socket, or set it to false',
  ],
  [
    'root.path',
    'nowhere',
    'root.path ({bundle}/nowhere): no such folder: the root file system of the container has to be there; a relative path starts at the bundle',
  ],
  [
    'root.path',
    'config.json',
    'root.path ({bundle}/config.json): not a folder: the root file system of the container has to be there; a relative path starts at the bundle',
  ],
  ['root.readonly', 'yes', '{bundle}/config.json: root.readonly: "yes" is not true or false'],
  [
    'mounts',
    [{ destination: '/tmp', type: 'bind', source: '/no/such', options: ['bind'] }],
    'mounts[0] (/tmp): source /no/such: open_tree(AT_FDCWD, "/no/such", 0x80001): ENOENT (No such file or directory)',
  ],
  [
    'mounts',
    [{ destination: '/tmp', type: 'nosuchfs', source: 'x' }],
    'mounts[0] (/tmp): fsopen("nosuchfs", 1): ENODEV (No such device): this kernel has no such file system, or its module is not loaded',
  ],
  [
    'mounts',
    [{ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuidd'] }],
    `mounts[0] (/tmp): fsconfig(<fs>, FSCONFIG_SET_FLAG, "nosuidd", NULL, 0): EINVAL (Invalid argument): tmpfs: Unknown parameter 'nosuidd'`,
  ],
  ['mounts', [{ destination: '/tmp', source: '/tmp' }], 'mounts[0] (/tmp): no type; only bind mounts do without'],
  [
    'linux.resources.memory',
    { limit: '64m' },
    '{bundle}/config.json: linux.resources.memory.limit: "64m" is not an integer from -9223372036854775808 to 9223372036854775807',
  ],
  [
    'linux.resources.memory',
    { limit: 64_000_000, swap: 1_000_000 },
    'linux.resources.memory.swap: 1000000 is less than memory.limit, 64000000; it counts memory and swap together',
  ],
  [
    'linux.namespaces',
    [{ type: 'mount' }, { type: 'pid' }],
    '{bundle}/config.json: hostname: "runc" needs a uts namespace in linux.namespaces',
  ],
  [
    'linux.namespaces',
    [{ type: 'mount' }, { type: 'uts' }, { type: 'network', path: '/proc/self/ns/uts' }],
    'linux.namespaces[2] (network): path /proc/self/ns/uts: setns(<namespace>, 0x40000000): EINVAL (Invalid argument): the file is not a namespace of this type',
  ],
  [
    'linux.sysctl',
    { 'vm.swappiness': '1' },
    '{bundle}/config.json: linux.sysctl["vm.swappiness"]: belongs to no namespace, it would change the host',
  ],
  [
    'hooks',
    { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', 'echo broken >&2; exit 3'] }] },
    'hooks.createRuntime[0] (/bin/sh): exit status 3; its stderr: broken',
  ],
]

for (const [path, value, line] of fields)
  only('runt', `the mistake ${path} = ${JSON.stringify(value)} is told in one line`, () => {
    const made = bundle((config) => set(config, path, value))
    says(container(made).create(), `create: ${line}`, made)
    leavesNothing()
  })

only('runt', 'without a config.json the bundle is explained', () => {
  const made = bundle()
  rmSync(join(made.directory, 'config.json'))
  const line = 'run: {bundle}/config.json: no such file; the bundle (--bundle) is the folder that holds config.json'
  says(container(made).run(), line, made)
})

only('runt', 'an interpreter that is missing in the container is named', () => {
  const made = bundle((config) => set(config, 'process.args', ['/script']))
  made.file('/script', '#!/no/such/sh\n')
  const line =
    'run: process.args[0]: /script: no such file or directory: its script interpreter /no/such/sh is missing in the container'
  says(container(made).run(), line)
})

/** Commands for containers that are not there: id `ghost`. */
for (const words of [['start'], ['state'], ['kill'], ['delete'], ['ps'], ['pause'], ['exec', 'true']])
  only('runt', `${words[0]} of an unknown container names it`, () => {
    says(runtime([words[0]!, 'ghost', ...words.slice(1)]), `${words[0]}: container does not exist: ghost`)
  })

only('runt', 'commands that come at the wrong time say what the container is doing', () => {
  const c = started()
  says(c.start(), 'start: cannot start an already running container')
  says(c.delete(), `delete: cannot delete container ${c.id} that is not stopped: running; --force kills it first`)
  says(c.create(), `create: container with given ID already exists: ${c.id}`)
  says(runtime(['resume', c.id]), `resume: container not paused: ${c.id}: it is running`)
  says(c.kill('FOO'), 'kill: unknown signal "FOO"')
  ok(c.kill('KILL'))
  c.until('stopped')
  says(runtime(['exec', c.id, 'true']), 'exec: cannot exec in a stopped container')
  says(c.start(), 'start: cannot start a container that has stopped')
  says(c.kill('TERM'), `kill: container not running: ${c.id}`)
})

only('runt', 'words that no command takes are told with where to look', () => {
  says(runtime(['foo']), `unknown command "foo" (try 'runt --help')`)
  says(runtime(['run', '--bundel', 'x', 'y']), `run: unknown flag --bundel (try 'runt run --help')`)
  says(runtime(['run']), `run: missing required argument 'id' (try 'runt run --help')`)
  says(
    runtime(['run', 'a b']),
    'run: invalid container ID format: "a b" has the character " "; letters, digits, "_", "+", "-" and "." are allowed',
  )
})

only('runt', 'who cannot make control groups is told what it takes', () => {
  const c = container()
  const readOnly =
    'for d in /sys/fs/cgroup /sys/fs/cgroup/*; do if mountpoint -q $d; then mount -o remount,bind,ro $d; fi; done; exec "$@"'
  const bare = withRuntime(
    (words) => ['unshare', '-m', 'sh', '-c', readOnly, 'sh', ...words],
    () => c.create(),
  )
  assert.match(
    bare.stderr,
    /^runt: create: linux\.cgroupsPath: \/sys\/fs\/cgroup\/\S+ cannot be made: EROFS \(Read-only file system\): cgroups are read-only here, as in most containers: mount them writable, or leave the container in the cgroup of its caller \(--cgroup-manager disabled\)\n$/,
  )
  const powerless = withRuntime(
    (words) => ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin', ...words],
    () => c.create(),
  )
  assert.match(
    powerless.stderr,
    /^runt: create: linux\.resources\.devices.*EPERM \(Operation not permitted\): rules for devices take CAP_SYS_ADMIN on the host\n$/,
  )
})

only('runt', 'another user is told that the state cannot be read, not that there is no container', () => {
  const root = join(base, 'closed')
  mkdirSync(root, { mode: 0o700 })
  chmodSync(root, 0o700)
  try {
    const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    const result = execute([...user, ...command, '--root', root, 'state', 'x'])
    says(result, `state: state of container x (${root}/x/state.json): cannot be read: EACCES (Permission denied)`)
  } finally {
    rmSync(root, { recursive: true })
  }
})

run()
