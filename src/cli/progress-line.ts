import { isWatched, type Output, type Terminal } from './terminal.js'

/** One line that says how far something is: ten times a second at most where a person watches, else every half minute. */
export class ProgressLine {
  readonly #to: Output
  readonly #watched: boolean
  #saidAt = Number.NEGATIVE_INFINITY
  #shown = false

  constructor(terminal: Terminal) {
    this.#to = terminal.stderr
    this.#watched = isWatched(terminal)
  }

  say(text: string): void {
    const now = performance.now()
    if (now - this.#saidAt < (this.#watched ? 100 : 30_000)) return
    this.#saidAt = now
    this.#shown = this.#watched
    if (!this.#watched) this.#to.write(`${text}\n`)
    else this.#to.write(`\r\u001b[K${text.slice(0, this.#to.columns - 1)}`)
  }

  /** Clears the line for what comes next. */
  end(): void {
    if (this.#shown) this.#to.write('\r\u001b[K')
    this.#shown = false
  }
}
