import { setMaxListeners } from 'node:events'
import { onAbort } from './abort.js'
import { WinnowError } from './errors.js'

export interface PumpSetup<Item, Outcome> {
  readonly source: Iterator<Item> | AsyncIterator<Item>
  /** Called in the order of the items, which are numbered from 0. */
  readonly work: (item: Item, index: number, signal: AbortSignal) => Promise<Outcome>
  /** The most items that have been pulled and whose outcome has not been consumed. */
  readonly concurrency: number
  readonly order: 'finished' | 'given'
  /** Ends all work, as does what `work` or the source fails with: what has finished by then is given out, then the reason is thrown. */
  readonly signal: AbortSignal | undefined
  /** Pulls no more; what is under way is waited for. */
  readonly stop: AbortSignal | undefined
}

/**
 * Pulls items as there is room, works on them at the same time and gives out what comes of them. An outcome is consumed
 * when the next one is asked for.
 */
export class Pump<Item, Outcome> {
  readonly #setup: PumpSetup<Item, Outcome>
  readonly #halt = new AbortController()
  /** They never reject. */
  readonly #working = new Set<Promise<void>>()
  /** By the number of the item, in the order in which they finished. */
  readonly #finished = new Map<number, Outcome>()
  /** Items pulled, or being pulled, and not consumed. */
  #open = 0
  #pulled = 0
  #given = 0
  #pulling = false
  /** No more is to be pulled. */
  #dry = false
  /** The source has said so itself, or failed. */
  #ended = false
  #failure: { readonly error: unknown } | null = null
  /** Lets the consumer look again. */
  #wake = () => {}

  constructor(setup: PumpSetup<Item, Outcome>) {
    this.#setup = setup
    // Everything under way listens; however many that are, it is no leak.
    setMaxListeners(0, this.#halt.signal)
  }

  /** To be called once. Leaving the loop ends the work under way, waits for it and closes the source. */
  async *outcomes(): AsyncGenerator<Outcome, void, undefined> {
    const { signal, stop } = this.#setup
    const undo = [
      onAbort(signal, () => this.#fail(signal?.reason)),
      onAbort(stop, () => {
        this.#dry = true
        this.#wake()
      })
    ]
    try {
      for (;;) {
        this.#fill()
        const index = this.#next()
        if (index !== undefined) {
          const outcome = this.#finished.get(index) as Outcome
          this.#finished.delete(index)
          this.#given++
          yield outcome
          this.#open--
        } else if (this.#failure !== null && this.#working.size === 0) {
          throw this.#failure.error
        } else if (this.#dry && this.#working.size === 0) {
          return
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
        }
      }
    } finally {
      for (const step of undo) step()
      this.#dry = true
      this.#halt.abort(new WinnowError('INTERRUPTED', 'Nobody asks for the results any more'))
      await Promise.all(this.#working)
      await this.#closeSource()
    }
  }

  /** The number of the finished item to be given out now. */
  #next(): number | undefined {
    const numbers = [...this.#finished.keys()]
    if (this.#setup.order === 'finished') return numbers[0]
    if (this.#finished.has(this.#given)) return this.#given
    // After a failure some never come.
    return this.#working.size === 0 ? numbers.sort((a, b) => a - b)[0] : undefined
  }

  /** Ends everything. */
  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#halt.abort(error)
    this.#wake()
  }

  #fill(): void {
    const enough = this.#dry || this.#failure !== null || this.#open >= this.#setup.concurrency
    if (enough || this.#pulling) return
    this.#pulling = true
    this.#open++
    void this.#pull()
  }

  async #pull(): Promise<void> {
    try {
      const { done, value } = await this.#setup.source.next()
      this.#pulling = false
      if (done === true) this.#ended = this.#dry = true
      else if (!this.#dry && this.#failure === null) this.#begin(value)
    } catch (error) {
      this.#pulling = false
      this.#ended = true
      this.#fail(error)
    }
    this.#fill()
    this.#wake()
  }

  #begin(item: Item): void {
    const index = this.#pulled++
    const job = (async () => this.#setup.work(item, index, this.#halt.signal))().then(
      (outcome) => void this.#finished.set(index, outcome),
      (error: unknown) => this.#fail(error)
    )
    const over = job.then(() => {
      this.#working.delete(over)
      this.#wake()
    })
    this.#working.add(over)
  }

  async #closeSource(): Promise<void> {
    if (this.#ended) return
    const closing = Promise.resolve(this.#setup.source.return?.())
    // A source that is still being asked may never answer.
    if (this.#pulling) closing.catch(() => {})
    else await closing
  }
}
