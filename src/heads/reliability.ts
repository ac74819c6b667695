import type { Judged } from './measure.js'

/** One bin of a reliability table. */
export interface ReliabilityBin {
  /** Predicted probabilities from..to, in tenths. */
  readonly from: number
  readonly to: number
  readonly count: number
  /** Means over the bin; null where it is empty. */
  readonly predicted: number | null
  readonly observed: number | null
}

/** Predicted probabilities, sigmoid(score), against what came, in ten bins. */
export function reliabilityOf(rows: readonly Judged[]): ReliabilityBin[] {
  const bins = Array.from({ length: 10 }, () => ({ count: 0, predicted: 0, observed: 0 }))
  for (const { score, label } of rows) {
    const chance = 1 / (1 + Math.exp(-score))
    const bin = bins[Math.min(9, Math.floor(chance * 10))] as (typeof bins)[number]
    bin.count++
    bin.predicted += chance
    bin.observed += label
  }
  return bins.map(({ count, predicted, observed }, i) => ({
    from: i / 10,
    to: (i + 1) / 10,
    count,
    predicted: count === 0 ? null : predicted / count,
    observed: count === 0 ? null : observed / count
  }))
}

/** The mean of |predicted - observed| over the bins of a reliability table, weighted by their counts (ECE). */
export function calibrationError(bins: readonly ReliabilityBin[]): number {
  const rows = bins.reduce((sum, { count }) => sum + count, 0)
  const apart = bins.reduce(
    (sum, { count, predicted, observed }) => sum + count * Math.abs((predicted ?? 0) - (observed ?? 0)),
    0
  )
  return apart / Math.max(1, rows)
}
