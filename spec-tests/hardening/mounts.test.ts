/** Destinations of mounts, devices and folders that an image, or another container in a shared volume, leads out of the root. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseMountinfo } from '../host.ts'
import { arena, breach, CANARY, exchanged, intact, runIn, type Spent, unread, victim } from './arena.ts'

const { attack, run } = arena('hardening/mounts')

/** Moments after the first look at what is exchanged; there are some more, at which nothing is done with it any more. */
const ROUNDS = 8

const tmpfs = (destination: string, ...options: string[]) => ({
  destination,
  type: 'tmpfs',
  source: 'attacked',
  options,
})
const bind = (source: string, destination: string, ...options: string[]) => ({
  destination,
  type: 'bind',
  source,
  options: ['bind', ...options],
})

// Links of the image: LXC's CVE-2015-1335, runc's CVE-2016-... and all that came after.

const links: [what: string, link: string][] = [
  ['an absolute link', CANARY],
  ['a link with dots', `../../../../../../../..${CANARY}`],
]
for (const [what, target] of links)
  attack(`a mount through ${what} makes nothing on the host`, { weakened: ['paths in the root'] }, () => {
    const made = victim(({ config, rootfs }) => {
      symlinkSync(target, join(rootfs, 'link'))
      config.mounts.push(tmpfs('/link/folder'))
    })
    runIn(made, 'true')
    intact()
  })

attack('a file to be covered is not made through a link', { weakened: ['paths in the root'] }, () => {
  const made = victim(({ config, rootfs, extra }) => {
    writeFileSync(join(extra, 'file'), 'x')
    symlinkSync(CANARY, join(rootfs, 'link'))
    config.mounts.push(bind(join(extra, 'file'), '/link/file'))
  })
  runIn(made, 'true')
  intact()
})

attack('devices are not made through a link', { weakened: ['paths in the root'] }, () => {
  const made = victim(({ config, rootfs }) => {
    symlinkSync(CANARY, join(rootfs, 'link'))
    config.linux.devices = [{ path: '/link/device', type: 'c', major: 1, minor: 7 }]
  })
  runIn(made, 'true')
  intact()
})

attack('a /dev that is a link makes nothing on the host', { weakened: ['paths in the root'] }, () => {
  const made = victim(({ config, rootfs }) => {
    symlinkSync(CANARY, join(rootfs, 'dev'))
    config.mounts = config.mounts.filter(({ destination }) => !destination.startsWith('/dev'))
  })
  runIn(made, 'true')
  intact()
})

attack('the working folder is not made through a link', { weakened: ['paths in the root'] }, () => {
  const made = victim(({ config, rootfs }) => {
    symlinkSync(CANARY, join(rootfs, 'link'))
    config.process.cwd = '/link/made'
    config.mounts.push(tmpfs('/link/other'))
  })
  runIn(made, 'true')
  intact()
})

// Races: another container exchanges a folder of a shared volume and a link, at each moment at which that may matter.

/** A victim with a volume in which `place` becomes a link, and with nothing else that takes time. */
function racing(
  target: string,
  prepare: (made: ReturnType<typeof victim>, volume: string) => void,
  word = '/place',
): (round: number, body: (made: ReturnType<typeof victim>) => void) => Spent | undefined {
  return (round, body) => {
    const made = victim((whole) => {
      const { config, extra } = whole
      const volume = join(extra, 'volume')
      mkdirSync(join(volume, 'place'), { recursive: true })
      symlinkSync(target, join(volume, 'link'))
      config.mounts = config.mounts.filter(({ destination }) => destination === '/proc')
      Object.assign(config.linux, { maskedPaths: [], readonlyPaths: [] })
      config.mounts.push(bind(volume, '/volume'))
      prepare(whole, volume)
    })
    const [one, other] = ['place', 'link'].map((name) => join(made.extra, 'volume', name)) as [string, string]
    return exchanged({ one, other, word, extra: made.extra }, round, () => body(made))
  }
}

{
  const race = racing(CANARY, ({ config }) => config.mounts.push(tmpfs('/volume/place')))
  attack(
    'a mount whose target is exchanged for a link stays in the root (CVE-2021-30465)',
    { weakened: ['mounts by descriptor'], rounds: ROUNDS },
    (round) => {
      const spent = race(round, (made) => {
        const { status, stdout } = runIn(made, 'cat /proc/self/mountinfo')
        if (status === 0 && !parseMountinfo(stdout).some(({ source }) => source === 'attacked'))
          breach('the mount went somewhere else')
      })
      intact()
      return spent
    },
  )
}

{
  const race = racing(CANARY, ({ config }) => config.mounts.push(tmpfs('/volume/place/a/b/c')))
  attack(
    'folders made for a destination stay in the root while it is exchanged for a link (CVE-2024-45310)',
    { weakened: ['folders by descriptor'], rounds: ROUNDS },
    (round) => {
      const spent = race(round, (made) => runIn(made, 'true'))
      intact()
      return spent
    },
  )
}

{
  const race = racing(
    '/proc/sys/kernel',
    ({ config, extra }, volume) => {
      writeFileSync(join(volume, 'place/hostname'), '')
      writeFileSync(join(extra, 'file'), 'x')
      config.mounts.push(bind(join(extra, 'file'), '/volume/place/hostname'))
    },
    '/volume',
  )
  attack(
    'a mount is not led into /proc while its target is exchanged (CVE-2025-52881)',
    { weakened: ['procfs uncovered'], rounds: ROUNDS },
    (round) =>
      race(round, (made) => {
        const { stdout } = runIn(made, 'cat /proc/self/mountinfo')
        if (stdout.includes('/proc/sys/kernel/hostname')) breach('a file of /proc/sys is covered')
      }),
  )
}

{
  // Before the change of root a link leads to the host's folder.
  const race = racing(CANARY, ({ config }) => config.mounts.push(tmpfs('/volume', 'tmpcopyup')), 'getdents64')
  attack(
    'tmpcopyup copies nothing of the host while a folder is exchanged for a link',
    { weakened: ['copies without links'], rounds: ROUNDS },
    (round) => {
      const spent = race(round, (made) => unread(runIn(made, 'cat /volume/*/secret')))
      intact()
      return spent
    },
  )
}

attack(
  'tmpcopyup takes FIFOs, sockets, devices, hard links, and a file that is a TB in name only',
  { weakened: ['holes'] },
  () => {
    const made = victim(({ config, rootfs }) => {
      const data = join(rootfs, 'data')
      mkdirSync(data)
      for (const words of [
        ['mkfifo', 'fifo'],
        ['mknod', 'zero', 'c', '1', '5'],
        ['mknod', 'disk', 'b', '7', '77'],
        ['python3', '-c', 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'],
        ['sh', '-c', 'echo one >one; ln one two; chmod 4755 one'],
        ['sh', '-c', 'echo begin >huge; truncate -s 1T huge; echo end >>huge'],
      ])
        spawnSync(words[0]!, words.slice(1), { cwd: data })
      config.mounts.push(tmpfs('/data', 'tmpcopyup', 'size=1m', 'nodev', 'nosuid'))
    })
    const script =
      'cd /data; stat -c "%n %F %h %s" fifo zero disk socket one two huge; head -c 5 huge; tail -c 4 huge; cat zero'
    const { status, stdout, stderr } = runIn(made, script)
    if (status === 0 || !/denied|not permitted/i.test(stderr)) breach(`no container comes up: ${stderr}${stdout}`)
    const said = stdout.split('\n').join(', ')
    const all =
      'fifo fifo 1 0, zero character special file 1 0, disk block special file 1 0, socket socket 1 0, one regular file 2 4, two regular file 2 4, huge regular file 1 1099511627780, beginend, '
    if (said !== all) breach(`the copy is another: ${said}`)
  },
)

run()
