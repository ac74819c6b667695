import { onAbort } from '../abort.js'

interface Waiting {
  readonly streams: number
  admit(): void
}

/** Races that a model scores at the same time: in the order they came, while their streams together are few enough. */
export class Places {
  #most: number
  #taken = 0
  readonly #waiting: Waiting[] = []

  /** `most`: streams of all who score at once. A race of more has the model alone. */
  constructor(most: number) {
    this.#most = most
  }

  /** Resolves when there is room for so many streams, with what gives them back. Rejects with the signal's reason. */
  take(streams: number, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        streams,
        admit: () => {
          unsubscribe()
          this.#taken += streams
          resolve(() => {
            this.#taken -= streams
            this.#admit()
          })
        }
      }
      this.#waiting.push(waiting)
      const unsubscribe = onAbort(signal, () => {
        const index = this.#waiting.indexOf(waiting)
        if (index < 0) return
        this.#waiting.splice(index, 1)
        reject(signal.reason)
        this.#admit()
      })
      this.#admit()
    })
  }

  /** Memory has no room for so many: from now on no more at once than the others have. False where there are no others. */
  shrink(own: number): boolean {
    const others = this.#taken - own
    if (others <= 0) return false
    this.#most = Math.min(this.#most, others)
    return true
  }

  #admit(): void {
    for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
      if (this.#taken > 0 && this.#taken + next.streams > this.#most) return
      this.#waiting.shift()
      next.admit()
    }
  }
}
