/** The mount option `tmpcopyup` (runtime-spec, config.md, "Linux mount options"): a tmpfs that begins with what was there. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Bundle, bundle, container, fails, heading, inside, ok, oneLine, skip } from '../harness.ts'

const { test, only, run } = heading('config/mounts-tmpcopyup')

/** A bundle with a folder /data, for the body to fill, and a tmpfs with a copy of it. */
function copied(fill: (data: string) => void, ...options: string[]): Bundle {
  const made = bundle((config) => {
    config.mounts.push({ destination: '/data', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', ...options] })
  })
  mkdirSync(join(made.rootfs, 'data'))
  fill(join(made.rootfs, 'data'))
  return made
}

const when = new Date('2001-02-03T04:05:06Z')
const seconds = String(when.getTime() / 1000)

test('times of files, folders and links are kept', () => {
  const made = copied((data) => {
    mkdirSync(join(data, 'folder'))
    writeFileSync(join(data, 'folder/file'), 'content')
    symlinkSync('nowhere', join(data, 'link'))
    utimesSync(join(data, 'folder/file'), when, when)
    utimesSync(join(data, 'folder'), when, when)
    lutimesSync(join(data, 'link'), when, when)
    utimesSync(data, when, when)
  })
  assert.is(inside('cd /data; stat -c %Y folder/file folder link .', made), `${seconds}\n`.repeat(4))
})

test('where the image lacks the folder all may write, as in any tmpfs', () => {
  const text = inside('stat -c "%a %u" /new/folder; touch /new/folder/file && echo wrote', (config) => {
    config.process.user = { uid: 1000, gid: 1000 }
    config.process.capabilities = {}
    config.mounts.push({
      destination: '/new/folder',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['tmpcopyup', 'nosuid', 'nodev'],
    })
  })
  assert.is(text, '1777 0\nwrote\n')
})

test('files with several names are one file in the copy', () => {
  const made = copied((data) => {
    mkdirSync(join(data, 'deep/er'), { recursive: true })
    writeFileSync(join(data, 'one'), 'content')
    linkSync(join(data, 'one'), join(data, 'two'))
    linkSync(join(data, 'one'), join(data, 'deep/er/three'))
    writeFileSync(join(data, 'alone'), 'x')
  })
  const script =
    'cd /data; stat -c %h one two deep/er/three alone; echo changed > two; cat deep/er/three; stat -c %i one two deep/er/three | sort -u | wc -l'
  assert.is(inside(script, made).replace(/ /g, ''), '3\n3\n3\n1\nchanged\n1\n')
})

const python = (script: string, ...args: string[]) =>
  execFileSync('python3', ['-c', script, ...args], { encoding: 'utf8' })
const setAttribute = (path: string, name: string, value: string) =>
  python('import os, sys; os.setxattr(sys.argv[1], sys.argv[2], sys.argv[3].encode())', path, name, value)

test('extended attributes are kept', () => {
  const made = copied((data) => {
    mkdirSync(join(data, 'folder'))
    writeFileSync(join(data, 'file'), 'content')
    setAttribute(join(data, 'file'), 'trusted.runt', 'of a file')
    setAttribute(join(data, 'folder'), 'trusted.runt', 'of a folder')
    setAttribute(data, 'trusted.runt', 'of the top')
    const many = 'import os, sys; [os.setxattr(sys.argv[1], "trusted.number-%d" % n, b"x") for n in range(100)]'
    python(many, join(data, 'file'))
  })
  made.config.process.args = ['sleep', '60']
  made.write()
  const one = container(made)
  ok(one.create())
  const root = `/proc/${one.state().pid}/root`
  const get = 'import os, sys; print(os.getxattr(sys.argv[1], "trusted.runt").decode())'
  assert.is(python(get, `${root}/data/file`), 'of a file\n')
  assert.is(python(get, `${root}/data/folder`), 'of a folder\n')
  assert.is(python(get, `${root}/data`), 'of the top\n')
  assert.is(python('import os, sys; print(len(os.listxattr(sys.argv[1])))', `${root}/data/file`), '101\n')
})

test('special bits, owners, FIFOs and devices are kept', () => {
  const made = copied((data) => {
    writeFileSync(join(data, 'suid'), '')
    chownSync(join(data, 'suid'), 3, 4)
    chmodSync(join(data, 'suid'), 0o6711)
    mkdirSync(join(data, 'sticky'))
    chmodSync(join(data, 'sticky'), 0o1777)
    execFileSync('mkfifo', [join(data, 'pipe')])
    execFileSync('mknod', ['-m', '640', join(data, 'device'), 'c', '1', '3'])
    chmodSync(data, 0o2755)
    chownSync(data, 5, 6)
  })
  assert.equal(
    inside(
      'cd /data; stat -c "%n %a %u:%g" suid sticky .; stat -c "%F %a" pipe; stat -c "%F %t:%T" device',
      made,
    ).split('\n'),
    [...['suid 6711 3:4', 'sticky 1777 0:0', '. 2755 5:6', 'fifo 644', 'character special file 1:3', '']],
  )
})

test('names of any bytes and long targets of links are kept', () => {
  const long = `${'x'.repeat(200)}/`.repeat(15)
  const made = copied((data) => {
    writeFileSync(join(data, 'a b\nc'), '1')
    writeFileSync(Buffer.concat([Buffer.from(`${data}/`), Buffer.from([0xff, 0xfe])]), '2')
    symlinkSync(long, join(data, 'link'))
  })
  assert.is(inside('cd /data; ls | wc -l; cat a*; readlink link', made).replace(/ /g, ''), `3\n1${long}\n`)
})

test('many folders within each other are copied', () => {
  const path = Array.from({ length: 60 }, (_, depth) => `d${depth}`).join('/')
  const made = copied((data) => {
    mkdirSync(join(data, path), { recursive: true })
    writeFileSync(join(data, path, 'file'), 'deep')
  })
  assert.is(inside(`cat /data/${path}/file`, made), 'deep')
})

only('runt', 'folders within each other without end are refused in one line', () => {
  const made = copied((data) => {
    const script = 'import os\nfor _ in range(3000): os.mkdir("d"); os.chdir("d")'
    execFileSync('python3', ['-c', script], { cwd: data })
  })
  made.write()
  oneLine(fails(container(made).create(), /mounts\[\d+\] \(\/data\).*(folders within each other|EMFILE)/))
})

test('the copy is not the original', () => {
  const made = copied((data) => writeFileSync(join(data, 'file'), 'content'))
  inside('rm /data/file; touch /data/other', made)
  assert.is(statSync(join(made.rootfs, 'data/file')).size, 7)
})

test('a link of the folder is a link of the copy, also where it leads out of it', () => {
  const made = copied((data) => symlinkSync('/etc/passwd', join(data, 'out')))
  assert.is(inside('readlink /data/out; test -L /data/out && echo link', made), '/etc/passwd\nlink\n')
})

// runc would copy a TB of zeros.
only('runt', 'holes of a file stay holes, so that a file that is large in name only does not fill the tmpfs', () => {
  const made = copied((data) => {
    execFileSync(
      'sh',
      ['-c', 'echo begin >huge; truncate -s 1T huge; echo end >>huge; truncate -s 2T huge; touch empty'],
      {
        cwd: data,
      },
    )
  }, 'size=1m')
  assert.is(
    inside(
      'cd /data; stat -c %s huge empty; head -c 6 huge; dd if=huge bs=64k skip=16777216 count=1 2>/dev/null | head -c 4; du -k huge | cut -f 1',
      made,
    ),
    '2199023255552\n0\nbegin\nend\n8\n',
  )
})

only('runt', 'the memory of the copy is that of the container', () => {
  if (/^SwapTotal: +[1-9]/m.test(readFileSync('/proc/meminfo', 'utf8'))) skip('there is swap to go to')
  const made = copied((data) => writeFileSync(join(data, 'large'), Buffer.alloc(40_000_000, 'x')))
  made.config.linux.resources = { memory: { limit: 16_000_000 } }
  // They wait for the cgroup anyway.
  made.config.mounts = made.config.mounts.filter(({ type }) => type !== 'cgroup')
  made.write()
  oneLine(fails(container(made).create(), /killed.*memory\.limit/))
})

only('runt', 'a tmpfs that is too small is told in one line', () => {
  const made = copied((data) => writeFileSync(join(data, 'large'), Buffer.alloc(3_000_000)), 'size=1m')
  made.write()
  oneLine(
    fails(
      container(made).create(),
      /mounts\[7\] \(\/data\): the copy for tmpcopyup \(large\).*ENOSPC.*the tmpfs is full/,
    ),
  )
})

run()
