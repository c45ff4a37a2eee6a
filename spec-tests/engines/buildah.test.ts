import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { cgroupRoot, heading, ok, type Result } from '../harness.ts'
import { removeTree, waitFor } from '../host.ts'
import { act } from '../terminal.ts'
import { engine, folder, IMAGE, imageArchive, named, needs, runtimeScript } from './engine.ts'

const { test, run } = heading('engines/buildah')

/** Runs buildah; as words too, for what needs a terminal. */
interface Buildah {
  (...words: string[]): Result
  words(...words: string[]): string[]
}

/** Gives the body a buildah with the image in its store, the flags that choose the runtime, and a folder. */
function withBuildah(body: (buildah: Buildah, how: string[], place: string) => void): void {
  needs('buildah')
  const place = folder()
  const configuration = join(place, 'containers.conf')
  writeFileSync(configuration, '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
  const store = ['--root', join(place, 'root'), '--runroot', join(place, 'run'), '--storage-driver', 'vfs']
  const settings = [`CONTAINERS_CONF=${configuration}`, `TMPDIR=${place}`]
  const all = (...words: string[]) => ['env', ...settings, 'buildah', ...store, ...words]
  const buildah: Buildah = Object.assign((...words: string[]) => engine(all(...words)), { words: all })
  try {
    ok(buildah('pull', `docker-archive:${imageArchive(place)}`), 'pull')
    body(buildah, ['--isolation', 'oci', '--runtime', runtimeScript(place, true), '--network', 'none'], place)
  } finally {
    buildah('rm', '--all')
    assert.ok(
      waitFor(() => !named(place)),
      'buildah does not end',
    )
    removeTree(place)
  }
}

test('buildah bud runs the steps of a build', () => {
  withBuildah((buildah, how, place) => {
    const context = join(place, 'context')
    mkdirSync(context)
    const steps =
      'RUN echo built > /file && test "$(id -u)" = 0\nUSER 1000\nWORKDIR /tmp\nRUN test "$(id -u):$(pwd)" = 1000:/tmp'
    writeFileSync(join(context, 'Dockerfile'), `FROM ${IMAGE}\n${steps}\n`)
    const flags = ['--pull-never', '--cgroup-parent', `${cgroupRoot}/build`, '--memory', '64m']
    ok(buildah('bud', ...how, ...flags, '--tag', 'localhost/built:1', context), 'bud')
    const name = ok(buildah('from', '--pull-never', 'localhost/built:1')).stdout.trim()
    assert.is(ok(buildah('run', ...how, name, 'cat', '/file')).stdout, 'built\n')
    writeFileSync(join(context, 'Dockerfile'), `FROM ${IMAGE}\nRUN no-such-program\n`)
    const failed = buildah('bud', ...how, ...flags, context)
    assert.is.not(failed.status, 0)
    assert.match(failed.stderr, 'no-such-program')
  })
})

test('buildah run passes streams, statuses and a terminal on', () => {
  withBuildah((buildah, how, place) => {
    const name = ok(buildah('from', '--pull-never', IMAGE)).stdout.trim()
    const said = buildah('run', ...how, name, 'sh', '-c', 'echo out; echo err >&2; exit 4')
    assert.equal([said.status, said.stdout], [4, 'out\n'])
    assert.match(said.stderr, /^err\n/)
    const piped = ['sh', '-c', 'echo in | "$@"', 'sh', ...buildah.words('run', ...how, name, 'cat')]
    assert.is(ok(engine(piped)).stdout, 'in\n')
    const script = 'id -u; ls /data/config; touch /data/x'
    const data = join(place, 'data')
    mkdirSync(data)
    chmodSync(place, 0o755)
    writeFileSync(join(data, 'config'), '')
    const flags = ['--user', '1000', '--volume', `${data}:/data:ro`]
    const restricted = buildah('run', ...how, ...flags, name, 'sh', '-c', script)
    assert.is(restricted.stdout, '1000\n/data/config\n')
    assert.match(restricted.stderr, /Read-only file system/)
    assert.match(buildah('run', ...how, name, 'no-such-program').stderr, /no-such-program.*executable file not found/)
    const { output, statuses, restored } = act({
      place: 'terminal',
      command: buildah.words('run', '--terminal', ...how, name, 'sh', '-c', 'tty; read line; echo "got $line"'),
      steps: [['expect', '/dev/pts/0'], ['send', 'words\r'], ['end']],
    })
    assert.equal([statuses, restored], [[0], true])
    assert.match(output, /got words/)
  })
})

run()
