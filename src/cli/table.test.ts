import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { StateView } from '../container/runtime.ts'
import { listTable, processTable } from './table.ts'

const view: StateView = {
  ociVersion: '1.3.0',
  id: 'web',
  pid: 12345,
  status: 'running',
  bundle: '/tmp/bundles/web',
  rootfs: '/tmp/bundles/web/rootfs',
  created: '2026-01-02T03:04:05.000000000Z',
  owner: 'root',
}

test('the table of containers has wide columns', () => {
  assert.is(listTable([]), 'ID          PID         STATUS      BUNDLE      CREATED     OWNER\n')
  assert.is(
    listTable([view, { ...view, id: 'a-long-name-of-one', pid: 0, status: 'stopped' }]),
    [
      'ID                   PID         STATUS      BUNDLE             CREATED                          OWNER\n',
      'web                  12345       running     /tmp/bundles/web   2026-01-02T03:04:05.000000000Z   root\n',
      'a-long-name-of-one   0           stopped     /tmp/bundles/web   2026-01-02T03:04:05.000000000Z   root\n',
    ].join(''),
  )
})

test('the table of processes has the columns of ps -f', () => {
  const start = new Date(2026, 0, 2, 3, 4, 5)
  const now = new Date(2026, 0, 2, 23, 0, 0)
  const one = {
    pid: 7,
    parent: 1,
    uid: 0,
    load: 3,
    started: start.getTime(),
    terminal: '?',
    cpuSeconds: 3725.9,
    command: 'sh -c x',
  }
  assert.is(
    processTable([one, { ...one, pid: 12345, uid: 1000, started: start.getTime() - 1e9, terminal: 'pts/0' }], now),
    [
      'UID    PID PPID C STIME TTY       TIME CMD\n',
      '0        7    1 3 03:04 ?     01:02:05 sh -c x\n',
      '1000 12345    1 3 Dec21 pts/0 01:02:05 sh -c x\n',
    ].join(''),
  )
})

test.run()
