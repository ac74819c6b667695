/**
 * How scores of different kinds are made comparable within one group of candidates. `none`: as they are. `z`: (s - mean)
 * / standard deviation of the population. `min-max`: (s - min) / (max - min), 0 to 1. `rank`: the share of the others
 * that are lower, ties counted half, 0 to 1. Fixed: (s - mean) / deviation with numbers known beforehand.
 */
export type Scale = 'none' | 'z' | 'min-max' | 'rank' | { readonly mean: number; readonly deviation: number }

/**
 * Scaled scores, in order; never NaN. Means and extremes are taken over the finite scores and infinite ones pass
 * through, except under `rank`, which has a place for them. Scores that are all alike become 0; alone, `rank` is 0.5.
 */
export function scaled(scores: readonly number[], scale: Scale): number[] {
  if (scale === 'none') return [...scores]
  if (scale === 'rank') return rankShares(scores)
  // A quarter of everything: the differences of the largest numbers are then finite, and the quotients the same.
  const quarters = scores.map((score) => score / 4)
  const { from, width } = frame(quarters.filter(Number.isFinite), scale)
  return quarters.map((score) => (Number.isFinite(score) ? (width === 0 ? 0 : (score - from) / width) : score))
}

/** The number that becomes 0 and the distance that becomes 1; of a fixed scale, a quarter of both. */
function frame(finite: readonly number[], scale: Exclude<Scale, 'none' | 'rank'>): { from: number; width: number } {
  if (typeof scale === 'object') return { from: scale.mean / 4, width: scale.deviation / 4 }
  if (finite.length === 0) return { from: 0, width: 0 }
  const [low, high] = [Math.min(...finite), Math.max(...finite)]
  // Rounding would give equal scores a tiny deviation.
  if (low === high) return { from: low, width: 0 }
  if (scale === 'min-max') return { from: low, width: high - low }
  const mean = finite.reduce((sum, score) => sum + score / finite.length, 0)
  // In units of the range: squares then neither overflow nor vanish.
  const range = high - low
  const variance = finite.reduce((sum, score) => sum + ((score - mean) / range) ** 2, 0) / finite.length
  return { from: mean, width: range * Math.sqrt(variance) }
}

function rankShares(scores: readonly number[]): number[] {
  if (scores.length === 1) return [0.5]
  return midranks(scores).map((rank) => (scores.length - rank) / (scores.length - 1))
}

/** Ranks from 1 for the highest score; equal scores share the mean of their places. */
export function midranks(scores: readonly number[]): number[] {
  const sorted = [...scores].sort((a, b) => (a === b ? 0 : b > a ? 1 : -1))
  const first = new Map<number, number>()
  const count = new Map<number, number>()
  for (const [place, score] of sorted.entries()) {
    if (!first.has(score)) first.set(score, place)
    count.set(score, (count.get(score) ?? 0) + 1)
  }
  return scores.map((score) => (first.get(score) as number) + ((count.get(score) as number) + 1) / 2)
}
