import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cgroupRoot, heading, ok, type Result } from '../harness.ts'
import { waitFor } from '../host.ts'
import { folder, IMAGE, imageArchive, needs, runtimeScript, startDaemons } from './engine.ts'

const { test, run } = heading('engines/docker')

/** Debian's; another client may lie before it in PATH. */
const CLIENT = '/usr/bin/docker'

/** Gives the body the client of a dockerd that has the image, and the flags of `docker run`. */
function withDocker(body: (docker: (...words: string[]) => Result, flags: string[]) => void): void {
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
  writeFileSync(configuration, '{}')
  const network = ['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--bridge=none']
  const places = [
    '--data-root',
    join(place, 'data'),
    '--exec-root',
    join(place, 'exec'),
    '--pidfile',
    join(place, 'pid'),
  ]
  const runtime = `tested=${runtimeScript(place, false)}`
  const how = ['--config-file', configuration, '--containerd', containerd, '--add-runtime', runtime, '--host', socket]
  const daemon = startDaemons(place, [
    {
      words: ['containerd', '--config', containerdConfiguration],
      ready: ['ctr', '--address', containerd, 'version'],
    },
    { words: ['dockerd', ...how, ...places, ...network], ready: [CLIENT, '--host', socket, 'version'] },
  ])
  const docker = (...words: string[]) => daemon.run([CLIENT, '--host', socket, ...words])
  try {
    ok(docker('load', '--input', imageArchive(place)), 'load')
    body(docker, ['--runtime', 'tested', '--network', 'none', '--cgroup-parent', cgroupRoot])
  } finally {
    docker('rm', '--force', 'one')
    daemon.stop()
  }
}

test('docker run shows output and exit status', () => {
  withDocker((docker, flags) => {
    const said = docker('run', '--rm', ...flags, IMAGE, 'sh', '-c', 'echo out; echo err >&2; exit 3')
    assert.equal([said.status, said.stdout, said.stderr], [3, 'out\n', 'err\n'])
    assert.is(docker('run', '--rm', ...flags, IMAGE, 'no-such-program').status, 127)
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

run()
