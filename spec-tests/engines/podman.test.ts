import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cgroupRoot, fails, heading, ok, type Result, runtime, skip } from '../harness.ts'
import { cgroupDirectories, removeCgroups, removeTree, unified, waitFor } from '../host.ts'
import { act, type Step } from '../terminal.ts'
import { engine, folder, IMAGE, imageArchive, named, needs, runtimeScript } from './engine.ts'

const { test, run } = heading('engines/podman')

/** Runs podman; as words too, for what needs a terminal. */
interface Podman {
  (...words: string[]): Result
  words(...words: string[]): string[]
}

/** Gives the body a podman with the image in its store, and its folder. */
function withPodman(body: (podman: Podman, place: string) => void): void {
  needs('podman', 'conmon')
  const place = folder()
  const configuration = join(place, 'containers.conf')
  // The first container of a pod runs /pause. Limits: podman's own are above what a container of a tester may have.
  writeFileSync(
    configuration,
    `[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\nevents_logger = "none"\nlock_type = "file"\ninfra_image = "${IMAGE}"\nruntime = "tested"\nruntime_supports_json = ["tested"]\nruntime_supports_nocgroup = ["tested"]\n[engine.runtimes]\ntested = ["${runtimeScript(place, true)}"]\n`,
  )
  const store = ['--root', join(place, 'root'), '--runroot', join(place, 'run'), '--tmpdir', join(place, 'tmp')]
  const how = ['--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs']
  const settings = [`CONTAINERS_CONF=${configuration}`, `TMPDIR=${place}`]
  const all = (...words: string[]) => ['env', ...settings, 'podman', ...store, ...how, ...words]
  const podman: Podman = Object.assign((...words: string[]) => engine(all(...words)), { words: all })
  try {
    ok(podman('load', '--input', imageArchive(place)), 'load')
    body(podman, place)
  } finally {
    podman('pod', 'rm', '--force', '--all', '--time', '0')
    podman('rm', '--force', '--all', '--time', '0')
    // conmon calls podman again to clean up after a container.
    assert.ok(
      waitFor(() => !named(place)),
      'podman does not end',
    )
    removeTree(place)
    // Podman leaves it.
    removeCgroups(`${cgroupRoot}/conmon`)
  }
}

const MADE = ['--network', 'none', '--cgroup-parent', cgroupRoot]

test('podman run shows output and exit status', () => {
  withPodman((podman) => {
    const said = podman('run', '--rm', ...MADE, IMAGE, 'sh', '-c', 'echo out; echo err >&2; exit 3')
    assert.equal([said.status, said.stdout, said.stderr], [3, 'out\n', 'err\n'])
    assert.is(podman('run', '--rm', ...MADE, IMAGE, 'no-such-program').status, 127)
  })
})

test('podman run --cgroups disabled leaves the container in the cgroup of its caller', () => {
  if (runtime === 'runc') skip('runc has no such mode')
  withPodman((podman) => {
    const flags = ['--network', 'none', '--cgroups', 'disabled', '--cgroupns', 'host']
    const own = readFileSync('/proc/self/cgroup', 'utf8')
    assert.is(ok(podman('run', '--rm', ...flags, IMAGE, 'cat', '/proc/self/cgroup')).stdout, own)
    ok(podman('run', '--detach', '--name', 'one', ...flags, IMAGE, 'sh', '-c', STAYING))
    assert.is(ok(podman('exec', 'one', 'cat', '/proc/self/cgroup')).stdout, own)
    fails(
      podman('update', '--memory', '64m', 'one'),
      runtime === 'runt' ? /has no cgroup, so it can have no limits/ : /./,
    )
    ok(podman('stop', '--time', '5', 'one'))
    assert.is(podman('inspect', '--format', '{{.State.ExitCode}}', 'one').stdout, '5\n')
  })
})

test('podman run has user, limits, capabilities and volumes in effect', () => {
  withPodman((podman) => {
    const flags = '--user 1000:50 --memory 64m --pids-limit 20 --cap-drop ALL --security-opt no-new-privileges'
    const script =
      'id -u; cat /data/file; touch /data/x || echo read-only; grep -E "CapBnd|NoNewPrivs|Seccomp:" /proc/self/status'
    const data = folder()
    chmodSync(data, 0o755)
    writeFileSync(join(data, 'file'), 'one\n')
    const said = ok(
      podman('run', '--rm', ...MADE, ...flags.split(' '), '--volume', `${data}:/data:ro`, IMAGE, 'sh', '-c', script),
    )
    assert.equal(
      said.stdout.split('\n').map((line) => line.replace(/\s+/g, ' ')),
      [...['1000', 'one', 'read-only', 'CapBnd: 0000000000000000', 'NoNewPrivs: 1', 'Seccomp: 2', '']],
    )
    removeTree(data)
  })
})

test('podman run --read-only gives a container writable /run and /tmp', () => {
  withPodman((podman) => {
    const script = 'touch /tmp/a /run/b && cat /tmp/a && touch /etc/c'
    const said = podman('run', '--rm', '--read-only', ...MADE, IMAGE, 'sh', '-c', script)
    assert.is(said.status, 1)
    assert.match(said.stderr, '/etc/c: Read-only file system')
    ok(podman('run', '--rm', '--tmpfs', '/etc', ...MADE, IMAGE, 'grep', 'root', '/etc/passwd'))
  })
})

test('podman run: volumes that take nothing from the image, and no limit of processes', () => {
  withPodman((podman) => {
    const limit = unified ? '/sys/fs/cgroup/pids.max' : '/sys/fs/cgroup/pids/pids.max'
    for (const [word, found] of [
      ['copy', 'yes'],
      ['nocopy', 'no'],
    ] as const) {
      const flags = ['--volume', `${word}:/etc:${word}`, '--pids-limit=-1']
      const script = `test -e /etc/passwd && echo yes || echo no; cat ${limit}`
      assert.is(ok(podman('run', '--rm', ...flags, ...MADE, IMAGE, 'sh', '-c', script)).stdout, `${found}\nmax\n`)
    }
  })
})

test('podman run --read-only: all may write in the folders that it makes', () => {
  withPodman((podman) => {
    const flags = ['--read-only', '--user', '1000']
    ok(podman('run', '--rm', ...flags, ...MADE, IMAGE, 'sh', '-c', 'touch /run/a /var/tmp/a'))
  })
})

test('podman runs a container in the background, stops it, and starts it again', () => {
  withPodman((podman) => {
    const script = 'trap "echo bye; exit 5" TERM; echo up; while :; do sleep 0.1; done'
    ok(podman('run', '--detach', '--name', 'one', ...MADE, IMAGE, 'sh', '-c', script))
    const logged = (times: number) => () => podman('logs', 'one').stdout.split('up\n').length === times + 1
    assert.ok(waitFor(logged(1)))
    ok(podman('stop', '--time', '5', 'one'))
    assert.is(podman('logs', 'one').stdout, 'up\nbye\n')
    assert.is(podman('inspect', '--format', '{{.State.Status}} {{.State.ExitCode}}', 'one').stdout, 'exited 5\n')
    ok(podman('start', 'one'))
    assert.ok(waitFor(logged(2)))
    ok(podman('kill', 'one'))
    assert.is(podman('wait', 'one').stdout, '137\n')
    ok(podman('rm', 'one'))
    assert.is(podman('ps', '--all', '--quiet').stdout, '')
  })
})

test('podman stats and top show what a container uses and runs', () => {
  withPodman((podman) => {
    ok(podman('run', '--detach', '--name', 'one', '--memory', '64m', ...MADE, IMAGE, 'sleep', '60'))
    const stats = ok(podman('stats', '--no-stream', '--format', '{{.PIDs}} {{.MemUsage}}', 'one')).stdout
    assert.match(stats, /^1 \d+(\.\d+)?kB \/ 67\.11MB\n$/)
    assert.match(podman('top', 'one', 'args').stdout, /sleep 60/)
    ok(podman('rm', '--force', '--time', '0', 'one'))
  })
})

/** A container that stays. */
const STAYING = 'trap "exit 5" TERM; while :; do sleep 0.1; done'

test('podman exec passes streams and statuses, and tells errors apart', () => {
  withPodman((podman) => {
    ok(podman('run', '--detach', '--name', 'one', ...MADE, IMAGE, 'sh', '-c', STAYING))
    const said = podman('exec', 'one', 'sh', '-c', 'echo out; echo err >&2; exit 7')
    assert.equal([said.status, said.stdout, said.stderr], [7, 'out\n', 'err\n'])
    assert.is(podman('exec', 'one', 'no-such-program').status, 127)
    assert.is(podman('exec', 'one', '/etc').status, 126)
    const script = 'id -u; id -g; pwd; echo $A'
    const flags = ['--user', '1000:50', '--workdir', '/tmp', '--env', 'A=b']
    assert.is(podman('exec', ...flags, 'one', 'sh', '-c', script).stdout, '1000\n50\n/tmp\nb\n')
    assert.is(engine(['sh', '-c', 'echo in | "$@"', 'sh', ...podman.words('exec', '-i', 'one', 'cat')]).stdout, 'in\n')
    ok(podman('exec', '--detach', 'one', 'sh', '-c', 'echo detached > /tmp/file'))
    assert.ok(waitFor(() => podman('exec', 'one', 'cat', '/tmp/file').stdout === 'detached\n'))
    assert.is(podman('exec', '--tty', 'one', 'tty').stdout, '/dev/pts/0\r\n')
    const capabilities = podman('exec', '--privileged', 'one', 'grep', 'CapEff', '/proc/self/status').stdout
    assert.match(capabilities, /[1-9a-f]f{4}/)
    assert.match(podman('top', 'one').stdout, 'sleep')
  })
})

test('podman run and exec are interactive on a terminal', () => {
  withPodman((podman) => {
    const script = 'stty size; read line; echo "got $line"; exit 6'
    const steps: Step[] = [['expect', '24 80'], ['send', 'words\r'], ['end']]
    const command = podman.words('run', '-it', '--name', 'one', ...MADE, IMAGE, 'sh', '-c', `sleep 0.3; ${script}`)
    const ran = act({ place: 'terminal', command, steps })
    assert.equal([ran.statuses, ran.restored], [[6], true])
    assert.match(ran.output, /got words/)
    ok(podman('run', '--detach', '--name', 'two', ...MADE, IMAGE, 'sh', '-c', STAYING))
    const inside = podman.words('exec', '-it', 'two', 'sh', '-c', `sleep 0.3; ${script}`)
    const executed = act({ place: 'terminal', command: inside, steps })
    assert.equal([executed.statuses, executed.restored], [[6], true])
    assert.match(executed.output, /got words/)
  })
})

test('podman pauses, updates, measures, kills and restarts a container', () => {
  withPodman((podman) => {
    ok(podman('run', '--detach', '--name', 'one', ...MADE, IMAGE, 'sh', '-c', STAYING))
    const status = () => podman('inspect', '--format', '{{.State.Status}}', 'one').stdout.trim()
    ok(podman('pause', 'one'))
    assert.is(status(), 'paused')
    fails(podman('exec', 'one', 'true'))
    ok(podman('unpause', 'one'))
    assert.is(status(), 'running')
    ok(podman('update', '--memory', '64m', '--cpus', '0.5', 'one'), 'update')
    const limit = 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null'
    assert.is(podman('exec', 'one', 'sh', '-c', limit).stdout, '67108864\n')
    assert.match(ok(podman('stats', '--no-stream', '--format', '{{.PIDs}}', 'one')).stdout, /^[1-9]/)
    ok(podman('restart', '--time', '5', 'one'))
    ok(podman('kill', '--signal', 'TERM', 'one'))
    assert.is(podman('wait', 'one').stdout, '5\n')
  })
})

/** Podman 4.3 gives the cgroup2 of a pod a program for devices that allows none; runc and crun fail there, too. */
function needsPods(): void {
  const { stdout } = spawnSync('podman', ['--version'], { encoding: 'utf8' })
  if (unified && /version 4\.3\./.test(stdout ?? '')) skip('in pods of podman 4.3, cgroup2 allows no device')
}

test('the containers of a pod share its namespaces', () => {
  needsPods()
  withPodman((podman) => {
    const shares = ['--share', 'pid,ipc,uts,net', '--network', 'none', '--cgroup-parent', cgroupRoot]
    const id = ok(podman('pod', 'create', '--name', 'pod', ...shares), 'pod create').stdout.trim()
    ok(podman('run', '--detach', '--pod', 'pod', IMAGE, 'sh', '-c', 'echo shared > /dev/shm/file; exec sleep 100'))
    const script = 'cat /dev/shm/file; hostname; ps -o args | grep -c "^[s]leep 100$"'
    const look = () => podman('run', '--rm', '--pod', 'pod', IMAGE, 'sh', '-c', script).stdout
    assert.ok(waitFor(() => look() === 'shared\npod\n1\n'))
    ok(podman('pod', 'pause', 'pod'))
    ok(podman('pod', 'unpause', 'pod'))
    ok(podman('pod', 'rm', '--force', '--time', '0', 'pod'))
    // Podman removes the pod's cgroup in the hierarchies that have controllers.
    removeCgroups(`${cgroupRoot}/${id}`)
  })
})

test('podman kube play runs a pod of Kubernetes', () => {
  needsPods()
  withPodman((podman, place) => {
    const file = join(place, 'pod.yaml')
    const security = { runAsUser: 1000, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true }
    const main = {
      name: 'main',
      image: IMAGE,
      imagePullPolicy: 'Never',
      command: ['sh', '-c', 'id -u; touch /data/file && echo wrote; touch /x; exec sleep 100'],
      resources: { limits: { memory: '64Mi', cpu: '500m' } },
      securityContext: security,
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
    }
    const spec = { containers: [main], volumes: [{ name: 'data', emptyDir: { medium: 'Memory' } }] }
    writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'kube' }, spec }))
    const id = /^Pod:\s+(\w+)/m.exec(ok(podman('kube', 'play', '--network', 'none', file), 'kube play').stdout)![1]
    const logs = () => podman('logs', 'kube-main').stderr + podman('logs', 'kube-main').stdout
    assert.ok(
      waitFor(() => /1000/.test(logs()) && /Read-only file system/.test(logs())),
      logs(),
    )
    assert.is(podman('exec', 'kube-main', 'id', '-u').stdout, '1000\n')
    ok(podman('kube', 'play', '--down', file))
    // It takes no --cgroup-parent, and podman leaves the group in the hierarchies without controllers.
    removeCgroups(`/libpod_parent/${id}`)
    for (const parent of cgroupDirectories('/libpod_parent')) spawnSync('rmdir', [parent])
  })
})

test('podman has init, health checks, limits, devices, sysctls and names in effect', () => {
  withPodman((podman) => {
    const init = '/usr/bin/docker-init'
    if (existsSync(init)) {
      const said = ok(podman('run', '--rm', '--init', '--init-path', init, ...MADE, IMAGE, 'ps', '-o', 'pid,args'))
      assert.match(said.stdout, /1 \/run\/podman-init/)
    }
    const flags =
      '--hostname named --shm-size 1m --sysctl kernel.shmmax=123456 --tmpfs /x:size=1m --ulimit nofile=100:100 --cpus 0.5'
    const script = 'hostname; cat /proc/sys/kernel/shmmax; ulimit -n; grep -c " /x tmpfs" /proc/mounts; ls /dev/full2'
    const said = podman(
      ...['run', '--rm', ...MADE, ...flags.split(' '), '--ulimit', 'nproc=1024:1024'],
      ...['--device', '/dev/full:/dev/full2', IMAGE, 'sh', '-c', script],
    )
    assert.is(said.stdout, 'named\n123456\n100\n1\n/dev/full2\n', said.stderr)
    const health = ['--health-cmd', 'test -e /tmp/well', '--health-interval', 'disable']
    ok(podman('run', '--detach', '--name', 'one', ...health, ...MADE, IMAGE, 'sh', '-c', STAYING))
    assert.is(podman('healthcheck', 'run', 'one').status, 1)
    ok(podman('exec', 'one', 'touch', '/tmp/well'))
    ok(podman('healthcheck', 'run', 'one'))
    fails(podman('container', 'checkpoint', 'one'))
    assert.is(podman('inspect', '--format', '{{.State.Status}}', 'one').stdout, 'running\n')
  })
})

test('podman build runs its steps', () => {
  withPodman((podman, place) => {
    writeFileSync(
      join(place, 'Containerfile'),
      `FROM ${IMAGE}\nRUN echo built > /file && test "$(id -u)" = 0\nUSER 1000\nRUN test "$(id -u)" = 1000\nCMD cat /file\n`,
    )
    const how = ['--isolation', 'oci', '--network', 'none', '--cgroup-parent', `${cgroupRoot}/build`]
    ok(podman('build', ...how, '--tag', 'localhost/built:1', '--file', join(place, 'Containerfile'), place), 'build')
    assert.is(ok(podman('run', '--rm', ...MADE, 'localhost/built:1')).stdout, 'built\n')
  })
})

const RANGE = ['--uidmap', '0:100000:5000', '--uidmap', '5000:300000:100', '--gidmap', '0:200000:5100']

test('podman run --uidmap: ids are mapped, volumes and exec work', () => {
  withPodman((podman, place) => {
    const volume = join(place, 'volume')
    mkdirSync(volume, { mode: 0o700 })
    chownSync(volume, 100_000, 200_000)
    const script =
      'cat /proc/self/uid_map | tr -s " "; id -u; echo x > /data/file; echo y > /dev/null; hostname; stat -c %u /bin'
    const words = ['--rm', ...MADE, ...RANGE, '--hostname', 'mapped', '--volume', `${volume}:/data`]
    const said = ok(podman('run', ...words, IMAGE, 'sh', '-c', script))
    assert.is(said.stdout, ' 0 100000 5000\n 5000 300000 100\n0\nmapped\n0\n')
    assert.is(statSync(join(volume, 'file')).uid, 100_000)

    ok(podman('run', '--detach', '--name', 'mapped', ...MADE, ...RANGE, IMAGE, 'sleep', '60'))
    const within = ok(
      podman('exec', '--user', '7:8', 'mapped', 'sh', '-c', 'id -u; id -g; cat /proc/self/uid_map | wc -l'),
    )
    assert.is(within.stdout, '7\n8\n2\n')
    ok(podman('rm', '--force', '--time', '0', 'mapped'))
  })
})

test('containers of a pod with mapped ids share its user namespace', () => {
  withPodman((podman) => {
    const words = ['--network', 'none', '--cgroup-parent', cgroupRoot, ...RANGE]
    const id = ok(podman('pod', 'create', '--name', 'pod', ...words), 'pod create').stdout.trim()
    const script = 'readlink /proc/self/ns/user; id -u'
    const made = ['run', '--rm', '--pod', 'pod', IMAGE, 'sh', '-c', script]
    const [first, second] = [ok(podman(...made)).stdout, ok(podman(...made)).stdout]
    assert.is(first, second)
    assert.match(first, /^user:\[\d+\]\n0\n$/)
    ok(podman('pod', 'rm', '--force', '--time', '0', 'pod'))
    removeCgroups(`${cgroupRoot}/${id}`)
  })
})

run()
