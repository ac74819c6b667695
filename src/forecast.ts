import type { Checkpoints } from './checkpoint.js'
import type { Rung } from './ladder.js'
import type { Policy } from './policy.js'

/** So many candidates are written from one length to another, generated tokens. */
export interface Stretch {
  readonly width: number
  readonly from: number
  readonly to: number
}

export interface ForecastFacts {
  readonly n: number
  readonly maxTokens: number
  readonly promptTokens: number
  readonly policy: Pick<Policy, 'keeps'>
  readonly checkpoints: Checkpoints
  /** Tokens of each answer where the answers are given: nobody grows longer. */
  readonly lengths?: readonly number[] | undefined
}

/** What a race comes to at most: if no candidate ends by itself. */
export interface Forecast {
  /** Of all candidates, killed ones included. */
  readonly generatedTokens: number
  /** The most cells in use at once. */
  readonly peakCells: number
}

/**
 * Who is written how far if no candidate ends by itself. A policy that cannot say beforehand how many it keeps is taken
 * to keep everybody. With `rungs`, streams that are full reject too.
 */
export function stretches(facts: ForecastFacts, rungs: readonly Rung[] = []): Stretch[] {
  const { n, maxTokens, promptTokens, policy, checkpoints, lengths } = facts
  const full = rungs.map(({ cells }) => cells - promptTokens)
  const ends = lengths === undefined ? null : [...lengths].sort((a, b) => a - b)
  const growing = (tokens: number) => (ends === null ? n : ends.filter((end) => end > tokens).length)
  const found: Stretch[] = []
  let [width, from] = [Math.min(n, growing(0)), 0]
  while (width > 0 && from < maxTokens) {
    const next = policy.keeps === undefined ? null : checkpoints.next(from)
    const checkpoint = next !== null && next > from ? next : null
    const rung = full.findIndex((tokens) => tokens > from)
    const end = ends?.find((tokens) => tokens > from) ?? maxTokens
    const to = Math.min(maxTokens, checkpoint ?? maxTokens, full[rung] ?? maxTokens, end)
    found.push({ width, from, to })
    if (to === checkpoint) width = Math.min(width, policy.keeps?.(width) ?? width)
    if (to === full[rung]) width = Math.min(width, rungs[rung + 1]?.width ?? width)
    width = Math.min(width, growing(to))
    from = to
  }
  return found
}

/** Where the policy's `keeps` throws it is taken to have none: a forecast is not to cost anybody a race. */
export function forecast(facts: ForecastFacts, rungs: readonly Rung[] = []): Forecast {
  const parts = cautious(facts, rungs)
  return {
    generatedTokens: parts.reduce((sum, { width, from, to }) => sum + width * (to - from), 0),
    // Not spread into Math.max: a race that looks at every token has more stretches than a call takes arguments.
    peakCells: parts.reduce((most, { width, to }) => Math.max(most, width * (facts.promptTokens + to)), 0)
  }
}

function cautious(facts: ForecastFacts, rungs: readonly Rung[]): Stretch[] {
  try {
    return stretches(facts, rungs)
  } catch {
    return stretches({ ...facts, policy: {} }, rungs)
  }
}
