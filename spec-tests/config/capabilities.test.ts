/** runtime-spec, config.md: "Process", capabilities; capabilities(7). */
import * as assert from 'uvu/assert'
import { type Config, container, heading, inside, ok } from '../harness.ts'

const { test, run } = heading('config/capabilities')

const KILL = 1n << 5n
const NET_BIND_SERVICE = 1n << 10n
const SYS_CHROOT = 1n << 18n
const AUDIT_WRITE = 1n << 29n
const DEFAULT = KILL | NET_BIND_SERVICE | AUDIT_WRITE

function masks(configure: (config: Config) => void = () => {}): Record<string, bigint> {
  const text = inside('grep ^Cap /proc/self/status', configure)
  return Object.fromEntries(
    [...text.matchAll(/^Cap(\w+):\t([0-9a-f]+)$/gm)].map((match) => [match[1]!, BigInt(`0x${match[2]}`)]),
  )
}

test('bounding, effective and permitted are exactly those of the configuration', () => {
  const { Bnd, Eff, Prm } = masks()
  assert.equal([Bnd, Eff, Prm], [DEFAULT, DEFAULT, DEFAULT])
})

test('ambient capabilities are set where they are inheritable', () => {
  const { Amb, Inh } = masks((config) => {
    config.process.capabilities!.inheritable = ['CAP_KILL']
    config.process.capabilities!.ambient = ['CAP_KILL']
  })
  assert.equal([Amb, Inh], [KILL, KILL])
})

test('without inheritable capabilities there are none, and no ambient ones', () => {
  const { Amb, Inh } = masks()
  assert.equal([Amb, Inh], [0n, 0n])
})

test('an empty set leaves root without capabilities', () => {
  const found = masks((config) => {
    config.process.capabilities = { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] }
  })
  assert.equal([found.Bnd, found.Eff, found.Prm, found.Inh, found.Amb], [0n, 0n, 0n, 0n, 0n])
})

test('another user keeps ambient capabilities over exec', () => {
  const { Eff, Prm, Amb } = masks((config) => {
    config.process.user = { uid: 1000, gid: 1000 }
    config.process.capabilities!.inheritable = ['CAP_NET_BIND_SERVICE']
    config.process.capabilities!.ambient = ['CAP_NET_BIND_SERVICE']
  })
  assert.equal([Eff, Prm, Amb], [NET_BIND_SERVICE, NET_BIND_SERVICE, NET_BIND_SERVICE])
})

test('another user without ambient capabilities has none', () => {
  const { Eff, Prm, Bnd } = masks((config) => {
    config.process.user = { uid: 1000, gid: 1000 }
    delete config.process.capabilities!.ambient
  })
  assert.equal([Eff, Prm, Bnd], [0n, 0n, DEFAULT])
})

test('a capability more in the bounding set is there', () => {
  const { Bnd, Eff } = masks((config) => {
    config.process.capabilities!.bounding!.push('CAP_SYS_CHROOT')
  })
  assert.is(Bnd! & SYS_CHROOT, SYS_CHROOT)
  assert.is(Eff! & KILL, KILL)
})

test('a capability that was not given is refused by the kernel', () => {
  const result = inside('mount -t tmpfs none /tmp 2>/dev/null && echo mounted || echo refused')
  assert.is(result, 'refused\n')
})

test('an unknown capability is a warning, not an error', () => {
  const c = container((config) => {
    for (const name of ['bounding', 'effective', 'permitted']) config.process.capabilities![name]!.push('CAP_NOT_THERE')
    config.process.args = ['echo', 'ran']
  })
  const result = ok(c.run())
  assert.is(result.stdout, 'ran\n')
  assert.match(result.stderr, /CAP_NOT_THERE/)
})

test('without capabilities in the configuration the container starts', () => {
  const c = container((config) => {
    delete config.process.capabilities
    config.process.args = ['echo', 'ran']
  })
  assert.is(ok(c.run()).stdout, 'ran\n')
})

run()
