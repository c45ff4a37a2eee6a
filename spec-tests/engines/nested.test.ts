/** Runtimes and an engine inside of a container of the runtime's, as root, with cgroups of their own below the container's. */
import { existsSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import * as assert from 'uvu/assert'
import { type Bundle, bundle, command, container, heading, ok, type Result, skip } from '../harness.ts'
import { removeTree } from '../host.ts'
import { folder, IMAGE, imageArchive, needs } from './engine.ts'

const { test, run } = heading('engines/nested')

/** What runc and podman need, and what they give to containers by default. */
const CAPABILITIES =
  'AUDIT_WRITE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL MKNOD NET_ADMIN NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_CHROOT SYS_PTRACE'
    .split(' ')
    .map((name) => `CAP_${name}`)

/** On cgroup2 nothing may be in the group whose controllers are handed on. */
const ASIDE =
  'cd /sys/fs/cgroup; if [ -e cgroup.subtree_control ]; then mkdir init && echo 0 >init/cgroup.procs; fi; cd /tmp'

/** The runtime under test as it is called inside. */
const own = (): string[] => {
  if (command.length > 1) skip('the runtime is not one file')
  return [command[0]!.includes('/') ? `/runtime/${basename(command[0]!)}` : command[0]!]
}

/** Runs a script in a container with the host's programs and everything that a runtime needs. `inner`: what is at /inner. */
function outside(script: string, inner: string): Result {
  const made = bundle((config) => {
    config.root.readonly = false
    config.process.noNewPrivileges = false
    config.process.env = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'TMPDIR=/tmp', 'HOME=/tmp']
    config.process.capabilities = { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES }
    config.process.args = ['sh', '-c', `${ASIDE}; ${script}`]
    config.linux.maskedPaths = []
    config.linux.readonlyPaths = []
    config.linux.resources = { devices: [{ allow: true, access: 'rwm' }] }
    config.linux.namespaces.push({ type: 'cgroup' })
    config.mounts = config.mounts.filter(({ type }) => type !== 'cgroup')
    config.mounts.push({
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'nodev'],
    })
    for (const path of ['/usr', '/lib', '/lib64', '/etc'])
      if (existsSync(path))
        config.mounts.push({ destination: path, type: 'bind', source: path, options: ['rbind', 'ro'] })
    for (const path of ['/run', '/tmp', '/var'])
      config.mounts.push({ destination: path, type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] })
    config.mounts.push({ destination: '/inner', type: 'bind', source: inner, options: ['rbind'] })
    const [first] = command
    if (first!.includes('/'))
      config.mounts.push({ destination: '/runtime', type: 'bind', source: dirname(first!), options: ['rbind', 'ro'] })
  })
  const result = container(made).run([], { timeout: 60_000 })
  // Whatever groups they have left go with the container.
  assert.not.match(result.stderr, /delete --force/)
  return result
}

function inner(): Bundle {
  return bundle((config) => {
    config.linux.cgroupsPath = '/nested'
    config.linux.resources = { pids: { limit: 30 } }
    config.process.args = ['sh', '-c', 'echo inner; id -u']
  })
}

test('the runtime runs a container in its own container', () => {
  const [program] = own()
  assert.is(ok(outside(`${program} --root /run/r run --bundle /inner a`, inner().directory)).stdout, 'inner\n0\n')
})

test('runc runs a container in a container of the runtime', () => {
  needs('runc')
  assert.is(ok(outside('runc --root /run/r run --bundle /inner a', inner().directory)).stdout, 'inner\n0\n')
})

test('podman runs containers in a container of the runtime, with runc and with the runtime itself', () => {
  needs('podman', 'conmon', 'runc')
  const [program] = own()
  const place = folder()
  try {
    const archive = basename(imageArchive(place))
    const podman =
      'podman --root /var/s --runroot /run/s --storage-driver vfs --cgroup-manager cgroupfs --events-backend none'
    const lines = ['runc', program].map(
      (name) => `${podman} --runtime ${name} run --rm --network none --pids-limit 40 ${IMAGE} echo with ${name}`,
    )
    const script = `${podman} load -q -i /inner/${archive} >/dev/null && ${lines.join(' && ')}`
    assert.is(ok(outside(script, place)).stdout, `with runc\nwith ${program}\n`)
  } finally {
    removeTree(place)
  }
})

run()
