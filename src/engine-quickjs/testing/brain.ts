/** A brain for native.test.ts: its first argument says what to do. */
import { Command, CommanderError } from 'commander'
import { Flag } from '../../executor/protocol.ts'
import { Batch } from '../../session/batch.ts'
import { CallError, Session } from '../../session/session.ts'
import { encodeUtf8 } from '../bytes.ts'
import { openPlatform } from '../platform.ts'
import { describeFilters } from './filters.ts'
import { planEverything, planMistakes } from './plan.ts'

let parsed = ''
const program = new Command('test').exitOverride().enablePositionalOptions()
program
  .command('greet')
  .argument('<name>')
  .option('--times <n>', 'how often', '1')
  .action((name, options) => {
    parsed = `${name} ${options.times}`
  })

/** A heap of some size: names and shapes with other things between them. */
const ballast = Array.from({ length: 3000 }, (_, i) => Object.create({ [`ballast ${i}`]: 'x'.repeat(200 + (i % 100)) }))

export function start(): number {
  const platform = openPlatform()
  const [command, ...args] = platform.args
  const host = new Session('host', platform.host)
  switch (command) {
    case 'pid': {
      const batch = new Batch(platform.machine)
      const pid = batch.call('getpid')
      platform.stdout(`${host.run(batch).value(pid)}`)
      return 0
    }
    case 'process': {
      const batch = new Batch(platform.machine)
      const path = batch.out(64)
      const length = batch.call('readlinkat', -100, '/proc/self/exe', path, 64)
      const answer = host.run(batch)
      platform.stdout(answer.text(path, 0, answer.value(length)!).replace(/.*\//, ''))
      return 0
    }
    case 'answers': {
      // Three of different sizes before the first is asked for; then one that fails, and one that is skipped for it.
      const sizes = [8, 4000, 80].map((size) => {
        const batch = new Batch(platform.machine)
        const out = batch.out(size)
        batch.store(32, out, size)
        host.send(batch)
        return { batch, out }
      })
      const found = sizes.map(({ batch, out }) => host.wait(batch).word(out))
      const bad = new Batch(platform.machine)
      bad.call('close', 1000)
      host.send(bad)
      const skipped = new Batch(platform.machine)
      skipped.call('exit_group', 1)
      host.send(skipped)
      for (const batch of [bad, skipped])
        try {
          host.wait(batch)
        } catch (error) {
          found.push(error instanceof CallError ? error.code : 0)
        }
      const fresh = new Batch(platform.machine)
      const pid = fresh.call('getpid')
      platform.stdout(`${found} ${host.recover(fresh).value(pid)! > 0}`)
      return 0
    }
    case 'units':
      for (const arg of args) {
        const units = Array.from({ length: arg.length }, (_, i) => arg.charCodeAt(i))
        platform.stdout(`${JSON.stringify({ units, bytes: Array.from(encodeUtf8(arg)) })}\n`)
      }
      return 0
    case 'plan':
      platform.stdout(`${planEverything(platform.machine)}\n${planMistakes(platform.machine)}`)
      return 0
    case 'filters':
      platform.stdout(describeFilters())
      return 0
    case 'env':
      platform.stdout(`${platform.env[args[0]!] ?? 'unset'} ${platform.getenv(args[0]!) ?? 'unset'}`)
      return 0
    case 'lone':
      platform.stdout('\ud800x\udc00')
      return 0
    case 'large': {
      const text = JSON.stringify({
        filler: 'é'.repeat(8_000_000),
        list: Array.from({ length: 100_000 }, (_, i) => ({ i })),
      })
      return JSON.stringify(JSON.parse(text)) === text ? 0 : 1
    }
    case 'prepare':
      for (const bytes of [-1, 0, 1, 4096, 448 << 10, 1 << 20, 2 ** 40]) {
        platform.prepare!(bytes)
        const list = Array.from({ length: 3000 }, (_, i) => `${bytes} ${i}`)
        if (!list.every((text, i) => text === `${bytes} ${i}`)) return 1
      }
      return 0
    case 'timeout':
      return platform.stage.receive(20) === 'timeout' && platform.stage.receive(0) === 'timeout' ? 0 : 1
    case 'hand-over': {
      const batch = new Batch(platform.machine)
      batch.call('exit_group', 42)
      host.send(batch, Flag.SILENT)
      return platform.handOver() as never
    }
    case 'strangers': {
      // Names and shapes that nobody has heard of; then waits to be looked at.
      const met = Array.from({ length: 300 }, (_, i) => ({ [`foreign ${i}`]: i }))
      platform.stdout(`${met.length + ballast.length}`)
      platform.stage.receive(10_000)
      return 0
    }
    case 'bug':
      throw new TypeError('a bug')
    case 'parse':
      try {
        program.parse(args, { from: 'user' })
        platform.stdout(parsed)
        return 0
      } catch (error) {
        if (error instanceof CommanderError) return error.exitCode
        throw error
      }
    default:
      return Number(command)
  }
}
