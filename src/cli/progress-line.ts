import type { Output } from './terminal.js'

/** One line that says how far something is: ten times a second at most on a terminal, every half minute elsewhere. */
export class ProgressLine {
  readonly #to: Output
  #saidAt = Number.NEGATIVE_INFINITY
  #shown = false

  constructor(to: Output) {
    this.#to = to
  }

  say(text: string): void {
    const now = performance.now()
    if (now - this.#saidAt < (this.#to.isTTY ? 100 : 30_000)) return
    this.#saidAt = now
    this.#shown = this.#to.isTTY
    if (!this.#to.isTTY) this.#to.write(`${text}\n`)
    else this.#to.write(`\r\u001b[K${text.slice(0, this.#to.columns - 1)}`)
  }

  /** Clears the line for what comes next. */
  end(): void {
    if (this.#shown) this.#to.write('\r\u001b[K')
    this.#shown = false
  }
}
