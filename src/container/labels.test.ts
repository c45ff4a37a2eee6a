import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Process } from '../config/types.ts'
import * as k from '../linux/constants.ts'
import { Batch } from '../session/batch.ts'
import { Session } from '../session/session.ts'
import { agreeableKernel, type Call, FakeKernel } from '../session/testing/fake-kernel.ts'
import { planKeyLabel, planLabels } from './labels.ts'

const PROCFS_ROOT = 1

/** What is at /proc: a procfs's inode, or something else. */
interface Proc {
  magic: number
  inode: number
}

/** Paths that were opened, texts that were written, and the error. `fails`: errnos by call. */
function label(wanted: Partial<Process>, proc: Proc, fails: Record<string, string> = {}) {
  const opened: string[] = []
  const written: string[] = []
  const agreeable = agreeableKernel()
  const kernel = new FakeKernel((call: Call) => {
    const { name, args, text, memory } = call
    if (fails[name]) return fails[name]
    if (name === 'fstatfs') memory(args[1]!, 2).set([proc.magic & 0xff, proc.magic >> 8])
    if (name === 'statx') memory(args[4]!, 40)[32] = proc.inode
    if (name === 'fsopen') opened.push(`new ${text(args[0]!)}`)
    if (name === 'openat') opened.push(text(args[1]!))
    if (name === 'openat2') {
      assert.is(memory(args[2]!, 24)[16], k.RESOLVE_NO_XDEV | k.RESOLVE_NO_MAGICLINKS)
      opened.push(text(args[1]!))
    }
    if (name === 'write') written.push(text(args[1]!).slice(0, args[2]!))
    return agreeable(call)
  })
  const b = new Batch('x86_64')
  planLabels(b, { args: ['sh'], cwd: '/', user: { uid: 0, gid: 0 }, ...wanted })
  let message = ''
  try {
    new Session('init', kernel).run(b)
  } catch (error) {
    message = (error as Error).message
  }
  return { opened, written, message, log: kernel.log }
}

const genuine = { magic: k.PROC_SUPER_MAGIC, inode: PROCFS_ROOT }

test('the profile is written to a file of a genuine /proc', () => {
  const { opened, written } = label({ apparmorProfile: 'docker-default' }, genuine)
  assert.equal(opened, ['/proc', 'thread-self/attr/apparmor/exec'])
  assert.equal(written, ['exec docker-default'])
})

test('the SELinux label is written as it is', () => {
  const { opened, written } = label({ selinuxLabel: 'u:r:t:s0' }, genuine)
  assert.equal(opened, ['/proc', 'thread-self/attr/exec'])
  assert.equal(written, ['u:r:t:s0'])
})

test('a /proc that is no procfs, or a folder within one, is passed over', () => {
  for (const proc of [
    { magic: 0x6969, inode: PROCFS_ROOT },
    { magic: k.PROC_SUPER_MAGIC, inode: 77 },
  ])
    assert.equal(label({ apparmorProfile: 'p' }, proc).opened, ['/proc', 'new proc', 'thread-self/attr/apparmor/exec'])
})

test('an image without /proc gets a profile all the same', () => {
  const { opened, written } = label({ apparmorProfile: 'p' }, genuine, { openat: 'ENOENT' })
  assert.equal(opened, ['new proc', 'thread-self/attr/apparmor/exec'])
  assert.equal(written, ['exec p'])
})

test('what is wrong is said in words', () => {
  const wanted = { apparmorProfile: 'p' }
  assert.match(
    label(wanted, genuine, { openat2: 'ENOENT' }).message,
    /^process\.apparmorProfile \(p\): AppArmor is not enabled on this host: ENOENT/,
  )
  assert.match(label(wanted, genuine, { write: 'ENOENT' }).message, /no profile of this name is loaded/)
  assert.match(label(wanted, genuine, { write: 'EINVAL' }).message, /AppArmor is not enabled/)
  assert.match(label(wanted, genuine, { write: 'EACCES' }).message, /^process\.apparmorProfile \(p\): write.*EACCES/)
  assert.match(
    label({ selinuxLabel: 'x' }, genuine, { write: 'EINVAL' }).message,
    /^process\.selinuxLabel \(x\): SELinux is not enabled/,
  )
})

test('a mount over one of the files is no way around it', () => {
  assert.match(label({ apparmorProfile: 'p' }, genuine, { openat2: 'EXDEV' }).message, /EXDEV/)
})

test('nothing asked for, nothing done', () => {
  assert.equal(label({}, genuine).log, [])
  assert.equal(label({ apparmorProfile: '', selinuxLabel: '' }, genuine).log, [])
})

test('the label of keyrings can be set and unset', () => {
  const lengths: number[] = []
  const agreeable = agreeableKernel()
  const kernel = new FakeKernel((call) => {
    if (call.name === 'write') lengths.push(call.args[2]!)
    return agreeable(call)
  })
  const b = new Batch('x86_64')
  planKeyLabel(b, 'u:r:t:s0')
  planKeyLabel(b, null)
  new Session('init', kernel).run(b)
  assert.equal(lengths, [8, 0])
})

test.run()
