import type { Mapped } from '../map.js'

/** What has come of the prompts so far, and how fast. */
export class Tally {
  /** Raced in this call. */
  done = 0
  /** Found in the file. */
  resumed = 0
  failed = 0
  /** Of this call's races, killed ones included. */
  candidates = 0
  generatedTokens = 0
  readonly #prompts: number
  /** Candidates a prompt. */
  readonly #n: number
  readonly #startedAt = performance.now()

  constructor(prompts: number, n: number) {
    this.#prompts = prompts
    this.#n = n
  }

  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000
  }

  add(mapped: Mapped): void {
    if (mapped.state === 'failed') this.failed++
    else if (mapped.resumed) this.resumed++
    else this.done++
    if (mapped.result === null || (mapped.state === 'done' && mapped.resumed)) return
    this.candidates += this.#n
    this.generatedTokens += mapped.result.usage.generatedTokens
  }

  /** How far it is, the rates and, from the pace since the beginning, how long it will take. */
  progress(): string {
    const raced = this.done + this.failed
    const over = raced + this.resumed
    const far = `${over} of ${this.#prompts} prompts${this.failed === 0 ? '' : `, ${this.failed} failed`}`
    if (raced === 0) return far
    const left = Math.max(0, this.#prompts - over) * (this.seconds / raced)
    return `${far}; ${this.rates()}; about ${duration(left)} left`
  }

  rates(): string {
    const each = (count: number) => (count / Math.max(1e-9, this.seconds)).toPrecision(3)
    return `${Number(each(this.candidates))} candidates/s, ${Number(each(this.generatedTokens))} tokens/s`
  }
}

function duration(seconds: number): string {
  if (seconds < 100) return `${Math.ceil(seconds)} s`
  return seconds < 6000 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`
}
