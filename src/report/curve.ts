import { bootstrap, type Interval, resamples } from '../statistics.js'
import type { PolicySummary } from '../summary.js'
import type { Row } from '../trial.js'

/** Best-of-N with so many candidates, means per prompt. */
export interface CurvePoint {
  readonly n: number
  readonly accuracy: Interval | null
  readonly meanScore: Interval | null
  readonly generatedTokens: Interval
  /** Null where it was not measured. */
  readonly wallSeconds: Interval | null
}

export function pointOf(summary: PolicySummary): CurvePoint {
  const { n, accuracy, meanScore, generatedTokens, wallSeconds } = summary
  return { n, accuracy, meanScore, generatedTokens, wallSeconds }
}

/** By the number of candidates, each number once: the first of several. */
export function inOrder(points: readonly CurvePoint[]): CurvePoint[] {
  const once = points.filter(({ n }, i) => points.findIndex((other) => other.n === n) === i)
  return once.sort((a, b) => a.n - b.n)
}

/** 1, 2, 4, ... below n. */
export function powersBelow(n: number): number[] {
  return Array.from({ length: 12 }, (_, i) => 2 ** i).filter((power) => power < n)
}

/**
 * What best-of-N would have been with the first 1, 2, 4, ... of the reference's candidates, whose final scores and lengths
 * are in its rows; its seconds are not. `rows` are the reference's, `seed` that of the intervals.
 */
export function curveOf(rows: readonly Row[], seed: number): CurvePoint[] {
  const known = rows.flatMap(({ candidates }) => (candidates === undefined ? [] : [candidates]))
  if (known.length === 0 || known.length < rows.length) return []
  const drawn = resamples(known.length, seed)
  const average = (values: readonly number[]) =>
    bootstrap(values.length, drawn, (items) => items.reduce((sum, i) => sum + (values[i] as number), 0) / items.length)
  return powersBelow(Math.min(...known.map(({ scores }) => scores.length))).map((n) => {
    const winners = known.map(({ scores }) => best(scores.slice(0, n)))
    const right = known.map(({ right }, i) => right[winners[i] as number] ?? null)
    const scores = known.map(({ scores }, i) => scores[winners[i] as number] ?? null)
    const tokens = known.map((each) => each.tokens.slice(0, n).reduce((sum, count) => sum + count, 0))
    return {
      n,
      accuracy: right.includes(null) ? null : average(right.map(Number)),
      meanScore: scores.includes(null) ? null : average(scores as number[]),
      generatedTokens: average(tokens),
      wallSeconds: null
    }
  })
}

/** The place of the highest score, the first of several. */
function best(scores: readonly (number | null)[]): number {
  const worth = (i: number) => scores[i] ?? Number.NEGATIVE_INFINITY
  return scores.reduce((place: number, _, i) => (worth(i) > worth(place) ? i : place), 0)
}
