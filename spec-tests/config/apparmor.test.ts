/** runtime-spec, config.md: `process.apparmorProfile`. For hosts with AppArmor; see "Guests" in docs/testing.md. */
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  bundle,
  type Config,
  container,
  run as execute,
  fails,
  heading,
  inside,
  leavesNothing,
  ok,
  oneLine,
  runtime,
  STAYS,
  skip,
  started,
} from '../harness.ts'

const { test: plain, run } = heading('config/apparmor')

const NAME = `runt-test-${process.pid}`
const PROFILE = `
profile ${NAME} flags=(attach_disconnected,mediate_deleted) {
  file,
  signal,
  capability,
  network,
  mount,
  ptrace,
  unix,
  deny /dev/shm/forbidden w,
}
`

/** Runs a test with the profile loaded. */
const test = (name: string, body: () => void): void =>
  plain(name, () => {
    if (!existsSync('/sys/kernel/security/apparmor/profiles')) skip('this host has no AppArmor')
    const load = spawnSync('apparmor_parser', ['-r'], { input: PROFILE, encoding: 'utf8' })
    if (load.status !== 0) skip(`no profile can be loaded: ${load.error?.message ?? load.stderr.trim()}`)
    try {
      body()
    } finally {
      spawnSync('apparmor_parser', ['-R'], { input: PROFILE })
    }
  })

const SHOW = 'cat /proc/self/attr/current'
const confined = (config: Config): void => {
  config.process.apparmorProfile = NAME
}

test('the program is confined, as root and as another user, with and without noNewPrivileges', () => {
  for (const uid of [0, 1000])
    for (const noNewPrivileges of [true, false]) {
      const text = inside(`${SHOW}; touch /dev/shm/fine; touch /dev/shm/forbidden 2>&1; true`, (config) => {
        confined(config)
        config.process.user = { uid, gid: uid }
        config.process.noNewPrivileges = noNewPrivileges
        config.mounts.find(({ destination }) => destination === '/dev/shm')!.options = ['mode=1777']
      })
      assert.match(text, new RegExp(`^${NAME} \\(enforce\\)`))
      assert.match(text, /forbidden.*(Permission|denied)/)
      assert.not.match(text, /fine/)
    }
})

test('without a profile, and with the profile unconfined, the program is unconfined', () => {
  assert.match(inside(SHOW), /^unconfined/)
  const text = inside(SHOW, (config) => {
    config.process.apparmorProfile = 'unconfined'
  })
  assert.match(text, /^unconfined/)
})

test('a container that was created and is then started is confined', () => {
  const c = started((config) => {
    confined(config)
    config.process.args = ['sh', '-c', `${SHOW}; ${STAYS}`]
  })
  c.says(new RegExp(`^${NAME} \\(enforce\\)`))
})

test('exec has the profile of the configuration, or its own', () => {
  const c = started((config) => {
    confined(config)
    config.process.args = ['sh', '-c', STAYS]
  })
  assert.match(ok(execute(['exec', c.id, 'sh', '-c', SHOW])).stdout, new RegExp(`^${NAME} \\(enforce\\)`))
  const other = started((config) => {
    config.process.args = ['sh', '-c', STAYS]
  })
  assert.match(ok(execute(['exec', other.id, 'sh', '-c', SHOW])).stdout, /^unconfined/)
  const words = ['exec', '--apparmor', NAME, other.id, 'sh', '-c', SHOW]
  assert.match(ok(execute(words)).stdout, new RegExp(`^${NAME} \\(enforce\\)`))
})

test('exec --process: the profile is that of the container where the file names none', () => {
  const c = started((config) => {
    confined(config)
    config.process.args = ['sh', '-c', STAYS]
  })
  const path = join(c.bundle.directory, 'extra')
  writeFileSync(
    path,
    JSON.stringify({ user: { uid: 0, gid: 0 }, args: ['sh', '-c', SHOW], env: ['PATH=/bin'], cwd: '/' }),
  )
  assert.match(ok(execute(['exec', '--process', path, c.id])).stdout, new RegExp(`^${NAME} \\(enforce\\)`))
})

test('a startContainer hook is confined as the program', () => {
  const made = bundle((config) => {
    confined(config)
    config.process.args = ['cat', '/dev/shm/label']
    config.hooks = { startContainer: [{ path: '/bin/sh', args: ['sh', '-c', `/bin/${SHOW} > /dev/shm/label`] }] }
  })
  assert.match(ok(container(made).run()).stdout, new RegExp(`^${NAME} \\(enforce\\)`))
})

test('an image without /proc is confined all the same', () => {
  // The label cannot be seen from inside, its effect can.
  const text = inside('touch /dev/shm/forbidden 2>&1; true', (config) => {
    confined(config)
    config.mounts = config.mounts.filter(({ destination }) => destination !== '/proc')
    config.linux.maskedPaths = []
    config.linux.readonlyPaths = []
  })
  assert.match(text, /forbidden.*(Permission|denied)/)
})

test('a container that has covered its /proc gets no process of exec that is not confined', () => {
  const c = started((config) => {
    confined(config)
    config.root.readonly = false
    config.process.capabilities = {
      bounding: ['CAP_SYS_ADMIN'],
      effective: ['CAP_SYS_ADMIN'],
      permitted: ['CAP_SYS_ADMIN'],
    }
    const feign =
      'mkdir -p /tmp/p/thread-self/attr/apparmor /tmp/p/self/attr/apparmor; ' +
      'for f in thread-self self; do : > /tmp/p/$f/attr/exec; : > /tmp/p/$f/attr/apparmor/exec; done'
    config.process.args = [
      'sh',
      '-c',
      `${feign}; mount -o bind /tmp/p /proc && echo covered; while :; do sleep 1; done`,
    ]
  })
  c.says(/covered/)
  const result = execute(['exec', c.id, 'sh', '-c', 'touch /dev/shm/forbidden 2>&1; true'])
  assert.not.equal([result.status, result.stdout], [0, ''], 'a process ran without the profile')
  if (runtime === 'runt') assert.match(result.stdout, /forbidden.*(Permission|denied)/)
})

test('a profile that is not loaded is refused in one line, and nothing is left', () => {
  const c = container((config) => {
    config.process.apparmorProfile = 'runt-no-such-profile'
  })
  oneLine(fails(c.run(), /apparmor/i))
  leavesNothing()
})

run()
