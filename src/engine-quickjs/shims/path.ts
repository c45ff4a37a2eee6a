/** What commander uses of node:path when no subcommand is a program of its own: names, for its default name. */

export function basename(path: string, suffix = ''): string {
  const name = path.slice(path.lastIndexOf('/') + 1)
  return suffix !== '' && name.endsWith(suffix) && name !== suffix ? name.slice(0, -suffix.length) : name
}

export function extname(path: string): string {
  const name = basename(path)
  const at = name.lastIndexOf('.')
  return at > 0 ? name.slice(at) : ''
}
