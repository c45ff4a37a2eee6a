/** Programs in an interpreter and, where the machine has a cgroup2 and we are root, in the kernel. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { DeviceRule } from '../config/types.ts'
import { type NodePlatform, openPlatform } from '../engine-node/platform.ts'
import { Batch } from '../session/batch.ts'
import { Session } from '../session/session.ts'
import { FakeKernel } from '../session/testing/fake-kernel.ts'
import { allowsAll, deviceLines, deviceProgram, INSTRUCTION_SIZE, planDevices, planReplaceDevices } from './devices.ts'
import { detectLayout } from './layout.ts'
import { type DeviceAccess, runProgram, verify } from './testing/ebpf.ts'

const test = suite('device rules')

/** Whether the rules allow an access written as `c 1:3 rw`. */
function allows(rules: readonly DeviceRule[], text: string): boolean {
  const program = deviceProgram(rules)
  verify(program)
  const [type, numbers, access] = text.split(' ') as ['b' | 'c', string, string]
  const [major, minor] = numbers.split(':').map(Number) as [number, number]
  return runProgram(program, { type, major, minor, access }) === 1
}

/** Checks lines such as `yes c 1:3 rw`. */
function expect(rules: readonly DeviceRule[], lines: readonly string[]): void {
  const seen = lines.map((line) => {
    const access = line.slice(line.indexOf(' ') + 1)
    return `${allows(rules, access) ? 'yes' : 'no'} ${access}`
  })
  assert.equal(seen, lines)
}

test('v1 lines keep their order, and absent numbers mean all', () => {
  const lines = deviceLines([
    { allow: true, type: 'c', major: 1, minor: -1 },
    { allow: false, type: 'b', access: 'w' },
  ]).map(({ file, line }) => `${file} ${line}`)
  assert.equal(lines.slice(0, 3), ['devices.deny a', 'devices.allow c 1:* rwm', 'devices.deny b *:* w'])
  assert.equal(lines.slice(3, 6), ['devices.allow c *:* m', 'devices.allow b *:* m', 'devices.allow c 1:3 rwm'])
  assert.is(lines.at(-1), 'devices.allow c 136:* rwm')
  assert.is(deviceLines([{ allow: true }])[0]!.line, 'a')
  assert.is(deviceLines([{ allow: true }])[0]!.file, 'devices.allow')
})

test('letters that are no access mean nothing', () => {
  const [, line] = deviceLines([{ allow: true, type: 'c', major: 10, minor: 200, access: 'awr' }])
  assert.is(line!.line, 'c 10:200 rw')
})

test('all but the defaults is denied', () => {
  for (const rules of [[], [{ allow: false }], [{ allow: false, type: 'a', access: 'rwm' }]])
    expect(rules, [
      'yes c 1:3 rwm',
      'yes c 1:9 r',
      'yes c 5:2 rw',
      'yes c 136:77 rw',
      'yes c 10:200 m',
      'yes b 8:0 m',
      'no c 10:200 r',
      'no b 8:0 rm',
      'no b 1:3 r',
      'no c 1:1 w',
      'no c 5:1 rw',
    ])
})

test('an allowed device is allowed with its accesses only', () => {
  expect(
    [
      { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
      { allow: true, type: 'b', major: 8, access: 'r' },
      { allow: true, type: 'c', minor: 42, access: 'w' },
    ],
    [
      'yes c 10:229 rw',
      'yes c 10:229 r',
      'no c 10:228 r',
      'no b 10:229 r',
      'yes b 8:1 r',
      'yes b 8:15 rm',
      'no b 8:1 w',
      'no b 8:1 rw',
      'no c 8:1 r',
      'yes c 200:42 w',
      'no c 200:42 rw',
    ],
  )
})

test('rules add up: accesses may be allowed one by one', () => {
  expect(
    [
      { allow: true, type: 'c', major: 10, minor: 1, access: 'r' },
      { allow: true, type: 'c', major: 10, access: 'w' },
    ],
    ['yes c 10:1 rw', 'yes c 10:1 rwm', 'no c 10:2 rw', 'yes c 10:2 w'],
  )
})

test('the last rule that names a device decides', () => {
  expect(
    [
      { allow: true, type: 'c', major: 10 },
      { allow: false, type: 'c', major: 10, minor: 5 },
      { allow: false, type: 'c', major: 10, minor: 6, access: 'w' },
      { allow: false, type: 'b', major: 7 },
      { allow: true, type: 'b', major: 7, minor: 1, access: 'r' },
    ],
    [
      'yes c 10:4 rwm',
      'no c 10:5 r',
      'yes c 10:6 r',
      'no c 10:6 w',
      'no c 10:6 rw',
      'yes b 7:1 r',
      'no b 7:1 rw',
      'no b 7:2 r',
    ],
  )
})

test('a rule of type a settles all that is before it, whatever else it holds', () => {
  expect([{ allow: true, access: 'r', major: 3 }], ['yes c 10:4 rwm', 'yes b 8:0 w'])
  expect(
    [{ allow: true }, { allow: false, type: 'b', major: 8, access: 'w' }],
    ['yes c 10:4 rwm', 'yes b 8:0 rm', 'no b 8:0 w', 'no b 8:0 rw', 'yes b 9:0 w'],
  )
  expect([{ allow: true, type: 'c', major: 10 }, { allow: false }], ['no c 10:4 r'])
  expect(
    [
      { allow: true, type: 'c', major: 10 },
      { allow: false, type: 'a' },
      { allow: true, type: 'b', major: 8 },
    ],
    ['no c 10:4 r', 'yes b 8:4 rw'],
  )
})

test('the defaults cannot be denied but survive as they are', () => {
  expect([{ allow: false, type: 'c', major: 1, minor: 3 }], ['yes c 1:3 rw'])
})

test('the interpreter agrees with a plain reading of the rules', () => {
  let seed = 7
  const random = (limit: number): number => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff
    return Math.floor((seed / 0x80000000) * limit)
  }
  const accesses = ['r', 'w', 'm', 'rw', 'rm', 'wm', 'rwm']
  // Numbers beyond those of the defaults, so that these need not be modelled; of mknod nothing is denied for good.
  const decide = (rules: readonly DeviceRule[], { type, major, minor, access }: DeviceAccess): number =>
    [...access].every((letter) => {
      if (letter === 'm') return true
      const last = rules.findLast(
        (rule) =>
          (rule.type ?? 'a') === 'a' ||
          (rule.type === type &&
            (rule.major === undefined || rule.major < 0 || rule.major === major) &&
            (rule.minor === undefined || rule.minor < 0 || rule.minor === minor) &&
            (rule.access ?? 'rwm').includes(letter)),
      )
      return last?.allow ?? false
    })
      ? 1
      : 0
  for (let round = 0; round < 300; round++) {
    const rules = Array.from({ length: random(7) }, (): DeviceRule => {
      const rule: DeviceRule = { allow: random(2) === 0 }
      if (random(8) > 0) rule.type = 'bc'[random(2)]!
      if (random(3) > 0) rule.major = 200 + random(2)
      if (random(3) > 0) rule.minor = random(3) - 1
      if (random(3) > 0) rule.access = accesses[random(7)]!
      return rule
    })
    const program = deviceProgram(rules)
    verify(program)
    for (let probe = 0; probe < 20; probe++) {
      const asked: DeviceAccess = {
        type: random(2) === 0 ? 'b' : 'c',
        major: 200 + random(2),
        minor: random(2),
        access: accesses[random(7)]!,
      }
      assert.is(runProgram(program, asked), decide(rules, asked), JSON.stringify({ rules, asked }))
    }
  }
})

test('rules that allow everything are known, and what is too long is refused', () => {
  assert.ok(allowsAll([{ allow: false }, { allow: true, type: 'a' }, { allow: true, type: 'c' }]))
  assert.not(allowsAll([]))
  assert.not(allowsAll([{ allow: true }, { allow: false, type: 'c', major: 1 }]))
  assert.not(allowsAll([{ allow: true, type: 'c' }]))
  const many = Array.from({ length: 4000 }, (_, minor): DeviceRule => ({ allow: true, type: 'c', major: 9, minor }))
  assert.throws(
    () => deviceProgram(many),
    /^linux\.resources\.devices: 4000 rules make a BPF program of \d+ instructions/,
  )
})

test('a program whose verification was interrupted is loaded again', () => {
  let loads = 0
  const kernel = new FakeKernel(({ name, args }) => (name === 'bpf' && args[0] === 5 && ++loads < 3 ? 'EAGAIN' : 7))
  const b = new Batch('x86_64')
  planDevices(b, '/sys/fs/cgroup/box', deviceProgram([]))
  new Session('host', kernel).run(b)
  assert.is(loads, 3)
})

const layout = detectLayout(readFileSync('/proc/self/mountinfo', 'utf8'), readFileSync('/proc/self/cgroup', 'utf8'))
const unified = layout.hierarchies.find(({ version }) => version === 2)?.mountpoint

if (unified && process.getuid!() === 0) {
  const live = suite<{ platform: NodePlatform; host: Session; cgroup: string; folder: string }>('device rules, live')
  const batch = () => new Batch(process.arch === 'arm64' ? 'aarch64' : 'x86_64')
  /** What a shell says that has moved itself to the cgroup. The host's own rules (v1, the cgroup above) must allow the devices too. */
  const inside = (cgroup: string, script: string): string => {
    const { stdout, stderr } = spawnSync('sh', ['-c', `echo $$ >${cgroup}/cgroup.procs; ${script}`], {
      encoding: 'utf8',
      timeout: 10_000,
    })
    return (stdout + stderr).trim()
  }
  const reads = (cgroup: string, device: string): string =>
    inside(
      cgroup,
      `head -c 1 ${device} >/dev/null 2>&1 && echo yes || (head -c 1 ${device} 2>&1 >/dev/null | tail -c 24)`,
    )

  live.before.each((context) => {
    context.platform = openPlatform([])
    context.host = new Session('host', context.platform.host)
    context.cgroup = join(unified, `runt-unit-devices-${process.pid}`)
    context.folder = mkdtempSync(join(tmpdir(), 'runt-devices-'))
    mkdirSync(context.cgroup)
  })
  live.after.each(({ platform, cgroup, folder }) => {
    platform.close()
    rmSync(folder, { recursive: true })
    if (existsSync(cgroup)) rmdirSync(cgroup)
  })

  live('a program allows and denies', ({ host, cgroup, folder }) => {
    const b = batch()
    planDevices(b, cgroup, deviceProgram([{ allow: true, type: 'c', major: 10, minor: 229, access: 'rw' }]))
    host.run(b)
    assert.is(reads(cgroup, '/dev/null'), 'yes')
    assert.is(reads(cgroup, '/dev/zero'), 'yes')
    // Nothing behind a device that is denied is ever touched: c 1:4 is /dev/port, c 1:1 is /dev/mem.
    for (const minor of [1, 4]) {
      const node = join(folder, `c1-${minor}`)
      assert.is(inside(cgroup, `mknod ${node} c 1 ${minor} && echo made`), 'made')
      assert.match(reads(cgroup, node), /Operation not permitted$/)
    }
  })

  live('a program is replaced, alone or one of several', ({ host, cgroup, folder }) => {
    const node = join(folder, 'kmsg')
    spawnSync('mknod', [node, 'c', '1', '11'])
    const run = (plan: typeof planDevices, rules: readonly DeviceRule[]) => {
      const b = batch()
      plan(b, cgroup, deviceProgram(rules))
      host.run(b)
    }
    const kmsg: DeviceRule = { allow: true, type: 'c', major: 1, minor: 11, access: 'r' }
    run(planReplaceDevices, [])
    assert.match(reads(cgroup, node), /Operation not permitted$/)
    run(planReplaceDevices, [kmsg])
    const allowed = reads(cgroup, node)
    assert.not.match(allowed, /Operation not permitted$/)
    run(planDevices, [])
    run(planDevices, [])
    assert.match(reads(cgroup, node), /Operation not permitted$/)
    run(planReplaceDevices, [kmsg])
    assert.is(reads(cgroup, node), allowed)
    run(planReplaceDevices, [])
    assert.match(reads(cgroup, node), /Operation not permitted$/)
  })

  live('the kernel takes long programs', ({ host, cgroup }) => {
    const many = Array.from(
      { length: 500 },
      (_, index): DeviceRule => ({
        allow: true,
        type: 'bc'[index % 2]!,
        major: 200 + (index % 50),
        minor: index,
        access: ['r', 'rw', 'rwm'][index % 3]!,
      }),
    )
    const program = deviceProgram(many)
    assert.ok(program.length / INSTRUCTION_SIZE > 2500)
    const b = batch()
    planDevices(b, cgroup, program)
    host.run(b)
    assert.is(reads(cgroup, '/dev/null'), 'yes')
  })

  live('a refusal says what it is about', ({ host, folder }) => {
    const b = batch()
    planDevices(b, folder, deviceProgram([]))
    assert.throws(() => host.run(b), /^linux\.resources\.devices: bpf\(8, \{BPF_CGROUP_DEVICE\}, 128\): EBADF/)
    const wrong = batch()
    planDevices(wrong, folder, new Uint8Array(16))
    assert.throws(() => host.recover(wrong), /^linux\.resources\.devices: .*: bpf\(BPF_PROG_LOAD\): EINVAL/)
  })
  live.run()
}

test.run()
