/**
 * runtime-spec, config-linux.md: "Rootfs Mount Propagation"; mount_namespaces(7). What the host has shared is made in a mount namespace of
 * the test's own, whose mounts are all shared as systemd has them.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Bundle, bundle, type Config, execute, heading, inside, ok, words } from '../harness.ts'
import { parseMountinfo } from '../host.ts'

const { test, only, run } = heading('config-linux/propagation')

/** Runs a script of a host whose mounts are shared. $RUN runs the container of the bundle in the foreground. */
function onSharedHost(made: Bundle, script: string, flags: string[] = []): string {
  made.write()
  const command = words(['run', '--bundle', made.directory, ...flags, made.name])
  const setUp = 'mount --make-rshared / && cd "$BUNDLE" && set -e; run() { "$@"; }; '
  const full = `${setUp}${script.replaceAll('$RUN', '"$@"')}`
  return ok(
    execute(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', full, 'sh', ...command], {
      env: { BUNDLE: made.directory },
      timeout: 20_000,
    }),
  ).stdout
}

const withAdmin = (config: Config) => {
  for (const set of ['bounding', 'effective', 'permitted']) config.process.capabilities![set]!.push('CAP_SYS_ADMIN')
}

const tagsOf = (text: string, target: string) =>
  parseMountinfo(text)
    .filter((line) => line.target === target)
    .at(-1)!
    .tags.join(' ')

for (const [value, tags] of [
  [undefined, /^$/],
  ['private', /^$/],
  ['rprivate', /^$/],
  ['slave', /^master:\d+$/],
  ['rslave', /^master:\d+$/],
  ['shared', /^shared:\d+$/],
  ['rshared', /^shared:\d+$/],
  ['unbindable', /^unbindable$/],
  ['runbindable', /^unbindable$/],
] as const)
  for (const flags of [[], ['--no-pivot']])
    test(`rootfsPropagation ${value}, the host being shared${flags.map((flag) => `, ${flag}`)}: that is the root's`, () => {
      const made = bundle((config) => {
        config.process.args = ['cat', '/proc/self/mountinfo']
        if (value !== undefined) config.linux.rootfsPropagation = value
      })
      const before = 'wc -l < /proc/self/mountinfo > extra; $RUN; wc -l < /proc/self/mountinfo | cmp - extra'
      assert.match(tagsOf(onSharedHost(made, before, flags), '/'), tags)
    })

/** A container that mounts a tmpfs in the volume /data, and waits for a file there before it ends. */
function withVolume(option: string, rootfsPropagation: string | undefined): Bundle {
  const made = bundle((config) => {
    withAdmin(config)
    if (rootfsPropagation !== undefined) config.linux.rootfsPropagation = rootfsPropagation
    config.process.args = ['sh', '-c', 'mkdir /data/inner && mount -t tmpfs inner /data/inner && echo mounted']
  })
  const extra = join(made.directory, 'extra')
  mkdirSync(extra)
  made.config.mounts.push({ destination: '/data', type: 'bind', source: extra, options: ['rbind', option] })
  return made
}

/** Mounts that the host has at the end, one below another. */
const volume = 'mount -t tmpfs volume extra; $RUN; grep -o "extra/inner" /proc/self/mountinfo || echo none'

test('what a container mounts in a volume that is rshared reaches the host, if the root is shared', () => {
  assert.is(onSharedHost(withVolume('rshared', 'rshared'), volume), 'mounted\nextra/inner\n')
})

for (const [option, root] of [
  ['rprivate', undefined],
  ['rslave', 'rslave'],
  ['rprivate', 'rshared'],
  ['rslave', 'rshared'],
] as const)
  test(`what a container mounts in a volume that is ${option} does not reach the host, rootfsPropagation ${root}`, () => {
    assert.is(onSharedHost(withVolume(option, root), volume), 'mounted\nnone\n')
  })

/** The host mounts something in the volume while the container runs. */
function seen(option: string, rootfsPropagation: string | undefined): string {
  const made = withVolume(option, rootfsPropagation)
  const wait = 'touch /data/ready; n=0; while [ ! -e /data/go ] && [ $n -lt 200 ]; do usleep 20000; n=$((n+1)); done'
  made.config.process.args = ['sh', '-c', `${wait}; grep -o " /data/late " /proc/self/mountinfo || echo nothing`]
  const host =
    'mount -t tmpfs volume extra; mkdir extra/late; $RUN & n=0; while [ ! -e extra/ready ] && [ $n -lt 200 ]; do sleep 0.02; n=$((n+1)); done; mount -t tmpfs late extra/late; touch extra/go; wait'
  return onSharedHost(made, host)
}

test('what the host mounts in a volume that is rslave reaches the container', () => {
  assert.is(seen('rslave', 'rslave'), ' /data/late \n')
  assert.is(seen('rslave', undefined), ' /data/late \n')
})

test('what the host mounts in a volume that is rprivate does not reach the container', () => {
  assert.is(seen('rprivate', undefined), 'nothing\n')
})

test('the root of a container may be a mount of its own on the host, shared with others', () => {
  const made = bundle((config) => {
    config.linux.rootfsPropagation = 'rshared'
    config.process.args = ['cat', '/proc/self/mountinfo']
  })
  const text = onSharedHost(made, 'mount --bind rootfs rootfs && $RUN && grep -c /rootfs /proc/self/mountinfo')
  assert.match(tagsOf(text, '/'), /^shared:\d+$/)
  assert.match(text, /\n1\n$/)
})

test('without pivot_root the procfs of the host is not below that of the container', () => {
  const made = bundle((config) => {
    config.linux.rootfsPropagation = 'shared'
    config.process.args = ['sh', '-c', 'grep -c " /proc " /proc/self/mountinfo']
  })
  const text = onSharedHost(made, '$RUN; grep -c " /proc " /proc/self/mountinfo', ['--no-pivot'])
  assert.is(text, '1\n1\n')
})

only('runt', 'rootfsPropagation of another value is refused', () => {
  const made = bundle((config) => {
    config.linux.rootfsPropagation = 'banana'
  })
  made.write()
  const result = execute(words(['run', '--bundle', made.directory, made.name]))
  assert.is(result.status, 1)
  assert.match(result.stderr, /linux\.rootfsPropagation: .*banana/)
})

test('a root that is read-only is so, whatever its propagation', () => {
  for (const value of ['slave', 'private', 'shared', 'unbindable'])
    assert.is(
      inside('touch /x 2>/dev/null || echo refused', (config) => {
        config.linux.rootfsPropagation = value
      }),
      'refused\n',
    )
})

run()
