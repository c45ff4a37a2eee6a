import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Flag } from '../executor/protocol.ts'
import { ANY, Batch, load, slot } from './batch.ts'
import * as c from './calls.ts'
import { renderResult } from './render.ts'
import { CallError, Session, SessionLost } from './session.ts'
import { agreeableKernel, FakeKernel, type Kernel } from './testing/fake-kernel.ts'

function open(kernel?: Kernel): { session: Session; fake: FakeKernel } {
  const fake = new FakeKernel(kernel)
  return { session: new Session('test', fake), fake }
}

test('a batch is performed in order and its results come back', () => {
  const { session, fake } = open()
  const b = new Batch('x86_64')
  const fd = c.openat(b, -100, '/x', 0)
  c.close(b, fd)
  const answer = session.run(b)
  assert.is(answer.value(fd), 100)
  assert.equal(fake.log, ['openat(-100, "/x", 524288, 0, 0, 0)', 'close(100, 0, 0, 0, 0, 0)'])
})

test('an unexpected errno is an error that names what it was about, the call, and the errno', () => {
  const { session } = open(({ name }) => (name === 'mkdirat' ? 'EROFS' : 0))
  const b = new Batch('x86_64')
  b.about('mounts[2] (/data)')
  c.mkdirat(b, -100, '/data', 0o755)
  try {
    session.run(b)
    assert.unreachable()
  } catch (error) {
    assert.instance(error, CallError)
    assert.is((error as CallError).errno, 'EROFS')
    assert.is(
      (error as CallError).message,
      'mounts[2] (/data): mkdirat(AT_FDCWD, "/data", 0755): EROFS (Read-only file system): the folder is missing, and cannot be made',
    )
  }
})

test('where the errno misleads, a hint follows', () => {
  const { session } = open(() => 'ENODEV')
  const b = new Batch('x86_64')
  c.fsopen(b, 'nofs')
  assert.throws(() => session.run(b), /ENODEV \(No such device\): this kernel has no such file system/)
})

test('values that were known only at run time are shown in a failed call', () => {
  const { session } = open(({ name }) => (name === 'openat' ? 7 : 'EBADF'))
  const b = new Batch('x86_64')
  const fd = c.openat(b, -100, '/x', 0)
  c.close(b, fd)
  assert.throws(() => session.run(b), /^close\(7\): EBADF/)
})

test('an expected errno jumps, and the steps between do not run', () => {
  const { session } = open(({ name }) => (name === 'openat2' ? 'ENOENT' : 5))
  const b = new Batch('x86_64')
  const end = b.label()
  const opened = c.openInRoot(b, 3, '/etc', 0).on(['ENOENT'], end)
  const skipped = c.close(b, opened)
  b.place(end)
  const after = b.call('getpid')
  const answer = session.run(b)
  assert.is(answer.value(opened), -2)
  assert.is(answer.value(skipped), undefined)
  assert.is(answer.ok(skipped), false)
  assert.is(answer.value(after), 5)
})

test('ANY expects every errno', () => {
  const { session } = open(() => 'EIO')
  const b = new Batch('x86_64')
  const end = b.label()
  const step = b.call('getpid').on(ANY, end)
  b.place(end)
  assert.is(session.run(b).value(step), -5)
})

test('a failure of a silent batch is thrown by the wait for a later one', () => {
  const { session } = open(({ name }) => (name === 'chdir' ? 'ENOENT' : 0))
  const first = new Batch('x86_64')
  c.chdir(first, '/nowhere')
  session.send(first, Flag.SILENT)
  const second = new Batch('x86_64')
  second.call('getpid')
  assert.throws(() => session.run(second), /chdir\("\/nowhere"\): ENOENT/)
})

test('after a failure batches are skipped until one recovers the session', () => {
  const { session, fake } = open(({ name }) => (name === 'chdir' ? 'ENOENT' : 0))
  const first = new Batch('x86_64')
  c.chdir(first, '/nowhere')
  assert.throws(() => session.run(first))
  const second = new Batch('x86_64')
  second.call('getpid')
  assert.throws(() => session.run(second), /chdir/)
  assert.not.ok(fake.log.some((line) => line.startsWith('getpid')))
  const third = new Batch('x86_64')
  third.call('getuid')
  session.recover(third)
  assert.ok(fake.log.some((line) => line.startsWith('getuid')))
})

test('slots outlive a batch', () => {
  const { session } = open()
  const first = new Batch('x86_64')
  c.openat(first, -100, '/x', 0).keep(20)
  session.send(first, Flag.SILENT)
  const second = new Batch('x86_64')
  const closed = second.add(slot(20), 1)
  assert.is(session.run(second).value(closed), 101)
})

test('output buffers come back, and can be loaded from by later steps', () => {
  const { session } = open(({ name, args, memory }) => {
    if (name !== 'read') return 0
    memory(args[1]!, 4).set([0x2a, 0, 0, 0])
    return 4
  })
  const b = new Batch('x86_64')
  const buffer = b.out(16)
  c.read(b, 3, buffer)
  const sum = b.add(load(buffer, 32), 1)
  const answer = session.run(b)
  assert.is(answer.word(buffer), 42)
  assert.is(answer.value(sum), 43)
  assert.equal([...answer.bytes(buffer, 2)], [42, 0])
})

test('an answer stays as it is when the next one comes', () => {
  const { session } = open(agreeableKernel())
  const first = new Batch('x86_64')
  const one = c.openat(first, -100, '/a', 0)
  const answer = session.run(first)
  const second = new Batch('x86_64')
  c.openat(second, -100, '/b', 0)
  session.run(second)
  assert.is(answer.value(one), 100)
})

test('an answer that was looked for is still there for who waits', () => {
  const { session } = open()
  assert.not(session.hasAnswer())
  const b = new Batch('x86_64')
  const fd = c.openat(b, -100, '/x', 0)
  session.send(b)
  assert.ok(session.hasAnswer())
  assert.ok(session.hasAnswer())
  assert.is(session.wait(b).value(fd), 100)
  assert.not(session.hasAnswer())
})

test('an executor that has ended is found by looking, and reported by the wait', () => {
  const session = new Session('stage', { send() {}, receive: () => null, close() {} })
  const b = new Batch('x86_64')
  session.send(b)
  assert.ok(session.hasAnswer())
  assert.throws(() => session.wait(b), /the stage executor ended unexpectedly/)
})

test('an executor that ends is reported by name', () => {
  const { session, fake } = open()
  fake.gone = true
  const b = new Batch('x86_64')
  b.call('getpid')
  assert.throws(
    () => session.run(b),
    (error: unknown) => error instanceof SessionLost && /the test executor ended unexpectedly/.test(error.message),
  )
})

test('an executor that does not answer in time is reported', () => {
  const session = new Session('test', { send() {}, receive: () => 'timeout', close() {} })
  const b = new Batch('x86_64')
  b.call('getpid')
  assert.throws(() => session.run(b), /did not answer within 120 s/)
})

test('answers of a wrong shape are refused, whatever their bytes', () => {
  for (const bytes of [[], [1], new Array(16).fill(0), new Array(24).fill(255), new Array(4096).fill(7)]) {
    const session = new Session('test', { send() {}, receive: () => Uint8Array.from(bytes), close() {} })
    const b = new Batch('x86_64')
    b.call('getpid')
    assert.throws(() => session.run(b), /the test executor sent/)
  }
})

test('a string with a NUL byte is refused with its place', () => {
  const b = new Batch('x86_64')
  b.about('process.cwd')
  assert.throws(() => b.string('/a\0b'), /process\.cwd: "\/a\\u0000b" contains a NUL byte/)
})

test('a failure names what the slots hold, where that is known', () => {
  const fake = new FakeKernel(() => 'ENOENT')
  const b = new Batch('x86_64')
  b.call('openat', slot(20), '/x', 0, slot(21))
  assert.throws(
    () => new Session('test', fake, 0, { 20: 'root' }).run(b),
    /^openat\(<root>, "\/x", 0, <slot 21>\): ENOENT/,
  )
})

test('a trace line looks as strace prints it', () => {
  const { session } = open(({ name }) => (name === 'openat' ? 'ENOENT' : 3))
  const b = new Batch('x86_64')
  const end = b.label()
  const step = b.call('openat', -100, '/x', 0, 0).on(ANY, end)
  const mount = c.fsopen(b, 'proc')
  b.place(end)
  const ok = b.call('getpid')
  const answer = session.run(b)
  assert.is(renderResult(step, answer), 'openat(AT_FDCWD, "/x", 0, 0) = -1 ENOENT (No such file or directory)')
  assert.is(renderResult(mount, answer), 'fsopen("proc", 1) (not run)')
  assert.is(renderResult(ok, answer), 'getpid() = 3')
})

test('a batch beyond the message size is refused before it is sent', () => {
  const b = new Batch('x86_64')
  b.data(new Uint8Array(0x2_0000))
  assert.throws(() => b.encode(1, 0), /too large/)
})

test('a negative number is sent as 64-bit two’s complement', () => {
  const { session, fake } = open()
  const b = new Batch('x86_64')
  b.call('close', -1)
  session.run(b)
  assert.is(fake.log[0]!.split(',')[0], 'close(-1')
})

test.run()
