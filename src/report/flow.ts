import type { Replay } from '../traces/replay.js'

/** What became of the candidates of an arm while they were written, means over the prompts. */
export interface Flow {
  readonly arm: string
  /** The steps that are told: a candidate writes its first token at step 1. */
  readonly steps: readonly number[]
  /** Candidates that write a token at each of these steps. Over all steps their sum is the tokens generated. */
  readonly live: readonly number[]
  /** Those that have ended by themselves before it. */
  readonly finished: readonly number[]
  /** Those that have been killed before it. */
  readonly killed: readonly number[]
  /** KV cells in use. */
  readonly cells: readonly number[]
}

/** Steps a flow tells of, at most. */
const most = 96

/** Sums up the races of one arm, prompt by prompt. */
export class FlowSum {
  readonly arm: string
  #races = 0
  /** By tokens: how many candidates ended there. */
  readonly #finished: number[] = []
  readonly #killed: number[] = []
  /** By step: cells in use. */
  readonly #cells: number[] = []
  #candidates = 0

  constructor(arm: string) {
    this.arm = arm
  }

  add({ tokens, killedAt }: Pick<Replay, 'tokens' | 'killedAt'>, promptTokens: number): void {
    const longest = tokens.reduce((most, count) => Math.max(most, count), 0)
    while (this.#cells.length <= longest + 1) {
      for (const sums of [this.#finished, this.#killed, this.#cells]) sums.push(0)
    }
    const ends = new Int32Array(longest + 2)
    for (const [id, count] of tokens.entries()) {
      const to = killedAt[id] === -1 ? this.#finished : this.#killed
      to[count] = (to[count] as number) + 1
      ends[count] = (ends[count] as number) + 1
    }
    let live = tokens.length
    for (let step = 1; step <= longest; step++) {
      live -= ends[step - 1] as number
      this.#cells[step] = (this.#cells[step] as number) + live * (promptTokens + step)
    }
    this.#races++
    this.#candidates += tokens.length
  }

  flow(): Flow {
    const races = Math.max(1, this.#races)
    const total = Math.max(1, this.#cells.length - 1)
    // The first step and the last are among them.
    const count = Math.min(most, total)
    const steps = Array.from({ length: count }, (_, i) => 1 + Math.round((i * (total - 1)) / Math.max(1, count - 1)))
    const [finished, killed] = [before(this.#finished), before(this.#killed)]
    const at = (sums: readonly number[], step: number) => (sums[step] ?? 0) / races
    return {
      arm: this.arm,
      steps,
      live: steps.map((step) => this.#candidates / races - at(finished, step) - at(killed, step)),
      finished: steps.map((step) => at(finished, step)),
      killed: steps.map((step) => at(killed, step)),
      cells: steps.map((step) => at(this.#cells, step))
    }
  }
}

/** At each place the sum of all that lie before it. */
function before(counts: readonly number[]): number[] {
  let sum = 0
  return counts.map((count) => {
    sum += count
    return sum - count
  })
}
