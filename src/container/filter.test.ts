import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeUtf8 } from '../base/bytes.ts'
import type { Seccomp } from '../config/types.ts'
import { compile } from '../seccomp/compile.ts'
import { Batch } from '../session/batch.ts'
import { Train } from '../session/train.ts'
import { filterOf, foresee, planKeeping, planRecalling, recall } from './filter.ts'
import { fakeHost } from './testing/fake-host.ts'

const seccomp: Seccomp = { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW' }] }
const notifying: Seccomp = { ...seccomp, syscalls: [{ names: ['read'], action: 'SCMP_ACT_NOTIFY' }] }

test('what is foreseen of a filter is what it has', () => {
  for (const config of [
    {},
    { linux: {} },
    { linux: { seccomp } },
    { linux: { seccomp: notifying } },
    { linux: { seccomp: { defaultAction: 'SCMP_ACT_NOTIFY' as const } } },
    { linux: { seccomp: notifying }, annotations: { 'run.oci.seccomp_bpf_data': 'BgAAAAAA/38=' } },
  ]) {
    const filter = filterOf(config, 'x86_64')
    assert.equal(foresee(config), filter && { listener: filter.listener })
  }
})

/** Keeps a filter, and recalls it from what `change` makes of the file. */
function again(section: Seccomp, change = (file: Uint8Array): Uint8Array => file) {
  const { runtime, written } = fakeHost({})
  const train = new Train(runtime.host, 'x86_64')
  const length = planKeeping(train, '/run/runt/box', compile(section, 'x86_64'))
  runtime.host.wait(train.depart())
  const file = change(encodeUtf8(written.get('/run/runt/box/filter')!))
  assert.ok(length > 16)
  const { runtime: later } = fakeHost({}, (_, { name, args, memory }) => {
    if (name !== 'read') return undefined
    memory(args[1]!, args[2]!).set(file.subarray(0, args[2]!))
    return Math.min(file.length, args[2]!)
  })
  const b = new Batch('x86_64')
  const reading = planRecalling(b, '/run/runt/box', length)
  return recall(later.host.run(b), reading)
}

test('a filter that was kept is the same again', () => {
  for (const section of [
    seccomp,
    notifying,
    { ...seccomp, flags: [] },
    { ...notifying, flags: ['SECCOMP_FILTER_FLAG_LOG' as const] },
  ]) {
    const { program, flags, optionalFlags, listener } = compile(section, 'x86_64')
    const recalled = again(section)
    assert.equal([...recalled.program], [...program])
    assert.equal([recalled.flags, recalled.optionalFlags, recalled.listener], [flags, optionalFlags, listener])
  }
})

test('a filter of which a part is missing is refused', () => {
  for (const length of [0, 8, 16])
    assert.throws(
      () => again(seccomp, (file) => file.subarray(0, length)),
      /filter\): damaged: it has \d+ bytes of \d+/,
    )
})

test.run()
