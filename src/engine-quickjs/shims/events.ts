/** What commander uses of node:events. */
type Listener = (...values: unknown[]) => void

export class EventEmitter {
  #listeners = new Map<string, Listener[]>()

  on(event: string, listener: Listener): this {
    const list = this.#listeners.get(event)
    if (list) list.push(listener)
    else this.#listeners.set(event, [listener])
    return this
  }

  emit(event: string, ...values: unknown[]): boolean {
    const list = this.#listeners.get(event) ?? []
    for (const listener of [...list]) listener.apply(this, values)
    return list.length > 0
  }

  listenerCount(event: string): number {
    return this.#listeners.get(event)?.length ?? 0
  }
}
