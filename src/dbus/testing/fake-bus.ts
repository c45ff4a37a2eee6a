/**
 * A bus with systemd on it, for tests: real bytes on a real socket, in a process of its own, because the brain blocks while it waits.
 * By default it answers as the real ones do; `Behaviour` makes it misbehave.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server as NetServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { marshal, type Value, variant, Writer } from '../marshal.ts'
import { decodeMessage, type Message, MessageType, messageLength, PREFIX } from '../message.ts'

/** What is done with a call; the first that is left of its member. */
export interface Reaction {
  error?: [name: string, text: string]
  /** The text that the answer holds. */
  text?: string
  /** Bytes in place of an answer, in hex. */
  raw?: string
  silent?: true
  close?: true
  /** How the job ends; null: nobody hears of it. */
  job?: string | null
}

export interface Behaviour {
  greeting?: 'ok' | 'needs-data' | 'rejects' | 'silent' | 'garbage' | 'closes' | 'endless'
  /** By member of a call, or by name of a property. */
  reactions?: Record<string, Reaction[]>
  /** Sends bytes one by one, so many milliseconds apart. */
  drip?: number
  /** Sends signals of no interest all the time. */
  flood?: boolean
  version?: string
  root?: string
}

export interface Seen {
  member: string
  body: Value[]
}

export interface FakeBus {
  path: string
  /** The calls so far, in order. */
  seen(): Promise<Seen[]>
  stop(): Promise<void>
}

/** The process that has all buses of a test file; started with the first of them. */
let helper: ChildProcess | null = null

/** Asks it for something; gives what it answers. */
function ask<T>(question: Question): Promise<T> {
  helper ??= fork(fileURLToPath(import.meta.url), { serialization: 'advanced' })
  const child = helper
  return new Promise((resolve) => {
    child.ref()
    child.once('message', (answer) => {
      // It shall not keep the test file from ending.
      child.unref()
      child.channel?.unref()
      resolve(answer as T)
    })
    child.send(question)
  })
}

interface Question {
  path: string
  what: 'start' | 'seen' | 'stop'
  behaviour?: Behaviour
}

export async function startFakeBus(behaviour: Behaviour = {}): Promise<FakeBus> {
  const folder = mkdtempSync(join(tmpdir(), 'runt-bus-'))
  const path = join(folder, 'bus')
  await ask({ path, what: 'start', behaviour })
  return {
    path,
    seen: () => ask<Seen[]>({ path, what: 'seen' }),
    async stop() {
      await ask({ path, what: 'stop' })
      rmSync(folder, { recursive: true })
    },
  }
}

const JOB = '/org/freedesktop/systemd1/job/'

class Server {
  readonly #behaviour: Behaviour
  readonly seen: Seen[] = []
  #serial = 0
  #jobs = 0

  constructor(behaviour: Behaviour) {
    this.#behaviour = behaviour
  }

  serve(socket: Socket): void {
    let bytes: Buffer = Buffer.alloc(0)
    let talking = false
    let asked = false
    socket.on('error', () => {})
    const flood = this.#behaviour.flood
      ? setInterval(() => talking && socket.write(this.#signal('NameOwnerChanged', 's', ['x'])), 1)
      : undefined
    socket.on('close', () => clearInterval(flood))
    socket.on('data', (data) => {
      bytes = Buffer.concat([bytes, data])
      while (!talking) {
        const end = bytes.indexOf('\r\n')
        if (end < 0) return
        const line = bytes.toString('latin1', 0, end).replace(/^\0/, '')
        bytes = bytes.subarray(end + 2)
        if (line === 'BEGIN') talking = true
        else {
          this.#greet(socket, line, asked)
          asked = true
        }
      }
      while (bytes.length >= PREFIX && bytes.length >= messageLength(bytes.subarray(0, PREFIX))) {
        const length = messageLength(bytes.subarray(0, PREFIX))
        const serial = bytes.readUInt32LE(8)
        this.#answer(socket, decodeMessage(new Uint8Array(bytes.subarray(0, length))), serial)
        bytes = bytes.subarray(length)
      }
    })
  }

  #greet(socket: Socket, line: string, again: boolean): void {
    switch (this.#behaviour.greeting ?? 'ok') {
      case 'ok':
        this.#send(socket, Buffer.from('OK 0123456789abcdef\r\n'))
        return
      case 'needs-data':
        this.#send(
          socket,
          Buffer.from(line === 'DATA' ? 'OK 01\r\n' : line === 'AUTH EXTERNAL' ? 'DATA\r\n' : 'REJECTED EXTERNAL\r\n'),
        )
        return
      case 'rejects':
        this.#send(socket, Buffer.from('REJECTED DBUS_COOKIE_SHA1\r\n'))
        return
      case 'garbage':
        socket.write(Buffer.from('\xff\x00HTTP/1.1 400\n\n'))
        return
      case 'closes':
        socket.destroy()
        return
      case 'endless':
        if (!again) socket.write(Buffer.alloc(0x10_0000, 0x41))
    }
  }

  #answer(socket: Socket, message: Message, serial: number): void {
    const { member, body } = message
    this.seen.push({ member, body })
    const name = member === 'Get' ? String(body[1]) : member
    const reaction = this.#behaviour.reactions?.[name]?.shift() ?? {}
    if (reaction.silent) return
    if (reaction.close) {
      socket.destroy()
      return
    }
    if (reaction.raw !== undefined) {
      this.#send(socket, Buffer.from(reaction.raw, 'hex'))
      return
    }
    const reply = (type: number, fields: Value[], signature: string, values: Value[]): void =>
      this.#send(socket, this.#message(type, [[5, variant('u', serial)], ...fields], signature, values))
    if (reaction.error) {
      const [error, text] = reaction.error
      reply(MessageType.ERROR, [[4, variant('s', error)]], 's', [text])
      return
    }
    const ok = (signature: string, values: Value[]): void => reply(MessageType.REPLY, [], signature, values)
    const texts: Record<string, string> = {
      Version: this.#behaviour.version ?? '252.38-1~deb12u1',
      ControlGroup: this.#behaviour.root ?? '',
      ActiveState: 'active',
    }
    if (member === 'Hello') {
      ok('s', [':1.5'])
      this.#send(socket, this.#signal('NameAcquired', 's', [':1.5']))
    } else if (member === 'Get') ok('v', [variant('s', reaction.text ?? texts[name] ?? '')])
    else if (member === 'GetUnit') ok('o', ['/org/freedesktop/systemd1/unit/x'])
    else if (member === 'StartTransientUnit' || member === 'StopUnit') {
      const job = `${JOB}${++this.#jobs}`
      ok('o', [job])
      // Of somebody else's.
      this.#send(socket, this.#signal('JobRemoved', 'uoss', [9, `${JOB}999`, 'x.service', 'failed']))
      if (reaction.job !== null)
        this.#send(socket, this.#signal('JobRemoved', 'uoss', [1, job, String(body[0]), reaction.job ?? 'done']))
    } else ok('', [])
  }

  #signal(member: string, signature: string, values: Value[]): Buffer {
    return this.#message(
      MessageType.SIGNAL,
      [
        [1, variant('o', '/org/freedesktop/systemd1')],
        [2, variant('s', 'org.freedesktop.systemd1.Manager')],
        [3, variant('s', member)],
      ],
      signature,
      values,
    )
  }

  #message(type: number, fields: Value[], signature: string, values: Value[]): Buffer {
    const body = marshal(signature, values)
    const all: Value[] = signature === '' ? fields : [...fields, [8, variant('g', signature)]]
    const writer = new Writer()
    for (const byte of [0x6c, type, 1, 1]) writer.write('y', byte)
    return Buffer.from(
      writer
        .write('u', body.length)
        .write('u', ++this.#serial)
        .write('a(yv)', all)
        .align(8)
        .raw(body).bytes,
    )
  }

  readonly #queues = new Map<Socket, Buffer>()

  #send(socket: Socket, bytes: Buffer): void {
    const { drip } = this.#behaviour
    if (drip === undefined) {
      socket.write(bytes)
      return
    }
    const waiting = this.#queues.get(socket)
    this.#queues.set(socket, Buffer.concat([waiting ?? Buffer.alloc(0), bytes]))
    if (waiting) return
    const timer = setInterval(() => {
      const queue = this.#queues.get(socket)!
      if (queue.length === 0 || socket.destroyed) {
        clearInterval(timer)
        this.#queues.delete(socket)
        return
      }
      socket.write(queue.subarray(0, 1))
      this.#queues.set(socket, queue.subarray(1))
    }, drip)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.send) {
  const buses = new Map<string, { server: Server; listener: NetServer }>()
  const tell = process.send.bind(process)
  process.on('message', ({ path, what, behaviour }: Question) => {
    if (what === 'start') {
      const server = new Server(behaviour!)
      const listener = createServer((socket) => server.serve(socket)).listen(path, () => tell('started'))
      buses.set(path, { server, listener })
    } else if (what === 'seen') tell(buses.get(path)!.server.seen)
    else {
      buses.get(path)!.listener.close()
      tell('stopped')
    }
  })
  process.on('disconnect', () => process.exit())
}
