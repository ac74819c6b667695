import { mean } from '../statistics.js'

/**
 * How far a score lies above the best of a pool of answers to the same prompt, in spreads of the pool:
 * (score - max) / (max - min), as `postprocess/plot_compare.py` of Zanette-Labs/SpeculativeRejection b51917f has it (the pool is
 * best-of-120's there). 0 where the pool has no spread, where the reference divides by 0. Infinite scores are no part of the
 * pool, and minus infinity is worth what its lowest is.
 */
export function improvement(score: number, pool: readonly number[]): number {
  const finite = pool.filter(Number.isFinite)
  const [low, high] = [Math.min(...finite), Math.max(...finite)]
  return high > low ? (Math.max(score, low) - high) / (high - low) : 0
}

/** 100 (1 + mean improvement over prompts), the reference's score: 100 is as good as the pool's best on average. NaN of none. */
export function improvementScore(improvements: readonly number[]): number {
  return 100 * (1 + mean(improvements))
}

/**
 * Seconds of one arm over those of another, summed over the same prompts, times the devices of the one over the devices of
 * the other: the reference's relative GPU compute.
 */
export function relativeCompute(own: readonly number[], other: readonly number[], devices = 1): number {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
  return (sum(own) / sum(other)) * devices
}
