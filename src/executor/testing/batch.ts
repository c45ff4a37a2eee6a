/** Raw batches for the executor's own tests, with nothing between them and protocol.ts. */
import { ARENA, HEADER_SIZE, Header, Kind, OP_SIZE, Op, REPLY_SIZE, Reply } from '../protocol.ts'

export interface Operation {
  readonly kind?: number
  readonly number?: number
  readonly test?: number
  readonly dst?: number
  readonly args?: readonly (number | bigint)[]
  readonly modes?: readonly number[]
  readonly errnos?: readonly number[]
  readonly target?: number
}

export interface Batch {
  readonly sequence?: number
  readonly flags?: number
  readonly operations: readonly Operation[]
  readonly data?: Uint8Array
  /** Bytes of output behind the results. */
  readonly output?: number
}

const operationsAt = (batch: Batch) => HEADER_SIZE + Math.ceil((batch.data?.length ?? 0) / 8) * 8
const replyAt = (batch: Batch) => operationsAt(batch) + batch.operations.length * OP_SIZE

/** Address of a result while the batch runs. */
export const resultAt = (batch: Batch, index: number) => ARENA + replyAt(batch) + REPLY_SIZE + index * 8

/** Address of the output of a batch. */
export const outputAt = (batch: Batch) => resultAt(batch, batch.operations.length)

export function encode(batch: Batch): Uint8Array {
  const { operations } = batch
  const bytes = new Uint8Array(replyAt(batch))
  const view = new DataView(bytes.buffer)
  view.setUint32(Header.SEQUENCE, batch.sequence ?? 1, true)
  view.setUint32(Header.COUNT, operations.length, true)
  view.setUint32(Header.FLAGS, batch.flags ?? 0, true)
  view.setUint32(Header.REPLY_AT, replyAt(batch), true)
  view.setUint32(Header.REPLY_LENGTH, REPLY_SIZE + operations.length * 8 + (batch.output ?? 0), true)
  view.setUint32(Header.OPERATIONS_AT, operationsAt(batch), true)
  for (const [index, operation] of operations.entries()) {
    const at = operationsAt(batch) + index * OP_SIZE
    view.setUint32(at + Op.NUMBER, operation.number ?? 0, true)
    view.setUint8(at + Op.KIND, operation.kind ?? Kind.SYSCALL)
    view.setUint8(at + Op.TEST, operation.test ?? 0)
    view.setUint16(at + Op.DST, operation.dst ?? 0, true)
    for (const [arg, value] of (operation.args ?? []).entries()) {
      view.setBigUint64(at + Op.ARGS + arg * 8, BigInt.asUintN(64, BigInt(value)), true)
    }
    const modes = (operation.modes ?? []).reduce((sum, mode, arg) => sum | (mode << (2 * arg)), 0)
    view.setUint16(at + Op.MODES, modes, true)
    for (const [position, errno] of (operation.errnos ?? []).entries()) view.setUint8(at + Op.ERRNOS + position, errno)
    view.setUint16(at + Op.TARGET, operation.target ?? 0, true)
  }
  bytes.set(batch.data ?? [], HEADER_SIZE)
  return bytes
}

export interface Answer {
  readonly sequence: number
  readonly stoppedAt: number
  readonly results: readonly bigint[]
  readonly output: Uint8Array
  readonly length: number
}

export function decode(batch: Batch, bytes: Uint8Array): Answer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const count = bytes.length === REPLY_SIZE ? 0 : batch.operations.length
  return {
    sequence: view.getUint32(Reply.SEQUENCE, true),
    stoppedAt: view.getUint32(Reply.STOPPED_AT, true),
    results: Array.from({ length: count }, (_, index) => view.getBigInt64(REPLY_SIZE + index * 8, true)),
    output: bytes.slice(REPLY_SIZE + count * 8),
    length: bytes.length,
  }
}
