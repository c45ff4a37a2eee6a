/** What the manual pages say beyond the table of commands. */

interface Texts {
  readonly runt: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly files: Readonly<Record<string, string>>
  /** Paragraphs by command. */
  readonly commands: Readonly<Record<string, readonly string[]>>
}

export const texts: Texts = {
  runt: [
    'runt makes containers from OCI bundles: folders with a config.json and the root file system that it names. Engines such as containerd, docker, podman and CRI-O call it; it can be used by hand too.',
    'The commands and their flags are those of runc. An error is one line: what was being done, to what, what the kernel said, and what to do where that misleads.',
  ],
  environment: {
    XDG_RUNTIME_DIR: 'For other users than root: the state of containers lies in its folder runt.',
    LISTEN_FDS: 'Descriptors from 3 on that are passed on to the program of run and create, see sd_listen_fds(3).',
    NOTIFY_SOCKET:
      'Socket of a service manager, see sd_notify(3). The program of run and create gets a socket of its own; when it says there that it is ready, runt passes that on, with the process to watch. run --detach and start end then.',
  },
  files: {
    '/run/runt': 'The state of containers, a folder for each.',
    'config.json': 'The configuration in a bundle, see the Open Container Initiative Runtime Specification.',
  },
  commands: {
    create: [
      'The container has its namespaces, mounts, control group and restrictions then, and an init that waits. runt start lets it execute the program.',
    ],
    start: ['If the program cannot be executed, start says so and fails.'],
    checkpoint: ['It always fails.'],
    restore: ['It always fails.'],
    state: [
      'The object has the fields of the specification (ociVersion, id, status, pid, bundle, annotations) and those that runc adds.',
    ],
    kill: [
      'A signal to a stopped container is an error, except with --all.',
      'The program is process 1 of its namespace: a signal that it has no handler for does nothing to it, except SIGKILL. A container that was not started is ended by HUP, INT, QUIT, ABRT and TERM too.',
      'Signals are names with or without SIG, in any case, or numbers.',
    ],
    delete: [
      'Deletes the control group and the state; files of the bundle are left alone. Then poststop hooks are called.',
    ],
    run: [
      'In the foreground, signals are passed on to the program, and its terminal, if process.terminal is true, is that of the caller.',
    ],
    exec: [
      'The program gets the rights and restrictions of process in config.json, unless options change them. Capabilities that are added are never inheritable.',
    ],
    pause: [
      'Returns when all processes of the container have stopped. If one does not within ten seconds, all go on, and pause fails.',
    ],
    resume: ['Fails if the control group above that of the container is frozen too.'],
    update: [
      'Either everything that is asked for is set, or nothing. Values that are zero or empty ask for nothing. Sizes are in bytes, or have a unit: b, k, m, g, t, p in powers of 1024. What has no counterpart on the cgroup version of the host is ignored, which --debug shows.',
    ],
    ps: ['With the format table, what follows the id is passed to ps(1) of the host.'],
    list: [
      'Containers of other users are in other folders: --root names one. A state that belongs to neither the caller nor root is passed over with a warning.',
    ],
    spec: ['An existing config.json is left alone; that is an error.'],
    features: [
      'The object follows features.md of the specification, and is made from the tables that runt works with.',
    ],
  },
}

/** By command. */
export const exitStatus: Readonly<Record<string, readonly string[]>> & { readonly default: readonly string[] } = {
  default: ['0 if all went well, 1 if not, 255 where runt itself is wrong.'],
  run: [
    "The program's, or 128 + n if signal n ended it; 0 if detached; 1 if the container cannot be made or its program cannot be executed.",
  ],
  exec: ["The program's, or 128 + n if signal n ended it; 0 if detached; 255 if it cannot be executed."],
}
