/** Container ids: the name that the user gives, and the name of the folder that holds the container's state. */
import { RuntError } from '../base/errors.ts'

/** NAME_MAX of limits.h: the longest file name, in bytes. All allowed characters are one byte long. */
export const ID_MAX = 255

/**
 * Throws a RuntError unless `id` can name a container: ASCII letters, digits, `_`, `+`, `-` and `.`; neither `.` nor
 * `..`; at most 255 characters. The same alphabet as runc's. An id that passes is safe as a file name.
 */
export function checkId(id: string): void {
  if (id === '') throw new RuntError('the container id is empty')
  const wrong = /[^A-Za-z0-9_+.-]/u.exec(id)
  if (wrong) {
    const shown = JSON.stringify(id.length > 64 ? `${id.slice(0, 64)}…` : id)
    throw new RuntError(
      `invalid container ID format: ${shown} has the character ${JSON.stringify(wrong[0])}; ` +
        'letters, digits, "_", "+", "-" and "." are allowed',
    )
  }
  if (id === '.' || id === '..') throw new RuntError(`invalid container ID format: "${id}" is a folder's own name`)
  if (id.length > ID_MAX)
    throw new RuntError(`invalid container ID format: ${id.length} characters, at most ${ID_MAX} are allowed`)
}
