import type { Checkpoints } from './checkpoint.js'
import type { Rung } from './ladder.js'
import type { Policy } from './policy.js'

/** So many candidates are written from one length to another, generated tokens. */
export interface Stretch {
  readonly live: number
  /** Of these: the others wait until there is room. */
  readonly atOnce: number
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
 * to keep everybody. With `rungs`, streams that are full reject too: in `waves` so many times what a rung is wide goes on.
 */
export function stretches(facts: ForecastFacts, rungs: readonly Rung[] = [], waves = 1): Stretch[] {
  const { n, maxTokens, promptTokens, policy, checkpoints, lengths } = facts
  const full = rungs.map(({ cells }) => cells - promptTokens)
  const ends = lengths === undefined ? null : [...lengths].sort((a, b) => a - b)
  const growing = (tokens: number) => (ends === null ? n : ends.filter((end) => end > tokens).length)
  const found: Stretch[] = []
  let [live, from] = [Math.min(n, growing(0)), 0]
  while (live > 0 && from < maxTokens) {
    const next = policy.keeps === undefined ? null : checkpoints.next(from)
    const checkpoint = next !== null && next > from ? next : null
    const rung = full.findIndex((tokens) => tokens > from)
    const end = ends?.find((tokens) => tokens > from) ?? maxTokens
    const to = Math.min(maxTokens, checkpoint ?? maxTokens, full[rung] ?? maxTokens, end)
    found.push({ live, atOnce: Math.min(live, rungs.at(rung)?.width ?? live), from, to })
    if (to === checkpoint) live = Math.min(live, policy.keeps?.(live) ?? live)
    if (to === full[rung]) live = Math.min(live, waves * (rungs[rung + 1]?.width ?? live))
    live = Math.min(live, growing(to))
    from = to
  }
  return found
}

export function forecast(facts: ForecastFacts, rungs: readonly Rung[] = [], waves = 1): Forecast {
  const parts = cautious(facts, rungs, waves)
  const unified = rungs[0]?.unifiedCells !== undefined
  const cells = ({ atOnce, to }: Stretch) => facts.promptTokens * (unified ? 1 : atOnce) + atOnce * to
  return {
    generatedTokens: tokensOf(parts),
    // Not spread into Math.max: a race that looks at every token has more stretches than a call takes arguments.
    peakCells: parts.reduce((most, part) => Math.max(most, cells(part)), 0) + (waves > 1 ? facts.promptTokens : 0)
  }
}

/** Generated tokens of all candidates. */
export function tokensOf(parts: readonly Stretch[]): number {
  return parts.reduce((sum, { live, from, to }) => sum + live * (to - from), 0)
}

/** Where the policy's `keeps` throws it is taken to have none: a forecast is not to cost anybody a race. */
export function cautious(facts: ForecastFacts, rungs: readonly Rung[], waves: number): Stretch[] {
  try {
    return stretches(facts, rungs, waves)
  } catch {
    return stretches({ ...facts, policy: {} }, rungs, waves)
  }
}
