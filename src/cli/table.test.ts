import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { StateView } from '../container/runtime.ts'
import { listTable } from './table.ts'

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

test.run()
