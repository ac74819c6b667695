/**
 * How well scores order candidates. Within prompts is what choosing among the candidates of one prompt needs; pooled
 * measures mix all prompts, and flatter any score that tells easy prompts from hard ones.
 */

/**
 * Area under the ROC curve: the share of (right, wrong) pairs whose right one has the higher score, ties counting
 * half, by rank sums (Mann and Whitney 1947). Null where all are right or all are wrong.
 */
export function auroc(scores: ArrayLike<number>, right: ArrayLike<boolean>): number | null {
  const ranks = ranksOf(scores)
  let [positives, sum] = [0, 0]
  for (let i = 0; i < ranks.length; i++) {
    if (!right[i]) continue
    positives++
    sum += ranks[i] as number
  }
  const negatives = ranks.length - positives
  if (positives === 0 || negatives === 0) return null
  return (sum - (positives * (positives + 1)) / 2) / (positives * negatives)
}

/** A measure of rows that count several times: `weight` says how often each does. */
export type Weighted = (weight: (row: number) => number) => number

/** The same area over rows that count several times; sorted once, then one pass a weighting. NaN where undefined. */
export function weightedAuroc(scores: ArrayLike<number>, right: ArrayLike<boolean>): Weighted {
  const score = (row: number) => scores[row] as number
  const order = Array.from({ length: scores.length }, (_, row) => row)
  // Scores may be infinite: their difference is no number.
  order.sort((i, j) => (score(i) < score(j) ? -1 : score(i) > score(j) ? 1 : 0))
  return (weight) => {
    let [wrong, positive, pairs] = [0, 0, 0]
    for (let begin = 0; begin < order.length; ) {
      let [high, low] = [0, 0]
      let end = begin
      for (const level = score(order[begin] as number); end < order.length; end++) {
        const row = order[end] as number
        if (score(row) !== level) break
        if (right[row]) high += weight(row)
        else low += weight(row)
      }
      pairs += high * (wrong + low / 2)
      positive += high
      wrong += low
      begin = end
    }
    return positive === 0 || wrong === 0 ? Number.NaN : pairs / (positive * wrong)
  }
}

/**
 * Kendall's tau-b (Kendall 1945): concordant less discordant pairs, corrected for ties, in n log n steps (Knight
 * 1966). Null where one list does not vary.
 */
export function kendall(a: ArrayLike<number>, b: ArrayLike<number>): number | null {
  const n = a.length
  const at = (list: ArrayLike<number>, i: number) => list[i] as number
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => at(a, i) - at(a, j) || at(b, i) - at(b, j))
  const pairs = (n * (n - 1)) / 2
  const tiedA = tiedPairs(order.map((i) => at(a, i)))
  const tiedB = tiedPairs([...order].sort((i, j) => at(b, i) - at(b, j)).map((i) => at(b, i)))
  const tiedBoth = tiedRuns(order.length, (i, j) => {
    const [x, y] = [order[i] as number, order[j] as number]
    return at(a, x) === at(a, y) && at(b, x) === at(b, y)
  })
  if (tiedA === pairs || tiedB === pairs) return null
  const discordant = inversions(order.map((i) => at(b, i)))
  const concordant = pairs - tiedA - tiedB + tiedBoth - discordant
  return (concordant - discordant) / Math.sqrt((pairs - tiedA) * (pairs - tiedB))
}

/** Ranks from 1; equal values share the mean of theirs. */
export function ranksOf(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i)
  order.sort((i, j) => (values[i] as number) - (values[j] as number))
  const ranks = new Float64Array(values.length)
  for (let begin = 0; begin < order.length; ) {
    let end = begin + 1
    while (end < order.length && values[order[end] as number] === values[order[begin] as number]) end++
    for (let i = begin; i < end; i++) ranks[order[i] as number] = (begin + 1 + end) / 2
    begin = end
  }
  return ranks
}

function tiedPairs(sorted: readonly number[]): number {
  return tiedRuns(sorted.length, (i, j) => sorted[i] === sorted[j])
}

/** Pairs inside runs of neighbours that `equal` calls equal. */
function tiedRuns(count: number, equal: (i: number, j: number) => boolean): number {
  let pairs = 0
  for (let begin = 0; begin < count; ) {
    let end = begin + 1
    while (end < count && equal(begin, end)) end++
    pairs += ((end - begin) * (end - begin - 1)) / 2
    begin = end
  }
  return pairs
}

/** Pairs in the wrong order, equal ones not counted, by merge sort. */
function inversions(values: readonly number[]): number {
  let [from, to] = [Float64Array.from(values), new Float64Array(values.length)]
  let count = 0
  for (let width = 1; width < values.length; width *= 2) {
    for (let begin = 0; begin < values.length; begin += 2 * width) {
      const middle = Math.min(begin + width, values.length)
      const end = Math.min(begin + 2 * width, values.length)
      let [left, right] = [begin, middle]
      for (let i = begin; i < end; i++) {
        const takeLeft = left < middle && (right >= end || (from[left] as number) <= (from[right] as number))
        if (!takeLeft) count += middle - left
        to[i] = from[takeLeft ? left++ : right++] as number
      }
    }
    ;[from, to] = [to, from]
  }
  return count
}
