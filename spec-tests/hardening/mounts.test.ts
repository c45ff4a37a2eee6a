/** Destinations of mounts, devices and folders that an image, or another container in a shared volume, leads out of the root. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseMountinfo } from '../host.ts'
import { arena, breach, CANARY, exchanging, intact, runIn, slowly, unread, victim } from './arena.ts'

const { attack, run } = arena('hardening/mounts')

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

// Races: the other container is a process that exchanges a folder and a link.

/** A victim with a volume in which `place` and a link to the canary are exchanged while it is set up. */
function racing(
  prepare: (made: ReturnType<typeof victim>, place: string) => void,
  body: (made: ReturnType<typeof victim>) => void,
): void {
  const made = victim((whole) => {
    const volume = join(whole.extra, 'volume')
    mkdirSync(join(volume, 'place'), { recursive: true })
    symlinkSync(CANARY, join(volume, 'link'))
    whole.config.mounts.push(bind(volume, '/volume'))
    prepare(whole, '/volume/place')
  })
  const volume = join(made.extra, 'volume')
  // Another pause each time, lest the two run in step.
  const pause = 200 + Math.floor(Math.random() * 2000)
  exchanging(join(volume, 'place'), join(volume, 'link'), made.extra, () => slowly(() => body(made), undefined, pause))
}

attack(
  'a mount whose target is exchanged for a link stays in the root (CVE-2021-30465)',
  { weakened: ['mounts by descriptor'], rounds: 3, tries: 40 },
  () => {
    racing(
      ({ config }, place) => config.mounts.push(tmpfs(place)),
      (made) => {
        const { status, stdout } = runIn(made, 'cat /proc/self/mountinfo')
        if (status === 0 && !parseMountinfo(stdout).some(({ source }) => source === 'attacked'))
          breach('the mount went somewhere else')
      },
    )
    intact()
  },
)

attack(
  'folders made for a destination stay in the root while it is exchanged for a link (CVE-2024-45310)',
  { weakened: ['folders by descriptor'], rounds: 3, tries: 40 },
  () => {
    racing(
      ({ config }, place) => config.mounts.push(tmpfs(`${place}/a/b/c`)),
      (made) => runIn(made, 'true'),
    )
    intact()
  },
)

attack(
  'a mount is not led into /proc while its target is exchanged (CVE-2025-52881)',
  { weakened: ['procfs uncovered'], rounds: 3, tries: 20 },
  () => {
    const made = victim(({ config, extra }) => {
      mkdirSync(join(extra, 'volume/place'), { recursive: true })
      writeFileSync(join(extra, 'volume/place/hostname'), '')
      symlinkSync('/proc/sys/kernel', join(extra, 'volume/link'))
      writeFileSync(join(extra, 'file'), 'x')
      config.mounts.push(bind(join(extra, 'volume'), '/volume'), bind(join(extra, 'file'), '/volume/place/hostname'))
    })
    const volume = join(made.extra, 'volume')
    exchanging(join(volume, 'place'), join(volume, 'link'), made.extra, () =>
      slowly(() => {
        const { stdout } = runIn(made, 'cat /proc/self/mountinfo')
        if (stdout.includes('/proc/sys/kernel/hostname')) breach('a file of /proc/sys is covered')
      }),
    )
  },
)

attack(
  'tmpcopyup copies nothing of the host while a folder is exchanged for a link',
  { weakened: ['copies without links'], rounds: 3, tries: 20 },
  () => {
    const made = victim(({ config, extra }) => {
      mkdirSync(join(extra, 'volume/place'), { recursive: true })
      // Before the change of root a link leads to the host's folder.
      symlinkSync(CANARY, join(extra, 'volume/link'))
      config.mounts.push(bind(join(extra, 'volume'), '/volume'), tmpfs('/volume', 'tmpcopyup'))
    })
    const volume = join(made.extra, 'volume')
    exchanging(join(volume, 'place'), join(volume, 'link'), made.extra, () =>
      slowly(() => unread(runIn(made, 'cat /volume/*/secret'))),
    )
    intact()
  },
)

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
