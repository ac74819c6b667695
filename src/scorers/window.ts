/** Means over windows of a branch's tokens. Values are one for each token; a window is counted in tokens. */

/** Of the last `window` values, or of all where there are fewer; minus infinity of none. */
export function tailMean(values: Float32Array, window: number): number {
  const from = Math.max(0, values.length - window)
  if (values.length === 0) return Number.NEGATIVE_INFINITY
  let sum = 0
  for (let i = from; i < values.length; i++) sum += values[i] as number
  return sum / (values.length - from)
}

/**
 * Of every run of `window` values in order; of all where there are fewer, as one run (as the authors of DeepConf
 * compute it: facebookresearch/deepconf, compute_least_grouped, without its rounding to three places).
 */
export function groupMeans(values: Float32Array, window: number): Float64Array {
  const size = Math.min(window, values.length)
  if (size === 0) return new Float64Array(0)
  const means = new Float64Array(values.length - size + 1)
  // A running sum forgets small values after a very large one; so it begins anew now and then.
  let sum = 0
  for (let last = 0; last < means.length; last++) {
    if (last % 1024 === 0) sum = total(values, last, last + size)
    else sum += (values[last + size - 1] as number) - (values[last - 1] as number)
    means[last] = sum / size
  }
  return means
}

function total(values: Float32Array, from: number, to: number): number {
  let sum = 0
  for (let i = from; i < to; i++) sum += values[i] as number
  return sum
}
