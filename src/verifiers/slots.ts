import { onAbort } from '../abort.js'

/** A number of places, given to whoever asked first. */
export class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  /** Resolves when a place is free and taken. Rejects with the signal's reason, having taken none. */
  async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#free > 0) {
      this.#free--
      return
    }
    await new Promise<void>((resolve, reject) => {
      const given = () => {
        unsubscribe()
        resolve()
      }
      const unsubscribe = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(given), 1)
        reject(signal.reason)
      })
      this.#waiting.push(given)
    })
  }

  give(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}
