/** The error every part of runt throws for something the user can understand. Its message is one line. */
export class RuntError extends Error {
  /** The kernel's errno name, where the cause was a system call. */
  readonly errno: string | undefined

  constructor(message: string, errno?: string) {
    super(message)
    this.name = 'RuntError'
    this.errno = errno
  }
}
