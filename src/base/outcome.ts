/** What came of some work: kept for later, where what runs meanwhile has to be looked after first. */
export type Outcome<T> = { value: T } | { error: unknown }

export function attempt<T>(work: () => T): Outcome<T> {
  try {
    return { value: work() }
  } catch (error) {
    return { error }
  }
}

/** The value; throws the error if it is one. */
export function succeed<T>(outcome: Outcome<T>): T {
  if ('error' in outcome) throw outcome.error
  return outcome.value
}
