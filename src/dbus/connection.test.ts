/** The client against a fake bus, and against the real one where dbus-daemon is installed. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodePlatform, openPlatform } from '../engine-node/platform.ts'
import { Session } from '../session/session.ts'
import { parseAddresses } from './address.ts'
import { BusError, busCall, Connection, Unreachable } from './connection.ts'
import { variant, Writer } from './marshal.ts'
import { type Behaviour, type FakeBus, startFakeBus } from './testing/fake-bus.ts'

/** Milliseconds that the client of a test waits. */
const PATIENCE = 300

interface Context {
  platform: NodePlatform
  host: Session
  buses: FakeBus[]
}
const test = suite<Context>('D-Bus connection', {} as Context)

test.before.each((context) => {
  context.platform = openPlatform([])
  context.host = new Session('host', context.platform.host)
  context.buses = []
})
test.after.each(async (context) => {
  context.platform.host.close()
  for (const bus of context.buses) await bus.stop()
})

async function fake(context: Context, behaviour: Behaviour = {}): Promise<FakeBus> {
  const bus = await startFakeBus(behaviour)
  context.buses.push(bus)
  return bus
}

const connect = ({ host, platform }: Context, path: string, patience = PATIENCE): Connection =>
  new Connection(
    (batch) => host.run(batch),
    platform.machine,
    parseAddresses(`unix:path=${path}`, 'the test bus', undefined)[0]!,
    patience,
  )

/** Fails with a message that matches, in time, and leaves the host's session usable. */
function refuses({ host, platform }: Context, work: () => unknown, message: RegExp): void {
  const start = performance.now()
  assert.throws(work, (error: Error) => {
    assert.is(error.name, 'RuntError', String(error.stack))
    assert.match(error.message, message)
    assert.not.match(error.message, /\n/)
    return true
  })
  assert.ok(performance.now() - start < 10 * PATIENCE, 'it takes too long')
  assert.throws(
    () =>
      new Connection((batch) => host.run(batch), platform.machine, { name: 'x', socket: '/nowhere', direct: false }),
    /ENOENT/,
  )
}

test('calls are answered, also several at once, in any order', async (context) => {
  const bus = await fake(context)
  const connection = connect(context, bus.path)
  const first = connection.send(busCall('Get', 'ss', ['a', 'Version']))
  const second = connection.send(busCall('Get', 'ss', ['a', 'ControlGroup']))
  assert.equal(connection.reply(second, 'x').body, [{ signature: 's', value: '' }])
  assert.equal(connection.reply(first, 'x').body, [{ signature: 's', value: '252.38-1~deb12u1' }])
  connection.close()
  assert.equal(
    (await bus.seen()).map(({ member }) => member),
    ['Hello', 'Get', 'Get'],
  )
})

test('signals wait until somebody asks for them', async (context) => {
  const connection = connect(context, (await fake(context)).path)
  connection.call(busCall('StopUnit', 'ss', ['a', 'b']), 'x')
  assert.is(
    connection.signal('x', ({ member, body }) => (body[3] === 'done' ? member : undefined)),
    'JobRemoved',
  )
})

test('a bus that does not know our uid takes that of the socket', async (context) => {
  const connection = connect(context, (await fake(context, { greeting: 'needs-data' })).path)
  assert.ok(connection.call(busCall('Get', 'ss', ['a', 'Version']), 'x'))
})

test('answers that come byte by byte are put together', async (context) => {
  const connection = connect(context, (await fake(context, { drip: 1 })).path, 5000)
  assert.equal(connection.call(busCall('Get', 'ss', ['a', 'Version']), 'x').signature, 'v')
})

test('a large call is sent in pieces', async (context) => {
  const bus = await fake(context)
  const connection = connect(context, bus.path)
  const text = 'x'.repeat(200_000)
  connection.call(busCall('Anything', 's', [text]), 'x')
  assert.equal((await bus.seen()).at(-1), { member: 'Anything', body: [text] })
})

test('an error of the other side is told in its words', async (context) => {
  const bus = await fake(context, { reactions: { Get: [], Version: [{ error: ['org.x.No', 'it is\nforbidden'] }] } })
  const connection = connect(context, bus.path)
  assert.throws(
    () => connection.call(busCall('Get', 'ss', ['a', 'Version']), 'asking'),
    (error: unknown) =>
      error instanceof BusError && error.error === 'org.x.No' && error.message === 'asking: it is forbidden (org.x.No)',
  )
})

test('nobody at the address is told with its path', (context) => {
  refuses(context, () => connect(context, '/nowhere/bus'), /^the test bus \(\/nowhere\/bus\): ENOENT/)
  refuses(context, () => connect(context, '/'), /^the test bus \(\/\): ECONNREFUSED/)
})

const greetings: readonly (readonly [NonNullable<Behaviour['greeting']>, RegExp])[] = [
  ['rejects', /it does not let uid \d+ in: "REJECTED DBUS_COOKIE_SHA1"/],
  ['silent', /authentication: the test bus \(\S+\) did not answer within 0\.3 s/],
  ['garbage', /what it said to our authentication is not D-Bus/],
  ['closes', /closed the connection|is gone/],
  ['endless', /what it said to our authentication is not D-Bus/],
]
for (const [greeting, message] of greetings)
  test(`a bus whose greeting is "${greeting}" is told`, async (context) => {
    const { path } = await fake(context, { greeting })
    refuses(context, () => connect(context, path), message)
    if (greeting === 'rejects')
      assert.throws(
        () => connect(context, path),
        (error: unknown) => error instanceof Unreachable,
      )
  })

/** A reply to serial 2, the second call, whose text claims to be longer than its body. */
const CUT = [...[0x6c, 2, 1, 1].map((byte) => ['y', byte] as const), ['u', 8] as const, ['u', 7] as const]
  .reduce((writer, [type, value]) => writer.write(type, value), new Writer())
  .write('a(yv)', [
    [5, variant('u', 2)],
    [8, variant('g', 's')],
  ])
  .align(8)
  .write('u', 255)
  .raw(new Uint8Array(4)).bytes

const answers: readonly (readonly [name: string, raw: string, message: RegExp])[] = [
  ['is no D-Bus', '485454502f312e31203430300d0a0d0a', /asking: the test bus \(\S+\) makes no sense: .* is not D-Bus/],
  ['announces too much', '6c0201017fffffff0100000000000000', /announced a D-Bus message of \d+ bytes/],
  ['announces too many fields', '6c02010100000000010000007fffffff', /announced a D-Bus message of \d+ bytes/],
  ['has a body that is cut short', Buffer.from(CUT).toString('hex'), /makes no sense: a D-Bus message ends early/],
  ['never comes to its end', '6c02010110000000010000000000000000', /did not answer within/],
]
for (const [name, raw, message] of answers)
  test(`an answer that ${name} is told`, async (context) => {
    const { path } = await fake(context, { reactions: { Version: [{ raw }] } })
    refuses(context, () => connect(context, path).call(busCall('Get', 'ss', ['a', 'Version']), 'asking'), message)
  })

test('a bus that does not answer, or goes away, is told', async (context) => {
  const { path } = await fake(context, { reactions: { Version: [{ silent: true }, { close: true }] } })
  const ask = () => connect(context, path).call(busCall('Get', 'ss', ['a', 'Version']), 'asking')
  refuses(context, ask, /^asking: the test bus \(\S+\) did not answer within 0\.3 s$/)
  refuses(context, ask, /^asking: the test bus \(\S+\) (closed the connection|is gone: ECONNRESET)/)
})

test('signals without end, or bytes one by one, do not keep us', async (context) => {
  const flood = await fake(context, { flood: true, reactions: { Version: [{ silent: true }] } })
  refuses(
    context,
    () => connect(context, flood.path).call(busCall('Get', 'ss', ['a', 'Version']), 'x'),
    /did not answer within/,
  )
  const drip = await fake(context, { drip: 40 })
  refuses(context, () => connect(context, drip.path), /did not answer within/)
})

if (spawnSync('dbus-daemon', ['--version']).status === 0)
  test('the real bus understands us', async (context) => {
    const folder = mkdtempSync(join(tmpdir(), 'runt-bus-'))
    const path = join(folder, 'bus')
    const daemon = spawn('dbus-daemon', ['--session', '--nofork', `--address=unix:path=${path}`], { stdio: 'ignore' })
    try {
      for (let look = 0; look < 200 && !existsSync(path); look++)
        await new Promise((resolve) => setTimeout(resolve, 25))
      const connection = connect(context, path, 5000)
      const [names] = connection.call(busCall('ListNames', '', []), 'x').body
      assert.ok((names as string[]).includes('org.freedesktop.DBus'))
      connection.close()
    } finally {
      daemon.kill()
      rmSync(folder, { recursive: true })
    }
  })
else console.log('skipped: no dbus-daemon to talk to')

test.run()
