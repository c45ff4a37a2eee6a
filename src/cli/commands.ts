/**
 * The commands and their flags, as data. The parser, the help texts, manual pages and completions are made from it.
 *
 * Names and short forms are runc's, which engines pass; `--cgroup-manager` is crun's, which podman passes.
 */

export interface OptionEntry {
  /** Long name without dashes. */
  readonly name: string
  /** One letter. */
  readonly short?: string
  /** One more letter, which help does not mention. */
  readonly alias?: string
  /** What help calls the value; a flag without a value has none. */
  readonly value?: string
  /** What the value must be; any text that is not empty if absent. */
  readonly type?: 'count'
  readonly choices?: readonly string[]
  readonly default?: string | number
  /** May be given several times; all values count. */
  readonly repeatable?: boolean
  readonly summary: string
}

export interface ArgumentEntry {
  readonly name: string
  readonly optional?: boolean
  /** Takes all that is left; last one only. */
  readonly variadic?: boolean
  readonly summary: string
}

export interface CommandEntry {
  readonly name: string
  readonly summary: string
  readonly arguments: readonly ArgumentEntry[]
  /** After so many arguments all that follows is an argument too, whatever it looks like: the words of a program. */
  readonly literalAfter?: number
  /** Why the command is always refused. It is listed because engines ask whether it is there. Its flags are not looked at. */
  readonly refused?: string
  readonly options: readonly OptionEntry[]
}

/** Every command has it. */
export const HELP: OptionEntry = { name: 'help', short: 'h', summary: 'show help' }

/** Flags before the command. */
export const globalOptions: readonly OptionEntry[] = [
  {
    name: 'root',
    value: 'folder',
    summary:
      "folder of the containers' state (default: /run/runt; for other users than root $XDG_RUNTIME_DIR/runt, /run/user/UID/runt or /tmp/runt-UID/runt)",
  },
  {
    name: 'log',
    value: 'file',
    summary: 'append messages to a file, or send them to journald:NAME or syslog:NAME; errors go to standard error too',
  },
  {
    name: 'log-format',
    value: 'format',
    choices: ['text', 'json'],
    default: 'text',
    summary: 'how lines of the log look',
  },
  { name: 'debug', summary: 'log every system call, and what was decided; the same as --log-level debug' },
  {
    name: 'log-level',
    value: 'level',
    choices: ['debug', 'warning', 'error'],
    default: 'warning',
    summary: 'the least important messages that are logged',
  },
  {
    name: 'trace',
    value: 'file',
    summary: 'write when each batch of system calls was sent, performed and answered to a file, as Trace Event JSON',
  },
  { name: 'systemd-cgroup', summary: 'let systemd manage control groups; cgroupsPath is then "slice:prefix:name"' },
  {
    name: 'cgroup-manager',
    value: 'manager',
    choices: ['cgroupfs', 'systemd', 'disabled'],
    summary:
      "who manages control groups (default: cgroupfs, or systemd with --systemd-cgroup); disabled: containers stay in the caller's",
  },
  { name: 'criu', value: 'path', summary: 'ignored: runt makes no checkpoints' },
  {
    name: 'rootless',
    value: 'when',
    choices: ['true', 'false', 'auto'],
    default: 'auto',
    summary:
      'ignore that the caller has no permission for control groups (auto: where the caller is not root of the host)',
  },
  { name: 'version', short: 'v', alias: 'V', summary: 'show the version' },
]

const id: ArgumentEntry = { name: 'id', summary: 'name of the container: letters, digits, "_", "+", "-" and "."' }

const pidfdSocket: OptionEntry = {
  name: 'pidfd-socket',
  value: 'path',
  summary: 'AF_UNIX socket that receives a pidfd of the process',
}

const regex: OptionEntry = {
  name: 'regex',
  short: 'r',
  summary: 'take the id for a regular expression: all containers whose ids it matches',
}

const createOptions: readonly OptionEntry[] = [
  { name: 'bundle', short: 'b', value: 'folder', default: '.', summary: 'folder that holds config.json' },
  { name: 'config', short: 'f', value: 'file', summary: "read this instead of the bundle's config.json" },
  {
    name: 'console-socket',
    value: 'path',
    summary: "AF_UNIX socket that receives the master end of the container's terminal",
  },
  pidfdSocket,
  { name: 'pid-file', value: 'path', summary: "write the process id of the container's init to a file" },
  { name: 'no-pivot', summary: 'do not use pivot_root; for a root file system on an initramfs' },
  { name: 'no-new-keyring', summary: "keep the caller's session keyring" },
  {
    name: 'preserve-fds',
    value: 'n',
    type: 'count',
    default: 0,
    summary: 'pass on n more descriptors, from 3 on, or behind those of $LISTEN_FDS',
  },
  { name: 'no-subreaper', summary: 'ignored: runt needs no subreaper' },
]

const table = [
  {
    name: 'create',
    summary: 'create a container; its program waits for start',
    arguments: [id],
    options: createOptions,
  },
  {
    name: 'start',
    summary: 'start the program of a created container',
    arguments: [id],
    options: [],
  },
  {
    name: 'state',
    summary: 'print the state of a container as JSON',
    arguments: [id],
    options: [],
  },
  {
    name: 'kill',
    summary: "send a signal to a container's init",
    arguments: [id, { name: 'signal', optional: true, summary: 'name or number (default: SIGTERM)' }],
    options: [{ name: 'all', short: 'a', summary: 'send it to all processes of the container' }, regex],
  },
  {
    name: 'delete',
    summary: 'delete containers that have stopped, or were not started',
    arguments: [{ ...id, variadic: true }],
    options: [{ name: 'force', short: 'f', summary: 'kill a container that is still running, with SIGKILL' }, regex],
  },
  {
    name: 'run',
    summary: 'create a container, start it and wait for its end',
    arguments: [id],
    options: [
      ...createOptions,
      { name: 'detach', short: 'd', summary: "do not wait for the container's end" },
      { name: 'keep', summary: 'do not delete the container after its end' },
    ],
  },
  {
    name: 'exec',
    summary: 'run one more program in a container',
    arguments: [
      id,
      { name: 'command', optional: true, variadic: true, summary: 'program and its arguments; instead of --process' },
    ],
    literalAfter: 2,
    options: [
      { name: 'console-socket', value: 'path', summary: 'AF_UNIX socket that receives the master end of the terminal' },
      pidfdSocket,
      { name: 'cwd', value: 'folder', summary: "working folder in the container (default: the container's)" },
      { name: 'env', short: 'e', value: 'key=value', repeatable: true, summary: 'set an environment variable' },
      { name: 'tty', short: 't', summary: 'give the program a terminal' },
      {
        name: 'user',
        short: 'u',
        value: 'uid[:gid]',
        summary: "user and group, as numbers (default: the container's)",
      },
      {
        name: 'additional-gids',
        short: 'g',
        value: 'gid',
        type: 'count',
        repeatable: true,
        summary: 'add a supplementary group',
      },
      {
        name: 'process',
        short: 'p',
        value: 'file',
        summary: 'read the process, as config.json has it, from a file; "-" is standard input',
      },
      { name: 'detach', short: 'd', summary: "do not wait for the program's end" },
      { name: 'pid-file', value: 'path', summary: 'write the process id to a file' },
      { name: 'process-label', value: 'label', summary: 'SELinux label of the program' },
      { name: 'apparmor', value: 'profile', summary: 'AppArmor profile of the program' },
      { name: 'no-new-privs', summary: 'set no_new_privs for the program' },
      {
        name: 'cap',
        short: 'c',
        value: 'capability',
        repeatable: true,
        summary:
          'add a capability to the bounding, effective and permitted sets, and where it is inheritable to the ambient one',
      },
      {
        name: 'preserve-fds',
        value: 'n',
        type: 'count',
        default: 0,
        summary: 'pass on n more descriptors, from 3 on',
      },
      {
        name: 'cgroup',
        value: '[controller:]path',
        repeatable: true,
        summary: "run it in a cgroup below the container's",
      },
      { name: 'ignore-paused', summary: 'allow a paused container; the program runs when that is resumed' },
      { name: 'no-subreaper', summary: 'ignored: runt needs no subreaper' },
    ],
  },
  {
    name: 'pause',
    summary: 'stop all processes of a container; resume lets them go on',
    arguments: [id],
    options: [],
  },
  { name: 'resume', summary: 'let a paused container go on', arguments: [id], options: [] },
  {
    name: 'update',
    summary: 'change the limits of a container',
    arguments: [id],
    options: [
      {
        name: 'resources',
        short: 'r',
        value: 'file',
        summary:
          'read them from a file, as linux.resources of config.json has them; "-" is standard input. Other flags are ignored then',
      },
      { name: 'blkio-weight', value: 'weight', summary: 'weight for disk I/O, 10 to 1000' },
      { name: 'cpu-period', value: 'us', summary: 'period of the CPU quota, in microseconds' },
      { name: 'cpu-quota', value: 'us', summary: 'CPU time in a period, in microseconds; -1: no limit' },
      { name: 'cpu-burst', value: 'us', summary: 'unused CPU time that may be saved up' },
      { name: 'cpu-share', value: 'shares', summary: 'CPU weight, 2 to 262144; on cgroup v2 converted to cpu.weight' },
      { name: 'cpu-rt-period', value: 'us', summary: 'period of the realtime quota, cgroup v1' },
      { name: 'cpu-rt-runtime', value: 'us', summary: 'realtime CPU time in a period, cgroup v1' },
      { name: 'cpuset-cpus', value: 'list', summary: 'CPUs to use, such as 0-3,7' },
      { name: 'cpuset-mems', value: 'list', summary: 'memory nodes to use' },
      { name: 'cpu-idle', value: '0|1', summary: 'run only when nobody else does' },
      { name: 'memory', value: 'bytes', summary: 'memory limit, also with a unit such as 64m; -1: no limit' },
      { name: 'memory-reservation', value: 'bytes', summary: 'memory that is left to the container when it is scarce' },
      { name: 'memory-swap', value: 'bytes', summary: 'limit of memory and swap together; -1: no limit' },
      { name: 'kernel-memory', value: 'bytes', summary: 'ignored: the kernel has no such limit any more' },
      { name: 'kernel-memory-tcp', value: 'bytes', summary: 'memory for TCP buffers, cgroup v1' },
      { name: 'pids-limit', value: 'n', summary: 'number of processes and threads; -1: no limit' },
      { name: 'l3-cache-schema', value: 'schema', summary: 'share of the L3 cache (Intel RDT), such as L3:0=f0' },
      { name: 'mem-bw-schema', value: 'schema', summary: 'memory bandwidth (Intel RDT), such as MB:0=50' },
    ],
  },
  {
    name: 'ps',
    summary: 'list the processes of a container',
    arguments: [
      id,
      { name: 'ps-option', optional: true, variadic: true, summary: "options for the host's ps (default: -ef)" },
    ],
    literalAfter: 1,
    options: [
      {
        name: 'format',
        short: 'f',
        value: 'format',
        choices: ['table', 'json'],
        default: 'table',
        summary: 'form of the output',
      },
    ],
  },
  {
    name: 'events',
    summary: 'print what a container uses, at intervals, and when it runs out of memory, as lines of JSON',
    arguments: [id],
    options: [
      {
        name: 'interval',
        value: 'duration',
        default: '5s',
        summary: 'time between two lines of statistics: 5s, 1m30s, 100ms',
      },
      { name: 'stats', summary: 'print one line of statistics and end' },
    ],
  },
  {
    name: 'list',
    summary: 'list containers',
    arguments: [],
    options: [
      {
        name: 'format',
        short: 'f',
        value: 'format',
        choices: ['table', 'json'],
        default: 'table',
        summary: 'form of the output',
      },
      { name: 'quiet', short: 'q', summary: 'print ids only' },
    ],
  },
  {
    name: 'spec',
    summary: 'write an example config.json',
    arguments: [],
    options: [
      { name: 'bundle', short: 'b', value: 'folder', default: '.', summary: 'folder to write it to' },
      { name: 'file', short: 'f', value: 'file', default: 'config.json', summary: 'its name, or a path' },
      { name: 'rootless', summary: 'write one that an unprivileged user can run' },
    ],
  },
  ...(['checkpoint', 'restore'] as const).map((name) => ({
    name,
    summary: `not supported (${name === 'checkpoint' ? 'runc: save a running container' : 'runc: go on from a checkpoint'})`,
    arguments: [id],
    refused:
      'not supported: runt neither saves the processes of a container nor brings them back (CRIU); use runc for containers that need it',
    options: [],
  })),
  {
    name: 'trace',
    summary: 'draw a file of --trace, as FILE.svg',
    arguments: [{ name: 'file', summary: 'what another command with --trace has written' }],
    options: [],
  },
  { name: 'features', summary: 'print what this runtime supports, as JSON', arguments: [], options: [] },
  {
    name: 'help',
    summary: 'show help',
    arguments: [{ name: 'command', optional: true, summary: 'the command to explain' }],
    options: [],
  },
] as const satisfies readonly CommandEntry[]

export type CommandName = (typeof table)[number]['name']

export const commands: readonly (CommandEntry & { readonly name: CommandName })[] = table
