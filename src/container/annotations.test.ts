import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeUtf8 } from '../base/bytes.ts'
import { contextType, decodeBase64, refusePlugins, unsafeAnnotations } from './annotations.ts'
import { features } from './features.ts'
import { filterOf } from './filter.ts'

test('base64 is read with and without padding and line breaks', () => {
  for (const text of ['', 'a', 'ab', 'abc', 'abcd', 'ÿþ?>'])
    for (const strip of [/$/, /=+$/])
      assert.is(decodeUtf8(decodeBase64(Buffer.from(text).toString('base64').replace(strip, ''), 'f')), text)
  assert.is(decodeUtf8(decodeBase64('YWJj\nZGVm\n', 'f')), 'abcdef')
  for (const wrong of ['Y', 'YW=Jj', 'Y-Jj', '====']) assert.throws(() => decodeBase64(wrong, 'f'), /^f: not base64/)
})

test('a filter comes from linux.seccomp, or from an annotation in its place', () => {
  assert.is(filterOf({}, 'x86_64'), null)
  const annotations = { 'run.oci.seccomp_bpf_data': Buffer.from([6, 0, 0, 0, 0, 0, 0xff, 0x7f]).toString('base64') }
  const filter = filterOf({ annotations, linux: { seccomp: { defaultAction: 'SCMP_ACT_KILL' } } }, 'x86_64')
  assert.equal([...filter!.program], [6, 0, 0, 0, 0, 0, 0xff, 0x7f])
  assert.throws(() => filterOf({ annotations: { 'run.oci.seccomp_bpf_data': 'YWJj' } }, 'x86_64'), /3 bytes/)
})

test('names that are no system calls are an error on demand', () => {
  const linux = {
    seccomp: {
      defaultAction: 'SCMP_ACT_ALLOW' as const,
      syscalls: [{ names: ['nonsense'], action: 'SCMP_ACT_ERRNO' as const }],
    },
  }
  assert.is(filterOf({ linux }, 'x86_64')!.warnings.length, 1)
  const annotations = { 'run.oci.seccomp_fail_unknown_syscall': '1' }
  assert.throws(() => filterOf({ linux, annotations }, 'x86_64'), /^linux\.seccomp\.syscalls\[0\]\.names: "nonsense"/)
})

test('the kind of context that a mount label is: one of four', () => {
  assert.is(contextType(undefined), 'context')
  assert.is(contextType({ 'run.oci.mount_context_type': 'fscontext' }), 'fscontext')
  assert.throws(
    () => contextType({ 'run.oci.mount_context_type': 'constructor' }),
    /^annotations\["run\.oci\.mount_context_type"\]: "constructor" is not one of context, fscontext, defcontext, rootcontext$/,
  )
})

test('plugins are refused', () => {
  refusePlugins({ other: '' })
  assert.throws(
    () => refusePlugins({ 'run.oci.seccomp.plugins': '/lib/p.so' }),
    /^annotations\["run\.oci\.seccomp\.plugins"\]: runt loads no libraries; .*listenerPath/,
  )
})

test('features lists what reaches out of the container', () => {
  assert.equal(features('x86_64').potentiallyUnsafeConfigAnnotations, [...unsafeAnnotations].sort())
})

test.run()
