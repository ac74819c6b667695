// Means and ratios over problems with 95% bootstrap intervals; on the same resamples, so that differences are paired.
import { quantile } from '../../dist/statistics.js'

/**
 * { mean, low, high } of a statistic of problems drawn. Resamples it does not exist on (NaN), such as those of problems without
 * a right answer, are left out; null where it does not exist at all.
 */
export function interval(count, drawn, statistic) {
  const mean = statistic(Int32Array.from({ length: count }, (_, i) => i))
  if (Number.isNaN(mean)) return null
  const values = drawn.map(statistic).filter((value) => !Number.isNaN(value))
  values.sort((a, b) => a - b)
  return { mean, low: quantile(values, 0.025), high: quantile(values, 0.975) }
}

/** Of the values that there are; null stands for none. */
export function meanOf(values, drawn) {
  return interval(values.length, drawn, (items) => {
    let [sum, count] = [0, 0]
    for (const item of items) {
      if (values[item] === null) continue
      sum += Number(values[item])
      count++
    }
    return count === 0 ? Number.NaN : sum / count
  })
}

/** Of the sums. */
export function ratioOf(above, below, drawn) {
  const total = (items, values) => items.reduce((sum, item) => sum + values[item], 0)
  return interval(above.length, drawn, (items) => {
    const whole = total(items, below)
    return whole === 0 ? Number.NaN : total(items, above) / whole
  })
}
