/** Small seeded statistics that reports rest on. */

/** A mean (or a ratio of means) with the ends of its interval. */
export interface Interval {
  readonly mean: number
  readonly low: number
  readonly high: number
}

/** What lies beyond each end of an interval of 95%. */
const tail = (1 - 0.95) / 2

/** Uniform numbers in [0, 1) from a 32-bit seed: xoshiro128** (Blackman and Vigna 2018), seeded by splitmix32. */
export function generator(seed: number): () => number {
  let mixed = seed >>> 0
  const split = () => {
    mixed = (mixed + 0x9e3779b9) >>> 0
    let z = mixed
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return (z ^ (z >>> 16)) >>> 0
  }
  let [a, b, c, d] = [split(), split(), split(), split()]
  return () => {
    const product = Math.imul(b, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = (d << 11) | (d >>> 21)
    return result / 2 ** 32
  }
}

/**
 * `rounds` resamples with replacement of the items 0..count-1. Statistics computed on the same resamples are paired:
 * their differences keep what the items have in common.
 */
export function resamples(count: number, seed: number, rounds = 2000): readonly Int32Array[] {
  const draw = generator(seed)
  return Array.from({ length: rounds }, () => Int32Array.from({ length: count }, () => Math.floor(draw() * count)))
}

/**
 * The 95% percentile bootstrap interval of a statistic (Efron 1979). `statistic` gets indices of items, each as often as
 * it was drawn. `counts` says which of its values do: all, unless told otherwise.
 */
export function bootstrap(
  count: number,
  drawn: readonly Int32Array[],
  statistic: (items: Int32Array) => number,
  counts: (value: number) => boolean = () => true
): Interval {
  const all = Int32Array.from({ length: count }, (_, i) => i)
  const values = drawn
    .map(statistic)
    .filter(counts)
    .sort((a, b) => a - b)
  return { mean: statistic(all), low: quantile(values, tail), high: quantile(values, 1 - tail) }
}

/** NaN of none. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Of sorted values, with linear interpolation between neighbours (type 7 of Hyndman and Fan 1996). */
export function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) return Number.NaN
  const place = share * (sorted.length - 1)
  const below = sorted[Math.floor(place)] as number
  const above = sorted[Math.ceil(place)] as number
  return below + (above - below) * (place - Math.floor(place))
}

/** The normal quantile of 97.5%. */
const normal = 1.959963984540054

/** A share with its 95% score interval (Wilson 1927). `hits` of `count` independent trials; NaN of none. */
export function wilson(hits: number, count: number): Interval {
  const share = hits / count
  const spread = normal ** 2 / count
  const centre = (share + spread / 2) / (1 + spread)
  const half = Math.sqrt(share * (1 - share) * spread + spread ** 2 / 4) / (1 + spread)
  // Of none and of all the sums round to just beyond the ends.
  return { mean: share, low: hits === 0 ? 0 : centre - half, high: hits === count ? 1 : centre + half }
}
