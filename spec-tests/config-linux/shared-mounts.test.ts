/**
 * runtime-spec, config-linux.md, "Namespaces": without a mount namespace in the config a container has that of its caller. What it mounts
 * then is mounted on the host: each test runs in a mount namespace that plays the host, whose mounts are shared, as systemd has them.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type Bundle,
  base,
  bundle,
  type Config,
  execute,
  heading,
  ok,
  remember,
  withoutNamespaces,
  words,
} from '../harness.ts'

const { test, run } = heading('config-linux/shared-mounts')

const shares = (config: Config): void => {
  withoutNamespaces(config, 'mount')
  delete config.linux.maskedPaths
  delete config.linux.readonlyPaths
}

/**
 * Runs a shell script on that host, with set -e. `$RUN` runs the container in the foreground, `runtime WORDS…` the runtime, `$ID` is the
 * container; `mounts` prints where there are mounts, but for those of other tests, which come and go.
 */
function onHost(made: Bundle, script: string): string {
  made.write()
  remember(made.name)
  const lines = [
    'mount --make-rshared /',
    'set -e; cd "$BUNDLE"',
    `RUN="${words(['run', '--bundle', made.directory, made.name]).join(' ')}"`,
    `runtime() { ${words([]).join(' ')} "$@"; }`,
    // A mount goes from every namespace when its mount point is removed.
    'mounts() { awk -v own="$BASE" \'index($5, own) == 1 || $5 !~ "^/(tmp|run|var)/" { print $5 }\' /proc/self/mountinfo; }',
    script,
  ]
  return ok(
    execute(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', lines.join('\n')], {
      env: { ID: made.name, BUNDLE: made.directory, BASE: base },
      timeout: 20_000,
    }),
  ).stdout
}

const script = (text: string) => (config: Config) => {
  shares(config)
  config.process.args = ['sh', '-c', text]
}

test('it has the mount namespace of the caller, and its root file system as its root', () => {
  const made = bundle(script('readlink /proc/self/ns/mnt; ls -d /bin /etc /usr 2>/dev/null | tr "\\n" " "; pwd'))
  const [host, inside, folders] = onHost(made, 'readlink /proc/self/ns/mnt; $RUN').split('\n')
  assert.is(inside, host)
  assert.is(folders, '/bin /etc /')
})

test('its mounts are there, also for the host, below the root file system', () => {
  const made = bundle(
    script('test -e /proc/1/stat && test -c /dev/null && stat -f -c %T /dev/shm; touch /dev/shm/x; sleep 60'),
  )
  const out = onHost(
    made,
    `runtime create --bundle "$BUNDLE" $ID > /dev/null 2>&1 < /dev/null; grep -c "$BUNDLE/rootfs/dev/shm " /proc/self/mountinfo
    runtime delete --force $ID`,
  )
  assert.is(out, '1\n')
})

test('when it has ended nothing of it is mounted any more', () => {
  const made = bundle(script('echo ran'))
  assert.is(onHost(made, 'mounts > extra; $RUN; mounts | cmp - extra && echo same'), 'ran\nsame\n')
})

for (const flags of ['', '--force'])
  test(`delete ${flags} unmounts what it has mounted, and no more`.replace('  ', ' '), () => {
    const made = bundle(script('exit 0'))
    const out = onHost(
      made,
      `mkdir extra; mount -t tmpfs volume extra; mkdir extra/below; mount -t tmpfs below extra/below; mounts > extra/count
      runtime create --bundle "$BUNDLE" $ID > /dev/null 2>&1 < /dev/null
      runtime kill $ID KILL; sleep 0.2; runtime delete ${flags} $ID; mounts | cmp - extra/count && echo same`,
    )
    assert.is(out, 'same\n')
  })

test('a set-up that fails leaves nothing mounted', () => {
  const made = bundle((config) => {
    shares(config)
    config.mounts.push({ destination: '/late', type: 'bind', source: '/nothing/there', options: ['bind'] })
  })
  assert.is(
    onHost(made, 'mounts > extra; $RUN 2>/dev/null || echo refused; mounts | cmp - extra && echo same'),
    'refused\nsame\n',
  )
})

test('a program that is not there leaves nothing mounted', () => {
  const made = bundle(shares)
  made.config.process.args = ['/no/such/program']
  assert.is(
    onHost(made, 'mounts > extra; $RUN 2>/dev/null || echo refused; mounts | cmp - extra && echo same'),
    'refused\nsame\n',
  )
})

for (const propagation of [undefined, 'rshared'])
  test(`mounts of the host that it binds, and those below them, stay when it goes, rootfsPropagation ${propagation}`, () => {
    const made = bundle(script('ls /data/below'))
    const extra = join(made.directory, 'extra')
    if (propagation) made.config.linux.rootfsPropagation = propagation
    made.config.mounts.push({ destination: '/data', type: 'bind', source: extra, options: ['rbind'] })
    const out = onHost(
      made,
      `mkdir extra; mount -t tmpfs volume extra; mkdir extra/below; mount -t tmpfs below extra/below; touch extra/below/file
      $RUN; ls extra/below`,
    )
    assert.is(out, 'file\nfile\n')
  })

test('what it mounts in a volume of the host is not mounted in the volume itself', () => {
  const made = bundle((config) => {
    script('mkdir /data/inner && mount -t tmpfs inner /data/inner && echo mounted')(config)
    for (const set of ['bounding', 'effective', 'permitted']) config.process.capabilities![set]!.push('CAP_SYS_ADMIN')
  })
  const extra = join(made.directory, 'extra')
  made.config.mounts.push({ destination: '/data', type: 'bind', source: extra, options: ['rbind'] })
  const out = onHost(
    made,
    'mkdir extra; mount -t tmpfs volume extra; $RUN; grep -o "extra/inner" /proc/self/mountinfo || echo none',
  )
  assert.is(out, 'mounted\nnone\n')
})

test('the propagation of the mounts of the host stays as it is', () => {
  const made = bundle(script('exit 0'))
  const tags = "awk '{ print $5, $7 }' /proc/self/mountinfo"
  assert.is(onHost(made, `${tags} > extra; $RUN; ${tags} | cmp - extra && echo same`), 'same\n')
})

test('--no-pivot takes no procfs and no sysfs from the host', () => {
  const made = bundle(script('echo ran'))
  const look = 'runtime run --no-pivot --bundle "$BUNDLE" $ID; ls -d /proc/self/fd /sys/kernel'
  assert.is(onHost(made, look), 'ran\n/proc/self/fd\n/sys/kernel\n')
})

test('a read-only root is read-only', () => {
  const made = bundle(script('touch /file 2>/dev/null && echo wrote || echo refused'))
  assert.is(onHost(made, '$RUN'), 'refused\n')
  assert.not(existsSync(join(made.rootfs, 'file')))
})

test('masked and read-only paths are so for the container, and only there', () => {
  const made = bundle((config) => {
    script('cat /secret; test -s /proc/timer_list || echo masked; touch /etc/x 2>/dev/null || echo refused')(config)
    config.root.readonly = false
    config.linux.maskedPaths = ['/secret', '/secret', '/proc/timer_list']
    config.linux.readonlyPaths = ['/etc']
  })
  made.file('secret', 'secret\n')
  assert.is(
    onHost(made, '$RUN; cat "$BUNDLE/rootfs/secret"; test -c /dev/null && echo -n'),
    'masked\nrefused\nsecret\n',
  )
})

test('exec runs a program in the root of the container', () => {
  const made = bundle(script('sleep 60'))
  const out = onHost(
    made,
    `runtime create --bundle "$BUNDLE" $ID > /dev/null 2>&1 < /dev/null; runtime start $ID
    runtime exec $ID sh -c 'ls -d /bin /etc /usr 2>/dev/null | tr "\\n" " "; pwd'; runtime delete --force $ID`,
  )
  assert.is(out, '/bin /etc /\n')
})

test('a path that leads to the mount namespace of the caller is as good as none', () => {
  const made = bundle((config) => {
    script('readlink /proc/self/ns/mnt; ls -d /bin /usr 2>/dev/null; true')(config)
    config.linux.namespaces.push({ type: 'mount', path: '/proc/self/ns/mnt' })
  })
  const out = onHost(
    made,
    'mounts > extra; readlink /proc/self/ns/mnt; $RUN; ls -d /usr; mounts | cmp - extra && echo same',
  )
  const [host, inside, ...rest] = out.split('\n')
  assert.is(inside, host)
  assert.equal(rest, ['/bin', '/usr', 'same', ''])
})

test('a root file system that is a mount of its own stays one', () => {
  const made = bundle(script('echo ran'))
  const bind = 'mount --bind "$BUNDLE/rootfs" "$BUNDLE/rootfs"; mounts > extra'
  assert.is(onHost(made, `${bind}; $RUN; mounts | cmp - extra && echo same`), 'ran\nsame\n')
})

test('what lies on the root file system by the time of delete, and is not its own, stays', () => {
  const made = bundle(script('exit 0'))
  const out = onHost(
    made,
    `runtime create --bundle "$BUNDLE" $ID > extra 2>&1 < /dev/null
    umount -l rootfs; mount -t tmpfs other rootfs
    runtime delete --force $ID 2>&1 | grep -c 'nothing was unmounted'; grep -c " $BUNDLE/rootfs .* other " /proc/self/mountinfo`,
  )
  assert.is(out, '1\n1\n')
})

run()
