/** What runt takes from /etc/passwd (passwd(5)): the container's for a home, the host's for a name. */

/** Home folder of a user; "/" where the file or the user is missing, or has none. */
export function homeOf(passwd: { text: string } | { errno: string }, uid: number): string {
  if ('errno' in passwd) return '/'
  const id = String(uid)
  for (const line of passwd.text.split('\n')) {
    const fields = line.split(':')
    if (fields[2] === id) return fields[5]?.startsWith('/') ? fields[5] : '/'
  }
  return '/'
}

/** Name of a user; undefined where the file or the user is missing. */
export function nameOf(passwd: { text: string } | { errno: string }, uid: number): string | undefined {
  if ('errno' in passwd) return undefined
  const id = String(uid)
  const line = passwd.text.split('\n').find((each) => each.split(':', 3)[2] === id)
  return line?.split(':', 1)[0] || undefined
}
