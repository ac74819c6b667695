import { expected, WinnowError } from '../errors.js'

/** A request that was let in. */
export interface Place {
  /** It no longer waits. Once. */
  start(): void
  /** It is over. Idempotent. */
  leave(): void
}

/** Counts who waits and who runs, and lets in no more than may wait. Who is next is the engine's business. */
export class Gate {
  readonly #most: number
  readonly #waiting = new Set<number>()
  #running = 0
  #closed = false
  #empty: (() => void)[] = []

  constructor(most: number) {
    this.#most = most
  }

  get waiting(): number {
    return this.#waiting.size
  }

  get running(): number {
    return this.#running
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Seconds after which it is worth coming again: as long as the one has waited who waits longest, 1 to 60. */
  get retryAfter(): number {
    const [oldest = performance.now()] = this.#waiting
    return Math.min(60, Math.max(1, Math.ceil((performance.now() - oldest) / 1000)))
  }

  /** Throws QUEUE_FULL and DRAINING: before a body is read, as well as after. */
  check(): void {
    if (this.#closed) throw new WinnowError('DRAINING', 'Expected a running service but this one is going down')
    // With no queue at all one request is still let in to run.
    if (this.#waiting.size < Math.max(1, this.#most)) return
    throw expected('QUEUE_FULL', `at most ${this.#most} waiting requests`, 'the queue', this.#waiting.size + 1)
  }

  enter(): Place {
    this.check()
    // Their order is that of coming; no two come at the same time.
    let at = performance.now()
    while (this.#waiting.has(at)) at += 1e-6
    this.#waiting.add(at)
    let running = false
    let left = false
    return {
      start: () => {
        if (running || left) return
        running = true
        this.#waiting.delete(at)
        this.#running++
      },
      leave: () => {
        if (left) return
        left = true
        if (running) this.#running--
        else this.#waiting.delete(at)
        if (this.#running + this.#waiting.size > 0) return
        for (const resolve of this.#empty.splice(0)) resolve()
      }
    }
  }

  /** Lets nobody in any more; resolves when everybody has left. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#running + this.#waiting.size > 0) await new Promise<void>((resolve) => this.#empty.push(resolve))
  }
}
