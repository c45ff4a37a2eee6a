/** What runt takes from the container's /etc/passwd (passwd(5)). */

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
