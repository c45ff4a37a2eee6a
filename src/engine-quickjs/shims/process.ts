/** What commander uses of node:process. */
import { host } from '../host.ts'

const stream = (fd: number) => ({
  isTTY: false,
  columns: undefined,
  write(text: string): boolean {
    host.write(fd, text)
    return true
  },
})

export const stdout = stream(1)
export const stderr = stream(2)
export const platform = 'linux'
export const argv: string[] = []
/** Read for NO_COLOR and the like, which plain text has no use for. */
export const env: Record<string, string> = { NO_COLOR: '1' }

export function exit(status = 0): never {
  return host.exit(status)
}
