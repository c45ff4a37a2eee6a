/** Stands in for src/base/bytes.ts in the QuickJS build: the same, with the conversions done by host.c. */
import { host } from './host.ts'

export * from '../base/bytes.ts'

export function encodeUtf8(text: string): Uint8Array {
  return new Uint8Array(host.encode(text))
}

export const { encodeInto } = host

export function decodeUtf8(bytes: Uint8Array): string {
  return host.decode(bytes.buffer, bytes.byteOffset, bytes.length)
}
