/** procfs and what it says: a runtime that writes to a false one does nothing, or something else. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bundle, container, environment, ok, run as runtime, STAYS, words } from '../harness.ts'
import { isAlive, waitFor } from '../host.ts'
import { act } from '../terminal.ts'
import { arena, breach, CANARY, exchanged, intact, runIn, victim } from './arena.ts'

const { attack, run } = arena('hardening/procfs')

const PROC_SUPER_MAGIC = '9fa0'

attack(
  'a /proc that is a link is no place for a procfs (CVE-2019-19921, CVE-2023-27561)',
  { weakened: ['procfs on real folders'] },
  () => {
    const made = victim(({ rootfs }) => {
      mkdirSync(join(rootfs, 'elsewhere'))
      symlinkSync('/elsewhere', join(rootfs, 'proc'))
    })
    if (runIn(made, 'true').status === 0) breach('procfs was mounted somewhere else')
  },
)

attack('nothing but a procfs covers /proc (CVE-2019-16884, CVE-2023-28642)', { weakened: ['procfs uncovered'] }, () => {
  const volume = victim(({ config, extra }) => {
    mkdirSync(join(extra, 'self/attr'), { recursive: true })
    config.mounts.push({ destination: '/proc', type: 'bind', source: extra, options: ['rbind'] })
  })
  const link = victim(({ config, extra, rootfs }) => {
    symlinkSync('/proc', join(rootfs, 'innocent'))
    config.mounts.push({ destination: '/innocent', type: 'bind', source: extra, options: ['rbind'] })
  })
  for (const made of [volume, link]) {
    const { status, stdout } = runIn(made, 'stat -f -c %t /proc')
    if (status === 0 && stdout.trim() !== PROC_SUPER_MAGIC) breach('/proc is a folder of the caller')
    if (status === 0) breach('a mount over /proc was taken')
  }
})

attack(
  'a procfs is mounted on /proc while that is exchanged for a link (CVE-2019-19921)',
  { weakened: ['procfs on real folders'], rounds: 8 },
  (round) => {
    const made = victim(({ config, rootfs }) => {
      for (const name of ['proc', 'elsewhere']) mkdirSync(join(rootfs, name), { recursive: true })
      symlinkSync('/elsewhere', join(rootfs, 'link'))
      config.mounts = config.mounts.filter(({ destination }) => destination === '/proc')
      Object.assign(config.linux, { maskedPaths: [], readonlyPaths: [] })
    })
    const { rootfs, extra } = made
    const [one, other] = [join(rootfs, 'proc'), join(rootfs, 'link')]
    // The first one is that of the root.
    return exchanged({ one, other, word: 'move_mount', extra }, round, () => {
      const script =
        'grep -c " /elsewhere proc\\| /elsewhere .* - proc " /proc/self/mountinfo /elsewhere/self/mountinfo'
      const { stdout } = runIn(made, script)
      if (/:[1-9]/.test(stdout)) breach('procfs was mounted somewhere else')
    })
  },
)

attack('a label is not written to a false procfs (CVE-2019-16884)', { weakened: ['real procfs'] }, () => {
  const made = victim(({ config, file }) => {
    config.mounts = config.mounts.filter(({ destination }) => destination !== '/proc')
    config.linux.maskedPaths = []
    config.linux.readonlyPaths = []
    config.process.apparmorProfile = 'there-is-no-such-profile'
    file('proc/thread-self/attr/apparmor/exec', '')
    file('proc/self/attr/apparmor/exec', '')
  })
  if (runIn(made, 'true').status === 0) breach('the program runs without its profile')
})

attack(
  'nor that of an exec, where the container has covered its procfs (CVE-2015-1334)',
  { weakened: ['real procfs'] },
  () => {
    const made = victim(({ config }) => {
      for (const set of Object.values(config.process.capabilities!)) set.push('CAP_SYS_ADMIN')
      const attr = '/proc/thread-self/attr/apparmor'
      config.process.args = ['sh', '-c', `mount -t tmpfs x /proc && mkdir -p ${attr} && touch ${attr}/exec; ${STAYS}`]
    })
    const c = container(made)
    ok(c.create())
    ok(c.start())
    c.says(/ready/)
    const { status } = runtime(['exec', '--apparmor', 'there-is-no-such-profile', c.id, 'true'])
    if (status === 0) breach('the program runs without its profile')
  },
)

// What covers masked paths, and /dev/console.

attack(
  'what covers a masked path is not of the image (CVE-2025-31133)',
  { weakened: ['/dev/null of the host'] },
  () => {
    const made = victim(({ config, rootfs }) => {
      config.mounts = config.mounts.filter(({ destination }) => !destination.startsWith('/dev'))
      mkdirSync(join(rootfs, 'dev'))
      symlinkSync('/proc/sys/kernel/core_pattern', join(rootfs, 'dev/null'))
      config.linux.maskedPaths = ['/proc/timer_list', '/proc/kallsyms', '/proc/version']
      config.linux.readonlyPaths = ['/proc/sys']
    })
    const { status, stdout } = runIn(made, 'stat -c "%n %t:%T" /proc/version')
    if (status === 0 && !stdout.includes('1:3')) breach(`a masked path is something else than /dev/null: ${stdout}`)
  },
)

/** Runs the body with the path of a mount namespace that somebody has prepared. */
function withMounts<T>(script: string, extra: string, body: (path: string) => T): T {
  const ready = join(extra, 'ready')
  const command = `${script}; touch ${ready}; exec sleep 60`
  const owner = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', command], { env: environment() })
  try {
    if (!waitFor(() => existsSync(ready))) throw new Error('the attacker does not come up')
    return body(`/proc/${owner.pid}/ns/mnt`)
  } finally {
    owner.kill('SIGKILL')
    waitFor(() => !isAlive(owner.pid!))
  }
}

const joinMounts = ({ config }: Bundle, path: string): void => {
  config.linux.namespaces = config.linux.namespaces.map((one) => (one.type === 'mount' ? { ...one, path } : one))
}

attack(
  'nor is it a link of a mount namespace that is joined (CVE-2025-31133)',
  { weakened: ['a device in joined mounts'] },
  () => {
    const made = victim(({ config }) => {
      config.linux.maskedPaths = ['/proc/meminfo']
    })
    withMounts('mount -t tmpfs x /dev; ln -s /proc/version /dev/null', made.extra, (path) => {
      joinMounts(made, path)
      const { status, stdout } = runIn(made, 'stat -c %t:%T /proc/meminfo; cat /proc/meminfo')
      if (status === 0 && stdout !== '1:3\n') breach(`a masked path is something else than /dev/null: ${stdout}`)
    })
  },
)

attack(
  'a sysctl is not written to a false file of a mount namespace that is joined (CVE-2025-52881)',
  { weakened: ['sysctls in procfs'] },
  () => {
    const made = victim(({ config }) => {
      config.linux.sysctl = { 'net.ipv4.ip_forward': '1' }
    })
    const script = 'cd /proc/sys/net; mount -t tmpfs x .; mkdir /proc/sys/net/ipv4; touch /proc/sys/net/ipv4/ip_forward'
    withMounts(script, made.extra, (path) => {
      joinMounts(made, path)
      const { status, stdout } = runIn(made, 'cat /proc/sys/net/ipv4/ip_forward')
      if (status === 0 && stdout !== '1\n') breach('the setting went somewhere else')
    })
  },
)

attack('a false /dev/ptmx makes nobody wait', {}, () => {
  for (const script of ['mkfifo /dev/ptmx', 'ln -s /proc/1/fd/0 /dev/ptmx', 'touch /dev/ptmx']) {
    const c = container(
      victim(({ config }) => {
        config.process.args = ['sh', '-c', `rm /dev/ptmx; ${script}; ${STAYS}`]
      }),
    )
    ok(c.create())
    ok(c.start())
    c.says(/ready/)
    const { statuses } = act({ place: 'terminal', command: words(['exec', '-t', c.id, 'true']), steps: [['end']] })
    if (statuses[0] === 0) breach(`${script}: exec has taken it for a terminal`)
    c.kill('KILL')
  }
})

attack('/dev/console is not made through a link (CVE-2025-52565)', { weakened: ['console itself'] }, () => {
  const made = victim(({ config, rootfs }) => {
    config.mounts = config.mounts.filter(({ destination }) => destination !== '/dev' && destination !== '/dev/mqueue')
    config.process.terminal = true
    config.process.args = ['sh', '-c', 'stat -c %t:%T /dev/console; readlink /dev/console']
    mkdirSync(join(rootfs, 'dev'))
    symlinkSync(join(CANARY, 'console'), join(rootfs, 'dev/console'))
  })
  const { id } = container(made)
  act({ place: 'terminal', command: words(['run', '--bundle', made.directory, id]), steps: [['end']] })
  intact()
})

attack('masked and read-only paths that are links stay in the root', {}, () => {
  const made = victim(({ config, rootfs }) => {
    symlinkSync(CANARY, join(rootfs, 'link'))
    symlinkSync('../../../../..', join(rootfs, 'up'))
    symlinkSync('loop', join(rootfs, 'loop'))
    config.linux.maskedPaths = ['/link/secret', `/up${CANARY}`, '/no/such']
    config.linux.readonlyPaths = ['/link', '/up/tmp']
  })
  ok(runIn(made, 'touch /tmp/x && exit 1; true'))
  writeFileSync(join(CANARY, 'writable'), '')
})

// Control groups: CVE-2023-25809, CVE-2022-0492.

attack(
  'a container sees no control group but its own, and cannot write to it',
  { weakened: ['mount attributes'] },
  () => {
    for (const namespace of [true, false]) {
      const made = victim(({ config }) => {
        if (namespace) config.linux.namespaces.push({ type: 'cgroup' })
        for (const set of Object.values(config.process.capabilities!)) set.push('CAP_DAC_OVERRIDE')
      })
      const script =
        'cd /sys/fs/cgroup; ls -d */ 2>/dev/null; mkdir made && echo made && rmdir made; echo 0 >cgroup.procs && echo joined; [ -e release_agent ] && echo agent; true'
      const { stdout } = ok(runIn(made, script))
      if (stdout !== '') breach(stdout.replaceAll('\n', ' '))
    }
  },
)

attack(
  "a container with CAP_SYS_ADMIN gets at no release_agent from its cgroup namespace (CVE-2022-0492's way)",
  { weakened: ['cgroup namespace'] },
  () => {
    const made = victim(({ config, file, rootfs }) => {
      config.linux.namespaces.push({ type: 'cgroup' })
      for (const set of Object.values(config.process.capabilities!)) set.push('CAP_SYS_ADMIN')
      // The kernel runs it as root of the host, outside of all namespaces.
      file('agent', `#!/bin/sh\ntouch ${CANARY}/agent\n`, 0o755)
      file(
        'attack',
        `cd /sys/fs/cgroup; mount -o remount,rw . 2>/dev/null
find . -name release_agent
mkdir /own && mount -t cgroup -o none,name=attack none /own 2>&1 || exit 0
mkdir /own/child; cd /own
echo 1 >child/notify_on_release; echo ${rootfs}/agent >release_agent && echo written
sh -c 'echo 0 >child/cgroup.procs'
sleep 0.5; rmdir child; cd /; umount /own\n`,
      )
    })
    const { stdout } = runIn(made, 'sh /attack')
    if (/release_agent|written/.test(stdout)) breach(stdout.replaceAll('\n', ' '))
    if (!/denied|not permitted/i.test(stdout)) throw new Error(`the attacker says ${stdout}`)
    intact()
  },
)

run()
