import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Machine } from '../base/platform.ts'
import { Errno } from '../linux/errno.ts'
import { type SyscallName, syscallNumbers } from '../linux/syscalls.ts'
import { launcherImage, SESSION_WORD, STAGE_IMAGE, STAGE_IMAGE_SIZE, stageImage } from './elf.ts'
import {
  DATA,
  EXIT_BRAIN_LOST,
  EXIT_BROKEN_PIPE,
  EXIT_ORPHANED,
  Flag,
  HEADER_SIZE,
  Kind,
  MESSAGE_MAX,
  Mode,
  NOT_RUN,
  OP_SIZE,
  REPLY_SIZE,
  SKIPPED,
  SLOTS,
  Slot,
  Test,
} from './protocol.ts'
import { type Batch, decode, encode, type Operation, outputAt, resultAt } from './testing/batch.ts'
import { canRun, pair, type Running, type Session, start } from './testing/executor.ts'

const SIGCHLD = 17
const SIGKILL = 9
const SIGPIPE = 13
const O_RDONLY = 0
const AT_FDCWD = -100
const slotAt = (slot: number) => SLOTS + slot * 8
const text = (...strings: string[]) => new TextEncoder().encode(strings.map((string) => `${string}\0`).join(''))

for (const machine of ['x86_64', 'aarch64'] as Machine[]) {
  const test = suite(`executor on ${machine}`)
  const maybe = canRun(machine) ? test : test.skip
  const call = (name: SyscallName, args: (number | bigint)[] = [], more: Operation = {}): Operation => ({
    kind: Kind.SYSCALL,
    number: syscallNumbers[machine][name],
    args,
    ...more,
  })
  const fork = (child: number, more: Operation = {}) =>
    call('clone', [SIGCHLD, 0, 0, 0, 0, child], { kind: Kind.FORK, ...more })
  const exit = (status: number | bigint, more: Operation = {}) => call('exit_group', [status], more)
  /** `add(0, x)`: shows a value in the results. */
  const value = (word: number | bigint, mode: number = Mode.IMMEDIATE): Operation => ({
    kind: Kind.ADD,
    args: [0, word],
    modes: [Mode.IMMEDIATE, mode],
  })
  /** Fails with EBADF. */
  const failing = (more: Operation = {}) => call('close', [-1], more)

  /** Starts a stage with its session at descriptor 3 and more sessions behind it. */
  async function withStage(body: (session: Session, more: Session[], running: Running) => void | Promise<void>) {
    const pairs = [pair(), pair()]
    const running = start(
      machine,
      stageImage(machine),
      pairs.map(([, theirs]) => theirs.fd),
      ['one', 'two'],
    )
    for (const [, theirs] of pairs) theirs.close()
    const sessions = pairs.map(([ours]) => ours)
    try {
      await body(sessions[0]!, sessions.slice(1), running)
    } finally {
      for (const session of sessions) session.close()
      await running.ended
    }
  }
  const staged = (name: string, body: Parameters<typeof withStage>[0]) => maybe(name, () => withStage(body))

  staged('an empty batch is answered with its sequence number', (session) => {
    const answer = session.run({ sequence: 0xfedc_ba98, operations: [] })
    assert.equal(answer.sequence, 0xfedc_ba98)
    assert.is(answer.stoppedAt, 0)
    assert.is(answer.length, REPLY_SIZE)
  })

  staged('the rest of the reply header is zero, whatever was there before', (session) => {
    session.run({ operations: [], data: new Uint8Array(100).fill(0xff) })
    session.send(encode({ sequence: 2, operations: [] }))
    assert.equal([...session.receive()!], [2, ...Array(15).fill(0)])
  })

  staged('a system call gets its six arguments and returns into the answer and into a slot', (session, _, running) => {
    const PROT_READ_WRITE = 3
    const MAP_PRIVATE_ANONYMOUS = 0x22
    const answer = session.run({
      operations: [
        call('getpid', [], { dst: 20 }),
        value(slotAt(20), Mode.LOAD64),
        call('mmap', [0, 4096, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0], { dst: Slot.FIRST_FREE }),
        { kind: Kind.STORE64, args: [slotAt(16), 77], modes: [Mode.LOAD64] },
        call('munmap', [slotAt(16), 4096], { modes: [Mode.LOAD64] }),
      ],
    })
    assert.is(answer.stoppedAt, 5)
    assert.is(answer.results[0], BigInt(running.child.pid!))
    assert.is(answer.results[1], answer.results[0])
    assert.ok(answer.results[2]! > 0n)
    assert.equal(answer.results.slice(3), [0n, 0n])
  })

  staged('without a destination no slot changes, slot 0 included', (session) => {
    const answer = session.run({ operations: [call('getpid'), value(slotAt(Slot.NONE), Mode.LOAD64)] })
    assert.is(answer.results[1], 0n)
  })

  staged('data of the message and output behind the results have absolute addresses', (session) => {
    const operations = (path: number, output: number) => [
      call('openat', [AT_FDCWD, path, O_RDONLY, 0], { dst: 30 }),
      call('read', [slotAt(30), output, 16], { modes: [Mode.LOAD32] }),
      call('close', [slotAt(30)], { modes: [Mode.LOAD32] }),
    ]
    const draft: Batch = { operations: operations(0, 0), data: text('/proc/self/cmdline'), output: 16 }
    const answer = session.run({ ...draft, operations: operations(DATA, outputAt(draft)) })
    assert.is(answer.stoppedAt, 3)
    assert.is(answer.length, REPLY_SIZE + 3 * 8 + 16)
    assert.is(answer.results[1], 16n)
  })

  staged('each mode loads as many bits as it says, for every argument', (session) => {
    const word = 0xfedc_ba98_8765_4321n
    const data = new Uint8Array(new BigUint64Array([word]).buffer)
    const modes = [
      [Mode.LOAD64, BigInt.asIntN(64, word)],
      [Mode.LOAD32, 0x8765_4321n],
      [Mode.LOAD32_SIGNED, BigInt.asIntN(32, 0x8765_4321n)],
    ] as const
    const operations = modes.flatMap(([mode]) => [
      { kind: Kind.ADD, args: [DATA, 0], modes: [mode] },
      value(DATA, mode),
    ])
    const answer = session.run({ operations, data })
    assert.equal(
      answer.results,
      modes.flatMap(([, expected]) => [expected, expected]),
    )

    // The arguments behind the second: a FORK's last one is where the child goes on, here an operation that exits with 42.
    const draft: Batch = { operations: [], data: new Uint8Array(Uint32Array.of(3, SIGCHLD).buffer) }
    const third = session.run({
      ...draft,
      operations: [
        call('clone', [DATA + 4, 0, 0, 0, 0, DATA], {
          kind: Kind.FORK,
          modes: [Mode.LOAD32, 0, 0, 0, 0, Mode.LOAD32_SIGNED],
          dst: 20,
        }),
        call('wait4', [slotAt(20), slotAt(21), 0, 0], { modes: [Mode.LOAD32_SIGNED] }),
        { kind: Kind.JUMP, target: 4 },
        exit(42),
      ],
    })
    assert.is(third.stoppedAt, 4)
    assert.is(session.run({ operations: [value(slotAt(21), Mode.LOAD32)] }).results[0], 42n << 8n)
  })

  staged('the middle arguments have modes too', (session) => {
    // pread64(fd, buffer, count, offset) and mmap(…, fd, offset) take every position between them.
    const operations = (data: number, output: number) => [
      call('openat', [AT_FDCWD, data, O_RDONLY, 0], { dst: 30 }),
      call('pread64', [slotAt(30), data + 24, data + 32, data + 40], {
        modes: [Mode.LOAD32, Mode.LOAD64, Mode.LOAD32, Mode.LOAD64],
      }),
      call('mmap', [0, 4096, data + 48, data + 52, slotAt(30), data + 56], {
        modes: [0, 0, Mode.LOAD32, Mode.LOAD32, Mode.LOAD32_SIGNED, Mode.LOAD64],
        dst: 31,
      }),
      { kind: Kind.ADD, args: [slotAt(31), 0], modes: [Mode.LOAD64] },
      { kind: Kind.STORE64, args: [output + 8, slotAt(31)], modes: [0, Mode.LOAD64] },
    ]
    const data = (output: number) => {
      const bytes = new Uint8Array(64)
      bytes.set(text('/proc/self/exe'))
      const view = new DataView(bytes.buffer)
      view.setBigUint64(24, BigInt(output), true)
      view.setUint32(32, 4, true)
      view.setBigUint64(40, 1n, true)
      view.setUint32(48, 1, true) // PROT_READ
      view.setUint32(52, 2, true) // MAP_PRIVATE
      view.setBigUint64(56, 0n, true)
      return bytes
    }
    const draft: Batch = { operations: operations(0, 0), data: data(0), output: 16 }
    const output = outputAt(draft)
    const batch = { ...draft, operations: operations(DATA, output), data: data(output) }
    const answer = session.run(batch)
    assert.is(answer.stoppedAt, 5)
    assert.is(answer.results[1], 4n)
    assert.equal([...answer.output.slice(0, 4)], [0x45, 0x4c, 0x46, 2])
    const mapped = answer.results[2]!
    assert.is(session.run({ operations: [value(mapped, Mode.LOAD32)] }).results[0], 0x464c_457fn)
  })

  staged('jump, branch, store and add work on 64 bits', (session) => {
    const operations: Operation[] = [
      { kind: Kind.JUMP, target: 2, dst: 40 },
      failing(),
      { kind: Kind.STORE64, args: [slotAt(40), -1n] },
      { kind: Kind.STORE32, args: [slotAt(40), 7] },
      value(slotAt(40), Mode.LOAD64),
      { kind: Kind.ADD, args: [slotAt(40), 2n ** 63n], modes: [Mode.LOAD64], dst: 41 },
      { kind: Kind.ADD, args: [2n ** 64n - 1n, 2] },
      value(slotAt(41), Mode.LOAD64),
    ]
    const answer = session.run({ operations })
    assert.is(answer.stoppedAt, operations.length)
    const stored = -0x1_0000_0000n + 7n
    const sum = BigInt.asIntN(64, stored + 2n ** 63n)
    assert.equal(answer.results, [0n, NOT_RUN, 0n, 0n, stored, sum, 1n, sum])
  })

  staged('a branch compares signed 64-bit values and says whether it was taken', (session) => {
    const cases = [
      [Test.EQUAL, 5n, 5n, true],
      [Test.EQUAL, 5n, 5n + (1n << 32n), false],
      [Test.NOT_EQUAL, 5n, 6n, true],
      [Test.NOT_EQUAL, 6n, 6n, false],
      [Test.LESS, -1n, 0n, true],
      [Test.LESS, 0n, -1n, false],
      [Test.LESS, 3n, 3n, false],
    ] as const
    const operations = cases.flatMap(([comparison, a, b], index) => [
      { kind: Kind.BRANCH, test: comparison, args: [a, b], target: index * 2 + 2 },
      value(9),
    ])
    const answer = session.run({ operations })
    assert.is(answer.stoppedAt, operations.length)
    assert.equal(
      answer.results,
      cases.flatMap(([, , , taken]) => (taken ? [1n, NOT_RUN] : [0n, 9n])),
    )
  })

  staged('a loop runs until its branch is not taken, and its modes hold every time', (session) => {
    const answer = session.run({
      operations: [
        { kind: Kind.ADD, args: [slotAt(50), 1], modes: [Mode.LOAD64], dst: 50 },
        { kind: Kind.BRANCH, test: Test.LESS, args: [slotAt(50), 1000], modes: [Mode.LOAD64], target: 0 },
      ],
    })
    assert.equal(answer.results, [1000n, 0n])
  })

  staged('an expected errno goes to the target, whichever of the four it is', (session) => {
    for (const errnos of [[Errno.EBADF!], [1, Errno.EBADF!], [0, 0, 0, Errno.EBADF!], [255], [1, 2, 3, 255]]) {
      const answer = session.run({ operations: [failing({ errnos, target: 2, dst: 33 }), value(1), value(2)] })
      assert.is(answer.stoppedAt, 3)
      assert.equal(answer.results, [BigInt(-Errno.EBADF!), NOT_RUN, 2n])
    }
    const kept = session.run({ operations: [value(slotAt(33), Mode.LOAD32_SIGNED)] })
    assert.is(kept.results[0], BigInt(-Errno.EBADF!))
  })

  staged('a target of COUNT ends the batch as completed', (session) => {
    const answer = session.run({ operations: [failing({ errnos: [255], target: 2 }), value(1)] })
    assert.is(answer.stoppedAt, 2)
    assert.equal(session.run({ operations: [{ kind: Kind.JUMP, target: 1 }] }).results, [0n])
  })

  staged('an unexpected error stops the batch; later ones are skipped until a fresh one comes', (session) => {
    const failed = session.run({ operations: [value(1), failing({ errnos: [1, 2], target: 3 }), value(3)], output: 8 })
    assert.is(failed.stoppedAt, 1)
    assert.equal(failed.results, [1n, BigInt(-Errno.EBADF!), NOT_RUN])
    assert.is(failed.length, REPLY_SIZE + 3 * 8 + 8)

    const skipped = session.run({ sequence: 7, operations: [value(1)], output: 100 })
    assert.is(skipped.sequence, 7)
    assert.is(skipped.stoppedAt, SKIPPED)
    assert.is(skipped.length, REPLY_SIZE)

    session.send(encode({ sequence: 8, flags: Flag.SILENT, operations: [value(1)] }))
    const fresh = session.run({ sequence: 9, flags: Flag.FRESH, operations: [value(1)] })
    assert.is(fresh.sequence, 9)
    assert.equal(fresh.results, [1n])
    assert.equal(session.run({ operations: [value(2)] }).results, [2n])
  })

  staged('a silent batch is answered only if it fails', (session) => {
    session.send(encode({ sequence: 1, flags: Flag.SILENT, operations: [value(1)] }))
    const failed = session.run({ sequence: 2, flags: Flag.SILENT, operations: [failing()] })
    assert.is(failed.sequence, 2)
    assert.is(failed.stoppedAt, 0)
    assert.equal(failed.results, [BigInt(-Errno.EBADF!)])
    const both = session.run({ sequence: 3, flags: Flag.SILENT | Flag.FRESH, operations: [failing()] })
    assert.is(both.sequence, 3)
  })

  staged('FAIL stops the batch with the error it is given', (session) => {
    const answer = session.run({ operations: [{ kind: Kind.FAIL, args: [Errno.EPERM!] }, value(1)] })
    assert.is(answer.stoppedAt, 0)
    assert.equal(answer.results, [BigInt(-Errno.EPERM!), NOT_RUN])
    assert.is(session.run({ operations: [value(1)] }).stoppedAt, SKIPPED)
  })

  staged('a forked child goes on at its own operation and serves its own session', (session, [inner], running) => {
    const operations = [
      fork(2, { dst: 20 }),
      { kind: Kind.JUMP, target: 5 },
      { kind: Kind.SESSION, args: [4] },
      call('getpid', [], { dst: 21 }),
      value(slotAt(20), Mode.LOAD64),
    ]
    const batch: Batch = { sequence: 5, operations }
    const parent = session.run(batch)
    const pid = parent.results[0]!
    assert.ok(pid > 0n && pid !== BigInt(running.child.pid!))
    assert.equal(parent.results, [pid, 0n, NOT_RUN, NOT_RUN, NOT_RUN])

    const child = inner!
    assert.equal(decode(batch, child.receive()!).results, [0n, NOT_RUN, 0n, pid, 0n])

    // Both go on by themselves, and slots are each one's own.
    assert.equal(child.run({ operations: [call('getpid'), value(slotAt(20), Mode.LOAD64)] }).results, [pid, 0n])
    assert.is(session.run({ operations: [value(slotAt(20), Mode.LOAD64)] }).results[0], pid)

    // The child's session ends, and with it the child. Its end is held by the parent too, which does not serve it.
    child.close()
    const ended = session.run({ operations: [call('wait4', [pid, slotAt(22), 0, 0]), value(slotAt(22), Mode.LOAD32)] })
    assert.equal(ended.results, [pid, BigInt(EXIT_ORPHANED) << 8n])
  })

  staged('a fork that is refused is an error like any other', (session) => {
    const CLONE_VM_LESS_SIGHAND = 0x800
    const answer = session.run({
      operations: [call('clone', [CLONE_VM_LESS_SIGHAND, 0, 0, 0, 0, 0], { kind: Kind.FORK })],
    })
    assert.is(answer.stoppedAt, 0)
    assert.equal(answer.results, [BigInt(-Errno.EINVAL!)])
  })

  staged('SESSION forgets an earlier failure', (session, [inner]) => {
    // The child sets FAILED as if something had failed before; its SESSION clears it.
    const answer = session.run({
      operations: [
        fork(2),
        { kind: Kind.JUMP, target: 4 },
        { kind: Kind.STORE64, args: [slotAt(Slot.FAILED), 1] },
        { kind: Kind.SESSION, args: [4] },
      ],
    })
    assert.is(answer.stoppedAt, 4)
    inner!.receive()
    assert.equal(inner!.run({ operations: [value(3)] }).results, [3n])
    inner!.close()
    session.run({ operations: [call('wait4', [answer.results[0]!, 0, 0, 0])] })
  })

  staged('argv and envp of the start are in their slots', (session) => {
    const load = (address: bigint | number) => session.run({ operations: [value(address, Mode.LOAD64)] }).results[0]!
    const word = (address: bigint) => {
      const bits = session.run({ operations: [value(address, Mode.LOAD32)] }).results[0]!
      return Buffer.from(Uint32Array.of(Number(bits)).buffer).toString('latin1')
    }
    assert.is(word(load(load(slotAt(Slot.ARGV)) + 16n)), 'two\0')
    assert.is(word(load(load(slotAt(Slot.ENVP)))), 'RUNT')
  })

  staged('the largest message goes both ways', (session) => {
    const output = MESSAGE_MAX - REPLY_SIZE
    const batch: Batch = { operations: [], data: new Uint8Array(MESSAGE_MAX - HEADER_SIZE), output }
    const answer = session.run(batch)
    assert.is(answer.length, MESSAGE_MAX)
  })

  staged('a batch of very many operations runs to its end', (session) => {
    const count = Math.floor((MESSAGE_MAX - HEADER_SIZE) / OP_SIZE)
    const operations = Array.from({ length: count }, (_, index) => value(index))
    const answer = session.run({ operations })
    assert.is(answer.stoppedAt, count)
    assert.is(answer.results.at(-1), BigInt(count - 1))
  })

  staged('results of the same batch can be used as arguments', (session) => {
    const draft: Batch = { operations: [value(1), value(2)] }
    const answer = session.run({ operations: [value(41), value(resultAt(draft, 0), Mode.LOAD64)] })
    assert.equal(answer.results, [41n, 41n])
  })

  staged('an executor whose session ends, ends', async (session, _, running) => {
    session.run({ operations: [] })
    session.close()
    const { status, signal, stderr } = await running.ended
    assert.equal({ status, signal, stderr }, { status: EXIT_ORPHANED, signal: null, stderr: '' })
  })

  staged('a message shorter than a header ends the session', async (session, _, running) => {
    session.send(new Uint8Array(HEADER_SIZE - 1))
    assert.is((await running.ended).status, EXIT_ORPHANED)
  })

  staged('a brain that closes before it reads its answer does not kill the executor', async (session, _, running) => {
    session.send(
      encode({
        operations: [call('ppoll', [0, 0, DATA, 0, 8])],
        data: new Uint8Array(new BigInt64Array([0n, 50_000_000n]).buffer),
      }),
    )
    session.close()
    const { status, signal } = await running.ended
    assert.equal({ status, signal }, { status: EXIT_ORPHANED, signal: null })
  })

  maybe('the session word of a stage image says which descriptor it serves', async () => {
    const [ours, theirs] = pair()
    const [unused, unusedToo] = pair()
    const image = stageImage(machine)
    assert.is(new DataView(image.buffer).getUint32(SESSION_WORD, true), 3)
    new DataView(image.buffer).setUint32(SESSION_WORD, 4, true)
    assert.equal(image, stageImage(machine, 4))
    const running = start(machine, image, [unusedToo.fd, theirs.fd])
    for (const session of [theirs, unused, unusedToo]) session.close()
    try {
      assert.is(ours.run({ sequence: 3, operations: [] }).sequence, 3)
    } finally {
      ours.close()
      await running.ended
    }
  })

  /** A launcher whose boot batch takes descriptor 3 as its session and does `more` before. */
  async function launch(more: Operation[], body: (session: Session) => void, silent = true) {
    const [ours, theirs] = pair()
    const operations = [...more, { kind: Kind.SESSION, args: [3] }]
    const image = launcherImage(machine, encode({ flags: silent ? Flag.SILENT : 0, operations }))
    const running = start(machine, image, [theirs.fd])
    theirs.close()
    try {
      body(ours)
    } finally {
      ours.close()
    }
    return running.ended
  }
  /** Forks a "brain" that performs the operations behind and never serves. The first operation has index `at`. */
  const brain = (at: number, does: Operation[]): Operation[] => [
    fork(at + 2, { dst: Slot.BRAIN }),
    { kind: Kind.JUMP, target: at + 2 + does.length },
    ...does,
  ]

  maybe('the launcher performs its boot batch and then serves', async () => {
    const { status } = await launch([call('getpid', [], { dst: 20 })], (session) => {
      const answer = session.run({ operations: [value(slotAt(20), Mode.LOAD64), call('getpid')] })
      assert.is(answer.results[0], answer.results[1])
      assert.ok(answer.results[0]! > 0n)
    })
    assert.is(status, EXIT_ORPHANED)
  })

  maybe('a boot batch that is not silent is answered on the session it has chosen', async () => {
    await launch(
      [],
      (session) => {
        assert.is(session.receive()?.length, REPLY_SIZE + 8)
      },
      false,
    )
  })

  maybe('a boot batch that fails before it has a session ends the launcher', async () => {
    const { status, signal } = await launch([failing()], (session) => assert.is(session.receive(), null))
    assert.equal({ status, signal }, { status: EXIT_ORPHANED, signal: null })
  })

  maybe('the launcher holds a stage image', async () => {
    await launch([], (session) => {
      const words = STAGE_IMAGE_SIZE / 8
      const operations = Array.from({ length: words }, (_, index) => value(STAGE_IMAGE + index * 8, Mode.LOAD64))
      const { results } = session.run({ operations })
      assert.equal(new Uint8Array(BigInt64Array.from(results).buffer), stageImage(machine))
    })
  })

  if (machine === 'x86_64' && process.arch === 'x64') {
    maybe('the launcher executes its stage image from a sealed memfd', async () => {
      const [inner, innerTheirs] = pair()
      const [ours, theirs] = pair()
      const MFD_CLOEXEC_ALLOW_SEALING = 3
      const F_ADD_SEALS = 1033
      const ALL_SEALS = 15
      const AT_EMPTY_PATH = 0x1000
      const name = DATA
      const memfd = { modes: [Mode.LOAD32] }
      const operations = [
        call('memfd_create', [name, MFD_CLOEXEC_ALLOW_SEALING], { dst: 30 }),
        call('write', [slotAt(30), STAGE_IMAGE, STAGE_IMAGE_SIZE], memfd),
        call('pwrite64', [slotAt(30), name + 8, 4, SESSION_WORD], memfd),
        call('fcntl', [slotAt(30), F_ADD_SEALS, ALL_SEALS], memfd),
        fork(6, { dst: 31 }),
        { kind: Kind.JUMP, target: 8 },
        call('execveat', [slotAt(30), name + 12, slotAt(Slot.ARGV), slotAt(Slot.ENVP), AT_EMPTY_PATH], {
          modes: [Mode.LOAD32, 0, Mode.LOAD64, Mode.LOAD64],
          errnos: [255],
          target: 7,
        }),
        exit(99),
      ]
      const data = new Uint8Array(16)
      data.set(text('stage'))
      new DataView(data.buffer).setUint32(8, 4, true)
      const boot = encode({ flags: Flag.SILENT, operations: [{ kind: Kind.SESSION, args: [3] }] })
      const running = start(machine, launcherImage(machine, boot), [theirs.fd, innerTheirs.fd])
      for (const end of [theirs, innerTheirs]) end.close()
      try {
        const answer = ours.run({ operations, data })
        assert.is(answer.stoppedAt, 8)
        assert.equal(inner.run({ operations: [call('getpid')] }).results, [answer.results[4]!])
        inner.close()
        const waited = ours.run({
          operations: [
            call('wait4', [slotAt(31), slotAt(32), 0, 0], { modes: [Mode.LOAD32] }),
            value(slotAt(32), Mode.LOAD32),
          ],
        })
        assert.is(waited.results[1], BigInt(EXIT_ORPHANED) << 8n)
      } finally {
        inner.close()
        ours.close()
        await running.ended
      }
    })
  }

  maybe('the launcher takes over the exit status of its brain', async () => {
    for (const expected of [0, 7, 200]) {
      const { status, stderr } = await launch(brain(0, [exit(expected)]), (session) => {
        assert.is(session.run({ operations: [] }).stoppedAt, 0)
      })
      assert.equal({ status, stderr }, { status: expected, stderr: '' })
    }
  })

  maybe('the launcher waits for a brain that outlives its session', async () => {
    const pause = call('ppoll', [0, 0, slotAt(30), 0, 8])
    const { status } = await launch(
      [{ kind: Kind.STORE64, args: [slotAt(31), 200_000_000] }, ...brain(1, [pause, exit(9)])],
      () => {},
    )
    assert.is(status, 9)
  })

  maybe('the launcher says so when its brain was killed', async () => {
    const suicide = [call('getpid', [], { dst: 20 }), call('kill', [slotAt(20), SIGKILL], { modes: [Mode.LOAD64] })]
    const { status, stderr } = await launch(brain(0, suicide), () => {})
    assert.is(status, EXIT_BRAIN_LOST)
    assert.match(
      stderr,
      /^runt: the brain was killed before it was done: by a signal, or for want of memory or stack .*\n$/,
    )
  })

  maybe('the launcher is silent when nobody reads the output of its brain any more', async () => {
    const suicide = [call('getpid', [], { dst: 20 }), call('kill', [slotAt(20), SIGPIPE], { modes: [Mode.LOAD64] })]
    const { status, stderr } = await launch(brain(0, suicide), () => {})
    assert.equal({ status, stderr }, { status: EXIT_BROKEN_PIPE, stderr: '' })
  })

  maybe('the last batch can end the host with a status of its own', async () => {
    const { status, stderr } = await launch(brain(0, [exit(0)]), (session) => {
      session.send(
        encode({
          flags: Flag.SILENT,
          operations: [call('wait4', [slotAt(Slot.BRAIN), 0, 0, 0], { modes: [Mode.LOAD64] }), exit(33)],
        }),
      )
    })
    assert.equal({ status, stderr }, { status: 33, stderr: '' })
  })

  if (machine === 'x86_64' && process.arch === 'x64') {
    staged('a stage takes a few pages of memory', (session, _, running) => {
      session.run({ operations: [value(1)] })
      const status = readFileSync(`/proc/${running.child.pid}/status`, 'latin1')
      const pages = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 4
      assert.ok(pages <= 8, `${pages} pages`)
    })
  }

  test.run()
}
