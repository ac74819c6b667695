/**
 * For each of N candidates, in descending order of score, the chance that it is the best of n drawn from them without
 * replacement: C(N - 1 - i, n - 1) / C(N, n) for the i-th from 0. With them any property of best-of-n's pick has its
 * expectation, without the luck of which n came first: the estimator of Chen et al. 2021 (arXiv 2107.03374, eq. 1) for more
 * than right and wrong. 1 <= n <= N.
 */
export function bestChances(candidates: number, n: number): Float64Array {
  const chances = new Float64Array(candidates)
  let chance = n / candidates
  for (let i = 0; i <= candidates - n; i++) {
    chances[i] = chance
    // C(N - 2 - i, n - 1) / C(N - 1 - i, n - 1)
    chance *= (candidates - i - n) / (candidates - 1 - i)
  }
  return chances
}

/** The expected value of best-of-n's pick by `scores`, ties to the lower index. Lengths are alike, at least 1. */
export function expectedOfBest(scores: readonly number[], values: readonly number[], n: number): number {
  const order = scores.map((_, i) => i).sort((a, b) => compare(scores[b] as number, scores[a] as number) || a - b)
  const chances = bestChances(scores.length, n)
  // What cannot be picked does not count, however low: 0 times minus infinity is no number.
  return order.reduce(
    (sum, id, i) => (chances[i] === 0 ? sum : sum + (chances[i] as number) * (values[id] as number)),
    0
  )
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a - b
}
