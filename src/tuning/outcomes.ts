import { WinnowError } from '../errors.js'
import { bootstrap, type Interval, resamples } from '../statistics.js'
import type { Replay } from '../traces/replay.js'
import { finalScore, type Trace } from '../traces/trace.js'

/** What is wanted: one of them. */
export type TuningGoal =
  /** The fewest tokens at which the answer is best-of-N's on so large a share of the prompts. */
  | { readonly keep: number }
  /** The most such prompts at this share of best-of-N's tokens. */
  | { readonly tokens: number }
  /** The fewest tokens at this mean regret. */
  | { readonly regret: number }

/** What a candidate came to over the prompts it was not learnt from. */
export interface TunedPoint {
  readonly name: string
  /** Share of prompts on which the answer is best-of-N's. */
  readonly survival: Interval
  /** Of best-of-N's generated tokens. */
  readonly tokens: Interval
  readonly regret: Interval
  /** Null where right answers are not known. */
  readonly accuracy: Interval | null
}

/** What one policy got on one prompt. */
export interface Outcome {
  readonly survived: boolean
  readonly regret: number
  readonly tokens: number
  readonly right: boolean | null
}

export function outcomeOf(trace: Trace, done: Replay, scorer: number): Outcome {
  const { winner, best, killedAt, work, n } = done
  const whole = winner !== null && killedAt[winner] === -1
  const scores = trace.scores(scorer)
  const finals = Array.from({ length: n }, (_, id) => finalScore(trace, scores, id)).filter(Number.isFinite)
  const [low, high] = [Math.min(...finals), Math.max(...finals)]
  const score = whole ? Math.max(low, finalScore(trace, scores, winner)) : low
  return {
    survived: whole && trace.same[winner] === trace.same[best],
    regret: high > low ? (high - score) / (high - low) : 0,
    tokens: work.generatedTokens,
    right: trace.right[0] === null ? null : whole && trace.right[winner] === true
  }
}

/** Outcomes of candidates (rows) on prompts (columns). */
export class Outcomes {
  readonly #names: readonly string[]
  readonly #rows: readonly (readonly Outcome[])[]
  readonly #baseline: readonly number[]
  readonly #drawn: readonly Int32Array[]

  constructor(
    names: readonly string[],
    rows: readonly (readonly Outcome[])[],
    baseline: readonly number[],
    seed: number
  ) {
    this.#names = names
    this.#rows = rows
    this.#baseline = baseline
    this.#drawn = resamples(baseline.length, seed, 1000)
  }

  /** The row that is best by the goal on these prompts. `anyway`: or else the one that comes nearest. */
  choose(prompts: readonly number[], goal: TuningGoal, anyway = false): number {
    const sums = this.#rows.map((row) => sumsOf(row, this.#baseline, prompts))
    const fits = (row: number) => {
      const { survival, tokens, regret, survivalError, regretError } = sums[row] as Sums
      if ('tokens' in goal) return tokens <= goal.tokens
      // Best-of-N, the first, is itself.
      if (row === 0) return true
      return 'keep' in goal ? survival - survivalError >= goal.keep : regret + regretError <= goal.regret
    }
    const worth = (row: number) => {
      const { survival, tokens, regret } = sums[row] as Sums
      return 'tokens' in goal ? [survival, -regret] : [-tokens, survival]
    }
    const all = sums.map((_, row) => row)
    const fitting = all.filter(fits)
    if (fitting.length > 0) return best(fitting, worth)
    const least = best(all, (row) => [-(sums[row] as Sums).tokens])
    if (anyway) return least
    const share = (sums[least] as Sums).tokens.toFixed(3)
    throw new WinnowError(
      'OPTION_INVALID',
      `Expected a share of tokens that some policy comes down to for the goal but received less than ${share}, the least`
    )
  }

  /** `of` says whose outcome counts on each prompt. */
  point(of: (prompt: number) => number, name = this.#names[of(0)] as string): TunedPoint {
    const outcomes = this.#baseline.map(
      (_, prompt) => (this.#rows[of(prompt)] as readonly Outcome[])[prompt] as Outcome
    )
    const mean = (value: (outcome: Outcome) => number) =>
      this.#interval((items) => total(items, (prompt) => value(outcomes[prompt] as Outcome)) / items.length)
    const known = outcomes.every(({ right }) => right !== null)
    return {
      name,
      survival: mean(({ survived }) => Number(survived)),
      tokens: this.#interval(
        (items) =>
          total(items, (prompt) => (outcomes[prompt] as Outcome).tokens) /
          total(items, (prompt) => this.#baseline[prompt] as number)
      ),
      regret: mean(({ regret }) => regret),
      accuracy: known ? mean(({ right }) => Number(right)) : null
    }
  }

  front(): TunedPoint[] {
    const every = this.#baseline.map((_, prompt) => prompt)
    const sums = this.#rows.map((row) => sumsOf(row, this.#baseline, every))
    const beaten = (own: Sums) =>
      sums.some(({ survival, tokens }) => {
        const no = survival < own.survival || tokens > own.tokens
        return !no && (survival > own.survival || tokens < own.tokens)
      })
    const rows = sums.map((_, row) => row).filter((row) => !beaten(sums[row] as Sums))
    const alike = (a: number, b: number) =>
      (sums[a] as Sums).survival === (sums[b] as Sums).survival && (sums[a] as Sums).tokens === (sums[b] as Sums).tokens
    return rows
      .filter((row, i) => !rows.slice(0, i).some((other) => alike(row, other)))
      .sort((a, b) => (sums[a] as Sums).tokens - (sums[b] as Sums).tokens)
      .map((row) => this.point(() => row))
  }

  #interval(statistic: (items: Int32Array) => number): Interval {
    return bootstrap(this.#baseline.length, this.#drawn, statistic)
  }
}

interface Sums {
  readonly survival: number
  readonly survivalError: number
  readonly tokens: number
  readonly regret: number
  readonly regretError: number
}

/** Means over these prompts, and the standard errors of two of them. */
function sumsOf(row: readonly Outcome[], baseline: readonly number[], prompts: readonly number[]): Sums {
  let [survived, tokens, all, regret, squares] = [0, 0, 0, 0, 0]
  for (const prompt of prompts) {
    const outcome = row[prompt] as Outcome
    survived += Number(outcome.survived)
    tokens += outcome.tokens
    all += baseline[prompt] as number
    regret += outcome.regret
    squares += outcome.regret ** 2
  }
  const count = prompts.length
  // One more loss than was seen: that none of few prompts was lost does not mean that none will be.
  const share = survived / (count + 1)
  const mean = regret / count
  return {
    survival: survived / count,
    survivalError: survived / count - share + Math.sqrt((share * (1 - share)) / count),
    tokens: tokens / all,
    regret: mean,
    regretError: Math.sqrt(Math.max(0, squares / count - mean ** 2) / count)
  }
}

/** The first of the greatest, by one number after the other. */
function best(rows: readonly number[], worth: (row: number) => readonly number[]): number {
  return rows.reduce((found, row) => {
    const [own, other] = [worth(row), worth(found)]
    const at = own.findIndex((value, i) => value !== other[i])
    return at >= 0 && (own[at] as number) > (other[at] as number) ? row : found
  })
}

function total(items: Int32Array, of: (prompt: number) => number): number {
  let sum = 0
  for (const item of items) sum += of(item)
  return sum
}
