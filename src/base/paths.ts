/** Paths, as text: nothing is looked up. */
import { RuntError } from './errors.ts'

/** Lexically cleans an absolute path: no empty, `.` or `..` components. */
export function cleanPath(path: string): string {
  // Most are clean, which is found out faster.
  if (path.startsWith('/') && !path.endsWith('/') && !path.includes('/.') && !path.includes('//')) return path
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}

/** `path` as seen from the folder `base`, cleaned. */
export function absolutePath(base: string, path: string): string {
  return cleanPath(path.startsWith('/') ? path : `${base}/${path}`)
}

/** Throws for a relative path where there is no working folder: it was removed, or lies outside of the root, getcwd(2). */
export function demandFolder(cwd: string, path: string): void {
  if (path.startsWith('/') || cwd.startsWith('/')) return
  throw new RuntError(
    `${path}: a relative path, and the working folder has been removed or unmounted: name it from / on`,
  )
}

/** All but the last component; `/` at the top. */
export function dirname(path: string): string {
  const at = path.lastIndexOf('/')
  return at <= 0 ? '/' : path.slice(0, at)
}

/** The last component. */
export function basename(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** PATH where an environment has none: what execvp(3) falls back on, with the administrator's folders. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
