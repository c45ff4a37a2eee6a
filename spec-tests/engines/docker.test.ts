import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cgroupRoot, heading, ok, type Result } from '../harness.ts'
import { waitFor } from '../host.ts'
import { act, type Step } from '../terminal.ts'
import { engine, folder, IMAGE, imageArchive, needs, runtimeScript, startDaemons } from './engine.ts'

const { test, run } = heading('engines/docker')

/** Debian's; another client may lie before it in PATH. */
const CLIENT = '/usr/bin/docker'

/** Runs the client; as words too, for what needs a terminal. */
interface Docker {
  (...words: string[]): Result
  words(...words: string[]): string[]
}

/** Gives the body the client of a dockerd that has the image, the flags of `docker run`, and a folder. */
function withDocker(body: (docker: Docker, flags: string[], place: string) => void): void {
  needs('dockerd', 'containerd', CLIENT)
  const place = folder()
  mkdirSync(join(place, 'containerd'))
  const containerd = join(place, 'containerd/socket')
  const socket = `unix://${place}/socket`
  const containerdConfiguration = join(place, 'config.toml')
  const configuration = join(place, 'daemon.json')
  writeFileSync(
    containerdConfiguration,
    `version = 2\nroot = "${place}/containerd/root"\nstate = "${place}/containerd/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "${containerd}"\n`,
  )
  const runtimes = { tested: { path: runtimeScript(place, false) } }
  writeFileSync(configuration, JSON.stringify({ runtimes, 'default-runtime': 'tested' }))
  const network = ['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--bridge=none']
  const places = [
    '--data-root',
    join(place, 'data'),
    '--exec-root',
    join(place, 'exec'),
    '--pidfile',
    join(place, 'pid'),
  ]
  const how = ['--config-file', configuration, '--containerd', containerd, '--host', socket]
  const daemon = startDaemons(place, [
    {
      words: ['containerd', '--config', containerdConfiguration],
      ready: ['ctr', '--address', containerd, 'version'],
    },
    { words: ['dockerd', ...how, ...places, ...network], ready: [CLIENT, '--host', socket, 'version'] },
  ])
  const words = (...rest: string[]) => [CLIENT, '--host', socket, ...rest]
  const docker: Docker = Object.assign((...rest: string[]) => daemon.run(words(...rest)), { words })
  try {
    ok(docker('load', '--input', imageArchive(place)), 'load')
    body(docker, ['--runtime', 'tested', '--network', 'none', '--cgroup-parent', cgroupRoot], place)
  } finally {
    docker('rm', '--force', 'one', 'two')
    daemon.stop()
  }
}

test('docker run shows output and exit status', () => {
  withDocker((docker, flags) => {
    const said = docker('run', '--rm', ...flags, IMAGE, 'sh', '-c', 'echo out; echo err >&2; exit 3')
    assert.equal([said.status, said.stdout, said.stderr], [3, 'out\n', 'err\n'])
    assert.is(docker('run', '--rm', ...flags, IMAGE, 'no-such-program').status, 127)
    // Docker's advice is for a message of this kind only.
    const mistaken = docker('run', '--rm', '--volume', '/proc/version:/etc', ...flags, IMAGE, 'true')
    assert.match(mistaken.stderr, /not a directory.*Are you trying to mount a directory onto a file/i)
    ok(
      docker(
        'run',
        '--rm',
        '--user',
        '1000',
        '--read-only',
        '--tmpfs',
        '/run',
        '--memory',
        '64m',
        ...flags,
        IMAGE,
        'true',
      ),
    )
  })
})

test('docker run has a terminal and hooks at the same time', () => {
  withDocker((docker, flags) => {
    // Without a network dockerd asks for a prestart hook.
    ok(
      docker(
        'run',
        '--detach',
        '--tty',
        '--name',
        'one',
        ...flags,
        IMAGE,
        'sh',
        '-c',
        'test -t 0 && test -t 1 && echo terminal',
      ),
    )
    assert.is(docker('wait', 'one').stdout, '0\n')
    assert.is(docker('logs', 'one').stdout, 'terminal\r\n')
    ok(docker('rm', 'one'))
  })
})

test('docker runs a container in the background, stops it, and starts it again', () => {
  withDocker((docker, flags) => {
    const script = 'trap "echo bye; exit 5" TERM; echo up; while :; do sleep 0.1; done'
    ok(docker('run', '--detach', '--name', 'one', ...flags, IMAGE, 'sh', '-c', script))
    assert.ok(waitFor(() => docker('logs', 'one').stdout === 'up\n'))
    ok(docker('stop', '--time', '5', 'one'))
    assert.is(docker('logs', 'one').stdout, 'up\nbye\n')
    assert.is(docker('inspect', '--format', '{{.State.Status}} {{.State.ExitCode}}', 'one').stdout, 'exited 5\n')
    ok(docker('start', 'one'))
    ok(docker('kill', 'one'))
    ok(docker('rm', 'one'))
    assert.is(docker('ps', '--all', '--quiet').stdout, '')
  })
})

test('docker stats and top show what a container uses and runs', () => {
  withDocker((docker, flags) => {
    ok(docker('run', '--detach', '--name', 'one', '--memory', '64m', ...flags, IMAGE, 'sleep', '60'))
    const stats = ok(docker('stats', '--no-stream', '--format', '{{.PIDs}} {{.MemUsage}}', 'one')).stdout
    assert.match(stats, /^1 \d+(\.\d+)?[KM]iB \/ 64MiB\n$/)
    assert.match(docker('top', 'one').stdout, /sleep 60/)
    ok(docker('rm', '--force', 'one'))
  })
})

/** A container that stays. */
const STAYING = 'trap "exit 5" TERM; while :; do sleep 0.1; done'

test('docker exec passes streams, statuses and a terminal on, and tells errors apart', () => {
  withDocker((docker, flags) => {
    ok(docker('run', '--detach', '--name', 'one', ...flags, IMAGE, 'sh', '-c', STAYING))
    const said = docker('exec', 'one', 'sh', '-c', 'echo out; echo err >&2; exit 7')
    assert.equal([said.status, said.stdout, said.stderr], [7, 'out\n', 'err\n'])
    // The status is 126 with runc, too; newer clients make 127 of it.
    const missing = docker('exec', 'one', 'no-such-program')
    assert.ok(missing.status === 126 || missing.status === 127)
    assert.match(missing.stderr + missing.stdout, 'executable file not found')
    assert.is(docker('exec', 'one', '/etc').status, 126)
    const changes = ['--user', '1000:50', '--workdir', '/tmp', '--env', 'A=b']
    assert.is(docker('exec', ...changes, 'one', 'sh', '-c', 'id -u; id -g; pwd; echo $A').stdout, '1000\n50\n/tmp\nb\n')
    assert.is(engine(['sh', '-c', 'echo in | "$@"', 'sh', ...docker.words('exec', '-i', 'one', 'cat')]).stdout, 'in\n')
    ok(docker('exec', '--detach', 'one', 'sh', '-c', 'echo detached > /tmp/file'))
    assert.ok(waitFor(() => docker('exec', 'one', 'cat', '/tmp/file').stdout === 'detached\n'))
    const command = docker.words('exec', '-it', 'one', 'sh', '-c', 'tty; read line; echo "got $line"; exit 6')
    const steps: Step[] = [['expect', '/dev/pts/0'], ['send', 'words\r'], ['end']]
    const { statuses, output, restored } = act({ place: 'terminal', command, steps })
    assert.equal([statuses, restored], [[6], true])
    assert.match(output, /got words/)
  })
})

test('docker run is interactive on a terminal, and has an init and a health check', () => {
  withDocker((docker, flags) => {
    const command = docker.words(
      'run',
      '-it',
      '--rm',
      '--init',
      ...flags,
      IMAGE,
      'sh',
      '-c',
      'tty; read line; ps; exit 6',
    )
    const steps: Step[] = [['expect', '/dev/pts/0'], ['send', 'words\r'], ['end']]
    const { statuses, output, restored } = act({ place: 'terminal', command, steps })
    assert.equal([statuses, restored], [[6], true])
    assert.match(output, /1 root .*docker-init/)
    const health = ['--health-cmd', 'test -e /tmp/well', '--health-interval', '200ms', '--health-retries', '1']
    ok(docker('run', '--detach', '--name', 'one', ...health, ...flags, IMAGE, 'sh', '-c', STAYING))
    const is = (wanted: string) => () =>
      docker('inspect', '--format', '{{.State.Health.Status}}', 'one').stdout === wanted
    assert.ok(waitFor(is('unhealthy\n')))
    ok(docker('exec', 'one', 'touch', '/tmp/well'))
    assert.ok(waitFor(is('healthy\n')))
  })
})

test('docker pauses, updates, measures, restarts and kills a container', () => {
  withDocker((docker, flags) => {
    ok(docker('run', '--detach', '--name', 'one', ...flags, IMAGE, 'sh', '-c', STAYING))
    const status = () => docker('inspect', '--format', '{{.State.Status}}', 'one').stdout.trim()
    ok(docker('pause', 'one'))
    assert.is(status(), 'paused')
    ok(docker('unpause', 'one'))
    ok(docker('update', '--memory', '64m', '--memory-swap', '64m', '--cpus', '0.5', 'one'), 'update')
    const limit = 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null'
    assert.is(docker('exec', 'one', 'sh', '-c', limit).stdout, '67108864\n')
    assert.match(ok(docker('stats', '--no-stream', '--format', '{{.PIDs}}', 'one')).stdout, /^[1-9]/)
    assert.match(ok(docker('top', 'one')).stdout, 'sleep')
    ok(docker('restart', '--time', '5', 'one'))
    ok(docker('kill', '--signal', 'TERM', 'one'))
    assert.is(docker('wait', 'one').stdout, '5\n')
  })
})

test('docker run has rights, limits, volumes and shared namespaces in effect', () => {
  withDocker((docker, flags, place) => {
    const restricted =
      '--user 1000:50 --cap-drop ALL --security-opt no-new-privileges --read-only --pids-limit 20 --cpus 0.5'
    const named =
      '--hostname named --sysctl kernel.shmmax=123456 --tmpfs /x:size=1m --ulimit nofile=100:100 --shm-size 1m'
    chmodSync(place, 0o755)
    const mount = ['--volume', `${place}:/data:ro`, '--device', '/dev/full:/dev/full2']
    const script =
      'id -u; hostname; cat /proc/sys/kernel/shmmax; ulimit -n; grep -c " /x tmpfs" /proc/mounts; ls /data/config.toml; ls /dev/full2; grep -E "CapBnd|NoNewPrivs|Seccomp:" /proc/self/status; touch /data/x /y'
    const said = docker(
      'run',
      '--rm',
      ...restricted.split(' '),
      ...named.split(' '),
      ...mount,
      ...flags,
      IMAGE,
      'sh',
      '-c',
      script,
    )
    const lines = said.stdout.split('\n').map((line) => line.replace(/\s+/g, ' '))
    const status = ['CapBnd: 0000000000000000', 'NoNewPrivs: 1', 'Seccomp: 2']
    assert.equal(lines, ['1000', 'named', '123456', '100', '1', '/data/config.toml', '/dev/full2', ...status, ''])
    assert.is(said.stderr.match(/Read-only file system/g)?.length, 2)
    ok(docker('run', '--detach', '--name', 'one', '--ipc', 'shareable', ...flags, IMAGE, 'sleep', '100'))
    const shares = ['--pid', 'container:one', '--ipc', 'container:one', '--network', 'container:one']
    const others = flags.filter((flag) => flag !== '--network' && flag !== 'none')
    const other = docker('run', '--rm', ...shares, ...others, IMAGE, 'ps', '-o', 'args')
    assert.match(ok(other).stdout, /sleep 100/)
  })
})

test('docker build runs its steps', () => {
  withDocker((docker, flags, place) => {
    const context = join(place, 'context')
    mkdirSync(context)
    writeFileSync(
      join(context, 'Dockerfile'),
      `FROM ${IMAGE}\nRUN echo built > /file && test "$(id -u)" = 0\nUSER 1000\nRUN test "$(id -u)" = 1000\nCMD cat /file\n`,
    )
    ok(docker('build', '--network', 'none', '--cgroup-parent', cgroupRoot, '--tag', 'built', context), 'build')
    assert.is(ok(docker('run', '--rm', ...flags, 'built')).stdout, 'built\n')
  })
})

run()
