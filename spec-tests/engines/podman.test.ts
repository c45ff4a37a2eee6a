import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cgroupRoot, heading, ok, type Result } from '../harness.ts'
import { removeCgroups, removeTree, waitFor } from '../host.ts'
import { engine, folder, IMAGE, imageArchive, named, needs, runtimeScript } from './engine.ts'

const { test, run } = heading('engines/podman')

/** Gives the body a podman with the image in its store. */
function withPodman(body: (podman: (...words: string[]) => Result) => void): void {
  needs('podman', 'conmon')
  const place = folder()
  const configuration = join(place, 'containers.conf')
  writeFileSync(
    configuration,
    '[containers]\ndefault_ulimits = ["nofile=512:1024", "nproc=512:1024"]\n[engine]\nevents_logger = "none"\nlock_type = "file"\n',
  )
  const store = ['--root', join(place, 'root'), '--runroot', join(place, 'run'), '--tmpdir', join(place, 'tmp')]
  const how = ['--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--runtime', runtimeScript(place, true)]
  const podman = (...words: string[]) =>
    engine(['podman', ...store, ...how, ...words], { CONTAINERS_CONF: configuration, TMPDIR: place })
  try {
    ok(podman('load', '--input', imageArchive(place)), 'load')
    body(podman)
  } finally {
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

run()
