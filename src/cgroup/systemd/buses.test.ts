import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseAddresses } from '../../dbus/address.ts'
import { busesFor, isRootless } from './buses.ts'

const sockets = (uid: number, mapped: boolean, env: Record<string, string>): string[] =>
  busesFor({ uid, mapped, env }).map(({ socket, direct }) => (direct ? `direct ${socket}` : socket))

test('root asks the system, by its bus or directly', () => {
  assert.equal(sockets(0, false, { XDG_RUNTIME_DIR: '/run/user/0', DBUS_SESSION_BUS_ADDRESS: 'unix:path=/no' }), [
    '/run/dbus/system_bus_socket',
    'direct /run/systemd/private',
  ])
  assert.equal(sockets(0, false, { DBUS_SYSTEM_BUS_ADDRESS: 'tcp:host=x;unix:path=/bus' })[0], '/bus')
})

test('others ask their own', () => {
  assert.equal(sockets(1000, false, {}), ['/run/user/1000/bus', 'direct /run/user/1000/systemd/private'])
  assert.equal(
    sockets(1000, false, { DBUS_SESSION_BUS_ADDRESS: 'unix:abstract=/tmp/dbus-x,guid=5', XDG_RUNTIME_DIR: '/r/' }),
    ['\0/tmp/dbus-x', '/r/bus', 'direct /r/systemd/private'],
  )
  assert.equal(sockets(0, true, { DBUS_SESSION_BUS_ADDRESS: 'unix:path=/r/bus', XDG_RUNTIME_DIR: '/r' }), [
    '/r/bus',
    'direct /r/systemd/private',
  ])
  assert.throws(() => sockets(0, true, {}), /neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR/)
  assert.is(isRootless({ uid: 0, mapped: false, env: {} }), false)
})

test('addresses that are no unix sockets, or too long for one, are left out', () => {
  const names = (list: string) => parseAddresses(list, 'bus', '/r').map(({ name }) => name)
  assert.equal(names('unix:path=/a%20b%3d,guid=1;unix:runtime=yes;unix:abstract=c'), [
    'bus (/a b=)',
    'bus (/r/bus)',
    'bus (@c)',
  ])
  assert.equal(names(`unix:path=/${'x'.repeat(107)};unix:dir=/tmp;tcp:host=h,port=1;;unix:`), [])
})

test.run()
