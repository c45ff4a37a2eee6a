import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Flag } from '../executor/protocol.ts'
import { Batch } from '../session/batch.ts'
import { Session } from '../session/session.ts'
import { type NodePlatform, openPlatform } from './platform.ts'

function withPlatform(work: (platform: NodePlatform) => void): void {
  const platform = openPlatform([])
  try {
    work(platform)
  } finally {
    platform.close()
  }
}

test('the executor answers on the host session', () => {
  withPlatform((platform) => {
    const batch = new Batch(platform.machine)
    const pid = batch.call('getpid')
    const answer = new Session('host', platform.host).run(batch)
    assert.is(answer.value(pid), platform.executorPid)
  })
})

test('the executor holds its sessions as descriptors 3 to 5, and others only if this process inherited them', () => {
  withPlatform((platform) => {
    new Session('host', platform.host).run(new Batch(platform.machine))
    const folder = `/proc/${platform.executorPid}/fd`
    for (const fd of readdirSync(folder)) {
      const target = readlinkSync(`${folder}/${fd}`)
      if (Number(fd) >= 3 && Number(fd) <= 5) assert.match(target, /^socket:/)
      else assert.is(target, readlinkSync(`/proc/self/fd/${fd}`))
    }
  })
})

test('waiting for a message ends after the time', () => {
  withPlatform((platform) => {
    const start = performance.now()
    assert.is(platform.host.receive(30), 'timeout')
    const elapsed = performance.now() - start
    assert.ok(elapsed >= 29 && elapsed < 2000, `${elapsed} ms`)
    assert.is(platform.stage.receive(0), 'timeout')
  })
})

test('when the executor is killed every session ends', () => {
  withPlatform((platform) => {
    process.kill(platform.executorPid, 'SIGKILL')
    assert.is(platform.host.receive(5000), null)
    assert.is(platform.stage.receive(5000), null)
    assert.is(platform.init.receive(5000), null)
    assert.throws(() => platform.host.send(new Uint8Array(64)), /the host executor is gone: send: EPIPE/)
  })
})

test('the executor ends when its session is closed', async () => {
  const platform = openPlatform([])
  platform.close()
  for (let i = 0; i < 100 && existsSync(`/proc/${platform.executorPid}`); i++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.not(existsSync(`/proc/${platform.executorPid}`))
})

test('the executor runs from memory, not from a file', () => {
  withPlatform((platform) => {
    new Session('host', platform.host).run(new Batch(platform.machine))
    assert.match(readlinkSync(`/proc/${platform.executorPid}/exe`), /memfd:runt-executor/)
  })
})

test('a message sent without waiting is performed', () => {
  withPlatform((platform) => {
    const session = new Session('host', platform.host)
    const batch = new Batch(platform.machine)
    batch.call('prctl', 15, 'sent', 0, 0, 0)
    session.send(batch, Flag.SILENT)
    session.run(new Batch(platform.machine))
    assert.is(readFileSync(`/proc/${platform.executorPid}/comm`, 'utf8'), 'sent\n')
  })
})

test.run()
