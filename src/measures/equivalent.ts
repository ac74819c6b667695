/** Best-of-N at one N. */
export interface BestOfNPoint {
  readonly n: number
  /** Any measure of quality, larger is better. */
  readonly score: number
  /** Any measure of cost: seconds, tokens. */
  readonly cost: number
}

/**
 * The N at which best-of-N is as good as `score`, between the points on straight lines of score over log N, as
 * `compute_speedups` of the reference draws them (`postprocess/plot_compare.py`). Null where the score lies below all points
 * or above: a line beyond what was measured would be a guess.
 */
export function equivalentN(points: readonly BestOfNPoint[], score: number): number | null {
  return interpolated(points, score, ({ n }) => n)
}

/** What best-of-N costs where it is as good, on the same lines over log cost, over what this one cost; null as above. */
export function speedUp(points: readonly BestOfNPoint[], own: Omit<BestOfNPoint, 'n'>): number | null {
  const equal = interpolated(points, own.score, ({ cost }) => cost)
  return equal === null ? null : equal / own.cost
}

/** At the first place where the curve comes up to the score: a curve of few prompts need not rise everywhere. */
function interpolated(
  points: readonly BestOfNPoint[],
  score: number,
  of: (point: BestOfNPoint) => number
): number | null {
  const sorted = [...points].sort((a, b) => a.n - b.n)
  const at = sorted.findIndex((point) => point.score >= score)
  const [above, below] = [sorted[at], sorted[at - 1]]
  if (above === undefined) return null
  if (above.score === score) return of(above)
  if (below === undefined) return null
  const share = (score - below.score) / (above.score - below.score)
  return Math.exp(Math.log(of(below)) + share * (Math.log(of(above)) - Math.log(of(below))))
}
