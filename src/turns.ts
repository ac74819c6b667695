import { abortable } from './abort.js'

/** Whoever shares one thing takes turns at it, in the order they came. */
export class Turns {
  /** Resolves when the last in the queue has ended. */
  #tail: Promise<void> = Promise.resolve()

  /** Resolves when everybody who is in the queue has ended. */
  get empty(): Promise<void> {
    return this.#tail
  }

  /** Resolves when it is the caller's turn, with what ends it. Rejects with the signal's reason if that comes first. */
  async take(signal: AbortSignal): Promise<() => void> {
    const previous = this.#tail
    let done = () => {}
    const own = new Promise<void>((resolve) => {
      done = resolve
    })
    this.#tail = previous.then(() => own)
    try {
      await abortable(previous, signal)
    } catch (error) {
      done()
      throw error
    }
    return done
  }
}
